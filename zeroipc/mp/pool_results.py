"""What the calls of a `Pool` return before the outcome is there.

A job is one such call; its tasks are what workers take. Each class here gathers the outcomes
of a job's tasks in its own way. `_set`, the standard library's name, takes one in under the
engine's lock; whoever waits collects for himself (collector.py), so `get` wakes no thread.

Callbacks run in the manager's thread, before the job counts as ready.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from multiprocessing import TimeoutError
from multiprocessing import pool as standard
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from .pool import Pool

Outcome = tuple[bool, Any]
"""Whether a task returned, and what it returned or raised."""


class Job:
    """What all kinds of jobs have in common: their place in the pool, and who waits for them.

    Attributes:
        watched: whether there are callbacks, so that the manager has to collect.
    """

    watched = False
    _bells: tuple[Any, ...] = ()

    def _enter(self, pool: Pool) -> None:
        self._pool: Pool | None = pool
        self._engine = pool._engine
        self._cache = pool._engine.jobs
        self._job = next(standard.job_counter)  # type: ignore[attr-defined]
        self._cache[self._job] = self

    def _leave(self) -> None:
        self._cache.pop(self._job, None)
        self._pool = None
        self.ring()

    def add_bell(self, bell: Any) -> None:
        """Have *bell*, a lock, released when there is something new. Needs the lock."""
        self._bells = (*self._bells, bell)

    def remove_bell(self, bell: Any) -> None:
        """Undo `add_bell`. Needs the lock."""
        self._bells = tuple(other for other in self._bells if other is not bell)

    def ring(self) -> None:
        """Wake who waits without collecting."""
        for bell in self._bells:
            with contextlib.suppress(RuntimeError):  # rung already
                bell.release()


class ApplyResult(Job, standard.ApplyResult):  # type: ignore[type-arg]
    """The outcome of `apply_async`, once it is there.

    Args:
        pool: which runs it.
        callback: is called with what it returned.
        error_callback: is called with what it raised.
    """

    def __init__(
        self,
        pool: Pool,
        callback: Callable[[Any], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> None:
        self._callback = callback
        self._error_callback = error_callback
        self.watched = callback is not None or error_callback is not None
        self._ready = self._decided = False  # between the two, its callback runs
        self._success = True
        self._value: Any = None
        self._enter(pool)

    def ready(self) -> bool:
        """Return whether the outcome is there."""
        if not self._ready:
            self._engine.look()
        return self._ready

    def is_done(self) -> bool:
        """Return whether the outcome is known, without looking for it."""
        return self._ready

    def successful(self) -> bool:
        """Return whether it returned.

        Raises:
            ValueError: the outcome is not there.
        """
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._success

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the outcome is there, at most *timeout* seconds."""
        if not self._ready:
            self._engine.collector.wait_for(self, timeout)

    def get(self, timeout: float | None = None) -> Any:
        """Return what it returned, or raise what it raised.

        Raises:
            multiprocessing.TimeoutError: that is not there within *timeout* seconds.
            WorkerDiedError: its worker died.
            ClosedError: the pool was terminated before it was done.
        """
        self.wait(timeout)
        if not self._ready:
            raise TimeoutError
        if self._success:
            return self._value
        try:
            raise self._value
        finally:
            del self  # break the cycle with the exception's traceback

    # --- For the engine -------------------------------------------------------------------

    def _set(self, i: int, obj: Outcome) -> bool:
        """Take in the outcome of a task; whether it was the last one. Needs the lock."""
        if self._ready:
            return False
        self._success, self._value = obj
        self._decided = True
        return True

    def wants_call(self) -> bool:
        """Return whether there is a callback for this outcome."""
        return (self._callback if self._success else self._error_callback) is not None

    def call_back(self) -> None:
        """Run the callback for this outcome. An error in it is shown and harms nothing."""
        callback: Any = self._callback if self._success else self._error_callback
        try:
            callback(self._value)
        except BaseException:
            args = threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread()))
            threading.excepthook(args)

    def finish(self) -> None:
        """Be ready. Needs the lock."""
        self._ready = True
        self._leave()

    def abandon(self, error: BaseException) -> None:
        """Fail without a callback: nobody works on it any more. Needs the lock."""
        if not self._ready and not self._decided:
            self._success, self._value = False, error
            self.finish()


class MapResult(ApplyResult, standard.MapResult):  # type: ignore[type-arg]
    """The outcome of `map_async`: a list of results, or the first error.

    Args:
        chunksize: items of a task; with 1 a task's outcome is the item's, and no list.
        length: items in all.
    """

    def __init__(
        self,
        pool: Pool,
        chunksize: int,
        length: int,
        callback: Callable[[Any], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> None:
        ApplyResult.__init__(self, pool, callback, error_callback)
        self._value = [None] * length
        self._chunksize = chunksize
        self._number_left = -(-length // chunksize) if length else 0
        if not length:
            self.finish()

    def _set(self, i: int, obj: Outcome) -> bool:
        success, result = obj
        self._number_left -= 1
        if not self._success or self._ready:
            pass
        elif not success:
            self._success, self._value = False, result
        elif self._chunksize == 1:
            self._value[i] = result
        else:
            self._value[i * self._chunksize : (i + 1) * self._chunksize] = result
        self._decided = self._number_left == 0 and not self._ready
        return self._decided


class IMapIterator(Job, standard.IMapIterator):  # type: ignore[type-arg]
    """The results of `imap`, in order, as they come."""

    def __init__(self, pool: Pool) -> None:
        self._items: deque[Outcome] = deque()
        self._index = 0
        self._length: int | None = None
        self._unsorted: dict[int, Outcome] = {}
        self._enter(pool)

    def __iter__(self) -> IMapIterator:
        return self

    def next(self, timeout: float | None = None) -> Any:
        """Return the next result, or raise what its task raised.

        Raises:
            StopIteration: there are no more.
            multiprocessing.TimeoutError: it is not there within *timeout* seconds.
            WorkerDiedError: its worker died; those after it come all the same.
            ClosedError: the pool was terminated before it was done.
        """
        try:
            success, value = self._items.popleft()
        except IndexError:
            success, value = self._wait(timeout)
        if success:
            return value
        try:
            raise value
        finally:
            del value  # break the cycle with the exception's traceback

    __next__ = next

    def _wait(self, timeout: float | None) -> Outcome:
        """Return the next outcome when it is there."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._engine.look()  # one visit for all that is there
        while True:
            try:
                return self._items.popleft()
            except IndexError:
                if self._is_over():
                    raise StopIteration from None
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left < 0:
                raise TimeoutError
            self._engine.collector.wait_for(self, left)

    def is_done(self) -> bool:
        """Return whether `next` has something to say."""
        return bool(self._items) or self._is_over()

    def _is_over(self) -> bool:
        return self._index == self._length

    # --- For the engine -------------------------------------------------------------------

    def _set(self, i: int, obj: Outcome) -> bool:
        """Take in the outcome of a task; whether it was the last one. Needs the lock."""
        if self._is_over():
            return False
        if i != self._index:
            self._unsorted[i] = obj
            return False
        while obj is not None:
            self._items.append(obj)
            self._index += 1
            obj = self._unsorted.pop(self._index, None)  # type: ignore[arg-type]
        if self._is_over():
            return True
        self.ring()
        return False

    def _set_length(self, length: int) -> None:
        with self._engine.lock:
            if self._is_over():  # it was abandoned
                return
            self._length = length
            if self._is_over():
                self.finish()
        self._engine.collector.nudge()

    def wants_call(self) -> bool:
        """Return False: there are no callbacks."""
        return False

    def finish(self) -> None:
        """Leave the pool: all outcomes are here. Needs the lock."""
        self._leave()

    def abandon(self, error: BaseException) -> None:
        """Raise *error* after what is there, and be over. Needs the lock."""
        if not self._is_over():
            self._items.append((False, error))
            self._index = self._length = sys.maxsize
            self.finish()


class IMapUnorderedIterator(IMapIterator, standard.IMapUnorderedIterator):  # type: ignore[type-arg]
    """The results of `imap_unordered`, as they come."""

    def _set(self, i: int, obj: Outcome) -> bool:
        if self._is_over():
            return False
        self._items.append(obj)
        self._index += 1
        if self._is_over():
            return True
        self.ring()
        return False
