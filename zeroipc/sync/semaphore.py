"""A semaphore in a named segment: permits that are taken and given back.

Callers   any number, in any process, thread and language
Progress  try_acquire and release never wait; acquire sleeps until there is a permit
Crash     the permits that a process holds when it dies are lost: the format does not say whose
          they were (see `repair`); one that dies while it waits leaves `waiting` too high, which
          hurts nobody
Bytes     SEMAPHORE, see _core/named/layout.py
Source    SPECIFICATION.md, "Semaphore"; threading.Semaphore and BoundedSemaphore

The protocol is in _core/named/semaphore.py.
"""

from __future__ import annotations

from operator import index
from typing import Protocol, Self

from .. import _backend
from .._core.named.layout import SEMAPHORE
from ..errors import CapacityError, SegmentFormatError
from ..memory import Memory
from ..table import Entry, Part
from ._acquire import Waiting
from ._lock import Lock
from ._parts import check_size, loads, permits, reset_permits

COUNT_MAX = 2**31 - 1


class Release(Protocol):
    """How a release of permits is called."""

    def __call__(self, n: int = 1, /) -> None:
        """Give *n* permits back."""


class Semaphore(Lock):
    """Permits: `acquire` takes one and waits when there is none, `release` gives some back.

    `acquire(blocking=True, timeout=-1)` answers whether it got one, as that of
    `threading.Lock`; `with` takes one and gives it back. `release(n=1)` raises ReleaseError if
    there would be more than `max_count`.

    Args:
        mem: the segment.
        name: of the semaphore in the segment, 1 to 31 bytes.
        count: permits at first. When given and the semaphore is missing, it is created.
        max_count: most permits; 0: no limit. An existing semaphore must have the same, if
            this is not 0.

    Raises:
        StructureNotFoundError: there is no such semaphore, and no *count*.
        CapacityError: *count* or *max_count* is out of range, or not that of the existing one.
        SegmentFormatError: what is stored is not a semaphore.
        SegmentFullError, TableFullError, NameTooLongError: it cannot be created.

    >>> with Memory("/example", 4096) as mem:
    ...     seats = Semaphore(mem, "seats", 1)
    ...     with seats:
    ...         seats.try_acquire(), seats.count
    ...     seats.count
    ...     mem.unlink()
    (False, 0)
    1
    """

    release: Release

    def __init__(
        self, mem: Memory, name: str, count: int | None = None, max_count: int = 0
    ) -> None:
        if count is None:
            self._attach(mem, mem.entry(name), max_count)
        else:
            self._attach(mem, mem.find_or_add(*_part(name, count, max_count)), max_count)

    @classmethod
    def create(cls, mem: Memory, name: str, count: int, max_count: int = 0) -> Self:
        """Create a semaphore that must not exist.

        Raises:
            NameExistsError: the name is taken. Else as the constructor.
        """
        made = cls.__new__(cls)
        made._attach(mem, mem.add(*_part(name, count, max_count)), max_count)
        return made

    @classmethod
    def open(cls, mem: Memory, name: str) -> Self:
        """Open a semaphore that must exist; raises as the constructor."""
        found = cls.__new__(cls)
        found._attach(mem, mem.entry(name), 0)
        return found

    def _attach(self, mem: Memory, entry: Entry, max_count: int) -> None:
        check_size("semaphore", entry, SEMAPHORE.nbytes)
        count, stored = loads(mem.view(entry), SEMAPHORE.count, SEMAPHORE.max_count)
        if not 0 <= count <= (stored or COUNT_MAX):
            raise SegmentFormatError(
                f"not a semaphore: count must be from 0 to max_count: "
                f"count={count}, max_count={stored}, {entry}"
            )
        if max_count not in (0, stored):
            raise CapacityError(
                f"semaphore {entry.name!r} exists, and max_count must be {stored}: "
                f"max_count={max_count}"
            )
        self._hold(mem, entry.name)
        self._entry = entry
        self.max_count = stored
        bell = self._bell(entry.offset + SEMAPHORE.count.offset)
        self._waiting = Waiting(bell, mem, self._title)
        self._core = _backend.named.Semaphore(self._buf, entry.offset, bell, self._waiting)
        self._expose()

    @property
    def count(self) -> int:
        """How many permits there are, at some moment."""
        return int(self._core.count())

    def locked(self) -> bool:
        """Return whether there is no permit, at some moment."""
        return self.count <= 0

    def repair(self, count: int) -> None:
        """Make it have *count* permits, those of the dead among them.

        For when nobody else uses it: the format does not say who has the others.

        Raises:
            CapacityError: *count* is not from 0 to `max_count`.
        """
        _check_count(count, self.max_count)
        reset_permits(self._mem.view(self._entry), count)

    def _facts(self) -> str:
        return f"count={self.count}, max_count={self.max_count}"


def _part(name: str, count: int, max_count: int) -> Part:
    if not 0 <= index(max_count) <= COUNT_MAX:
        raise CapacityError(f"max_count must be from 0 to {COUNT_MAX}: max_count={max_count}")
    _check_count(count, max_count)
    return permits(name, count, max_count)


def _check_count(count: int, max_count: int) -> None:
    most = max_count or COUNT_MAX
    if not 0 <= index(count) <= most:
        raise CapacityError(f"count must be from 0 to {most}: count={count}")
