"""A bounded queue in a named segment, first in first out.

Callers   any number of producers and consumers, in any process, thread and language
Progress  try_push and try_pop never wait; push and pop sleep until there is room, an item
Crash     one that dies in the midst of a push or pop leaves its slot claimed: others get
          StalledError after a second, and repair() mends it; between operations nothing is torn
Bytes     QUEUE, items, sequence numbers, see _core/named/layout.py
Source    SPECIFICATION.md, "Queue"; D. Vyukov's bounded queue

The protocol is in _core/named/queue.py.
"""

from __future__ import annotations

from operator import index

import numpy as np

from . import _backend
from ._bounded import Bounded
from ._core.named.element import Element
from ._core.named.layout import QUEUE
from ._core.named.queue_repair import queue_nbytes, queue_repair, queue_sequence_at
from ._form import load, store
from ._structure import checked_capacity
from .errors import DTypeError, SegmentFormatError
from .table import Entry, Part

CAPACITY_MAX = 2**31


def rounded(capacity: int) -> int:
    """Return *capacity* rounded up to a power of two.

    A capacity of 1 is refused: programs in other languages take a full queue of one slot for
    one with room.
    """
    return 1 << (checked_capacity(index(capacity), 2, CAPACITY_MAX) - 1).bit_length()


def queue_part(name: str, capacity: int, element: Element) -> Part:
    """Return what is to be added to a segment for a new queue."""

    def prepare(view: memoryview) -> None:
        store(view, QUEUE.head, 0)
        store(view, QUEUE.tail, 0)
        store(view, QUEUE.capacity, capacity)
        store(view, QUEUE.elem_size, element.nbytes)
        sequence = np.frombuffer(
            view, np.uint32, capacity, queue_sequence_at(capacity, element.nbytes)
        )
        sequence[:] = np.arange(capacity, dtype=np.uint32)

    return Part(name, queue_nbytes(capacity, element.nbytes), prepare)


def queue_capacity(view: memoryview, entry: Entry, element: Element) -> int:
    """Return the capacity of a queue, checked against its dtype and size."""
    if entry.size < QUEUE.nbytes:
        raise SegmentFormatError(f"not a queue: its size must be at least {QUEUE.nbytes}: {entry}")
    capacity, elem_size = load(view, QUEUE.capacity), load(view, QUEUE.elem_size)
    if capacity == 0 or capacity & (capacity - 1):
        raise SegmentFormatError(
            f"not a queue: its capacity must be a power of two: capacity={capacity}, {entry}"
        )
    if queue_nbytes(capacity, elem_size) > entry.size or elem_size == 0:
        raise SegmentFormatError(
            f"not a queue: {capacity} items of {elem_size} bytes must fit its size: {entry}"
        )
    if elem_size != element.nbytes:
        raise DTypeError(
            f"queue {entry.name!r} has items of {elem_size} bytes: "
            f"dtype={element.dtype} has {element.nbytes}"
        )
    return capacity


class Queue(Bounded):
    """Items of one dtype, in the order in which they were pushed.

    `push` and `pop` wait for ever by default, and raise TimeoutError when a *timeout* in
    seconds is over; `try_push` and `try_pop` never wait; `put` and `get` are those of
    `queue.Queue`. Items come out as Python numbers, bytes or str, or as NumPy gives them.

    Args:
        mem: the segment.
        name: of the queue in the segment, 1 to 31 bytes.
        capacity: most items, from 2; rounded up to a power of two. When given and the queue is
            missing, it is created; when it exists, it must have that capacity.
        dtype: of an item. The segment does not record it, so it must always be given.

    Raises:
        StructureNotFoundError: there is no such queue, and no *capacity*.
        DTypeError: *dtype* cannot be shared, or has not the size of the existing items.
        CapacityError: *capacity* is out of range, or not that of the existing queue.
        SegmentFormatError: what is stored is not a queue.
        SegmentFullError, TableFullError, NameTooLongError: it cannot be created.

    >>> with Memory("/example", 4096) as mem:
    ...     jobs = Queue(mem, "jobs", 8, np.float64)
    ...     jobs.push(0.5)
    ...     jobs.pop(), jobs.try_pop()
    ...     mem.unlink()
    (0.5, None)
    """

    _part = staticmethod(queue_part)
    _stored_capacity = staticmethod(queue_capacity)

    @staticmethod
    def _size(capacity: int, element: Element) -> int:
        return rounded(capacity)

    def _begin(self, offset: int, element: Element) -> None:
        self._items = self._bell(offset + QUEUE.tail.offset)
        self._room = self._bell(offset + QUEUE.head.offset)
        self._core = _backend.named.Queue(
            self._buf, offset, self.capacity, element, self._items, self._room
        )

    def repair(self) -> int:
        """Make the queue usable again after deaths, when nobody else is using it.

        Items that were being pushed or popped by the dead are gone; all others stay, in order.

        Returns:
            How many items were lost.
        """
        return queue_repair(self._mem.view(self._entry), self.capacity, self.dtype.itemsize)
