"""The type Arena of the pure backend."""

from __future__ import annotations

import os
from collections.abc import Callable

from .alloc import arena_trim
from .arena import View, arena_check, arena_format
from .block_type import Block, Extent, block_wrap, blocks_inherit
from .blocks import arena_locked, patience
from .draft import Draft, draft_alloc
from .layout import FREE, KIND_DATA, QUEUES, ROLE_QUEUE
from .lock import lock_create
from .memory import memory_create
from .mutex import TICK_NS, check_outermost, here
from .orphan import servants
from .participant import (
    holding_set,
    participant_adopt,
    participant_dead,
    participant_identity,
    participant_reserve,
    participant_row,
)
from .registry import queue_create
from .shrink import queues_shrink
from .slots import handle_any
from .status import NO_ROOM, OK, Status, error_of
from .sweep import arena_deregister, arena_register, arena_sweep
from .trimmer import KEEP, Trimmer
from .wait import now
from .waiters import Owed


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
        """Objects of this process, per slot."""
        self.kept = 0
        """Those that may be used until the process is gone."""
        self.owed = Owed()
        self._trimmer = Trimmer(self.view)
        status = arena_format(self.view, nbytes, limit, token) if limit else OK
        if status is OK:
            status = arena_check(self.view, nbytes)
        if status is OK:
            status = arena_register(self.view, patience())
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
        return self._create(lambda: queue_create(self.view, maxsize, noting, named, patience()))

    def create_memory(self, nbytes: int) -> tuple[int, int]:
        """Make *nbytes* of memory, all zero; return its slot and generation.

        Raises:
            ShmFullError: no memory, or no free slot.
            ValueError: *nbytes* is negative.
        """
        check_outermost("create_memory")
        if nbytes < 0:
            raise ValueError(f"nbytes must not be negative: {nbytes}")
        return self._create(lambda: memory_create(self.view, nbytes, patience()))

    def create_lock(self, kind: int, value: int, maxvalue: int) -> tuple[int, int]:
        """Make a lock; return its slot and generation.

        Args:
            kind: LOCK_....
            value: of a semaphore, at first.
            maxvalue: of a semaphore.

        Raises:
            ShmFullError: no memory, or no free slot.
        """
        check_outermost("create_lock")
        return self._create(lambda: lock_create(self.view, kind, value, maxvalue, patience()))

    def _create(self, create: Callable[[], tuple[Status, int, int]]) -> tuple[int, int]:
        status, slot, generation = create()
        # A sweep, which nobody may have been idle enough to do, may give something back.
        if status in NO_ROOM and arena_sweep(self.view, now() + TICK_NS):
            status, slot, generation = create()
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
        number = draft_alloc(Draft(self, 0, patience()), nbytes or 1, KIND_DATA)
        return block_wrap(self, number, nbytes)

    def sweep(self) -> int:
        """Return what dead processes held; how many were dead."""
        check_outermost("sweep")
        return arena_sweep(self.view, now() + 10 * TICK_NS)

    def trim(self, keep: int) -> int:
        """Give free memory beyond *keep* bytes back to the system; return how many blocks."""
        check_outermost("trim")
        count, deadline = 0, now() + 10 * TICK_NS
        while once := arena_trim(self.view, keep, 0, deadline):
            count += once
        return count

    def shrink(self) -> int:
        """Shrink the rings of empty queues; return how many there were."""
        check_outermost("shrink")
        return queues_shrink(self.view)

    def deregister(self) -> None:
        """Leave the arena, unless something of it is still in use here."""
        check_outermost("deregister")
        self._trimmer.end()
        if not self.blocks and not self.kept:  # else a sweep, when they cannot be used any more
            arena_deregister(self.view)

    def before_fork(self) -> None:
        """Reserve the child's entry, and mark every block that it will see."""
        view = self.view
        self.child = 0
        if view.me == 0 or here.held:  # in a signal handler the child has to register anew
            return
        self.child = participant_reserve(view, patience())
        for extent in list(self.blocks.values()):
            block = view.blocks[extent.number]
            if extent.identity == view.me and block.inherited_from == 0:
                block.inherited_from = view.arena.fork_clock

    def after_fork(self) -> None:
        """In the child: its views keep what they show, and its writes stay its own."""
        view = self.view
        self.parent = os.getppid()
        servants.clear()
        self.owed.bits = 0  # the parent's
        self._trimmer = Trimmer(view)
        if view.me == 0:
            return
        blocks_inherit(self)
        status = participant_adopt(view, self.child, patience())
        if status is Status.NO_ENTRY:
            status = arena_register(view, patience())
        if status is not OK:
            raise error_of(status, view)
        for slot in range(view.arena.queues_used):
            if self.holds[slot]:
                holding_set(view, slot)

    def holders(self, slot: int) -> list[int]:
        """Return the ids of the other processes that hold a slot; 0: a handle on its way."""
        check_outermost("holders")
        view = self.view
        self._check_slot(slot)
        flying = False

        def work() -> Status:
            nonlocal flying
            flying = handle_any(view, slot)
            return OK

        arena_locked(view, patience(), work)
        found = [0] if flying else []
        for index in range(view.arena.participants_used):
            pid = view.participants[index].pid
            other = pid != 0 and participant_identity(view, index) != view.me
            if other and participant_row(view, index)[slot] and not participant_dead(view, index):
                found.append(pid)
        return found

    def held(self, slot: int) -> int:
        """Return how many objects of this process hold a slot."""
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
            "queues": sum(view.queues[i].used == ROLE_QUEUE for i in range(arena.queues_used)),
            "participants": sum(
                view.participants[i].pid != 0 for i in range(arena.participants_used)
            ),
        }

    def _check_slot(self, slot: int) -> None:
        if not 0 <= slot < self.view.arena.queues_used:
            raise ValueError(f"there is no such slot: slot={slot}")
