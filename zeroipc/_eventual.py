"""What will have a result: waiting for it in a thread or a coroutine, and what follows from it.

Nothing here runs in the background. A function given to `then` runs in the thread and the
process that first ask for its result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable
from typing import Any, Generic, TypeVar

from ._core.status import Status
from ._rlock import RLock
from ._waiting import Pace, deadline_of, is_not_now, seconds_till

T = TypeVar("T")
U = TypeVar("U")


class Eventual(Generic[T]):
    """Something with a result that is there now or later."""

    def done(self) -> bool:
        """Return whether `result` and `exception` answer without waiting for anybody."""
        raise NotImplementedError

    def result(self, timeout: float | None = None) -> T:
        """Return the result, waiting for it.

        Raises:
            WaitTimeoutError: it was not there within *timeout* seconds.
            RemoteError: there will be none; the text says why.
        """
        raise NotImplementedError

    def then(self, function: Callable[[T], U]) -> Then[T, U]:
        """Return what *function* makes of the result, computed when somebody asks for it."""
        return Then(self, function)

    def __await__(self) -> Generator[Any, None, T]:
        raise NotImplementedError


class Then(Eventual[U], Generic[T, U]):
    """What a function makes of another's result.

    The function runs once at most, in the thread that first calls `result`, in this process;
    under `await` in the event loop's thread. What it raises, every `result` raises. It does
    not run when there is no result to give it.
    """

    def __init__(self, source: Eventual[T], function: Callable[[T], U]) -> None:
        self._source = source
        self._function = function
        self._lock = RLock()
        self._outcome: tuple[U | None, BaseException | None] | None = None

    def done(self) -> bool:
        """Return whether `result` has nothing to wait for but the function itself."""
        return self._source.done()

    def result(self, timeout: float | None = None) -> U:
        """Return the function's result; *timeout* bounds the wait for what it needs.

        Raises:
            What the function raises. Else as the source.
        """
        return self._apply(self._source.result(timeout))

    def __await__(self) -> Generator[Any, None, U]:
        value = yield from self._source.__await__()
        return self._apply(value)

    def _apply(self, value: T) -> U:
        with self._lock:
            if self._outcome is None:
                try:
                    self._outcome = self._function(value), None
                except Exception as error:
                    self._outcome = None, error
        result, failure = self._outcome
        if failure is not None:
            raise failure
        return result  # type: ignore[return-value]


class Gathered(Eventual[list[T]]):
    """The results of several, in their order."""

    def __init__(self, sources: Iterable[Eventual[T]]) -> None:
        self._sources = list(sources)

    def done(self) -> bool:
        """Return whether all are done."""
        return all(source.done() for source in self._sources)

    def result(self, timeout: float | None = None) -> list[T]:
        """Return all results; raises what the first without one raises, in their order."""
        deadline = deadline_of(timeout)
        return [source.result(seconds_till(deadline)) for source in self._sources]

    def __await__(self) -> Generator[Any, None, list[T]]:
        return self._each().__await__()

    async def _each(self) -> list[T]:
        return [await source for source in self._sources]


def gather(sources: Iterable[Eventual[T]]) -> Gathered[T]:
    """Return one that has the results of all *sources*, futures or what follows from them."""
    return Gathered(sources)


async def settled(attempt: Callable[[], T | Status], title: str) -> T:
    """Return the first answer of *attempt* that is not "not now", without blocking the loop.

    Looks every few milliseconds, like a process that nobody wakes.

    Raises:
        As `wait_until`.
    """
    pace = Pace(title)
    while True:
        answer = attempt()
        if not is_not_now(answer, title):
            return answer  # type: ignore[return-value]
        await asyncio.sleep(pace.nap(answer) / 1e9)
