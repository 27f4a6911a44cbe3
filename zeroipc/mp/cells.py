"""Shared memory in small pieces: many cells lie in one page, a large one has memory of its own.

Callers   any thread; a cell goes to other processes by fork, or by pickling for a child that starts
Progress  taking a cell holds a lock of the process for a moment
Crash     nothing: cells are of the process that took them, and of who inherits them
Bytes     as the arena made them: zero

The memory of cells that were taken one after the other goes when every process has dropped all of
them. No cell is used again before: whether another process still has it, only the arena knows.
"""

from __future__ import annotations

import os
import sys

from .._backend import transport as core
from .._rlock import RLock
from . import transport
from .handed import Handed

ALIGNMENT = 8
"""Cells start at multiples of this, as the standard library's do."""

FIRST = 1 << 12
LARGEST = 1 << 16
"""Bytes of the first and of the largest memory that cells share; each is twice the one before."""


class SharedMemory(Handed, core.Memory):  # type: ignore[misc, name-defined]
    """Bytes of the arena that processes share, all zero at first.

    Raises:
        ShmFullError: there is no room for them.
    """

    def __init__(self, nbytes: int) -> None:
        arena = transport.home().arena
        self._attach(arena, *arena.create_memory(nbytes))


class Cell:
    """Bytes of shared memory, zero at first; they go with the last process that has them.

    Args:
        size: how many.

    Raises:
        OverflowError, ValueError: *size* is beyond what there can be, or below zero.
        ShmFullError: there is no room for them.
    """

    def __init__(self, size: int) -> None:
        if size < 0:
            raise ValueError(f"size must not be negative: size={size}")
        if size >= sys.maxsize:
            raise OverflowError(f"size must be less than {sys.maxsize}: size={size}")
        self._memory, self._start = _shelf.take(size)
        self._size = size

    def create_memoryview(self) -> memoryview:
        """Return the bytes; the view keeps them."""
        view: memoryview = self._memory.buffer
        return view[self._start : self._start + self._size]


class Shelf:
    """Where this process takes its next cells from."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._taking = False
        self._nbytes = FIRST
        self._memory: SharedMemory | None = None
        self._next = 0

    def take(self, size: int) -> tuple[SharedMemory, int]:
        """Return memory, and where in it *size* bytes are that nobody has."""
        room = -(-max(size, 1) // ALIGNMENT) * ALIGNMENT
        with self._lock:
            # A signal handler or finalizer that interrupted this very method stays out of it.
            if self._taking or room > LARGEST // 4:
                return SharedMemory(size), 0
            self._taking = True
            try:
                return self._take(room)
            finally:
                self._taking = False

    def _take(self, room: int) -> tuple[SharedMemory, int]:
        if self._memory is None or self._next + room > self._memory.nbytes:
            self._memory = self._renew(room)
            self._next = 0
        self._next += room
        return self._memory, self._next - room

    def _renew(self, room: int) -> SharedMemory:
        """Return memory for the next cells, of which the first needs *room* bytes."""
        while self._nbytes < room:
            self._nbytes *= 2
        memory = SharedMemory(self._nbytes)
        self._nbytes = min(2 * self._nbytes, LARGEST)
        return memory


_shelf = Shelf()


def _after_fork() -> None:
    """A child does not take cells where its parent does."""
    global _shelf
    _shelf = Shelf()


os.register_at_fork(after_in_child=_after_fork)
