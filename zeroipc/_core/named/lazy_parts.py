"""Where the parts of a lazy value lie: that depends on the size and alignment of its type."""

from __future__ import annotations

from typing import NamedTuple

from ..fields import round_up
from .element import Element
from .layout import ERROR_NBYTES


class LazyParts(NamedTuple):
    """Offsets from the start of the entry, and its size; the state is at 0."""

    op: int
    operands: int
    cached: int
    error: int
    counter: int
    nbytes: int


def lazy_parts(element: Element) -> LazyParts:
    """Return where the parts lie, as a C++ compiler lays them out."""
    size, align = element.nbytes, element.align
    most = max(4, align)
    op = most
    operands = op + round_up(4, most)
    end = operands + round_up(max(2 * size, 8), most)
    cached = round_up(end, align)
    error = cached + size
    counter = round_up(error + ERROR_NBYTES, 4)
    return LazyParts(op, operands, cached, error, counter, round_up(counter + 4, most))
