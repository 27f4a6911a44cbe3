"""The parts of a stack, and how to mend one whose users died in the midst of it.

Nothing here runs while others use the stack, so it needs no atomic words, and has no twin.
"""

from __future__ import annotations

import numpy as np

from ..fields import round_up
from .layout import STACK, STACK_EMPTY, STACK_READING, STACK_READY


def stack_states_at(capacity: int, elem_size: int) -> int:
    """Return where the states begin."""
    return STACK.nbytes + round_up(capacity * elem_size, 8)


def stack_nbytes(capacity: int, elem_size: int) -> int:
    """Return the bytes of a stack."""
    return stack_states_at(capacity, elem_size) + 4 * capacity


def stack_repair(view: memoryview, capacity: int, elem_size: int) -> int:
    """Keep the items that are whole, in order, and set all words anew; return how many are lost.

    READY items are whole wherever they lie: above top are those whose popper gave up and could
    not take its claim back. READING up to top is an item that nobody took in the end.
    """
    top = np.frombuffer(view, np.int32, 1, STACK.top.offset)
    items = np.frombuffer(view, np.uint8, capacity * elem_size, STACK.nbytes)
    items = items.reshape(capacity, elem_size)
    states = np.frombuffer(view, np.uint32, capacity, stack_states_at(capacity, elem_size))
    below = np.arange(capacity) <= int(top[0])
    reading = states == STACK_READING
    whole = (states == STACK_READY) | (reading & below)
    lost = below & (states != STACK_EMPTY) & ~whole | reading & ~below
    number_lost, kept = int(np.count_nonzero(lost)), items[whole].copy()
    items[: len(kept)] = kept
    states[: len(kept)] = STACK_READY
    states[len(kept) :] = STACK_EMPTY
    top[0] = len(kept) - 1
    return number_lost
