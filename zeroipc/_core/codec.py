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

from .arrays import array_decode, array_encode, array_is
from .block_type import block_wrap
from .blocks import block_bytes
from .draft import Draft, draft_alloc, message_dropped
from .layout import (
    INLINE_MAX,
    KIND_DATA,
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
from .parts import block_capacity, decode_parts, encode_parts
from .pickling import PROTOCOL, codec_loads, dump_any, unpicklable
from .status import Status, error_of

if TYPE_CHECKING:
    from .arena_type import Arena
    from .ring import Message

PLAIN_ITEMS = 64
PLAIN_DEPTH = 4

_INT = struct.Struct("=q")
_FLOAT = struct.Struct("=d")
_LENGTH = struct.Struct("=Q")
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


def encode_any(draft: Draft, obj: object) -> None:
    """Encode by the pickler that honours registrations, long buffers out of band."""
    buffers: list[PickleBuffer] = []
    outer, sending.draft = sending.draft, draft
    try:
        data = dump_any(obj, buffers)
    finally:
        sending.draft = outer
    if buffers:
        encode_parts(draft, data, buffers)
    else:
        draft_payload(draft, PAYLOAD_PICKLE, data)


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


# --- Decode ---------------------------------------------------------------------------------------


def decode_bytes(arena: Arena, kind: int, data: bytes | bytearray | memoryview) -> Any:
    """Return the object of a payload that is text, bytes or a pickle without buffers."""
    if kind == PAYLOAD_STR:
        return str(data, "utf-8")
    if kind == PAYLOAD_BYTES:
        return bytes(data)
    if kind == PAYLOAD_PICKLE:
        return codec_loads(bytes(data))
    raise error_of(Status.DAMAGED, arena.view)


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
