"""The parts of a pool, and how to mend one whose users died with nodes.

Nothing here runs while others use the pool, so it needs no atomic words, and has no twin.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np

from ..fields import round_up
from .layout import POOL, POOL_END


def pool_next_at(elem_size: int) -> int:
    """Return where in a node the index of the next free one is."""
    return round_up(elem_size, 4)


def pool_node_nbytes(elem_size: int, align: int) -> int:
    """Return the bytes of a node."""
    return round_up(pool_next_at(elem_size) + 4, max(4, align))


def pool_links(view: memoryview, capacity: int, elem_size: int, align: int) -> np.ndarray[Any, Any]:
    """Return the words `next` of all nodes, writable, shape (capacity,)."""
    start, stride = POOL.nbytes + pool_next_at(elem_size), pool_node_nbytes(elem_size, align)
    return np.ndarray((capacity,), np.uint32, view, start, (stride,))


def pool_free_nodes(view: memoryview, links: np.ndarray[Any, Any]) -> list[int] | None:
    """Return the free nodes as listed, or None if the list leads astray."""
    found: list[int] = []
    index = int(np.frombuffer(view, np.uint32, 1, POOL.free_head.offset)[0])
    while index != POOL_END:
        if index >= len(links) or len(found) == len(links):
            return None
        found.append(index)
        index = int(links[index])
    return found


def pool_recount(view: memoryview, links: np.ndarray[Any, Any]) -> bool:
    """Count the allocated nodes anew by the list; return whether it is whole."""
    free = pool_free_nodes(view, links)
    if free is not None:
        np.frombuffer(view, np.uint32, 1, POOL.allocated.offset)[0] = len(links) - len(free)
    return free is not None


def pool_repair(view: memoryview, links: np.ndarray[Any, Any], live: Set[int]) -> int:
    """Make all nodes free but the *live* ones; return how many were not before.

    The list is written anew, by index.
    """
    before = set(pool_free_nodes(view, links) or ())
    free = [index for index in range(len(links)) if index not in live]
    links[free] = [*free[1:], POOL_END] if free else []
    head = np.frombuffer(view, np.uint32, 2, POOL.free_head.offset)
    head[0] = free[0] if free else POOL_END
    head[1] = (int(head[1]) + 1) % 2**32
    np.frombuffer(view, np.uint32, 1, POOL.allocated.offset)[0] = len(links) - len(free)
    return len(set(free) - before)
