"""The slots of an arena: taken, held, and reclaimed when nobody holds them.

A slot holds a queue, a lock or a piece of memory: `used` says which. It is free when no live row
holds it and no handle to it is on its way. A slot that is dropped is only marked (a finalizer must
not lock); the next creation reclaims it.
"""

from __future__ import annotations

from .arena import View, arena_reserve
from .atomics import fence
from .blocks import arena_locked, block_free, slot_mark
from .layout import (
    DIRTY_GROUP,
    FREE,
    KIND_HANDLE,
    NONE,
    PAGE,
    QUEUE,
    QUEUED,
    QUEUES,
    QUEUES_OFFSET,
    ROLE_LOCK,
    ROLE_MEMORY,
    ROLE_QUEUE,
)
from .mqueue import queue_locked
from .mutex import mutex_init
from .participant import holding_any, holding_clear, holding_set
from .status import OK, Status

_USED = (QUEUES_OFFSET + QUEUE.used.offset) // 4
_STRIDE = QUEUE.nbytes // 4
"""Where the words `used` of the slots are: a look at each by itself takes too long."""


def handle_any(view: View, slot: int) -> bool:
    """Under A: whether a handle that names the slot is on its way."""
    if not view.queues[slot].handled:  # most never go through a queue
        return False
    for number in range(view.arena.blocks_used):
        block = view.blocks[number]
        if block.kind == KIND_HANDLE and block.link == slot and block.owner != FREE:
            return True
    return False


def slot_clear(view: View, slot: int) -> None:
    """Under Q and A: free all blocks of a slot that nobody has.

    used = 0 first, so that a death on the way leaves blocks of an unused slot, which
    arena_repair frees.
    """
    role, block = view.queues[slot].used, NONE
    if role == ROLE_MEMORY:
        block = view.memories[slot].block
    if role == ROLE_LOCK:
        block = view.locks[slot].block
    view.queues[slot].used = 0
    view.arena.slots_full = min(view.arena.slots_full, slot)
    if block != NONE:
        block_free(view, block)
    for number in range(view.arena.blocks_used if role == ROLE_QUEUE else 0):
        if view.blocks[number].queue == slot and view.blocks[number].owner == QUEUED:
            block_free(view, number)


def slot_reclaim(view: View, slot: int, deadline: int) -> None:
    """Reclaim one slot if nobody has it; one that is locked for long is left for later."""
    queue = view.queues[slot]

    def clear() -> Status:
        # Rows before handles, under A, without which no row is set: who gave its slot away by a
        # handle and dropped its row had made the handle before.
        if queue.used and not holding_any(view, slot) and not handle_any(view, slot):
            slot_clear(view, slot)
        return OK

    def work() -> Status:
        return arena_locked(view, deadline, clear)

    if not queue.used or holding_any(view, slot):
        return
    if queue_locked(view, slot, deadline, work) is not OK:
        slot_mark(view, slot)


def slots_reclaim(view: View, deadline: int) -> None:
    """Reclaim what nobody has, in the groups that were marked.

    The flags are cleared before the rows are read.
    """
    arena = view.arena
    if not arena.queues_dirty:
        return
    arena.queues_dirty = 0
    fence()
    for first in range(0, arena.queues_used, DIRTY_GROUP):
        if not arena.slots_dirty[first // DIRTY_GROUP]:
            continue
        arena.slots_dirty[first // DIRTY_GROUP] = 0
        fence()
        for slot in range(first, min(first + DIRTY_GROUP, arena.queues_used)):
            slot_reclaim(view, slot, deadline)


def slot_take(view: View) -> tuple[Status, int]:
    """Under A: an unused slot whose mutex is ready. A mutex is made once and never again."""
    arena = view.arena
    first = arena.slots_full
    words = view.mapping.u32[
        _USED + first * _STRIDE : _USED + arena.queues_used * _STRIDE : _STRIDE
    ].tolist()
    slot = first + (words.index(0) if 0 in words else len(words))
    arena.slots_full = slot
    if slot == QUEUES:
        return Status.NO_ENTRY, NONE
    if slot == arena.queues_backed:
        status = arena_reserve(view, QUEUES_OFFSET + slot * QUEUE.nbytes, PAGE)
        if status is not OK:
            return status, NONE
        arena.queues_backed += PAGE // QUEUE.nbytes
    if slot == arena.queues_used:
        mutex_init(view.queues[slot].lock)
        arena.queues_used = slot + 1
    return OK, slot


def slot_hold(view: View, slot: int, role: int, generation: int, deadline: int) -> Status:
    """Hold a slot that a handle or a parent names. STALE: it is gone already.

    Set before it is looked at: from then on it cannot be reclaimed.
    """

    def work() -> Status:
        holding_set(view, slot)
        held = view.queues[slot]
        if view.me and held.used == role and held.generation == generation:
            return OK
        holding_clear(view, slot)
        return Status.STALE

    return arena_locked(view, deadline, work) if slot < view.arena.queues_used else Status.STALE
