"""A bounded stack in a named segment, last in first out.

Callers   any number of pushers and poppers, in any process, thread and language
Progress  try_push, try_pop and peek never wait; push and pop sleep until there is room, an item
Crash     one that dies in the midst of a push or pop leaves its slot locked: who comes to it gets
          StalledError after a second, and repair() mends it; between operations nothing is torn
Bytes     STACK, items, states, see _core/named/layout.py
Source    SPECIFICATION.md, "Stack"

The protocol is in _core/named/stack.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _backend
from ._bounded import Bounded
from ._core.named.element import Element
from ._core.named.layout import STACK
from ._core.named.stack_repair import stack_nbytes, stack_repair, stack_states_at
from ._form import load, store
from ._structure import checked_capacity
from .errors import DTypeError, SegmentFormatError
from .table import Entry, Part

CAPACITY_MAX = 2**31 - 1


def stack_part(name: str, capacity: int, element: Element) -> Part:
    """Return what is to be added to a segment for a new stack."""

    def prepare(view: memoryview) -> None:
        store(view, STACK.top, 2**32 - 1)  # -1
        store(view, STACK.capacity, capacity)
        store(view, STACK.elem_size, element.nbytes)
        store(view, STACK.reserved, 0)
        np.frombuffer(view, np.uint32, capacity, stack_states_at(capacity, element.nbytes))[:] = 0

    return Part(name, stack_nbytes(capacity, element.nbytes), prepare)


def stack_capacity(view: memoryview, entry: Entry, element: Element) -> int:
    """Return the capacity of a stack, checked against its dtype and size."""
    if entry.size < STACK.nbytes:
        raise SegmentFormatError(f"not a stack: its size must be at least {STACK.nbytes}: {entry}")
    capacity, elem_size = load(view, STACK.capacity), load(view, STACK.elem_size)
    if not 1 <= capacity <= CAPACITY_MAX or elem_size == 0:
        raise SegmentFormatError(
            f"not a stack: its capacity and item size must be at least 1: capacity={capacity}, "
            f"item size={elem_size}, {entry}"
        )
    if stack_nbytes(capacity, elem_size) > entry.size:
        raise SegmentFormatError(
            f"not a stack: {capacity} items of {elem_size} bytes must fit its size: {entry}"
        )
    if elem_size != element.nbytes:
        raise DTypeError(
            f"stack {entry.name!r} has items of {elem_size} bytes: "
            f"dtype={element.dtype} has {element.nbytes}"
        )
    return capacity


class Stack(Bounded):
    """Items of one dtype, the last one that was pushed first.

    `push` and `pop` wait for ever by default, and raise TimeoutError when a *timeout* in
    seconds is over; `try_push`, `try_pop` and `peek` never wait; `put` and `get` are those of
    `queue.LifoQueue`. `pop_many` gives the highest item first.

    Args:
        mem: the segment.
        name: of the stack in the segment, 1 to 31 bytes.
        capacity: most items, from 1. When given and the stack is missing, it is created; when it
            exists, it must have that capacity.
        dtype: of an item. The segment does not record it, so it must always be given.

    Raises:
        StructureNotFoundError: there is no such stack, and no *capacity*.
        DTypeError: *dtype* cannot be shared, or has not the size of the existing items.
        CapacityError: *capacity* is out of range, or not that of the existing stack.
        SegmentFormatError: what is stored is not a stack.
        SegmentFullError, TableFullError, NameTooLongError: it cannot be created.

    >>> with Memory("/example", 4096) as mem:
    ...     undo = Stack(mem, "undo", 10, np.int32)
    ...     undo.push_many([1, 2, 3])
    ...     undo.peek(), undo.pop(), undo.pop(), len(undo)
    ...     mem.unlink()
    (3, 3, 2, 1)
    """

    _part = staticmethod(stack_part)
    _stored_capacity = staticmethod(stack_capacity)

    @staticmethod
    def _size(capacity: int, element: Element) -> int:
        return checked_capacity(capacity, 1, CAPACITY_MAX)

    def _begin(self, offset: int, element: Element) -> None:
        self._items = self._room = self._bell(offset + STACK.top.offset)
        self._core = _backend.named.Stack(self._buf, offset, self.capacity, element, self._items)

    def peek(self, default: Any = None) -> Any:
        """Return the highest item, which stays, or *default* if there is none now."""
        value = self._core.try_peek()
        return default if self._is_not_now(value) else value

    def repair(self) -> int:
        """Make the stack usable again after deaths, when nobody else is using it.

        Items that were being pushed or popped by the dead are gone; all others stay, in order.

        Returns:
            How many items were lost.
        """
        return stack_repair(self._mem.view(self._entry), self.capacity, self.dtype.itemsize)
