"""A bounded stack, last in first out: many pushers, many poppers.

Each slot has a state: EMPTY, WRITING, READY, READING. WRITING and READING are a lock on the
slot; top is the index of the highest item.

Push: 1. t = top   2. full if t = capacity - 1   3. lock slot t + 1: EMPTY -> WRITING
      4. claim: top t -> t + 1; if that fails, unlock and start over
      5. write the item   6. publish: READY
Pop:  1. t = top   2. empty if t = -1   3. lock slot t: READY -> READING
      4. claim: top t -> t - 1; if that fails, unlock and start over
      5. read the item   6. give back: EMPTY

Programs in other languages claim first and lock then: they may give up, and cannot always
take their claim back. Here nothing is claimed that is not locked, so nothing has to be taken
back but a lock of one's own.

A process that dies between 3 and 6 leaves its slot locked: BUSY for whoever comes to it.
"""

from __future__ import annotations

from typing import Any

from ..status import OK, Status
from .bell import Bell
from .element import Element
from .layout import STACK, STACK_EMPTY, STACK_READING, STACK_READY, STACK_WRITING
from .stack_repair import stack_nbytes, stack_states_at
from .structure import Structure
from .words import signed32


class Stack(Structure):
    """A stack at an *offset* of a segment: attempts that never block."""

    def __init__(
        self,
        buf: memoryview,
        offset: int,
        capacity: int,
        element: Element,
        bell: Bell | None,
    ) -> None:
        super().__init__(buf, offset, stack_nbytes(capacity, element.nbytes), bell)
        self._element = element
        self._capacity = capacity
        self._top = offset + STACK.top.offset
        self._items = offset + STACK.nbytes
        self._states = offset + stack_states_at(capacity, element.nbytes)

    def try_push(self, value: Any) -> Status:
        """Push a value: OK, FULL, or BUSY while the slot is locked by another process."""
        status, _ = self._push(memoryview(self._element.pack(value)), 1)
        return status

    def try_pop(self) -> Any:
        """Return the highest value, or EMPTY, or BUSY while it is still being written."""
        room = bytearray(self._element.nbytes)
        status, _ = self._pop(memoryview(room), 1)
        return self._element.unpack(bytes(room)) if status is OK else status

    def try_peek(self) -> Any:
        """Return the highest value, which stays, or EMPTY, or BUSY as `try_pop`."""
        room = bytearray(self._element.nbytes)
        status = self._peek(memoryview(room))
        return self._element.unpack(bytes(room)) if status is OK else status

    def push_many(self, items: Any) -> tuple[Status, int]:
        """Push whole elements from a buffer, those that fit; return how many."""
        raw = memoryview(items).cast("B")
        return self._push(raw, len(raw) // self._element.nbytes)

    def pop_many(self, items: Any) -> tuple[Status, int]:
        """Pop whole elements into a buffer, the highest first; return how many."""
        raw = memoryview(items).cast("B")
        return self._pop(raw, len(raw) // self._element.nbytes)

    def size(self) -> int:
        """Return how many items there are, at some moment."""
        return min(max(self._load_top() + 1, 0), self._capacity)

    def _load_top(self) -> int:
        return signed32(self._words.load32(self._top))

    def _checked_top(self) -> tuple[Status, int]:
        """Return the index of the highest item, -1 for none, or DAMAGED."""
        t = self._load_top()
        return OK if -1 <= t < self._capacity else Status.DAMAGED, t

    def _state(self, index: int) -> int:
        return self._states + 4 * index

    def _item(self, index: int) -> slice:
        start = self._items + index * self._element.nbytes
        return slice(start, start + self._element.nbytes)

    def _claim(self, t: int, to: int) -> bool:
        return self._words.cas32(self._top, t, to)

    def _lock(self, slots: range, old: int, new: int) -> int:
        """Lock slots in their order while they are in state *old*; return how many."""
        locked = 0
        # [stack.published] [stack.given_back] acquire: what the other side wrote or read is done
        for index in slots:
            if not self._words.cas32(self._state(index), old, new):
                break
            locked += 1
        return locked

    def _unlock(self, slots: range, state: int) -> None:
        for index in slots:
            self._words.store32(self._state(index), state)

    def _obstacle(self, t: int, index: int, wanted: int) -> Status:
        """Return why a slot could not be locked.

        Somebody was faster (OK: try again), has it locked or has left it so (BUSY), or nobody
        can have left it so (DAMAGED).
        """
        state = self._words.load32(self._state(index))
        if self._load_top() != t or state == wanted:
            return OK
        return Status.DAMAGED if state > STACK_READING else Status.BUSY

    def _push(self, items: memoryview, many: int) -> tuple[Status, int]:
        nbytes = self._element.nbytes
        while True:
            status, t = self._checked_top()
            if status is not OK:
                return status, 0
            room = self._capacity - (t + 1)
            if room == 0:
                return Status.FULL, 0
            slots = range(t + 1, t + 1 + min(many, room))
            locked = self._lock(slots, STACK_EMPTY, STACK_WRITING)
            if locked == 0:
                status = self._obstacle(t, t + 1, STACK_EMPTY)
                if status is not OK:
                    return status, 0
            elif self._claim(t, t + locked):
                for i in range(locked):
                    self._words.u8[self._item(t + 1 + i)] = items[i * nbytes : (i + 1) * nbytes]
                # [stack.published] release; pairs with _lock in a pop
                self._unlock(slots[:locked], STACK_READY)
                self._ring(0)
                return OK, locked
            else:
                self._unlock(slots[:locked], STACK_EMPTY)

    def _pop(self, items: memoryview, many: int) -> tuple[Status, int]:
        nbytes = self._element.nbytes
        while True:
            status, t = self._checked_top()
            if status is not OK:
                return status, 0
            size = t + 1
            if size == 0:
                return Status.EMPTY, 0
            slots = range(t, t - min(many, size), -1)
            locked = self._lock(slots, STACK_READY, STACK_READING)
            if locked == 0:
                status = self._obstacle(t, t, STACK_READY)
                if status is not OK:
                    return status, 0
            elif self._claim(t, t - locked):
                for i in range(locked):
                    items[i * nbytes : (i + 1) * nbytes] = self._words.u8[self._item(t - i)]
                # [stack.given_back] release; pairs with _lock in a push
                self._unlock(slots[:locked], STACK_EMPTY)
                self._ring(0)
                return OK, locked
            else:
                self._unlock(slots[:locked], STACK_READY)

    def _peek(self, item: memoryview) -> Status:
        while True:
            status, t = self._checked_top()
            if status is not OK:
                return status
            if t == -1:
                return Status.EMPTY
            slot = range(t, t + 1)
            if self._lock(slot, STACK_READY, STACK_READING) == 0:
                status = self._obstacle(t, t, STACK_READY)
                if status is not OK:
                    return status
                continue
            item[:] = self._words.u8[self._item(t)]
            is_top = self._load_top() == t
            self._unlock(slot, STACK_READY)
            if is_top:
                self._ring(0)
                return OK
