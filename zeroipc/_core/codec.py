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
from multiprocessing.reduction import ForkingPickler
from pickle import PickleBuffer, PicklingError
from typing import TYPE_CHECKING, Any

from .arena import block_bytes, block_free, class_pages
from .arena_type import Block, Draft, block_wrap, draft_alloc
from .arrays import array_decode, array_encode, array_is
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
    from .mqueue import Message

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


def parts_finish(draft: Draft, pieces: list[memoryview], data: bytes) -> None:
    """Write the payload: PARTS, PART..., and the pickle if it fits."""
    offsets, total = [], 0
    for piece in pieces:
        offsets.append(total)
        total = align64(total + piece.nbytes)
    inlined = _PARTS.size + len(pieces) * _PART.size + len(data) <= INLINE_MAX
    beyond = b"" if inlined else data
    number = draft_alloc(draft, total + len(beyond), KIND_DATA)
    memory = block_bytes(draft.arena.view, number, total + len(beyond))
    which = len(draft.message.blocks) - 1
    payload = _PARTS.pack(len(pieces), inlined, total, len(data))
    for piece, offset in zip(pieces, offsets, strict=True):
        memory[offset : offset + piece.nbytes] = piece
        payload += _PART.pack(which, piece.readonly, offset, piece.nbytes)
    memory[total:] = beyond
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
    pieces = [buffer.raw() for buffer in buffers]
    try:
        parts_finish(draft, pieces, data)
    finally:
        for piece in pieces:
            piece.release()


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


def draft_sent(draft: Draft) -> None:
    """The message is the queue's now."""
    if draft.loan is not None:
        draft.loan.moved = True
        draft.loan = draft.loan_array = None


def draft_dropped(draft: Draft) -> None:
    """The message was not sent: its blocks go back, a loan stays what it was."""
    view, blocks = draft.arena.view, draft.message.blocks
    if draft.loan is not None and draft.loan.id in blocks:
        blocks.remove(draft.loan.id)
    message_dropped(draft.arena, draft.message)
    if draft.loan is not None:
        view.blocks[draft.loan.id].lender = 0
        draft.loan_array.setflags(write=True)
        draft.loan = draft.loan_array = None


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


def decode_parts(arena: Arena, message: Message, block: Block) -> Any:
    """Return the object of a pickle with buffers; they keep the block."""
    payload = message.payload
    if len(payload) < _PARTS.size:
        raise error_of(Status.DAMAGED, arena.view)
    count, inlined, beyond, nbytes = _PARTS.unpack_from(payload)
    table = _PARTS.size + count * _PART.size
    if count > PARTS_MAX or table + (nbytes if inlined else 0) > len(payload):
        raise error_of(Status.DAMAGED, arena.view)
    memory: Any = block
    whole = PickleBuffer(memory).raw()
    buffers = []
    for index in range(count):
        _, readonly, offset, length = _PART.unpack_from(payload, _PARTS.size + index * _PART.size)
        part = whole[offset : offset + length]
        buffers.append(part.toreadonly() if readonly else part)
    data = payload[table : table + nbytes] if inlined else whole[beyond : beyond + nbytes]
    return pickle.loads(data, buffers=buffers)


def decode_block(arena: Arena, message: Message) -> Any:
    """Return the object of a payload that needs the message's last block, which is ours now."""
    number = message.blocks[-1]
    block = block_wrap(arena, number, class_pages(arena.view.blocks[number].cls) * PAGE)
    message.blocks.pop()
    kind = message.kind & 0xFF
    if kind == PAYLOAD_ARRAY:
        return array_decode(arena.view, message, block)
    if kind == PAYLOAD_PARTS:
        return decode_parts(arena, message, block)
    (nbytes,) = _LENGTH.unpack(message.payload)
    if nbytes > block.nbytes:
        raise error_of(Status.DAMAGED, arena.view)
    return decode_bytes(arena, kind, block_bytes(arena.view, number, nbytes))


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
        if kind in (PAYLOAD_ARRAY, PAYLOAD_PARTS) or message.kind & PAYLOAD_IN_BLOCK:
            return decode_block(arena, message)
        return decode_small(arena, message)
    finally:
        message_dropped(arena, message)  # handles, which a queue has been made of by now
