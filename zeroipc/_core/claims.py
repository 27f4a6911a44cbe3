"""Task queues: which item each worker took last, and taking an item back.

A worker has a number; each get notes the item's number under it, before the commit. So when a
worker dies, the one item it may have died with is known: its claim. Of a worker that died
before the commit, the repair of the lock voids the claim before anyone else can take the item.
"""

from __future__ import annotations

from .arena import View
from .layout import NONE, PAYLOAD_CANCELLED, RECORD, RECORD_LINK
from .mqueue import queue_check, queue_locked
from .notes import queue_claims
from .records import SharedQueue
from .ring import (
    ITEM_MASK,
    cursor_load,
    items_between,
    queue_has_item,
    queue_size,
    record_at,
    record_nbytes,
)
from .status import OK, Status


def claim_of(view: View, slot: int, number: int) -> int:
    """Return the item that worker *number* took last.

    NONE while it has taken none or the item is still in the queue.
    """
    queue = view.queues[slot]
    claims = queue_claims(view, queue)
    item = claims[number]
    if item == NONE or queue_has_item(queue, item):
        return NONE
    return int(claims[number])  # again: it may have been void, and its item just taken


def record_find(view: View, queue: SharedQueue, item: int) -> int:
    """Under Q: where the record of a queued item lies in the arena."""
    number, chunk, offset = cursor_load(queue.head)
    words, halves = view.mapping.u32, view.mapping.u16
    while True:
        start = record_at(view, chunk, offset)
        nbytes = words[start // 4]
        if nbytes == RECORD_LINK:
            chunk, offset = words[start // 4 + 1], 0
        elif number == item:
            return start
        else:
            nblocks = halves[(start + RECORD.nblocks.offset) // 2]
            offset += record_nbytes(nblocks, nbytes)
            number = (number + 1) & ITEM_MASK


def queue_cancel(view: View, slot: int, generation: int, item: int, deadline: int) -> Status:
    """Take a queued item back: who gets it drops it. OK, or EMPTY: it was got already."""
    queue = view.queues[slot]

    def work() -> Status:
        status = queue_check(view, queue, generation)
        if status is not OK:
            return status
        if items_between(cursor_load(queue.head).item, item) >= queue_size(queue):
            return Status.EMPTY
        kind = (record_find(view, queue, item) + RECORD.kind.offset) // 2
        view.mapping.u16[kind] |= PAYLOAD_CANCELLED
        return OK

    return queue_locked(view, slot, deadline, work)
