"""Pickles with buffers: what a pickle of protocol 5 leaves out lies in blocks of the message.

Loans move, each a block of its own; the other buffers are packed into the last block.
"""

from __future__ import annotations

from collections import Counter
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any

from .arena import class_pages
from .arrays import array_is, array_of_bytes, loan_take
from .block_type import Block, block_wrap
from .blocks import block_bytes
from .draft import Draft, draft_alloc
from .layout import INLINE_MAX, KIND_DATA, PAGE, PART, PARTS, PAYLOAD_PARTS
from .pickling import PARTS_MAX, codec_loads
from .records import struct_of
from .status import Status, error_of

if TYPE_CHECKING:
    from .arena_type import Arena
    from .ring import Message

_PARTS = struct_of(PARTS)
_PART = struct_of(PART)


# --- Encode ---------------------------------------------------------------------------------------


def align64(offset: int) -> int:
    """Return *offset* rounded up to a multiple of 64."""
    return (offset + 63) & ~63


class Piece:
    """A buffer that goes out of band.

    Attributes:
        buffer: its bytes.
        array: whether an array shows it.
        block, offset: where it goes: into which block of the message, and where there.
        moved: whether it is there already.
    """

    def __init__(self, buffer: memoryview) -> None:
        self.buffer = buffer
        self.array = array_is(buffer.obj)
        self.block = self.offset = 0
        self.moved = False


def parts_place(draft: Draft, pieces: list[Piece]) -> int:
    """Say where each buffer goes: loans move, and a block of so many bytes holds the others."""
    total = 0
    for piece in pieces:
        offset = loan_take(draft, piece.buffer.obj, piece.buffer)
        if offset is None:
            piece.offset = total
            total = align64(total + piece.buffer.nbytes)
        else:
            piece.offset, piece.moved = offset, True
            piece.block = len(draft.message.blocks) - 1
    return total


def parts_copy(draft: Draft, pieces: list[Piece], total: int, beyond: bytes) -> None:
    """Copy the buffers that do not move into a block, and *beyond* after them."""
    if total == 0 and not beyond:
        return
    number = draft_alloc(draft, total + len(beyond), KIND_DATA)
    memory = block_bytes(draft.arena.view, number, total + len(beyond))
    for piece in pieces:
        if not piece.moved:
            piece.block = len(draft.message.blocks) - 1
            memory[piece.offset : piece.offset + piece.buffer.nbytes] = piece.buffer
    memory[total:] = beyond


def parts_finish(draft: Draft, pieces: list[Piece], data: bytes) -> None:
    """Write the payload: PARTS, PART..., and the pickle if it fits."""
    inlined = _PARTS.size + len(pieces) * _PART.size + len(data) <= INLINE_MAX
    total = parts_place(draft, pieces)
    parts_copy(draft, pieces, total, b"" if inlined else data)
    payload = _PARTS.pack(len(pieces), inlined, total, len(data))
    for piece in pieces:
        buffer = piece.buffer
        payload += _PART.pack(
            piece.block, buffer.readonly, piece.array, piece.offset, buffer.nbytes
        )
    draft.message.kind = PAYLOAD_PARTS
    draft.message.payload = payload + data if inlined else payload


def encode_parts(draft: Draft, data: bytes, buffers: list[PickleBuffer]) -> None:
    """Make the message of a pickle and the buffers that it left out."""
    pieces = [Piece(buffer.raw()) for buffer in buffers]
    try:
        parts_finish(draft, pieces, data)
    finally:
        for piece in pieces:
            piece.buffer.release()


# --- Decode ---------------------------------------------------------------------------------------


class Shelf:
    """The blocks that the parts of a message lie in, taken out of it as they are needed."""

    def __init__(self, arena: Arena, message: Message) -> None:
        self.arena = arena
        self.message = message
        self.numbers = tuple(message.blocks)
        self.blocks: dict[int, Block] = {}

    def block(self, index: int) -> Block:
        """Return block *index* of the message."""
        if index not in self.blocks:
            number = self.numbers[index]
            block = block_wrap(self.arena, number, block_capacity(self.arena, number))
            self.message.blocks.remove(number)
            block.received = True
            self.blocks[index] = block
        return self.blocks[index]

    def view(self, index: int, offset: int, nbytes: int) -> memoryview:
        """Return some bytes of block *index* as a memoryview that keeps the block."""
        memory: Any = self.block(index)
        return PickleBuffer(memory).raw()[offset : offset + nbytes]


def block_capacity(arena: Arena, number: int) -> int:
    """Return the bytes of a block."""
    return class_pages(arena.view.blocks[number].cls) * PAGE


def parts_check(shelf: Shelf, parts: list[tuple[int, int, int, int, int]]) -> Counter[int] | None:
    """Return how many parts lie in each block; None: one lies in none."""
    for index, _, _, offset, nbytes in parts:
        if index >= len(shelf.numbers):
            return None
        if offset + nbytes > block_capacity(shelf.arena, shelf.numbers[index]):
            return None
    return Counter(part[0] for part in parts)


def part_buffer(shelf: Shelf, part: tuple[int, int, int, int, int], alone: bool) -> Any:
    """Return what the pickler gets for a part.

    An array that has a block to itself, *alone*, shows it as an array of bytes.
    """
    index, readonly, array, offset, nbytes = part
    if array and alone:
        return array_of_bytes(shelf.block(index), offset, nbytes, readonly)
    view = shelf.view(index, offset, nbytes)
    return view.toreadonly() if readonly else view


def decode_parts(arena: Arena, message: Message) -> Any:
    """Return the object of a pickle with buffers; they keep their blocks."""
    payload = message.payload
    if len(payload) < _PARTS.size:
        raise error_of(Status.DAMAGED, arena.view)
    count, inlined, beyond, nbytes = _PARTS.unpack_from(payload)
    table = _PARTS.size + count * _PART.size
    if count > PARTS_MAX or table + (nbytes if inlined else 0) > len(payload):
        raise error_of(Status.DAMAGED, arena.view)
    shelf = Shelf(arena, message)
    parts = list(_PART.iter_unpack(payload[_PARTS.size : table]))
    counts = parts_check(shelf, parts)
    if counts is None:
        raise error_of(Status.DAMAGED, arena.view)
    buffers = [part_buffer(shelf, part, counts[part[0]] == 1) for part in parts]
    last = len(shelf.numbers) - 1
    data = payload[table : table + nbytes] if inlined else shelf.view(last, beyond, nbytes)
    return codec_loads(data, buffers)
