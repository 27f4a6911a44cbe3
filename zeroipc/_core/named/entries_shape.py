"""The parts of a map or set, and how to mend one whose users died in the midst of it.

Nothing here runs while others use it, so it needs no atomic words, and has no twin.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..fields import round_up
from .element import Element
from .layout import MAP, SET, SLOT_DELETED, SLOT_EMPTY, SLOT_INSERTING, SLOT_OCCUPIED

STATE_NBYTES = 4
HEADER_NBYTES = MAP.nbytes
assert (MAP.nbytes, MAP.size.offset) == (SET.nbytes, SET.size.offset)


class Shape(NamedTuple):
    """Offsets of key and value in an entry, and its bytes: the C struct of state, key, value."""

    key_at: int
    value_at: int
    nbytes: int


def shape_of(key: Element, value: Element | None) -> Shape:
    """Return the shape of an entry; one of a set has no value."""
    value_nbytes, value_align = (value.nbytes, value.align) if value else (0, 1)
    key_at = round_up(STATE_NBYTES, key.align)
    value_at = round_up(key_at + key.nbytes, value_align)
    align = max(STATE_NBYTES, key.align, value_align)
    return Shape(key_at, value_at, round_up(value_at + value_nbytes, align))


def entries_nbytes(capacity: int, shape: Shape) -> int:
    """Return the bytes of a map or set."""
    return HEADER_NBYTES + capacity * shape.nbytes


def entries_clear(view: memoryview, capacity: int, shape: Shape) -> None:
    """Make all entries EMPTY."""
    _states(view, capacity, shape)[:] = SLOT_EMPTY
    _size(view)[0] = 0


def entries_repair(view: memoryview, capacity: int, shape: Shape) -> int:
    """Give up the entries that are neither whole nor gone, count anew; return how many."""
    states = _states(view, capacity, shape)
    broken = states >= SLOT_INSERTING
    states[broken] = SLOT_DELETED
    _size(view)[0] = np.count_nonzero(states == SLOT_OCCUPIED)
    return int(np.count_nonzero(broken))


def _states(view: memoryview, capacity: int, shape: Shape) -> np.ndarray[Any, Any]:
    return np.ndarray(capacity, np.uint32, view, HEADER_NBYTES, (shape.nbytes,))


def _size(view: memoryview) -> np.ndarray[Any, Any]:
    return np.frombuffer(view, np.uint32, 1, MAP.size.offset)
