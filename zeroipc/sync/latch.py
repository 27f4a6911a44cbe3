"""A latch in a named segment: many wait, once, until a count reaches zero.

Callers   any number that count and wait, in any process, thread and language
Progress  count_down and try_wait never wait; wait sleeps until the count is zero
Crash     one that dies before it counts leaves the latch closed; nothing is ever half done
Bytes     LATCH, see _core/named/layout.py
Source    SPECIFICATION.md, "Latch"; java.util.concurrent.CountDownLatch

count_down: compare-and-swap `count` from c to c - n, at least 0; nothing when it is 0 already.
"""

from __future__ import annotations

from operator import index
from typing import Self

from .. import _backend
from .._core.named.layout import LATCH
from .._core.status import OK, Status
from .._form import store
from .._structure import Structure
from ..errors import CapacityError, SegmentFormatError, WaitTimeoutError
from ..memory import Memory
from ..table import Entry, Part
from ._parts import check_size, loads
from .semaphore import COUNT_MAX


class Latch(Structure):
    """A count that goes down to zero, which opens the latch for all who wait.

    Args:
        mem: the segment.
        name: of the latch in the segment, 1 to 31 bytes.
        count: how often `count_down` must be called, from 0. When given and the latch is
            missing, it is created; an existing one must have begun with the same.

    Raises:
        StructureNotFoundError: there is no such latch, and no *count*.
        CapacityError: *count* is out of range, or not that of the existing latch.
        SegmentFormatError: what is stored is not a latch.
        SegmentFullError, TableFullError, NameTooLongError: it cannot be created.

    >>> with Memory("/example", 4096) as mem:
    ...     ready = Latch(mem, "ready", 2)
    ...     ready.count_down()
    ...     ready.try_wait(), ready.count
    ...     ready.count_down()
    ...     ready.wait()
    ...     mem.unlink()
    (False, 1)
    """

    def __init__(self, mem: Memory, name: str, count: int | None = None) -> None:
        if count is None:
            self._attach(mem, mem.entry(name))
        else:
            self._attach(mem, mem.find_or_add(*_part(name, count)), count)

    @classmethod
    def create(cls, mem: Memory, name: str, count: int) -> Self:
        """Create a latch that must not exist.

        Raises:
            NameExistsError: the name is taken. Else as the constructor.
        """
        made = cls.__new__(cls)
        made._attach(mem, mem.add(*_part(name, count)))
        return made

    @classmethod
    def open(cls, mem: Memory, name: str) -> Self:
        """Open a latch that must exist; raises as the constructor."""
        found = cls.__new__(cls)
        found._attach(mem, mem.entry(name))
        return found

    def _attach(self, mem: Memory, entry: Entry, wanted: int | None = None) -> None:
        check_size("latch", entry, LATCH.nbytes)
        count, initial = loads(mem.view(entry), LATCH.count, LATCH.initial_count)
        if not 0 <= count <= initial:
            raise SegmentFormatError(
                f"not a latch: count must be from 0 to initial_count: "
                f"count={count}, initial_count={initial}, {entry}"
            )
        if wanted not in (None, initial):
            raise CapacityError(
                f"latch {entry.name!r} exists, and count must be {initial}: count={wanted}"
            )
        self._hold(mem, entry.name)
        self.initial = initial
        at = entry.offset + LATCH.count.offset
        self._open = self._bell(at)
        self._core = _backend.named.Word(self._buf, at, "i", self._open)

    def count_down(self, n: int = 1) -> None:
        """Take *n* off the count, down to 0; nothing when it is 0 already."""
        if index(n) < 1:
            raise ValueError(f"n must be at least 1: n={n}")
        while True:
            count = self._core.load()
            if count <= 0 or self._core.compare_exchange(count, max(count - n, 0)):
                return

    def try_wait(self) -> bool:
        """Return whether the count is 0."""
        return int(self._core.load()) <= 0

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the count is 0.

        Raises:
            WaitTimeoutError: it was still above 0 after *timeout* seconds.
        """
        if self._wait(self._attempt, self._open, timeout) is not OK:
            raise WaitTimeoutError(f"{self._title} was at {self.count} after {timeout} seconds")

    def arrive_and_wait(self, n: int = 1, timeout: float | None = None) -> None:
        """Take *n* off the count, then wait until it is 0; raises as `wait`."""
        self.count_down(n)
        self.wait(timeout)

    def reset(self) -> None:
        """Close the latch: the count is what it was at first."""
        self._core.store(self.initial)

    @property
    def count(self) -> int:
        """How often `count_down` must still be called, at some moment."""
        return max(int(self._core.load()), 0)

    def _attempt(self) -> Status:
        return OK if self.try_wait() else Status.EMPTY

    def _facts(self) -> str:
        return f"count={self.count}/{self.initial}"


def _part(name: str, count: int) -> Part:
    if not 0 <= index(count) <= COUNT_MAX:
        raise CapacityError(f"count must be from 0 to {COUNT_MAX}: count={count}")

    def prepare(view: memoryview) -> None:
        view[:] = bytes(LATCH.nbytes)
        store(view, LATCH.count, count)
        store(view, LATCH.initial_count, count)

    return Part(name, LATCH.nbytes, prepare)
