"""The message queue: any number of putters and getters, messages of any size.

Callers   any thread of an attached process that holds the queue
Progress  one lock Q per queue, held for a bounded time
Crash     a put is true from its one store to `tail`, a get from its one store to `head`
Bytes     QUEUE, BLOCK, RECORD in layout.py
Source    SPECIFICATION.md, "Message queue"; mqueue.h is the same in C

PUT  1. lock Q. 2. write the record behind `tail`, where nobody looks.
     3. announce: item number into each block. 4. store `tail`: the item is there.
     5. owner = QUEUED for each block. 6. unlock; wake.
GET  1. lock Q. 2. copy the record; owner = me for each block.
     3. store `head`: the item is ours. 4. forget the item number of each block; free
     chunks left behind. 5. unlock; wake.

A block of a dead owner is in the queue iff head.item <= block.item < tail.item; the sweep
asks that.

An exception may come at any step. The statement after a commit notes it in the message, and
no exception can come between the two (see atomics.py): whoever catches it knows whose the
blocks are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .alloc import block_alloc
from .arena import View
from .blocks import arena_locked, block_free
from .layout import (
    FREE,
    KIND_DATA,
    KIND_HANDLE,
    KIND_RING,
    KIND_TALLY,
    NONE,
    QUEUED,
    ROLE_LOCK,
    ROLE_MEMORY,
    ROLE_QUEUE,
    STATE_OPEN,
    STATE_SHUT_NOW,
)
from .mutex import under
from .notes import claims_repair, get_claim, get_tally, tally_open, tally_pack, tally_repair
from .records import SharedLock, SharedMemory, SharedQueue
from .ring import (
    ITEM_MASK,
    Message,
    Spare,
    cursor_load,
    cursor_pack,
    get_leave,
    get_record,
    message_need,
    put_chunk_nbytes,
    put_place,
    put_record,
    queue_has_chunk,
    queue_has_item,
    queue_size,
)
from .status import OK, Status
from .wait import this_cpu, wait_wake, wake_decide

# --- The lock, and repair after its holder died -------------------------------------------


def queue_has_block(view: View, queue: SharedQueue, number: int) -> bool:
    """Under Q: whether a block whose owner died is still in the queue, or of the slot."""
    block = view.blocks[number]
    role = queue.used
    if role == ROLE_MEMORY:
        return SharedMemory(queue.mapping, queue.at).block == number
    if role == ROLE_LOCK:
        return SharedLock(queue.mapping, queue.at).block == number
    if role != ROLE_QUEUE:
        return False
    if block.kind == KIND_RING:
        return queue_has_chunk(view, queue, number)
    if block.kind == KIND_TALLY:
        return number in (queue.tally, queue.claims)
    return block.item != NONE and queue_has_item(queue, block.item)


def queue_repair(view: View, slot: int) -> None:
    """Under Q and A, after the holder of Q died, before any new commit.

    Voids the item numbers that were announced and not committed, and frees the chunks that
    were left and not freed.
    """
    queue = view.queues[slot]
    queues = queue.used == ROLE_QUEUE
    if queues and queue.tally != NONE:
        tally_repair(view, queue)
    if queues and queue.claims != NONE:
        claims_repair(view, queue)
    for number in range(view.arena.blocks_used):
        block = view.blocks[number]
        owner = block.owner
        if owner == FREE or block.queue != slot or queue_has_block(view, queue, number):
            continue
        if block.kind in (KIND_DATA, KIND_HANDLE):
            block.item = NONE
        elif owner == QUEUED:
            block_free(view, number)
    if queues:
        queue.items_pending = queue.room_pending = queue.done_pending = 0
    if queue.used == ROLE_LOCK:
        view.locks[slot].pending = 0


def queue_locked(view: View, slot: int, deadline: int, work: Callable[[], Status]) -> Status:
    """Run *work* under Q, waiting for it until *deadline*; 0: only if it is free.

    What a dead holder left is mended under A, so that no block becomes another's while it is
    looked at. While A cannot be had the queue stays torn, and busy for whoever comes.
    """
    queue = view.queues[slot]

    def tear() -> None:
        queue.torn = 1

    def mend() -> Status:
        queue_repair(view, slot)
        queue.torn = 0
        return OK

    def whole() -> Status:
        if queue.torn:
            status = arena_locked(view, deadline, mend)
            if status is not OK:
                return status
        return work()

    return under(queue.lock, deadline, tear, whole)


# --- Put ----------------------------------------------------------------------------------


def put_locked(view: View, slot: int, message: Message, spare: Spare) -> Status:
    """Under Q: put one message. WANT_CHUNK: `spare.want` says of how many bytes."""
    queue = view.queues[slot]
    if queue.state != STATE_OPEN:
        return Status.SHUT
    tail = cursor_load(queue.tail)
    size = queue_size(queue)
    if (queue.maxsize and size >= queue.maxsize) or size == ITEM_MASK:
        return Status.FULL
    need = message_need(message)
    at = put_place(view, queue, slot, need, tail, spare.chunk)
    if at is None:
        spare.want = put_chunk_nbytes(view, queue, need)
        return Status.WANT_CHUNK
    put_record(view, at, message)
    for number in message.blocks:
        block = view.blocks[number]
        block.queue = slot
        block.item = at.item
    message.item = at.item
    after = cursor_pack(at.item + 1, at.chunk, at.offset + need)
    # [queue.tail] release; pairs with the spinning load in queue_await_items.
    queue.tail = after
    message.went = True
    if at.chunk == spare.chunk:
        spare.chunk = NONE
    cpu = this_cpu()
    if queue.tail_cpu != cpu:
        queue.tail_cpu = cpu
    for number in message.blocks:
        view.blocks[number].owner = QUEUED
    if at.chunk != tail.chunk:
        view.blocks[at.chunk].owner = QUEUED
    return OK


def queue_check(view: View, queue: SharedQueue, generation: int) -> Status:
    """Under Q: whether the queue is still there, and this process still in the arena."""
    there = queue.used == ROLE_QUEUE and queue.generation == generation
    return OK if view.me and there else Status.STALE


def put_visit(
    view: View, slot: int, generation: int, messages: Sequence[Message], spare: Spare, deadline: int
) -> Status:
    """One locked visit: put as many of the messages as go, past those that went before."""
    queue = view.queues[slot]
    wake = False

    def work() -> Status:
        nonlocal wake
        status, went = queue_check(view, queue, generation), False
        for message in messages:
            if status is not OK:
                break
            if not message.went:
                status = put_locked(view, slot, message, spare)
                went = went or message.went
        wake = went and wake_decide(queue.items)
        return status

    status = queue_locked(view, slot, deadline, work)
    if wake and messages[0].defers:
        messages[0].owes = True
    elif wake:
        wait_wake(queue.items.address, 1)
    return status


def queue_put(
    view: View, slot: int, generation: int, messages: Sequence[Message], deadline: int
) -> Status:
    """Put the messages in order, without waiting for room; those that did are marked `went`.

    *deadline* bounds the wait for locks; 0: give up after a moment with BUSY.
    """
    spare = Spare()
    try:
        while True:
            status = put_visit(view, slot, generation, messages, spare, deadline)
            if status is not Status.WANT_CHUNK:
                return status
            if spare.chunk != NONE:
                block_free(view, spare.chunk)
                spare.chunk = NONE
            status, spare.chunk = block_alloc(view, spare.want, KIND_RING, deadline)
            if status is not OK:
                spare.chunk = NONE
                return status
    finally:
        if spare.chunk != NONE:
            block_free(view, spare.chunk)


# --- Get ----------------------------------------------------------------------------------


def get_locked(view: View, slot: int, message: Message) -> Status:
    """Under Q: get one message; from a queue that is shut at once, to drop it."""
    queue = view.queues[slot]
    head, tail = cursor_load(queue.head), cursor_load(queue.tail)
    if head.item == tail.item:
        return Status.EMPTY if queue.state == STATE_OPEN else Status.SHUT
    at = get_record(view, head, message)
    if at is None:
        return Status.DAMAGED
    for number in message.blocks:
        if number >= view.arena.blocks_used:
            return Status.DAMAGED
        view.blocks[number].owner = view.me
    cell = None if queue.state == STATE_SHUT_NOW else get_tally(view, queue, at.item)
    get_claim(view, queue, message.claimant, at.item)
    after = cursor_pack(at.item + 1, at.chunk, at.offset)
    queue.head = after
    message.went = True
    cpu = this_cpu()
    if queue.head_cpu != cpu:
        queue.head_cpu = cpu
    if cell is not None:
        cell[0] = tally_pack(tally_open(cell[0]), 0)
    for number in message.blocks:
        view.blocks[number].item = NONE
    get_leave(view, head.chunk, at.chunk)
    return OK


def queue_get(
    view: View, slot: int, generation: int, messages: Sequence[Message], deadline: int
) -> Status:
    """Get messages, without waiting for any; those that came are marked `went`.

    Wakes a putter that waits for room, and the next getter when items are left.
    """
    queue = view.queues[slot]
    room = following = False

    def work() -> Status:
        nonlocal room, following
        status, went = queue_check(view, queue, generation), 0
        if status is OK and queue.state == STATE_SHUT_NOW:
            status = Status.SHUT
        while status is OK and went < len(messages):
            status = get_locked(view, slot, messages[went])
            went += status is OK
        if went:
            room = wake_decide(queue.room)
            following = queue_size(queue) != 0 and wake_decide(queue.items)
        return OK if went else status

    status = queue_locked(view, slot, deadline, work)
    if room:
        wait_wake(queue.room.address, 1)
    if following:
        wait_wake(queue.items.address, 1)
    return status
