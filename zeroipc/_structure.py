"""What every named structure has: its segment, its name, its lifetime."""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

from . import _backend
from ._core.status import OK, Status
from ._waiting import deadline_of, is_not_now, wait_until
from .errors import CapacityError, ClosedError
from .memory import Memory

T = TypeVar("T")

COUNT_MAX = 2**32 - 1
Move = Callable[[Any], tuple[Status, int]]
"""A core's way to move many items: the answer, and how many it moved."""


class _Closed:
    """Stands in for the core of a structure that was closed."""

    def __init__(self, title: str) -> None:
        self._title = title

    def __getattr__(self, name: str) -> NoReturn:
        raise ClosedError(f"{self._title} is closed")


class Structure:
    """A structure in a segment, found by its name.

    A handle is cheap: any number of them may name the same structure. It stays valid when
    the `Memory` is closed, and pickles as its name, to be opened again by whoever unpickles it.
    """

    _core: Any
    _mem: Memory
    name: str

    def _hold(self, mem: Memory, name: str) -> None:
        self._mem = mem
        self._buf = mem.buf
        self._directory = mem.table.directory
        self.name = name

    def _bell(self, word_at: int) -> Any:
        """Return the bell of the word at an offset of the segment."""
        return _backend.named.Bell(self._buf, self._directory, word_at)

    def _wait(self, attempt: Callable[[], T], bell: Any, timeout: float | None) -> T | Status:
        """Return what *attempt* answers at last, within *timeout* seconds; see `wait_until`."""
        return self._wait_till(attempt, bell, deadline_of(timeout))

    def _wait_till(self, attempt: Callable[[], T], bell: Any, deadline: int) -> T | Status:
        return wait_until(attempt, bell, self._mem, deadline, self._title)

    def _is_not_now(self, answer: object) -> bool:
        """Return whether an attempt answered "not now"; raises SegmentFormatError if DAMAGED."""
        return type(answer) is Status and is_not_now(answer, self._title)

    def _moved(self, move: Move, items: Any) -> int:
        """Return how many items *move* moved now; raises SegmentFormatError if DAMAGED."""
        status, done = move(items)
        self._is_not_now(status)
        return done

    @property
    def memory(self) -> Memory:
        """The segment."""
        return self._mem

    @property
    def _title(self) -> str:
        return f"{type(self).__name__.lower()} {self.name!r} of segment {self._mem.name!r}"

    def _reopen(self) -> tuple[Any, ...]:
        """Return what `open` needs after the segment and the name."""
        return ()

    def _facts(self) -> str:
        """Return what `repr` tells beyond the name."""
        return ""

    # --- lifetime ---

    def close(self) -> None:
        """Let go of the structure, which stays; closing twice is fine."""
        self._core = _Closed(self._title)

    @property
    def closed(self) -> bool:
        """Whether this handle was closed."""
        return isinstance(self._core, _Closed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return type(self).open, (self._mem, self.name, *self._reopen())  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        state = "closed" if self.closed else self._facts()
        return f"<{type(self).__name__} {self.name!r}{', ' if state else ''}{state}>"


def checked_capacity(capacity: int, least: int = 1, most: int = COUNT_MAX) -> int:
    """Return *capacity*, or raise CapacityError unless it is from *least* to *most*."""
    if not least <= capacity <= most:
        raise CapacityError(f"capacity must be from {least} to {most}: capacity={capacity}")
    return capacity


def checked_limit(limit: int) -> int:
    """Return *limit*, or raise CapacityError if it is below 1."""
    if index(limit) < 1:
        raise CapacityError(f"limit must be at least 1: limit={limit}")
    return index(limit)


def moved_or_why(move: Move, items: Any) -> int | Status:
    """Return how many items *move* moved, or why none: an attempt for `Structure._wait`."""
    status, done = move(items)
    return done if status is OK else status
