"""Futures that cost little until somebody watches them.

A `concurrent.futures.Future` makes a condition, a lock and two lists when it is born; that
takes longer than sending a task. Here they are made when they are first asked for, by
`wait`, `as_completed`, a callback or asyncio: the future is watched then, and the manager
thread finishes it, so that callbacks run there. Whoever calls `result()` waits with a
bell instead, if he is not the one who collects.
"""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures._base import (
    CANCELLED,
    CANCELLED_AND_NOTIFIED,
    FINISHED,
    LOGGER,
    PENDING,
    RUNNING,
)
from typing import TYPE_CHECKING, Any, TypeVar

from .._rlock import RLock

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from .batches import Batch
    from .engine import Engine
    from .terms import Terms

T = TypeVar("T")

UNSENT = None
SENDING = -1
"""Values of `item` before a task has its number in the ring."""

_DONE = frozenset((CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED))


class AwaitableFuture(Future[T]):
    """A future that a coroutine may await; cancelling the coroutine cancels it."""

    def __await__(self) -> Generator[Any, None, T]:
        from asyncio import wrap_future

        return wrap_future(self).__await__()


class TaskFuture(AwaitableFuture[T]):
    """The result of a task of an `Engine`; made by the engine only.

    Attributes:
        number: of the task, unique in its engine.
        call: (fn, args, kwargs) until the task is sent.
        fn: what the task runs, for messages; None when it is done.
        item: UNSENT, SENDING, or the task's item number in the ring.
        nbytes: what the task takes in the arena.
        terms: what is agreed about it beyond the standard library, while it is not done.
        batch: what it travels in, if it does not travel alone, while it is not done.
    """

    def __init__(self, engine: Engine, number: int, call: tuple[Any, Any, Any]) -> None:
        self._engine = engine
        self._state = PENDING
        self._result = None
        self._exception: BaseException | None = None
        self.number = number
        self.call: tuple[Any, Any, Any] | None = call
        self.fn = call[0]
        self.item: int | None = UNSENT
        self.nbytes = 0

    terms: Terms | None = None
    batch: Batch | None = None
    _watch: threading.Condition | None = None
    _bells: tuple[Any, ...] = ()

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        watch = self._watch
        if watch is None:
            with self._engine.lock:
                watch = self._watch
                if watch is None:
                    self._waiters: list[Any] = []
                    self._done_callbacks: list[Callable[[Future[T]], object]] = []
                    if self._state not in _DONE:
                        self._engine.watch(self)
                    watch = self._watch = threading.Condition(RLock())
        return watch

    # --- For the engine -----------------------------------------------------------------

    def is_done(self) -> bool:
        """Return whether the outcome is known in this process, without looking for it."""
        return self._state in _DONE

    def settle(self, value: Any, error: BaseException | None) -> bool:
        """Set the outcome unless somebody watches; return whether it is set. Needs the lock."""
        if self._watch is not None:
            return False
        self._result = value
        self._exception = error
        self._state = FINISHED
        if self._bells:
            self.ring()
        return True

    def tell(self, value: Any, error: BaseException | None) -> None:
        """Set the outcome and tell who watches. The manager's."""
        try:
            if error is None:
                self.set_result(value)
            else:
                self.set_exception(error)
        except InvalidStateError:  # the user has set one
            pass
        except BaseException:  # a callback's SystemExit must not end the manager
            LOGGER.exception("exception calling callback for %r", self)
        self.ring()
        self._engine.collector.nudge()  # who asks for the result may be collecting

    def settle_cancelled(self) -> bool:
        """Set the state of a task that nobody will run, as `settle` does."""
        if self._watch is not None:
            return False
        self._state = CANCELLED_AND_NOTIFIED
        self.ring()
        return True

    def tell_cancelled(self) -> None:
        """Cancel, and tell who watches. In the thread that cancels, as everywhere."""
        with self._condition:
            if self._state == RUNNING:  # until its worker was killed
                self._state = PENDING
        if super().cancel():
            self.set_running_or_notify_cancel()
        self.ring()

    def disown(self, error: BaseException) -> None:
        """Fail it in a forked child, where nobody can wait and no callback should run."""
        self._watch, self._bells = None, ()
        self._exception = error
        self._state = FINISHED

    # --- Bells of threads in result() ---------------------------------------------------

    def add_bell(self, bell: Any) -> None:
        """Have *bell*, a lock, released when the future is done. Needs the engine's lock."""
        self._bells = (*self._bells, bell)

    def remove_bell(self, bell: Any) -> None:
        """Undo `add_bell`. Needs the engine's lock."""
        self._bells = tuple(other for other in self._bells if other is not bell)

    def ring(self) -> None:
        """Wake the threads in result()."""
        for bell in self._bells:
            with contextlib.suppress(RuntimeError):  # rung already
                bell.release()

    # --- For everybody -------------------------------------------------------------------

    def __repr__(self) -> str:
        self._engine.poll(self)
        state = {CANCELLED_AND_NOTIFIED: CANCELLED}.get(self._state, self._state).lower()
        if self._state == FINISHED:
            raised = self._exception is not None
            outcome = self._exception if raised else self._result
            state += f" {'raised' if raised else 'returned'} {type(outcome).__name__}"
        return f"<{type(self).__name__} at {id(self):#x} state={state}>"

    def cancel(self, *, running: bool = False) -> bool:
        """Cancel the task unless a worker has it; return whether it is cancelled.

        Args:
            running: also if a worker has it: that one is killed, and replaced.
        """
        return self._engine.cancel(self, running)

    def cancelled(self) -> bool:
        """Return whether the task was cancelled."""
        return self._state in (CANCELLED, CANCELLED_AND_NOTIFIED)

    def running(self) -> bool:
        """Return whether a worker has the task, at some moment."""
        self._engine.poll(self)
        return self._state == RUNNING

    def done(self) -> bool:
        """Return whether the task has ended or was cancelled."""
        if self._state not in _DONE:
            self._engine.poll(self)
        return self._state in _DONE

    def result(self, timeout: float | None = None) -> T:
        """Return what the task returned, or raise what it raised.

        Raises:
            TimeoutError: it has not ended within *timeout* seconds (None: for ever).
            CancelledError: it was cancelled.
            BrokenProcessPool: a worker died.
        """
        error = self.exception(timeout) if self._state != FINISHED else self._exception
        if error is None:
            return self._result  # type: ignore[return-value]
        try:
            raise error
        finally:
            del self, error  # break the cycle with the exception's traceback

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the task raised, None if it returned.

        Raises:
            TimeoutError, CancelledError: as `result`.
        """
        if self._state not in _DONE:
            self._engine.collector.wait_for(self, timeout)
        if self._state == FINISHED:
            return self._exception
        if self._state in _DONE:
            raise CancelledError
        raise TimeoutError


def name_of(fn: Any) -> str:
    """Return the name of what a task runs, for messages."""
    return str(getattr(fn, "__qualname__", None) or repr(fn))
