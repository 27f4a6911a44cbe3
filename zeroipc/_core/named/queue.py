"""A bounded queue, first in first out: many producers, many consumers.

Each slot has a sequence number: p when the push of item p may write it, p + 1 when item p may
be popped. Numbers run modulo 2^32; item p lies in slot p mod capacity.

Push: 1. t = tail   2. full if t - head >= capacity   3. sequence must be t
      4. claim: tail t -> t + 1   5. write the item   6. publish: sequence = t + 1
Pop:  1. h = head   2. empty if head = tail   3. sequence must be h + 1
      4. claim: head h -> h + 1   5. read the item   6. give back: sequence = h + capacity

A process that dies between 4 and 6 leaves its slot claimed: BUSY for whoever comes to it.
"""

from __future__ import annotations

from typing import Any

from ..status import OK, Status
from .bell import Bell
from .element import Element
from .layout import QUEUE
from .queue_repair import queue_nbytes, queue_sequence_at
from .structure import Structure
from .words import U32_MASK, signed32


class Queue(Structure):
    """A queue at an *offset* of a segment: attempts that never block."""

    def __init__(
        self,
        buf: memoryview,
        offset: int,
        capacity: int,
        element: Element,
        items: Bell | None,
        room: Bell | None,
    ) -> None:
        super().__init__(buf, offset, queue_nbytes(capacity, element.nbytes), items, room)
        self._element = element
        self.capacity = capacity
        self._head = offset + QUEUE.head.offset
        self._tail = offset + QUEUE.tail.offset
        self._items = offset + QUEUE.nbytes
        self._sequences = offset + queue_sequence_at(capacity, element.nbytes)

    def try_push(self, value: Any) -> Status:
        """Push a value: OK, FULL, or BUSY while the slot is claimed by another process."""
        status, _ = self._push(memoryview(self._element.pack(value)), 1)
        return status

    def try_pop(self) -> Any:
        """Return the first value, or EMPTY, or BUSY while it is still being written."""
        room = bytearray(self._element.nbytes)
        status, _ = self._pop(memoryview(room), 1)
        return self._element.unpack(bytes(room)) if status is OK else status

    def push_many(self, items: Any) -> tuple[Status, int]:
        """Push whole elements from a buffer, those that fit; return how many."""
        raw = memoryview(items).cast("B")
        return self._push(raw, len(raw) // self._element.nbytes)

    def pop_many(self, items: Any) -> tuple[Status, int]:
        """Pop whole elements into a buffer, those that are there; return how many."""
        raw = memoryview(items).cast("B")
        return self._pop(raw, len(raw) // self._element.nbytes)

    def size(self) -> int:
        """Return how many items there are, at some moment."""
        size = signed32(self._words.load32(self._tail) - self._words.load32(self._head))
        return min(max(size, 0), self.capacity)

    def _sequence(self, number: int) -> int:
        return self._sequences + 4 * (number & (self.capacity - 1))

    def _item(self, number: int) -> slice:
        nbytes = self._element.nbytes
        start = self._items + (number & (self.capacity - 1)) * nbytes
        return slice(start, start + nbytes)

    def _ready(self, number: int, ahead: int, most: int) -> int:
        """Return how many slots from *number* on have the sequence number*s* + *ahead*."""
        # [queue.published] [queue.given_back] acquire: what the other side wrote or read is done
        load, ready = self._words.load32, 0
        while ready < most and load(self._sequence(number + ready)) == (
            (number + ready + ahead) & U32_MASK
        ):
            ready += 1
        return ready

    def _obstacle(self, word: int, number: int, ahead: int) -> Status:
        """Return why slot *number* is not ready.

        Somebody was faster (OK: try again), is in the midst of it (BUSY), or nobody can have
        left it so (DAMAGED).
        """
        distance = signed32(self._words.load32(self._sequence(number)) - (number + ahead))
        if self._words.load32(word) != number or distance == 0:
            return OK
        return Status.BUSY if distance < 0 else Status.DAMAGED

    def _push(self, items: memoryview, many: int) -> tuple[Status, int]:
        words, nbytes = self._words, self._element.nbytes
        while True:
            t = words.load32(self._tail)
            room = signed32(self.capacity - (t - words.load32(self._head)))
            if room <= 0:
                return Status.FULL, 0
            ready = self._ready(t, 0, min(room, many, self.capacity))
            if ready == 0:
                status = self._obstacle(self._tail, t, 0)
                if status is not OK:
                    return status, 0
            elif words.cas32(self._tail, t, t + ready):
                for i in range(ready):
                    words.u8[self._item(t + i)] = items[i * nbytes : (i + 1) * nbytes]
                    # [queue.published] release; pairs with _ready in a pop
                    words.store32(self._sequence(t + i), t + i + 1)
                self._ring(0)
                return OK, ready

    def _pop(self, items: memoryview, many: int) -> tuple[Status, int]:
        words, nbytes = self._words, self._element.nbytes
        while True:
            h = words.load32(self._head)
            size = signed32(words.load32(self._tail) - h)
            if size <= 0:
                return Status.EMPTY, 0
            ready = self._ready(h, 1, min(size, many, self.capacity))
            if ready == 0:
                status = self._obstacle(self._head, h, 1)
                if status is not OK:
                    return status, 0
            elif words.cas32(self._head, h, h + ready):
                for i in range(ready):
                    items[i * nbytes : (i + 1) * nbytes] = words.u8[self._item(h + i)]
                    # [queue.given_back] release; pairs with _ready in a push
                    words.store32(self._sequence(h + i), h + i + self.capacity)
                self._ring(1)
                return OK, ready
