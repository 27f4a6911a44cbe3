"""Futures that cost little until somebody watches them.

A `concurrent.futures.Future` makes a condition, a lock and two lists when it is born; that
takes longer than sending a task. Here they are made when they are first asked for, by
`wait`, `as_completed`, a callback, asyncio or a second waiting thread. From then on the
engine's thread collects results; otherwise whoever calls `result()` does.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError, Future
from concurrent.futures._base import (
    CANCELLED,
    CANCELLED_AND_NOTIFIED,
    FINISHED,
    PENDING,
    RUNNING,
)
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from .engine import Engine

T = TypeVar("T")

UNSENT = None
SENDING = -1
"""Values of `item` before a task has its number in the ring."""

_DONE = frozenset((CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED))


class TaskFuture(Future[T]):
    """The result of a task of an `Engine`; made by the engine only.

    Attributes:
        number: of the task, unique in its engine.
        call: (fn, args, kwargs) until the task is sent.
        fn: what the task runs, for messages.
        item: UNSENT, SENDING, or the task's item number in the ring.
        nbytes: what the task takes in the arena.
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

    _watch: threading.Condition | None = None

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        watch = self._watch
        if watch is None:
            with self._engine.lock:
                watch = self._watch
                if watch is None:
                    self._waiters: list[Any] = []
                    self._done_callbacks: list[Callable[[Future[T]], object]] = []
                    watch = self._watch = threading.Condition()
                    if self._state not in _DONE:
                        self._engine.watch(+1)
        return watch

    # --- For the engine -----------------------------------------------------------------

    def finish(self, value: Any, error: BaseException | None) -> None:
        """Set the outcome; tell whoever watches."""
        with self._engine.lock:
            if self._state in _DONE:
                return
            if self._watch is None:
                self._result = value
                self._exception = error
                self._state = FINISHED
                return
        self._engine.watch(-1)
        if error is None:
            self.set_result(value)
        else:
            self.set_exception(error)

    def finish_cancelled(self) -> None:
        """Set the state of a task that nobody will run; tell whoever watches."""
        with self._engine.lock:
            if self._watch is None:
                self._state = CANCELLED_AND_NOTIFIED
                return
        self._engine.watch(-1)
        super().cancel()
        self.set_running_or_notify_cancel()

    # --- For everybody -------------------------------------------------------------------

    def cancel(self) -> bool:
        """Cancel the task unless a worker has it; return whether it is cancelled."""
        return self._engine.cancel(self)

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
            self._engine.wait_for(self, timeout)
        if self._state == FINISHED:
            return self._exception
        if self._state in _DONE:
            raise CancelledError
        raise TimeoutError

    def is_done(self) -> bool:
        """Return whether the outcome is known in this process, without looking for it."""
        return self._state in _DONE

    def wait_passively(self, deadline: float | None) -> None:
        """Wait until another thread has collected the outcome, or time is over."""
        with self._condition:
            if self._state not in _DONE:
                self._condition.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
