"""The ring of a queue: how messages lie in its chunks, one behind the other.

A queue is a chain of ring chunks. A cursor says which item, in which chunk, where; the items
in the queue are tail.item - head.item. A link record says "go on at the start of chunk X"; X
is the same chunk when the ring wraps. A chunk is in the queue iff the chain from head to tail
passes it.

Bytes     QUEUE, RECORD in layout.py
Source    SPECIFICATION.md, "Message queue"; ring.h is the same in C
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from .arena import View, class_pages
from .blocks import block_free
from .layout import (
    CHUNK_MAX,
    CURSOR_CHUNK_BITS,
    CURSOR_ITEM_BITS,
    CURSOR_OFFSET_BITS,
    INLINE_MAX,
    MESSAGE_BLOCKS,
    NONE,
    PAGE,
    RECORD,
    RECORD_LINK,
)
from .records import SharedQueue, struct_of

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
        defers: alone, and whoever puts it wakes the getter himself, later.
        owes: once it was put: whether he has to.
        went: whether the put or get of it is true.
    """

    __slots__ = (
        "blocks",
        "claimant",
        "defers",
        "item",
        "kind",
        "owes",
        "payload",
        "went",
    )

    def __init__(self, claimant: int = 0) -> None:
        self.payload: bytes | bytearray = b""
        self.kind = 0
        self.blocks: list[int] = []
        self.claimant = claimant
        self.item = NONE
        self.defers = self.owes = False
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


# --- What is in the queue ------------------------------------------------------------------


def queue_has_chunk(view: View, queue: SharedQueue, chunk: int) -> bool:
    """Under Q: whether the chain of chunks from head to tail passes *chunk*."""
    at, end = cursor_load(queue.head).chunk, cursor_load(queue.tail).chunk
    while at not in (chunk, end, NONE):
        at = view.blocks[at].link
    return at == chunk


def queue_has_item(queue: SharedQueue, item: int) -> bool:
    """Under Q: whether the item is queued."""
    return items_between(cursor_load(queue.head).item, item) < queue_size(queue)


# --- Writing behind the tail, where nobody looks --------------------------------------------


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


# --- Reading at the head ---------------------------------------------------------------------


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


def get_leave(view: View, start: int, end: int) -> None:
    """Under Q: free the chunks from *start* up to *end*, which the reader has left."""
    while start not in (end, NONE):
        after = view.blocks[start].link
        block_free(view, start)
        start = after
