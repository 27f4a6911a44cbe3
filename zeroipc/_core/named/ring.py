"""A ring of elements, first in first out: one producer, one consumer.

Positions count bytes and only grow; position p lies at p mod capacity. Positions and the
capacity are multiples of elem_size, so that no element straddles the end.

Write: 1. w = write_pos   2. full if w - read_pos = capacity
       3. copy the elements in   4. publish: write_pos = w + their bytes
Read:  1. r = read_pos   2. empty if write_pos = r
       3. copy the elements out   4. give back: read_pos = r + their bytes

A process that dies before 4 leaves the ring as it was.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..status import OK, Status
from .bell import Bell
from .element import Element
from .layout import RING
from .structure import Structure
from .words import U64_MASK


class Part(NamedTuple):
    """The free part, or the filled one.

    It starts at *start* among the ring's bytes, and goes on at 0 where it reaches the end.
    """

    position: int
    start: int
    nbytes: int


class Ring(Structure):
    """A ring at an *offset* of a segment, of *capacity* bytes: attempts that never block."""

    def __init__(
        self,
        buf: memoryview,
        offset: int,
        capacity: int,
        element: Element,
        items: Bell | None,
        room: Bell | None,
    ) -> None:
        super().__init__(buf, offset, RING.nbytes + capacity, items, room)
        if capacity == 0 or capacity % element.nbytes:
            raise ValueError(
                f"capacity must be a multiple of {element.nbytes} bytes: capacity={capacity}"
            )
        self._element = element
        self._nbytes = element.nbytes
        self._capacity = capacity
        self._write_pos = offset + RING.write_pos.offset
        self._read_pos = offset + RING.read_pos.offset
        self._bytes = offset + RING.nbytes

    def try_push(self, value: Any) -> Status:
        """Write a value: OK or FULL."""
        status, _ = self._write(memoryview(self._element.pack(value)))
        return status

    def try_pop(self) -> Any:
        """Return the first value, or EMPTY."""
        room = bytearray(self._nbytes)
        status, _ = self._read(memoryview(room))
        return self._element.unpack(bytes(room)) if status is OK else status

    def write(self, items: Any) -> tuple[Status, int]:
        """Write whole elements from a buffer, those that fit; return how many."""
        return self._write(memoryview(items).cast("B"))

    def read(self, items: Any) -> tuple[Status, int]:
        """Read whole elements into a buffer, those that are there; return how many."""
        return self._read(memoryview(items).cast("B"))

    def reserve(self, limit: int) -> tuple[Status, int, int]:
        """Return where in the segment there is room for elements, and for how many."""
        return self._window(*self._room(), limit)

    def peek(self, limit: int) -> tuple[Status, int, int]:
        """Return where in the segment the first elements lie, and how many of them in a row."""
        return self._window(*self._filled(), limit)

    def commit(self, at: int, many: int) -> Status:
        """Publish what was written at *at*; STALE if somebody else has written since."""
        status, room = self._room()
        if status is OK:
            status, room = self._claim(room, at - self._bytes, many)
        if status is OK:
            self._publish(room)
        return status

    def consume(self, at: int, many: int) -> Status:
        """Give back what was read at *at*; STALE if somebody else has read since."""
        status, filled = self._filled()
        if status is OK:
            status, filled = self._claim(filled, at - self._bytes, many)
        if status is OK:
            self._give_back(filled)
        return status

    def size(self) -> int:
        """Return how many elements there are, at some moment."""
        _, filled = self._filled()
        return filled.nbytes // self._nbytes

    def _part(self, position: int, nbytes: int) -> tuple[Status, Part]:
        start = position % self._capacity
        if nbytes > self._capacity or nbytes % self._nbytes or start % self._nbytes:
            return Status.DAMAGED, Part(0, 0, 0)
        return OK, Part(position, start, nbytes)

    def _room(self) -> tuple[Status, Part]:
        """Return the free part, or FULL."""
        w = self._words.load64(self._write_pos)
        # [ring.read] acquire: the consumer has done with what it gave back
        filled = w - self._words.load64(self._read_pos)
        status, part = self._part(w, (self._capacity - filled) & U64_MASK)
        return Status.FULL if status is OK and part.nbytes == 0 else status, part

    def _filled(self) -> tuple[Status, Part]:
        """Return the filled part, or EMPTY."""
        r = self._words.load64(self._read_pos)
        # [ring.written] acquire: what the producer published is all there
        filled = self._words.load64(self._write_pos) - r
        status, part = self._part(r, filled & U64_MASK)
        return Status.EMPTY if status is OK and part.nbytes == 0 else status, part

    def _limit(self, part: Part, many: int) -> Part:
        """Return a part cut down to *many* elements."""
        return part._replace(nbytes=min(many, part.nbytes // self._nbytes) * self._nbytes)

    def _straight(self, part: Part) -> int:
        """Return how many bytes of a part come before the end."""
        return min(part.nbytes, self._capacity - part.start)

    def _slices(self, part: Part) -> tuple[slice, slice, int]:
        """Return where a part lies in the segment, in two pieces, and the bytes of the first."""
        straight, first = self._straight(part), self._bytes + part.start
        rest = part.nbytes - straight
        return slice(first, first + straight), slice(self._bytes, self._bytes + rest), straight

    def _publish(self, part: Part) -> None:
        # [ring.written] release; pairs with _filled
        self._words.store64(self._write_pos, part.position + part.nbytes)
        self._ring(0)

    def _give_back(self, part: Part) -> None:
        # [ring.read] release; pairs with _room
        self._words.store64(self._read_pos, part.position + part.nbytes)
        self._ring(1)

    def _write(self, items: memoryview) -> tuple[Status, int]:
        status, room = self._room()
        if status is not OK:
            return status, 0
        room = self._limit(room, len(items) // self._nbytes)
        first, rest, straight = self._slices(room)
        self._words.u8[first] = items[:straight]
        self._words.u8[rest] = items[straight : room.nbytes]
        self._publish(room)
        return OK, room.nbytes // self._nbytes

    def _read(self, items: memoryview) -> tuple[Status, int]:
        status, filled = self._filled()
        if status is not OK:
            return status, 0
        filled = self._limit(filled, len(items) // self._nbytes)
        first, rest, straight = self._slices(filled)
        items[:straight] = self._words.u8[first]
        items[straight : filled.nbytes] = self._words.u8[rest]
        self._give_back(filled)
        return OK, filled.nbytes // self._nbytes

    def _window(self, status: Status, part: Part, limit: int) -> tuple[Status, int, int]:
        many = min(self._straight(part) // self._nbytes, limit)
        return status, self._bytes + part.start, many

    def _claim(self, part: Part, start: int, many: int) -> tuple[Status, Part]:
        """Return the part cut down to a window of *many* elements at *start*, or STALE."""
        if part.start != start or not 0 <= many <= self._straight(part) // self._nbytes:
            return Status.STALE, part
        return OK, self._limit(part, many)
