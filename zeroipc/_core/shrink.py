"""An emptied queue goes back to one small chunk.

SHRINK  1. allocate a chunk of CHUNK_MIN bytes. 2. lock Q; the queue is empty.
        3. write a link behind the last record, to the new chunk.
        4. store `tail`: (same item, new chunk, 0). Killed before: the new chunk is in no
           chain and is freed. After: it is in the chain; the next get follows the link.
        5. store `head`, the same. Killed after: the repair frees the chunks left behind.
        6. free the chunks left behind; unlock.
The items in the queue are tail.item - head.item at each step: none.
"""

from __future__ import annotations

from .alloc import block_alloc
from .arena import View
from .blocks import block_free
from .layout import CHUNK_MIN, KIND_RING, NONE, QUEUED, ROLE_QUEUE
from .mqueue import queue_locked
from .records import SharedQueue
from .ring import Spare, chunk_nbytes, cursor_load, cursor_pack, get_leave, queue_size, record_link
from .status import OK, Status


def queue_is_large(view: View, queue: SharedQueue) -> bool:
    """Return whether the ring has outgrown its first chunk, or a shrink was cut short.

    A hint without Q.
    """
    head, tail = cursor_load(queue.head).chunk, cursor_load(queue.tail).chunk
    return head != tail or chunk_nbytes(view, tail) > CHUNK_MIN


def shrink_locked(view: View, slot: int, spare: Spare) -> None:
    """Under Q: have an empty queue go on in the spare chunk."""
    queue = view.queues[slot]
    head, tail = cursor_load(queue.head), cursor_load(queue.tail)
    fresh = spare.chunk
    if chunk_nbytes(view, tail.chunk) > CHUNK_MIN:
        view.blocks[fresh].queue = slot
        view.blocks[fresh].link = NONE
        record_link(view, tail, fresh)
        view.blocks[tail.chunk].link = fresh
        start = cursor_pack(tail.item, fresh, 0)
        queue.tail = start
        spare.chunk = NONE
        view.blocks[fresh].owner = QUEUED
    queue.head = queue.tail
    get_leave(view, head.chunk, cursor_load(queue.tail).chunk)


def queue_shrink(view: View, slot: int) -> bool:
    """Shrink one queue if it is empty and nobody is at it; whether it did."""
    queue = view.queues[slot]
    if queue.used != ROLE_QUEUE or queue_size(queue) != 0 or not queue_is_large(view, queue):
        return False
    spare = Spare()
    done = False

    def work() -> Status:
        nonlocal done
        used = queue.used == ROLE_QUEUE
        done = used and queue_size(queue) == 0 and queue_is_large(view, queue)
        if done:
            shrink_locked(view, slot, spare)
        return OK

    status, spare.chunk = block_alloc(view, CHUNK_MIN, KIND_RING, 0)
    if status is not OK:
        return False
    try:
        queue_locked(view, slot, 0, work)
    finally:
        if spare.chunk != NONE:
            block_free(view, spare.chunk)
    return done


def queues_shrink(view: View) -> int:
    """Shrink the queues that are empty; return how many did."""
    return sum(queue_shrink(view, slot) for slot in range(view.arena.queues_used))
