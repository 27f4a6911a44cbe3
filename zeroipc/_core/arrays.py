"""Plain NumPy arrays as messages: no pickler, one copy in, none out.

An array over a block has an inner array between itself and the block. NumPy makes every view
of it a view of the inner one, so the inner one's reference count tells whether views exist,
whatever else refers to the array itself. An array that covers a block that nothing else shows
is a loan: putting it moves the block, without a copy.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from pickle import PickleBuffer
from typing import Any

from ..errors import MovedError
from .arena import View
from .block_type import Block
from .blocks import block_bytes, block_lend, block_lent_by
from .draft import Draft, draft_alloc
from .layout import (
    ARRAY_HEAD,
    INLINE_MAX,
    KIND_DATA,
    MESSAGE_BLOCKS,
    PAGE,
    PAYLOAD_ARRAY,
    PAYLOAD_LOAN,
)
from .records import struct_of
from .ring import Message
from .status import Status, error_of

MAX_NDIM = 64
INLINE_ARRAY = INLINE_MAX - ARRAY_HEAD.nbytes - 8 * MAX_NDIM

_HEAD = struct_of(ARRAY_HEAD)
_NUMBERS = frozenset("?bBhHiIlLqQefdg")
_COMPLEX = {"Zf": "F", "Zd": "D"}


def array_is(obj: object) -> bool:
    """Return whether *obj* is exactly an ndarray; NumPy is not loaded to find out."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(obj) is getattr(numpy, "ndarray", None)


# --- Loans ------------------------------------------------------------------------------------


def loan_of(array: Any) -> Block | None:
    """Return the block that *array* shows, if it shows a block's memory at all."""
    inner = array.base
    block = inner.base if array_is(inner) else None
    return block if isinstance(block, Block) else None


def references(array: Any) -> tuple[int, int]:
    """Return how many references the inner array and the memory under it have."""
    inner = array.base
    return sys.getrefcount(inner), sys.getrefcount(inner.base)


@cache
def references_alone() -> tuple[int, int]:
    """Return what `references` says of an array that nothing else shows.

    Measured, because what the interpreter itself adds depends on its version.
    """
    import numpy as np

    memory: Any = (ctypes.c_char * 1)()
    array = np.ndarray((1,), "B", memory).view()
    del memory
    return references(array)


def is_alone(array: Any) -> bool:
    """Return whether nothing else shows the memory under the inner array."""
    return array_is(array.base) and references(array) == references_alone()


def loan_may_move(draft: Draft, block: Block, buffer: memoryview) -> bool:
    """Return whether a loan is this process's to give away, and worth it.

    What was received is copied: programs put it into several queues and go on using it. A
    message keeps room for a block of buffers that are copied.
    """
    view = draft.arena.view
    if block._arena is not draft.arena or block.identity != view.me:
        return False
    if block.received or block.message is draft.message:
        return False
    if block_lent_by(view.blocks[block.id], 0) == 0:
        return False
    worth = not buffer.readonly and buffer.nbytes > PAGE
    return worth and len(draft.message.blocks) < MESSAGE_BLOCKS - 1


def loan_move(draft: Draft, array: Any, block: Block) -> None:
    """Move the block: it stays pinned as long as this process shows the array."""
    draft.loans.append((block, array))
    array.setflags(write=False)
    block.message = draft.message
    block_lend(draft.arena.view, block.id)
    draft.message.blocks.append(block.id)


def loan_take(draft: Draft, array: Any, buffer: memoryview) -> int | None:
    """Have the memory that *buffer* of *array* shows move with the message if it is a loan.

    Returns:
        Where the data is in the block, the message's last one now; None: it must be copied.

    Raises:
        MovedError: it has moved before.
    """
    if not array_is(array):
        return None
    alone = is_alone(array)  # asked before this function has references of its own
    block = loan_of(array)
    if block is None:
        return None
    if block.moved:
        raise MovedError("the array was moved: it was put into a queue before")
    if not alone or not loan_may_move(draft, block, buffer):
        return None
    address: int = array.__array_interface__["data"][0]
    loan_move(draft, array, block)
    return address - block.address


# --- Encode -----------------------------------------------------------------------------------


def format_char(text: str) -> str:
    """Return NumPy's type character for a buffer format; "" when it is not a plain number."""
    return text if text in _NUMBERS else _COMPLEX.get(text, "")


def encode_buffer(draft: Draft, array: Any, buffer: memoryview, character: str) -> None:
    """Encode an array of numbers that is contiguous in one order or the other."""
    view, message, nbytes = draft.arena.view, draft.message, buffer.nbytes
    fortran = buffer.ndim > 1 and not buffer.c_contiguous
    offset, data = loan_take(draft, array, buffer), b""
    message.kind = PAYLOAD_ARRAY
    if offset is not None:
        message.kind |= PAYLOAD_LOAN
    elif nbytes <= INLINE_ARRAY:
        data = PickleBuffer(array).raw().tobytes()
    else:
        number = draft_alloc(draft, nbytes, KIND_DATA)
        block_bytes(view, number, nbytes)[:] = PickleBuffer(array).raw()
    shape = buffer.shape or ()
    head = _HEAD.pack(buffer.ndim, fortran, buffer.readonly, character.encode(), offset or 0)
    lengths = b"".join(length.to_bytes(8, sys.byteorder) for length in shape)
    message.payload = head + lengths + data


def array_encode(draft: Draft, array: Any) -> bool:
    """Encode an ndarray of numbers; False: not of this kind, pickle it."""
    try:
        buffer = memoryview(array)
    except (BufferError, ValueError, TypeError):  # dates, objects: NumPy itself refuses
        return False
    with buffer:
        character = format_char(buffer.format)
        if not character or buffer.ndim > MAX_NDIM:
            return False
        if buffer.contiguous:
            encode_buffer(draft, array, buffer, character)
            return True
    import numpy as np

    return array_encode(draft, np.ascontiguousarray(array))


# --- Decode -----------------------------------------------------------------------------------


@cache
def dtype_of(character: str) -> Any:
    """Return NumPy's dtype."""
    import numpy as np

    return np.dtype(character)


def array_decode(view: View, message: Message, block: Block | None) -> Any:
    """Return the array of a message; *block* is its data, or None when that follows the head."""
    payload = message.payload
    if len(payload) < _HEAD.size:
        raise error_of(Status.DAMAGED, view)
    ndim, fortran, readonly, character, offset = _HEAD.unpack_from(payload)
    start = _HEAD.size + 8 * ndim
    if start > len(payload) or ndim > MAX_NDIM:
        raise error_of(Status.DAMAGED, view)
    lengths = memoryview(payload)[_HEAD.size : start].cast("Q").tolist()
    memory: Any = bytearray(payload[start:]) if block is None else block

    import numpy as np

    dtype = dtype_of(character.rstrip(b"\0").decode())
    array: Any = np.ndarray(tuple(lengths), dtype, memory, offset, None, "F" if fortran else "C")
    if block is not None:
        array = array.view()
    if readonly:
        array.setflags(write=False)
    return array


def array_of_bytes(block: Block, offset: int, nbytes: int, readonly: int) -> Any:
    """Return a part of a block that nothing else shows, as an array of bytes.

    NumPy makes the array of a pickle a view of it, so it becomes the inner one of a loan.
    """
    import numpy as np

    memory: Any = block
    found = np.ndarray((nbytes,), "B", memory, offset)
    if readonly:
        found.setflags(write=False)
    return found
