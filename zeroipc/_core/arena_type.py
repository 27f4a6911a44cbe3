"""The types Arena and Block of the pure backend, and the draft of a message."""

from __future__ import annotations

import ctypes
import os
import threading
from dataclasses import dataclass
from functools import lru_cache
from mmap import mmap
from typing import Any

from ..errors import ShmFullError
from .alloc import arena_trim, block_alloc
from .arena import View, arena_check, arena_format, pages_of
from .blocks import arena_locked, block_free, block_unlend
from .layout import FREE, KIND_DATA, MESSAGE_BLOCKS, PAGE, QUEUES
from .mutex import check_outermost, here
from .orphan import servants
from .participant import (
    holding_set,
    participant_adopt,
    participant_dead,
    participant_identity,
    participant_reserve,
    participant_row,
)
from .registry import handle_any, queue_create
from .ring import Message
from .shrink import queues_shrink
from .status import NO_ROOM, OK, Status, error_of
from .sweep import arena_await_space, arena_deregister, arena_register, arena_sweep
from .wait import now

KEEP = 24 << 20
"""Free bytes that stay warm when all is idle."""
IDLE_MAX = 32 << 20
"""Reserved bytes from which on the trimmer stays."""
TRIM_PERIOD = 0.5
TRIM_IDLE = 2
TRIM_PATIENCE = 4

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


# --- Trimmer: a thread that exists while there may be idle memory to give back -------------


class Trimmer:
    """Gives the idle memory of an arena back."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread unless it runs."""
        if self._thread is None and not self._stop.is_set():
            self._thread = threading.Thread(target=self._run, name="zeroipc-trim", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter is shutting down
                self._thread = None

    def end(self) -> None:
        """Stop the thread for good."""
        self._stop.set()
        if self._thread not in (None, threading.current_thread()):
            self._thread.join()

    def _run(self) -> None:
        servants.add(threading.get_ident())
        quiet = 0
        while quiet < TRIM_PATIENCE and not self._stop.wait(TRIM_PERIOD):
            count = queues_shrink(self._view)
            while not self._stop.is_set():
                once = arena_trim(self._view, KEEP, TRIM_IDLE)
                count += once
                if once == 0:
                    break
            quiet = 0 if count or self._view.arena.reserved > IDLE_MAX else quiet + 1
        servants.discard(threading.get_ident())
        self._thread = None


# --- Block: memory of the arena that this process has ------------------------------------


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
    """Map the pages of a block anew, where they are."""
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


# --- Draft: a message in the making, and what to undo when it is not sent -------------------


class Draft:
    """A message that is being made.

    Attributes:
        message: what will be sent.
        deadline: until when to wait for memory.
        keeps_received: whether only what `allocate` gave may move.
        too_large: whether no room can ever be found for it.
        loans: blocks that move when it is sent, and the arrays that show them here.
    """

    def __init__(self, arena: Arena, deadline: int, keeps_received: bool = False) -> None:
        self.arena = arena
        self.deadline = deadline
        self.keeps_received = keeps_received
        self.message = Message()
        self.too_large = False
        self.loans: list[tuple[Block, Any]] = []


def never_fits(view: View, nbytes: int) -> bool:
    """A message that needs all but the last sixteenth would starve the rings themselves."""
    return nbytes > view.arena.limit - view.arena.limit // 16


def no_room(draft: Draft, status: Status, nbytes: int) -> ShmFullError:
    """Return the error of an allocation that failed."""
    arena = draft.arena.view.arena
    limit, reserved = arena.limit, arena.reserved
    if draft.too_large:
        text = (
            f"a message must be smaller than the arena by a sixteenth: asked={nbytes} bytes, "
            f"limit={limit}; send it in parts"
        )
    elif status is Status.NO_SPACE:
        text = (
            f"no memory is left in /dev/shm: asked={nbytes} bytes, the arena has reserved "
            f"{reserved}; remove files there, or mount it larger"
        )
    else:
        text = (
            f"the arena is full: asked={nbytes} bytes, limit={limit}, reserved={reserved}; "
            "receive or drop arrays that are in use"
        )
    return ShmFullError(text, nbytes, max(limit - reserved, 0))


def draft_alloc(draft: Draft, nbytes: int, kind: int) -> int:
    """Allocate for a message, waiting for memory until the draft's deadline.

    Raises:
        ShmFullError: there was none in time.
        ValueError: the message has MESSAGE_BLOCKS blocks already.
    """
    view, blocks = draft.arena.view, draft.message.blocks
    if len(blocks) == MESSAGE_BLOCKS:
        raise ValueError(f"a message carries at most {MESSAGE_BLOCKS} blocks")
    status, number = block_alloc(view, nbytes, kind)
    if status in (Status.NO_MEMORY, Status.NO_SPACE) and arena_sweep(view):
        status, number = block_alloc(view, nbytes, kind)  # nobody may have been idle enough
    while status in NO_ROOM:
        draft.too_large = never_fits(view, nbytes)
        if draft.too_large or now() >= draft.deadline:
            break
        arena_await_space(view, draft.deadline)
        status, number = block_alloc(view, nbytes, kind)
    if status is OK:
        blocks.append(number)
        draft.arena.idle()
        return number
    if status in (Status.NO_MEMORY, Status.NO_SPACE):
        raise no_room(draft, status, nbytes)
    raise error_of(status, view)


# --- Arena ------------------------------------------------------------------------------------


class Arena:
    """An arena that this process has mapped, and is registered in.

    Args:
        fd: the file; must stay open.
        nbytes: its size.
        limit: most bytes that blocks may reserve; makes a new arena. 0: attach.
        token: random number of a new arena.

    Raises:
        SegmentFormatError: the file is not an arena of this layout.
        ShmFullError: no memory for its tables, or no free entry.
    """

    def __init__(self, fd: int, nbytes: int, limit: int = 0, token: int = 0) -> None:
        self.view = View(fd, nbytes)
        self.blocks: dict[int, Extent] = {}
        """What shows blocks here, by id()."""
        self.inherited = 0
        """How many of them are."""
        self.parent = os.getppid()
        self.child = 0
        """Identity reserved for a child about to be forked."""
        self.holds = [0] * QUEUES
        """Queue objects of this process, per slot."""
        self._trimmer = Trimmer(self.view)
        status = arena_format(self.view, nbytes, limit, token) if limit else OK
        if status is OK:
            status = arena_check(self.view, nbytes)
        if status is OK:
            status = arena_register(self.view)
        if status is not OK:
            raise error_of(status, self.view)

    def __del__(self) -> None:
        if "_trimmer" in self.__dict__ and not here.held:
            self._trimmer.end()
            arena_deregister(self.view)

    @property
    def identity(self) -> int:
        """This process's identity in the arena; 0: none."""
        return self.view.me

    @property
    def limit(self) -> int:
        """Most bytes that blocks may reserve."""
        return self.view.arena.limit

    @property
    def token(self) -> int:
        """Random number that tells arenas of one name apart."""
        return self.view.arena.token

    def idle(self, more: bool = False) -> None:
        """Start the trimmer if memory may lie idle; *more*: it does in a ring."""
        if more or self.view.arena.reserved > KEEP:
            self._trimmer.start()

    def create_queue(self, maxsize: int, noting: int, named: bool) -> tuple[int, int]:
        """Make a queue; return its slot and generation.

        Args:
            maxsize: most items; 0: no bound.
            noting: NOTE_NOTHING, NOTE_TASKS or NOTE_CLAIMS.
            named: whether strangers may find it by a name.

        Raises:
            ShmFullError: no memory, or no free slot.
        """
        check_outermost("create_queue")
        status, slot, generation = queue_create(self.view, maxsize, noting, named)
        if status is not OK:
            raise error_of(status, self.view)
        return slot, generation

    def allocate(self, nbytes: int) -> Block:
        """Return a block of *nbytes*.

        Raises:
            ShmFullError: no memory.
            ValueError: *nbytes* is negative.
        """
        check_outermost("allocate")
        if nbytes < 0:
            raise ValueError(f"nbytes must not be negative: {nbytes}")
        number = draft_alloc(Draft(self, 0), nbytes or 1, KIND_DATA)
        return block_wrap(self, number, nbytes)

    def sweep(self) -> int:
        """Return what dead processes held; how many were dead."""
        check_outermost("sweep")
        return arena_sweep(self.view)

    def trim(self, keep: int) -> int:
        """Give free memory beyond *keep* bytes back to the system; return how many blocks."""
        check_outermost("trim")
        count = 0
        while once := arena_trim(self.view, keep, 0):
            count += once
        return count

    def shrink(self) -> int:
        """Shrink the rings of empty queues; return how many there were."""
        check_outermost("shrink")
        return queues_shrink(self.view)

    def deregister(self) -> None:
        """Leave the arena, unless arrays of it are still in use here."""
        check_outermost("deregister")
        self._trimmer.end()
        if not self.blocks:  # else a sweep, when views cannot be used any more
            arena_deregister(self.view)

    def before_fork(self) -> None:
        """Reserve the child's entry, and mark every block that it will see."""
        view = self.view
        self.child = 0
        if view.me == 0 or here.held:  # in a signal handler the child has to register anew
            return
        self.child = participant_reserve(view)
        for extent in list(self.blocks.values()):
            block = view.blocks[extent.number]
            if extent.identity == view.me and block.inherited_from == 0:
                block.inherited_from = view.arena.fork_clock

    def after_fork(self) -> None:
        """In the child: its views keep what they show, and its writes stay its own."""
        view = self.view
        self.parent = os.getppid()
        servants.clear()
        self._trimmer = Trimmer(view)
        if view.me == 0:
            return
        for extent in self.blocks.values():
            if extent.nbytes == 0 or extent.identity != view.me:
                continue
            block_map(self, extent, _MAP_PRIVATE)
            if not extent.mapped:  # else that is its own place
                extent.inherited = True
                self.inherited += 1
        status = participant_adopt(view, self.child)
        if status is Status.NO_ENTRY:
            status = arena_register(view)
        if status is not OK:
            raise error_of(status, view)
        for slot in range(view.arena.queues_used):
            if self.holds[slot]:
                holding_set(view, slot)

    def holders(self, slot: int) -> list[int]:
        """Return the ids of the other processes that hold a queue; 0: a handle on its way."""
        check_outermost("holders")
        view = self.view
        self._check_slot(slot)
        flying = False

        def work() -> Status:
            nonlocal flying
            flying = handle_any(view, slot)
            return OK

        arena_locked(view, work)
        found = [0] if flying else []
        for index in range(view.arena.participants_used):
            pid = view.participants[index].pid
            other = pid != 0 and participant_identity(view, index) != view.me
            if other and participant_row(view, index)[slot] and not participant_dead(view, index):
                found.append(pid)
        return found

    def held(self, slot: int) -> int:
        """Return how many objects of this process hold a queue."""
        self._check_slot(slot)
        return self.holds[slot]

    def stats(self) -> dict[str, int]:
        """Return figures of the arena, true at some moment."""
        view, arena = self.view, self.view.arena
        used = arena.blocks_used
        return {
            "reserved": arena.reserved,
            "limit": arena.limit,
            "blocks": used,
            "blocks_live": sum(view.blocks[i].owner != FREE for i in range(used)),
            "queues": sum(view.queues[i].used != 0 for i in range(arena.queues_used)),
            "participants": sum(
                view.participants[i].pid != 0 for i in range(arena.participants_used)
            ),
        }

    def _check_slot(self, slot: int) -> None:
        if not 0 <= slot < self.view.arena.queues_used:
            raise ValueError(f"there is no such queue: slot={slot}")
