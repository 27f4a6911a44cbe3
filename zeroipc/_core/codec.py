"""Objects to messages and back.

Small scalars, str, bytes and plain arrays are encoded here; the rest is pickle protocol 5.
Containers of plain built-in objects go to the C pickler directly; everything else goes
through pickling.py, which honours copyreg and ForkingPickler.

A payload that is too long for the ring lies in the last block of its message (flag
PAYLOAD_IN_BLOCK); the ring then holds its length alone.
"""

from __future__ import annotations

import pickle
import struct
import threading
from collections import Counter
from multiprocessing.reduction import ForkingPickler
from pickle import PickleBuffer, PicklingError
from typing import TYPE_CHECKING, Any

from .arena import class_pages
from .arena_type import Block, Draft, block_wrap, draft_alloc
from .arrays import array_decode, array_encode, array_is, array_of_bytes, loan_take
from .blocks import block_bytes, block_free, block_unlend
from .layout import (
    INLINE_MAX,
    KIND_DATA,
    PAGE,
    PART,
    PARTS,
    PAYLOAD_ARRAY,
    PAYLOAD_BYTES,
    PAYLOAD_FALSE,
    PAYLOAD_FLOAT,
    PAYLOAD_IN_BLOCK,
    PAYLOAD_INT,
    PAYLOAD_NONE,
    PAYLOAD_PARTS,
    PAYLOAD_PICKLE,
    PAYLOAD_STR,
    PAYLOAD_TRUE,
)
from .pickling import PARTS_MAX, PROTOCOL, dump_any, unpicklable
from .records import struct_of
from .status import Status, error_of

if TYPE_CHECKING:
    from .arena_type import Arena
    from .ring import Message

PLAIN_ITEMS = 64
PLAIN_DEPTH = 4

_INT = struct.Struct("=q")
_FLOAT = struct.Struct("=d")
_LENGTH = struct.Struct("=Q")
_PARTS = struct_of(PARTS)
_PART = struct_of(PART)
_SCALARS = frozenset((type(None), bool, int, float, str, bytes))


class _Sending(threading.local):
    """The message that this thread is encoding: handles of queues go into it meanwhile."""

    draft: Draft | None = None


sending = _Sending()


# --- Small objects ------------------------------------------------------------------------------


def draft_payload(draft: Draft, kind: int, payload: bytes) -> None:
    """Make the message of a payload of any length."""
    message = draft.message
    message.kind, message.payload = kind, payload
    if len(payload) <= INLINE_MAX:
        return
    number = draft_alloc(draft, len(payload), KIND_DATA)
    block_bytes(draft.arena.view, number, len(payload))[:] = payload
    message.kind, message.payload = kind | PAYLOAD_IN_BLOCK, _LENGTH.pack(len(payload))


def is_plain(obj: Any, depth: int, items: list[int]) -> bool:
    """Return whether pickling *obj* runs no code of the user and needs no registration.

    *items* counts down how many objects may still be looked at.
    """
    items[0] -= 1
    if items[0] < 0:
        return False
    kind = type(obj)
    if kind in _SCALARS:
        return True
    if depth == 0:
        return False
    if kind is tuple or kind is list:
        return all(is_plain(item, depth - 1, items) for item in obj)
    return kind is dict and all(
        is_plain(key, depth - 1, items) and is_plain(value, depth - 1, items)
        for key, value in obj.items()
    )


# --- Pickles with buffers -------------------------------------------------------------------------


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


def encode_any(draft: Draft, obj: object) -> None:
    """Encode by the pickler that honours registrations, long buffers out of band."""
    buffers: list[PickleBuffer] = []
    outer, sending.draft = sending.draft, draft
    try:
        data = dump_any(obj, buffers)
    finally:
        sending.draft = outer
    if not buffers:
        draft_payload(draft, PAYLOAD_PICKLE, data)
        return
    pieces = [Piece(buffer.raw()) for buffer in buffers]
    try:
        parts_finish(draft, pieces, data)
    finally:
        for piece in pieces:
            piece.buffer.release()


def dump_inside(obj: object) -> bytes:
    """Return the pickle of *obj* with everything in it, without any block.

    Raises:
        UnpicklableError: with the path from *obj* to what cannot be pickled.
    """
    outer, sending.draft = sending.draft, None
    try:
        return bytes(ForkingPickler.dumps(obj, PROTOCOL))
    except (PicklingError, TypeError, AttributeError) as error:
        raise unpicklable(obj, error) from error
    finally:
        sending.draft = outer


# --- Encode ---------------------------------------------------------------------------------------


def encode_pickle(draft: Draft, obj: object) -> None:
    """Encode by pickling."""
    if is_plain(obj, PLAIN_DEPTH, [PLAIN_ITEMS]):
        draft_payload(draft, PAYLOAD_PICKLE, pickle.dumps(obj, PROTOCOL))
    else:
        encode_any(draft, obj)


def encode_str(draft: Draft, text: str) -> None:
    """Encode a str: as UTF-8, unless it has lone surrogates."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        encode_pickle(draft, text)
    else:
        draft_payload(draft, PAYLOAD_STR, data)


def encode(draft: Draft, obj: Any) -> None:
    """Encode an object by its exact type; nothing is sent yet."""
    kind = type(obj)
    if kind is int and -(2**63) <= obj < 2**63:
        draft_payload(draft, PAYLOAD_INT, _INT.pack(obj))
    elif kind is str:
        encode_str(draft, obj)
    elif kind is bytes:
        draft_payload(draft, PAYLOAD_BYTES, obj)
    elif kind is float:
        draft_payload(draft, PAYLOAD_FLOAT, _FLOAT.pack(obj))
    elif obj is None:
        draft_payload(draft, PAYLOAD_NONE, b"")
    elif kind is bool:
        draft_payload(draft, PAYLOAD_TRUE if obj else PAYLOAD_FALSE, b"")
    elif not (array_is(obj) and array_encode(draft, obj)):
        encode_pickle(draft, obj)


def draft_dropped(draft: Draft) -> None:
    """The message was not sent: its blocks go back, loans stay what they were."""
    view, blocks = draft.arena.view, draft.message.blocks
    for block, _ in draft.loans:
        if block.id in blocks:
            blocks.remove(block.id)
    message_dropped(draft.arena, draft.message)
    while draft.loans:
        block, array = draft.loans[-1]
        block_unlend(view, block.id, view.me)
        block.message = None
        array.setflags(write=True)
        draft.loans.pop()  # the draft may live on in a traceback


def message_dropped(arena: Arena, message: Message) -> None:
    """Free the blocks of a message; each once, whatever interrupts this."""
    while message.blocks:
        number = message.blocks.pop()
        block_free(arena.view, number)


# --- Decode ---------------------------------------------------------------------------------------


def decode_bytes(arena: Arena, kind: int, data: bytes | bytearray | memoryview) -> Any:
    """Return the object of a payload that is text, bytes or a pickle without buffers."""
    if kind == PAYLOAD_STR:
        return str(data, "utf-8")
    if kind == PAYLOAD_BYTES:
        return bytes(data)
    if kind == PAYLOAD_PICKLE:
        return pickle.loads(bytes(data))
    raise error_of(Status.DAMAGED, arena.view)


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

    An array that has a block to itself, *alone*, may be moved on.
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
    return pickle.loads(data, buffers=buffers)


def decode_block(arena: Arena, message: Message) -> Any:
    """Return the object of a payload that lies in the message's last block, which is ours now."""
    number = message.blocks[-1]
    block = block_wrap(arena, number, block_capacity(arena, number))
    message.blocks.pop()
    block.received = True
    kind = message.kind & 0xFF
    if kind == PAYLOAD_ARRAY:
        return array_decode(arena.view, message, block)
    (nbytes,) = _LENGTH.unpack(message.payload)
    if nbytes > block.nbytes:
        raise error_of(Status.DAMAGED, arena.view)
    memory: Any = block
    return decode_bytes(arena, kind, PickleBuffer(memory).raw()[:nbytes])


def decode_small(arena: Arena, message: Message) -> Any:
    """Return the object of a payload that lies in the ring."""
    kind, payload = message.kind, message.payload
    if kind == PAYLOAD_INT:
        return _INT.unpack(payload)[0]
    if kind == PAYLOAD_FLOAT:
        return _FLOAT.unpack(payload)[0]
    if kind in (PAYLOAD_NONE, PAYLOAD_FALSE, PAYLOAD_TRUE):
        return (None, False, True)[kind]
    return decode_bytes(arena, kind, payload)


def message_decode(arena: Arena, message: Message) -> Any:
    """Return the object of a message. Every block becomes part of the object or goes back."""
    kind = message.kind & 0xFF
    try:
        if not message.blocks:
            if kind == PAYLOAD_ARRAY:
                return array_decode(arena.view, message, None)
            return decode_small(arena, message)
        if kind == PAYLOAD_PARTS:
            return decode_parts(arena, message)
        if kind == PAYLOAD_ARRAY or message.kind & PAYLOAD_IN_BLOCK:
            return decode_block(arena, message)
        return decode_small(arena, message)
    finally:
        message_dropped(arena, message)  # handles, which a queue has been made of by now
