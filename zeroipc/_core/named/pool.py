"""A pool of nodes of one size: any number of processes allocate and free.

Free nodes are a list, last in first out. free_head has the index of the first one, and a
generation that each change moves on, so that a swap fails if anything has happened since.

Allocate: 1. (i, g) = free_head   2. none free if i = END   3. n = next of i
          4. claim: free_head (i, g) -> (n, g + 1)   5. allocated + 1
Free i:   1. n = next of i, (f, g) = free_head   2. i must not be in the list
          3. next of i: n -> f   4. free_head (f, g) -> (i, g + 1)   5. allocated - 1

A process that dies in between leaves the list whole, and `allocated` one off at most. The
nodes that it had stay allocated.
"""

from __future__ import annotations

from ..status import OK, Status
from .bell import Bell
from .element import Element
from .layout import POOL, POOL_END
from .pool_repair import pool_next_at, pool_node_nbytes
from .structure import Structure
from .words import U32_MASK, signed32

SEARCHES = 64
"""Searches that others may upset before a node is freed without one."""


class Pool(Structure):
    """A pool at an *offset* of a segment: attempts that never block."""

    def __init__(
        self,
        buf: memoryview,
        offset: int,
        capacity: int,
        element: Element,
        bell: Bell | None,
    ) -> None:
        node_nbytes = pool_node_nbytes(element.nbytes, element.align)
        super().__init__(buf, offset, POOL.nbytes + node_nbytes * capacity, bell)
        self._capacity = capacity
        self._node_nbytes = node_nbytes
        self._free_head = offset + POOL.free_head.offset
        self._allocated = offset + POOL.allocated.offset
        self._links = offset + POOL.nbytes + pool_next_at(element.nbytes)

    def allocate(self) -> int | Status:
        """Return the index of a node that was free, or EMPTY if none is."""
        while True:
            head = self._words.load64(self._free_head)  # [pool.freed] acquire
            index = head & U32_MASK
            if index == POOL_END:
                return Status.EMPTY
            if index >= self._capacity:
                return Status.DAMAGED
            following = self._words.load32(self._next(index))
            if not self._sound(following):
                if self._words.load64(self._free_head) == head:
                    return Status.DAMAGED
            elif self._swap(head, following):
                self._words.add32(self._allocated, 1)
                return index

    def free(self, index: int, most: int) -> Status:
        """Give a node back: OK, or STALE if it is free already, as far as *most* nodes tell.

        Raises:
            IndexError: there is no such node.
        """
        self._check(index)
        most, turn = min(most, self._capacity), 0
        while True:
            was = self._words.load32(self._next(index))
            head = self._words.load64(self._free_head)
            status = self._search(head, index, most if turn < SEARCHES else 0)
            turn += 1
            if status is not OK:
                if self._words.load64(self._free_head) == head:
                    return status
            elif self._words.cas32(self._next(index), was, head & U32_MASK) and self._swap(
                head, index
            ):
                self._words.add32(self._allocated, -1)
                self._ring(0)
                return OK

    def size(self) -> int:
        """Return how many nodes are allocated, at some moment."""
        allocated = self._words.load32(self._allocated)
        if allocated <= self._capacity:
            return allocated
        return 0 if signed32(allocated) < 0 else self._capacity  # a free may be counted first

    def _check(self, index: int) -> None:
        if not 0 <= index < self._capacity:
            raise IndexError(f"index must be from 0 to {self._capacity - 1}: index={index}")

    def _next(self, index: int) -> int:
        return self._links + index * self._node_nbytes

    def _sound(self, index: int) -> bool:
        return index < self._capacity or index == POOL_END

    def _swap(self, head: int, first: int) -> bool:
        """Make *first* the first free node, if nothing has changed since *head* was read."""
        # [pool.freed] both ways: who allocates a node sees what was done before it was freed
        return self._words.cas64(self._free_head, head, ((head >> 32) + 1 << 32) + first)

    def _search(self, head: int, index: int, most: int) -> Status:
        """Return whether a node is among the first *most* that were free when *head* was read.

        STALE if it is, DAMAGED if the list leads astray; right only if *head* has not changed.
        """
        i, seen = head & U32_MASK, 0
        while seen < most and i != POOL_END:
            if i >= self._capacity:
                return Status.DAMAGED
            if i == index:
                return Status.STALE
            i = self._words.load32(self._next(i))
            seen += 1
        if i == POOL_END:
            return OK
        # else a circle
        return OK if most < self._capacity and i < self._capacity else Status.DAMAGED
