"""A barrier in a named segment: each waits until all have arrived, again and again.

Callers   `parties` at a time, in any process, thread and language
Progress  wait sleeps until all have arrived
Crash     arriving, leaving and letting go are one step each: nothing is ever half done by us.
          One that dies after it arrived counts in this generation and is missing in the next;
          a C++ program that dies while it lets go gives StalledError after a second
Bytes     BARRIER, see _core/named/layout.py
Source    SPECIFICATION.md, "Barrier"; threading.Barrier

`arrived` and `generation` are one word of 64 bits to us, changed by compare-and-swap:

Arrive:   (a, g) -> (a + 1, g); the last: (a, g) -> (0, g + 1), and all are let go
Wait:     until the generation is not g
Time-out: (a, g) -> (a - 1, g): possible only while this generation lasts
"""

from __future__ import annotations

from functools import partial
from operator import index
from typing import Self

from .. import _backend
from .._core.named.layout import BARRIER
from .._core.named.words import U32_MASK, signed32
from .._core.status import OK, Status
from .._form import store
from .._structure import Structure
from .._waiting import deadline_of
from ..errors import CapacityError, SegmentFormatError, WaitTimeoutError
from ..memory import Memory
from ..table import Entry, Part
from ._parts import check_size, loads
from .semaphore import COUNT_MAX


class Barrier(Structure):
    """A meeting of so many parties, as often as they like.

    Args:
        mem: the segment.
        name: of the barrier in the segment, 1 to 31 bytes.
        parties: how many must arrive, from 1. When given and the barrier is missing, it is
            created; an existing one must have as many.

    Raises:
        StructureNotFoundError: there is no such barrier, and no *parties*.
        CapacityError: *parties* is out of range, or not that of the existing barrier.
        SegmentFormatError: what is stored is not a barrier.
        SegmentFullError, TableFullError, NameTooLongError: it cannot be created.

    >>> with Memory("/example", 4096) as mem:
    ...     lonely = Barrier(mem, "lonely", 1)
    ...     lonely.wait(), lonely.wait(), lonely.generation
    ...     mem.unlink()
    (0, 0, 2)
    """

    def __init__(self, mem: Memory, name: str, parties: int | None = None) -> None:
        if parties is None:
            self._attach(mem, mem.entry(name))
        else:
            self._attach(mem, mem.find_or_add(*_part(name, parties)), parties)

    @classmethod
    def create(cls, mem: Memory, name: str, parties: int) -> Self:
        """Create a barrier that must not exist.

        Raises:
            NameExistsError: the name is taken. Else as the constructor.
        """
        made = cls.__new__(cls)
        made._attach(mem, mem.add(*_part(name, parties)))
        return made

    @classmethod
    def open(cls, mem: Memory, name: str) -> Self:
        """Open a barrier that must exist; raises as the constructor."""
        found = cls.__new__(cls)
        found._attach(mem, mem.entry(name))
        return found

    def _attach(self, mem: Memory, entry: Entry, wanted: int | None = None) -> None:
        check_size("barrier", entry, BARRIER.nbytes)
        (parties,) = loads(mem.view(entry), BARRIER.participants)
        if parties < 1:
            raise SegmentFormatError(
                f"not a barrier: participants must be at least 1: participants={parties}, {entry}"
            )
        if wanted not in (None, parties):
            raise CapacityError(
                f"barrier {entry.name!r} exists, and parties must be {parties}: parties={wanted}"
            )
        self._hold(mem, entry.name)
        self.parties = parties
        self._let_go = self._bell(entry.offset + BARRIER.generation.offset)
        self._core = _backend.named.Word(self._buf, entry.offset, "Q", None)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until all parties have arrived; return how many were there before this one.

        Who is late or interrupted has not arrived: the others go on waiting for all.

        Raises:
            WaitTimeoutError: they had not after *timeout* seconds.
            StalledError: a program in another language does not go on, in the midst of it.
        """
        deadline = deadline_of(timeout)
        place = self._wait_till(self._arrive, self._let_go, deadline)
        if isinstance(place, Status):
            raise WaitTimeoutError(f"{self._title} was busy for {timeout} seconds")
        generation, before = place
        if before == self.parties - 1:
            self._let_go.ring()
            return before
        try:
            passed = self._wait_till(partial(self._passed, generation), self._let_go, deadline)
        except BaseException:
            self._leave(generation)
            raise
        if passed is not OK and self._leave(generation):
            raise WaitTimeoutError(
                f"{self._title} waited for {self.parties} parties for {timeout} seconds"
            )
        return before

    def _arrive(self) -> tuple[int, int] | Status:
        """Return the generation and how many had arrived before; or BUSY."""
        while True:
            pair = self._core.load()
            arrived, generation = _split(pair)
            if arrived >= self.parties:  # the last one is just letting the others go
                return Status.BUSY
            before = max(arrived, 0)  # a late C++ program can leave -1
            last = before + 1 == self.parties
            after = _join(0, generation + 1) if last else _join(before + 1, generation)
            # [barrier.turn] acquires and releases: all that was done before the barrier
            if self._core.compare_exchange(pair, after):
                return generation, before

    def _passed(self, generation: int) -> Status:
        # [barrier.turn] acquire
        return Status.EMPTY if self.generation == generation else OK

    def _leave(self, generation: int) -> bool:
        """Take one's arrival back; return False when all have arrived after all."""
        return self._wait(partial(self._try_leave, generation), self._let_go, None) is True

    def _try_leave(self, generation: int) -> bool | Status:
        while True:
            pair = self._core.load()
            arrived, now = _split(pair)
            if now != generation:
                return False
            if not 0 < arrived < self.parties:  # a C++ program is just letting us go
                return Status.BUSY
            if self._core.compare_exchange(pair, _join(arrived - 1, generation)):
                return True

    @property
    def n_waiting(self) -> int:
        """How many have arrived and wait, at some moment."""
        return max(_split(self._core.load())[0], 0)

    @property
    def generation(self) -> int:
        """How often all have arrived, modulo 2^32, at some moment."""
        return _split(self._core.load())[1]

    def repair(self) -> None:
        """Forget who has arrived; for when nobody waits."""
        self._core.store(_join(0, self.generation))

    def _facts(self) -> str:
        return f"n_waiting={self.n_waiting}/{self.parties}"


def _split(pair: int) -> tuple[int, int]:
    """Return (arrived, generation)."""
    return signed32(pair & U32_MASK), pair >> 32


def _join(arrived: int, generation: int) -> int:
    return arrived & U32_MASK | (generation & U32_MASK) << 32


def _part(name: str, parties: int) -> Part:
    if not 1 <= index(parties) <= COUNT_MAX:
        raise CapacityError(f"parties must be from 1 to {COUNT_MAX}: parties={parties}")

    def prepare(view: memoryview) -> None:
        view[:] = bytes(BARRIER.nbytes)
        store(view, BARRIER.participants, parties)

    return Part(name, BARRIER.nbytes, prepare)
