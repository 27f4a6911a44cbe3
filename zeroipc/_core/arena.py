"""The arena: one sparse segment per process tree, with who is attached to it and its blocks.

Callers   any thread of an attached process
Crash     the magic word is stored last: an arena that is half made is none
Bytes     ARENA, PARTICIPANT, BLOCK in layout.py
Source    SPECIFICATION.md, "Arena"; arena.h is the same in C

Here is how it is mapped, made and checked; blocks.py and alloc.py say how its memory is used.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os

from .atomics import Mapping
from .layout import (
    ARENA_MAGIC,
    ARENA_VERSION,
    BLOCKS_OFFSET,
    CLASSES,
    DATA_OFFSET,
    LAYOUT_SUM,
    NONE,
    PAGE,
    PARTICIPANTS_OFFSET,
    QUEUES_OFFSET,
    ROWS_OFFSET,
)
from .mutex import MUTEX_NBYTES, mutex_init
from .owner import owner_start_time
from .records import (
    SharedArena,
    SharedBlock,
    SharedLock,
    SharedMemory,
    SharedParticipant,
    SharedQueue,
    Table,
)
from .status import OK, Status

STEP = 16 << 20
"""Bytes reserved at a time: a signal makes the system start a reservation over."""

_PUNCH_HOLE = 0x02
_KEEP_SIZE = 0x01

_REMOVE = 9
_POPULATE_WRITE = 23
"""Advice of madvise; the second since Linux 5.14."""

_libc = ctypes.CDLL(None, use_errno=True)
_fallocate, _madvise = _libc.fallocate, _libc.madvise
_fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
_madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class View:
    """What this process knows of an arena that it has mapped.

    Attributes:
        me: this process's identity; 0 before it is registered.
    """

    def __init__(self, fd: int, nbytes: int) -> None:
        self.fd = fd
        self.file = os.fstat(fd)
        self.mapping = Mapping(mmap.mmap(fd, nbytes))
        self.bytes = self.mapping.u8
        self.arena = SharedArena(self.mapping, 0)
        self.participants = Table(SharedParticipant, self.mapping, PARTICIPANTS_OFFSET)
        self.queues = Table(SharedQueue, self.mapping, QUEUES_OFFSET)
        self.locks = Table(SharedLock, self.mapping, QUEUES_OFFSET)
        self.memories = Table(SharedMemory, self.mapping, QUEUES_OFFSET)
        self.blocks = Table(SharedBlock, self.mapping, BLOCKS_OFFSET)
        self.me = 0


# --- Mapping ------------------------------------------------------------------------


def view_has_file(view: View) -> bool:
    """Return whether the descriptor is still the arena's.

    A daemon closes all that it does not know, and then this number may be any file of the
    program's.
    """
    try:
        return os.path.samestat(os.fstat(view.fd), view.file)
    except OSError:
        return False


def fallocate(fd: int, mode: int, offset: int, nbytes: int) -> int:
    """Return 0 or the error number of the system call."""
    return 0 if _fallocate(fd, mode, offset, nbytes) == 0 else ctypes.get_errno()


def arena_fallocate(view: View, mode: int, offset: int, nbytes: int) -> int:
    """Call fallocate; for whoever has lost the descriptor, through the mapping."""
    if view_has_file(view):
        return fallocate(view.fd, mode, offset, nbytes)
    advice = _REMOVE if mode else _POPULATE_WRITE
    inside = offset % PAGE
    done = _madvise(view.mapping.address + offset - inside, nbytes + inside, advice)
    return 0 if done == 0 else ctypes.get_errno()


def arena_reserve(view: View, offset: int, nbytes: int) -> Status:
    """Have the system set pages aside, so that touching them cannot fail.

    Pages that are there already stay as they are. The only place that asks for memory.
    """
    done = 0
    while done < nbytes:
        step = min(nbytes - done, STEP)
        error = arena_fallocate(view, 0, offset + done, step)
        if error == 0:
            done += step
        elif error != errno.EINTR:
            return Status.NO_SPACE
    return OK


def arena_punch(view: View, offset: int, nbytes: int) -> None:
    """Give pages back to the system."""
    while arena_fallocate(view, _PUNCH_HOLE | _KEEP_SIZE, offset, nbytes) == errno.EINTR:
        pass


def arena_format(view: View, nbytes: int, limit: int, token: int) -> Status:
    """Lay out a new, zeroed file of *nbytes*; the magic word comes last."""
    status = arena_reserve(view, 0, ROWS_OFFSET)
    if status is not OK:
        return status
    arena = view.arena
    arena.version = ARENA_VERSION
    arena.mutex_nbytes = MUTEX_NBYTES
    arena.layout_sum = LAYOUT_SUM
    arena.token = token
    arena.nbytes = nbytes
    arena.limit = limit
    arena.creator_pid = os.getpid()
    arena.creator_start = owner_start_time(os.getpid())
    arena.frontier = DATA_OFFSET
    for cls in range(CLASSES):
        arena.free_head[cls] = NONE
    mutex_init(arena.lock)
    arena.magic = ARENA_MAGIC
    return OK


def arena_check(view: View, nbytes: int) -> Status:
    """Return whether the mapped bytes are an arena of this very layout. EMPTY: not ready yet."""
    if nbytes < DATA_OFFSET:
        return Status.DAMAGED
    arena = view.arena
    if arena.magic == 0:
        return Status.EMPTY
    found = (arena.magic, arena.version, arena.mutex_nbytes, arena.layout_sum, arena.nbytes)
    wanted = (ARENA_MAGIC, ARENA_VERSION, MUTEX_NBYTES, LAYOUT_SUM, nbytes)
    return OK if found == wanted else Status.DAMAGED


# --- Size classes -------------------------------------------------------------------


def class_of_pages(pages: int) -> int:
    """Return the size class: 4, 8, 12 KB, then 16, 20, 24, 28, 32, 40... at most 1/4 wasted."""
    if pages < 4:
        return pages
    power = pages.bit_length() - 1
    quarters = -(-pages // (1 << (power - 2)))  # 4 to 8; 8 is the next power's 4
    return 4 + (power - 2) * 4 + (quarters - 4)


def class_pages(cls: int) -> int:
    """Return the pages of a block of the class."""
    return cls if cls < 4 else ((cls - 4) % 4 + 4) << ((cls - 4) // 4)


def pages_of(nbytes: int) -> int:
    """Return how many pages hold *nbytes*."""
    return -(-nbytes // PAGE)
