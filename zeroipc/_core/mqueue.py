"""The message queue: any number of putters and getters, messages of any size.

Callers   any thread of an attached process that holds the queue
Progress  one lock Q per queue, held for a bounded time
Crash     a put is true from its one store to `tail`, a get from its one store to `head`
Bytes     QUEUE, BLOCK, RECORD in layout.py
Source    SPECIFICATION.md, "Message queue"; mqueue.h is the same in C

A queue is a chain of ring chunks. A cursor says which item, in which chunk, where; the items
in the queue are tail.item - head.item. A link record says "go on at the start of chunk X"; X
is the same chunk when the ring wraps.

PUT  1. lock Q. 2. write the record behind `tail`, where nobody looks.
     3. announce: item number into each block. 4. store `tail`: the item is there.
     5. owner = QUEUED for each block. 6. unlock; wake.
GET  1. lock Q. 2. copy the record; owner = me for each block.
     3. store `head`: the item is ours. 4. forget the item number of each block; free
     chunks left behind. 5. unlock; wake.

A block of a dead owner is in the queue iff head.item <= block.item < tail.item; the sweep
asks that. A chunk is in the queue iff the chain from head to tail passes it.

A joinable queue tallies open tasks: a 64-bit cell per participant says how many tasks it
took and has not done, and which item it is just taking (its number + 1, or 0). One store
before `head` writes both, so the repair knows whether to take the count back.

An exception may come at any step. The statement after a commit notes it in the message, and
no exception can come between the two (see atomics.py): whoever catches it knows whose the
blocks are.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .arena import View, arena_locked, block_alloc, block_free, class_pages
from .layout import (
    CHUNK_MAX,
    CURSOR_CHUNK_BITS,
    CURSOR_ITEM_BITS,
    CURSOR_OFFSET_BITS,
    FREE,
    INLINE_MAX,
    KIND_DATA,
    KIND_HANDLE,
    KIND_RING,
    KIND_TALLY,
    MESSAGE_BLOCKS,
    NONE,
    PAGE,
    PARTICIPANTS,
    QUEUED,
    RECORD,
    RECORD_LINK,
    STATE_OPEN,
    STATE_SHUT_NOW,
)
from .mutex import under
from .participant import identity_index
from .records import SharedQueue, struct_of
from .status import OK, Status
from .wait import this_cpu, wait_wake, wake_decide

ITEM_MASK = (1 << CURSOR_ITEM_BITS) - 1
LINK_NBYTES = RECORD.nbytes
_CHUNK_MASK = (1 << CURSOR_CHUNK_BITS) - 1
_OFFSET_MASK = (1 << CURSOR_OFFSET_BITS) - 1
_ITEM_SHIFT = CURSOR_CHUNK_BITS + CURSOR_OFFSET_BITS

_RECORD = struct_of(RECORD)
_LINK = struct.Struct("=II")


class Cursor(NamedTuple):
    """An item's number, and where its record starts."""

    item: int
    chunk: int
    offset: int


class Message:
    """A message on its way in or out.

    Attributes:
        payload, kind: what the codec made.
        blocks: numbers of the blocks that go along.
        claimant: of a getter from a queue with claims: its worker number.
        item: its number, once it was put.
        went: whether the put or get of it is true.
    """

    __slots__ = ("blocks", "claimant", "item", "kind", "payload", "went")

    def __init__(self, claimant: int = 0) -> None:
        self.payload: bytes | bytearray = b""
        self.kind = 0
        self.blocks: list[int] = []
        self.claimant = claimant
        self.item = NONE
        self.went = False


class Spare:
    """A chunk for a ring to go on in, or NONE, and how large it would have to be."""

    __slots__ = ("chunk", "want")

    def __init__(self) -> None:
        self.chunk = NONE
        self.want = 0


def cursor_load(bits: int) -> Cursor:
    """Return what the word says."""
    return Cursor(
        bits >> _ITEM_SHIFT,
        bits >> CURSOR_OFFSET_BITS & _CHUNK_MASK,
        (bits & _OFFSET_MASK) * 8,
    )


def cursor_pack(item: int, chunk: int, offset: int) -> int:
    """Return the word that says so."""
    return (item & ITEM_MASK) << _ITEM_SHIFT | chunk << CURSOR_OFFSET_BITS | offset // 8


def items_between(head: int, tail: int) -> int:
    """Return how many items lie from *head* up to *tail*."""
    return (tail - head) & ITEM_MASK


def pad8(nbytes: int) -> int:
    """Return *nbytes* rounded up to a multiple of 8."""
    return (nbytes + 7) & ~7


def chunk_nbytes(view: View, chunk: int) -> int:
    """Return the bytes of a ring chunk."""
    return class_pages(view.blocks[chunk].cls) * PAGE


def record_at(view: View, chunk: int, offset: int) -> int:
    """Return where a record lies in the arena."""
    return view.blocks[chunk].offset + offset


def record_nbytes(nblocks: int, nbytes: int) -> int:
    """Return the bytes of a record in the ring."""
    return RECORD.nbytes + pad8(4 * nblocks) + pad8(nbytes)


def message_need(message: Message) -> int:
    """Return the bytes that the message takes in the ring."""
    return record_nbytes(len(message.blocks), len(message.payload))


def queue_size(queue: SharedQueue) -> int:
    """Return how many items the queue holds; true at some moment."""
    head = queue.head >> _ITEM_SHIFT
    return items_between(head, queue.tail >> _ITEM_SHIFT)


# --- The lock, and repair after its holder died -------------------------------------------


def queue_has_chunk(view: View, queue: SharedQueue, chunk: int) -> bool:
    """Under Q: whether the chain of chunks from head to tail passes *chunk*."""
    at, end = cursor_load(queue.head).chunk, cursor_load(queue.tail).chunk
    while at not in (chunk, end, NONE):
        at = view.blocks[at].link
    return at == chunk


def queue_has_item(queue: SharedQueue, item: int) -> bool:
    """Under Q: whether the item is queued."""
    return items_between(cursor_load(queue.head).item, item) < queue_size(queue)


def queue_has_block(view: View, queue: SharedQueue, number: int) -> bool:
    """Under Q: whether a block whose owner died is still in the queue."""
    block = view.blocks[number]
    if not queue.used:
        return False
    if block.kind == KIND_RING:
        return queue_has_chunk(view, queue, number)
    if block.kind == KIND_TALLY:
        return number in (queue.tally, queue.claims)
    return block.item != NONE and queue_has_item(queue, block.item)


def queue_tally(view: View, queue: SharedQueue) -> memoryview:
    """Return the cells of a joinable queue, one 64-bit word per participant."""
    first = view.blocks[queue.tally].offset // 8
    return view.mapping.u64[first : first + PARTICIPANTS]


def tally_open(cell: int) -> int:
    """Return how many tasks are open: a signed number."""
    return (cell & 0xFFFFFFFF ^ 0x80000000) - 0x80000000


def tally_pack(still_open: int, taking: int) -> int:
    """Return the cell."""
    return taking << 32 | still_open & 0xFFFFFFFF


def tally_repair(view: View, queue: SharedQueue) -> None:
    """Under Q, after its holder died: an item that is still in the queue was not taken.

    And who was being counted as lost has been.
    """
    cells = queue_tally(view, queue)
    for index in range(view.arena.participants_used):
        taking = cells[index] >> 32
        if taking:
            taken = not queue_has_item(queue, taking - 1)
            cells[index] = tally_pack(tally_open(cells[index]) - (not taken), 0)
    counted = queue.lost >> 32
    if counted:
        cells[counted - 1] = 0
    queue.lost = queue.lost & 0xFFFFFFFF


def queue_claims(view: View, queue: SharedQueue) -> memoryview:
    """Return the items that the workers took last, one 32-bit word for each number."""
    first = view.blocks[queue.claims].offset // 4
    return view.mapping.u32[first : first + PARTICIPANTS]


def claims_repair(view: View, queue: SharedQueue) -> None:
    """Under Q, after its holder died: nobody has taken what is still in the queue."""
    claims = queue_claims(view, queue)
    for number, item in enumerate(claims):
        if item != NONE and queue_has_item(queue, item):
            claims[number] = NONE


def queue_repair(view: View, slot: int) -> None:
    """Under Q and A, after the holder of Q died, before any new commit.

    Voids the item numbers that were announced and not committed, and frees the chunks that
    were left and not freed.
    """
    queue = view.queues[slot]
    if queue.used and queue.tally != NONE:
        tally_repair(view, queue)
    if queue.used and queue.claims != NONE:
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
    queue.items_pending = queue.room_pending = queue.done_pending = 0


def queue_locked(view: View, slot: int, deadline: int, work: Callable[[], Status]) -> Status:
    """Run *work* under Q, waiting for it until *deadline*; 0: only if it is free."""

    def repair() -> None:
        def quietly() -> Status:
            queue_repair(view, slot)
            return OK

        # A, so that no block becomes another's while it is looked at. When a stopped process
        # keeps A for ever, nobody can take a block either, and Q must be mended all the same.
        if arena_locked(view, quietly) is not OK:
            queue_repair(view, slot)

    return under(view.queues[slot].lock, deadline, repair, work)


# --- Put ----------------------------------------------------------------------------------


def record_link(view: View, at: Cursor, chunk: int) -> None:
    """Write a link to *chunk*; kind and nblocks are unused in it."""
    _LINK.pack_into(view.bytes, record_at(view, at.chunk, at.offset), RECORD_LINK, chunk)


def put_place(
    view: View, queue: SharedQueue, slot: int, need: int, at: Cursor, spare: int
) -> Cursor | None:
    """Under Q: return where *need* bytes fit, writing a link if it must.

    Behind every record there is room for a link. *spare* is a chunk to go on in, or NONE.
    None: there is no room and no spare.
    """
    head = cursor_load(queue.head)
    room = need + LINK_NBYTES
    wrapped = head.chunk == at.chunk and head.offset > at.offset
    end = head.offset if wrapped else chunk_nbytes(view, at.chunk)
    if room <= end - at.offset:
        return at
    if not wrapped and head.chunk == at.chunk and room <= head.offset:
        record_link(view, at, at.chunk)
        return Cursor(at.item, at.chunk, 0)
    if spare == NONE or chunk_nbytes(view, spare) < room:
        return None
    block = view.blocks[spare]
    block.queue = slot
    block.link = NONE
    record_link(view, at, spare)
    view.blocks[at.chunk].link = spare
    return Cursor(at.item, spare, 0)


def put_chunk_nbytes(view: View, queue: SharedQueue, need: int) -> int:
    """Return the bytes of the next chunk: twice the last one, and room for four such records."""
    nbytes = 2 * chunk_nbytes(view, cursor_load(queue.tail).chunk)
    while nbytes < 4 * (need + LINK_NBYTES):
        nbytes *= 2
    return min(nbytes, CHUNK_MAX)


def put_record(view: View, at: Cursor, message: Message) -> None:
    """Under Q: write the record behind `tail`, where nobody looks."""
    start = record_at(view, at.chunk, at.offset)
    nblocks, payload = len(message.blocks), message.payload
    _RECORD.pack_into(view.bytes, start, len(payload), message.kind, nblocks)
    struct.pack_into(f"={nblocks}I", view.bytes, start + RECORD.nbytes, *message.blocks)
    start += RECORD.nbytes + pad8(4 * nblocks)
    view.bytes[start : start + len(payload)] = payload


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
    return OK if view.me and queue.used and queue.generation == generation else Status.STALE


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
    if wake:
        wait_wake(queue.items.address, 1)
    return status


def queue_put(
    view: View, slot: int, generation: int, messages: Sequence[Message], deadline: int
) -> Status:
    """Put the messages in order, without waiting for room; those that did are marked `went`.

    *deadline* bounds the wait for the lock; 0: give up after a moment with BUSY.
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
            status, spare.chunk = block_alloc(view, spare.want, KIND_RING)
            if status is not OK:
                spare.chunk = NONE
                return status
    finally:
        if spare.chunk != NONE:
            block_free(view, spare.chunk)


# --- Get ----------------------------------------------------------------------------------


def get_leave(view: View, start: int, end: int) -> None:
    """Under Q: free the chunks from *start* up to *end*, which the reader has left."""
    while start not in (end, NONE):
        after = view.blocks[start].link
        block_free(view, start)
        start = after


def get_record(view: View, at: Cursor, message: Message) -> Cursor | None:
    """Under Q: copy the record at *at* out; return where the next one is. None: damaged."""
    chunk, offset = at.chunk, at.offset
    start = record_at(view, chunk, offset)
    nbytes, kind, nblocks = _RECORD.unpack_from(view.bytes, start)
    links = 0
    while nbytes == RECORD_LINK:
        _, chunk = _LINK.unpack_from(view.bytes, start)
        if links == 4 or chunk >= view.arena.blocks_used:
            return None
        links += 1
        offset = 0
        start = record_at(view, chunk, 0)
        nbytes, kind, nblocks = _RECORD.unpack_from(view.bytes, start)
    if nbytes > INLINE_MAX or nblocks > MESSAGE_BLOCKS:
        return None
    message.kind = kind
    numbers = struct.unpack_from(f"={nblocks}I", view.bytes, start + RECORD.nbytes)
    message.blocks = list(numbers)
    start += RECORD.nbytes + pad8(4 * nblocks)
    message.payload = bytes(view.bytes[start : start + nbytes])
    return Cursor(at.item, chunk, offset + message_need(message))


def get_tally(view: View, queue: SharedQueue, item: int) -> memoryview | None:
    """Under Q: this process takes *item* of a joinable queue; the store of `head` must follow."""
    if queue.tally == NONE:
        return None
    cells = queue_tally(view, queue)
    mine = identity_index(view.me)
    cells[mine] = tally_pack(tally_open(cells[mine]) + 1, item + 1)
    return cells[mine : mine + 1]


def get_claim(view: View, queue: SharedQueue, claimant: int, item: int) -> None:
    """Under Q, before the commit: note which item a worker takes.

    Should it die in between, the item is still queued, and claims_repair sees that.
    """
    if queue.claims != NONE and claimant < PARTICIPANTS:
        queue_claims(view, queue)[claimant] = item


def get_locked(view: View, slot: int, message: Message) -> Status:
    """Under Q: get one message."""
    queue = view.queues[slot]
    if queue.state == STATE_SHUT_NOW:
        return Status.SHUT
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
    cell = get_tally(view, queue, at.item)
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
