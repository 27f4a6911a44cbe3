"""The type Block of the pure backend: memory of the arena that this process has."""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass
from functools import lru_cache
from mmap import mmap
from typing import TYPE_CHECKING, Any

from .arena import pages_of, view_has_file
from .blocks import block_free, block_unlend
from .layout import PAGE
from .ring import Message

if TYPE_CHECKING:
    from .arena_type import Arena

_PROT_READ_WRITE = 0x3
_MAP_SHARED = 0x01
_MAP_PRIVATE = 0x02
_MAP_FIXED = 0x10
_mmap = ctypes.CDLL(None).mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int),
    *(ctypes.c_int, ctypes.c_int, ctypes.c_long),
]


class Block:
    """Memory of an arena that this process has; it goes back with its last view.

    It is a ctypes array over the mapping, of a class for its length, because an object of
    Python code can export a buffer by itself only since 3.12: memoryviews and NumPy arrays
    over it keep it alive.
    """

    _arena: Arena | None = None
    id: int
    nbytes: int
    identity: int
    address: int
    received: bool
    """Whether it came with a message."""
    message: Message | None = None
    """The one that it goes or went with."""

    @property
    def moved(self) -> bool:
        """Whether the receiver has it; this process only shows it."""
        return self.message is not None and self.message.went

    def __del__(self) -> None:
        arena = self._arena
        if arena is None:
            return
        found = arena.blocks.pop(id(self))
        if found.inherited:
            block_disinherit(arena, found)
        if self.identity != arena.view.me:  # it was inherited through a fork
            return
        if self.moved:
            block_unlend(arena.view, self.id, self.identity)
        else:
            block_free(arena.view, self.id)


@dataclass(slots=True)
class Extent:
    """Where an object shows a block.

    Attributes:
        address, nbytes: its memory.
        number, offset: the block, and where it lies in the arena.
        identity: whose the object is.
        mapped: whether this memory is mapped for it alone.
        inherited: whether it came through a fork: it shows what it was then.
    """

    address: int
    nbytes: int
    number: int
    offset: int
    identity: int
    mapped: bool
    inherited: bool = False


def block_is_inherited(arena: Arena, number: int) -> bool:
    """Return whether there is an object for the block that was inherited through a fork.

    It shows what it was then, in pages of this process's own, where every other block is shared.
    """
    extents = list(arena.blocks.values()) if arena.inherited else ()
    return any(extent.inherited and extent.number == number for extent in extents)


def block_map(arena: Arena, extent: Extent, flags: int) -> None:
    """Map the pages of a block anew, where they are.

    A program that has closed the arena's descriptor keeps what is mapped.
    """
    if not view_has_file(arena.view):
        return
    _mmap(
        *(extent.address, pages_of(extent.nbytes) * PAGE),
        *(_PROT_READ_WRITE, flags | _MAP_FIXED, arena.view.fd, extent.offset),
    )


def block_disinherit(arena: Arena, extent: Extent) -> None:
    """An inherited object goes: where the block lies, it is shared again."""
    arena.inherited -= 1
    if not block_is_inherited(arena, extent.number):
        block_map(arena, extent, _MAP_SHARED)


@lru_cache(maxsize=512)
def _block_class(nbytes: int) -> Any:
    body = {"_type_": ctypes.c_char, "_length_": nbytes, "__module__": __name__}
    return type("Block", (Block, ctypes.Array), body)


def block_wrap(arena: Arena, number: int, nbytes: int) -> Block:
    """Return the block, which frees it when it dies.

    A block that was sent back to a child which still shows what it was at the fork is mapped a
    second time.
    """
    view = arena.view
    offset = view.blocks[number].offset
    kind = _block_class(nbytes)
    mapped = block_is_inherited(arena, number)
    if mapped:
        if not view_has_file(view):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        block: Block = kind.from_buffer(mmap(view.fd, pages_of(nbytes) * PAGE, offset=offset))
    else:
        block = kind.from_buffer(view.mapping.file, offset)
    memory: Any = block
    block.id = number
    block.identity = view.me
    block.nbytes = nbytes
    block.address = ctypes.addressof(memory)
    block.received = False
    extent = Extent(block.address, nbytes, number, offset, view.me, mapped)
    arena.blocks[id(block)] = extent
    block._arena = arena
    return block


def blocks_inherit(arena: Arena) -> None:
    """After a fork, in the child: its objects keep what they show, and its writes stay its own."""
    for extent in arena.blocks.values():
        if extent.nbytes == 0 or extent.identity != arena.view.me:
            continue
        block_map(arena, extent, _MAP_PRIVATE)
        if not extent.mapped:  # else that is its own place
            extent.inherited = True
            arena.inherited += 1
