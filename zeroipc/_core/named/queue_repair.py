"""The parts of a queue, and how to mend one whose users died in the midst of it.

Nothing here runs while others use the queue, so it needs no atomic words, and has no twin.
"""

from __future__ import annotations

import numpy as np

from ..fields import round_up
from .layout import QUEUE

_COUNTERS = 2**32


def queue_sequence_at(capacity: int, elem_size: int) -> int:
    """Return where the sequence numbers begin."""
    return QUEUE.nbytes + round_up(capacity * elem_size, 8)


def queue_nbytes(capacity: int, elem_size: int) -> int:
    """Return the bytes of a queue."""
    return queue_sequence_at(capacity, elem_size) + 4 * capacity


def queue_repair(view: memoryview, capacity: int, elem_size: int) -> int:
    """Keep the items that are whole, in order, and set all words anew; return how many are lost.

    A slot from head to tail whose sequence does not say "published" was being written when its
    producer died. One before head that was not given back was being read.
    """
    counters = np.frombuffer(view, np.uint32, 2, QUEUE.head.offset)
    items = np.frombuffer(view, np.uint8, capacity * elem_size, QUEUE.nbytes)
    items = items.reshape(capacity, elem_size)
    sequence = np.frombuffer(view, np.uint32, capacity, queue_sequence_at(capacity, elem_size))
    head, tail = int(counters[0]), int(counters[1])
    size = min((tail - head) % _COUNTERS, capacity)
    numbers = np.arange(head, head + size, dtype=np.uint64) % _COUNTERS
    slots = (numbers % capacity).astype(np.intp)
    whole = slots[sequence[slots] == ((numbers + 1) % _COUNTERS).astype(np.uint32)]
    kept = items[whole].copy()
    numbers = np.arange(head, head + capacity, dtype=np.uint64)
    slots = (numbers % capacity).astype(np.intp)
    items[slots[: len(kept)]] = kept
    numbers[: len(kept)] += 1
    sequence[slots] = (numbers % _COUNTERS).astype(np.uint32)
    counters[1] = (head + len(kept)) % _COUNTERS
    return size - len(kept)
