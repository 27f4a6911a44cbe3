"""Blocks: pages of the arena that somebody has, and the arena lock A, which guards their lists.

Callers   any thread of an attached process
Progress  taking a block holds A for a bounded time; freeing takes no lock
Crash     owner words are the truth; free lists and sums are derived from them and are
          rebuilt by the next taker of A after a holder died
Bytes     ARENA, BLOCK in layout.py
Source    SPECIFICATION.md, "Blocks"; blocks.h is the same in C

TAKE      1. under A: take a free block of the class, or carve a new one, and store
             owner = me. Killed before: the block is free. After: the sweep frees it.
          2. without a lock: have the system reserve its pages, then store `backed`.
FREE      1. store owner = FREE. Killed before: the sweep frees it.
          2. store the group's dirty byte, then `dirty`. Killed between: the block is
             found by the next rebuild; a sweep after any death marks all groups.
"""

from __future__ import annotations

from collections.abc import Callable

from .arena import View, arena_punch, arena_reserve, class_of_pages, class_pages
from .atomics import fence, release
from .layout import (
    ARENA,
    BLOCK,
    BLOCKS,
    BLOCKS_OFFSET,
    CLASSES,
    DATA_OFFSET,
    DIRTY_GROUP,
    FREE,
    KIND_HANDLE,
    NONE,
    PAGE,
    QUEUED,
    QUEUES,
)
from .mutex import under
from .records import SharedBlock
from .status import OK, Status
from .wait import EVERYBODY, now, wait_wake

FIND_LOOK = 8
LOCK_PATIENCE_NS = 60_000_000_000
"""Of calls that have no time-out."""

_SPACE_SEQ = ARENA.space_seq


def block_bytes(view: View, number: int, nbytes: int) -> memoryview:
    """Return the first *nbytes* of a block."""
    offset = view.blocks[number].offset
    return view.bytes[offset : offset + nbytes]


# --- The arena lock, and what is derived ----------------------------------------------


def block_list(view: View, number: int) -> None:
    """Under A: put a free block at the head of its list."""
    block = view.blocks[number]
    heads = view.arena.free_head
    block.next = heads[block.cls]
    heads[block.cls] = number
    block.listed = 1


def arena_mark_all(view: View) -> None:
    """Under A: have all groups looked at; frees that were cut short are found so."""
    for group in range(-(-view.arena.blocks_used // DIRTY_GROUP)):
        view.arena.group_dirty[group] = 1
    view.arena.dirty = 1


def slot_mark(view: View, slot: int) -> None:
    """Have a slot looked at: nobody may have it any more. The group first, as for blocks."""
    view.arena.slots_dirty[slot // DIRTY_GROUP] = 1
    view.arena.queues_dirty = 1


def slots_mark_all(view: View) -> None:
    """Have all slots looked at."""
    for slot in range(0, view.arena.queues_used, DIRTY_GROUP):
        slot_mark(view, slot)


def arena_repair(view: View) -> None:
    """Under A, after its holder died: make the derived data again.

    Also frees the blocks of a slot whose reclaim was cut short, and has everything looked
    at that was to be marked.
    """
    arena = view.arena
    for cls in range(CLASSES):
        arena.free_head[cls] = NONE
    arena.frontier = DATA_OFFSET
    arena.reserved = 0
    for number in range(arena.blocks_used):
        block = view.blocks[number]
        block.listed = 0
        arena.frontier = block.offset + class_pages(block.cls) * PAGE
        arena.reserved += block.claimed * PAGE
        if block.owner == QUEUED and not view.queues[block.queue].used:
            block.owner = FREE
    arena.slots_full = 0
    arena_mark_all(view)
    slots_mark_all(view)


def arena_locked(view: View, deadline: int, work: Callable[[], Status]) -> Status:
    """Run *work* under A, waiting for it until *deadline*; 0: only if it is free.

    BUSY: its holder is stopped, or slow.
    """
    return under(view.arena.lock, deadline, lambda: arena_repair(view), work)


# --- Fork: blocks that children still see ----------------------------------------------


def patience() -> int:
    """Return until when a call that has no time-out waits for a lock."""
    return now() + LOCK_PATIENCE_NS


def block_inherited(view: View, block: SharedBlock) -> bool:
    """Under A: whether a child that was forked while the block was in view may still run.

    Conservative: any live process of the arena counts that was forked in that span or descends
    from one that was.
    """
    if block.inherited_from == 0:
        return False
    if block.inherited_until == 0:
        block.inherited_until = view.arena.fork_clock
    for index in range(view.arena.participants_used):
        heir = view.participants[index]
        if (
            heir.pid != 0
            and heir.born >= block.inherited_from
            and heir.elder <= block.inherited_until
        ):
            return True
    block.inherited_from = block.inherited_until = 0
    return False


# --- Loans: blocks that their senders still show ------------------------------------------


def block_lent_by(block: SharedBlock, who: int) -> int:
    """Return how many of a block's two lender words say *who*; 0: nobody."""
    return (block.lender == who) + (block.lender2 == who)


def block_lend(view: View, number: int) -> None:
    """Pin a block for its owner, this process, which is about to give it away.

    A word that says nobody is changed by the owner alone, and one that says somebody by that
    one.
    """
    block = view.blocks[number]
    if block.lender == 0:
        block.lender = view.me
    else:
        block.lender2 = view.me


# --- Blocks -----------------------------------------------------------------------------


def group_rescan(view: View, group: int) -> None:
    """Under A: list the blocks of a group that were freed since it was last looked at.

    Those that a child may still see are looked at again when a participant is gone.
    """
    arena = view.arena
    first = group * DIRTY_GROUP
    for number in range(first, min(first + DIRTY_GROUP, arena.blocks_used)):
        block = view.blocks[number]
        if block.owner != FREE or block_lent_by(block, 0) < 2 or block.listed:
            continue
        if not block_inherited(view, block):
            block_list(view, number)


def arena_rescan(view: View) -> None:
    """Under A: list what was freed.

    The flags are cleared before the owners are read: a free that is missed here has yet to
    set its flags.
    """
    arena = view.arena
    if not arena.dirty:
        return
    arena.dirty = 0
    fence()
    for group in range(-(-arena.blocks_used // DIRTY_GROUP)):
        if not arena.group_dirty[group]:
            continue
        arena.group_dirty[group] = 0
        fence()
        group_rescan(view, group)


def block_carve(view: View, cls: int) -> tuple[Status, int]:
    """Under A: one more free block of *cls* at the frontier."""
    arena = view.arena
    nbytes = class_pages(cls) * PAGE
    if arena.blocks_used == BLOCKS:
        return Status.NO_ENTRY, NONE
    if nbytes > arena.nbytes - arena.frontier:
        return Status.NO_MEMORY, NONE
    if arena.blocks_used == arena.blocks_backed:
        more = 16 * PAGE // BLOCK.nbytes
        status = arena_reserve(
            view, BLOCKS_OFFSET + arena.blocks_backed * BLOCK.nbytes, more * BLOCK.nbytes
        )
        if status is not OK:
            return status, NONE
        arena.blocks_backed += more
    number = arena.blocks_used
    block = view.blocks[number]
    block.clear()
    block.cls = cls
    block.offset = arena.frontier
    arena.frontier += nbytes
    arena.blocks_used += 1
    return OK, number


def block_find(view: View, cls: int) -> tuple[Status, int]:
    """Under A: a free block of *cls*, else a new one.

    Among the first few, one that this process wrote last: for another the first write to
    each page costs a fault, and each line must come from the other CPU.
    """
    heads = view.arena.free_head
    if heads[cls] == NONE or view.blocks[heads[cls]].writer != view.me:
        arena_rescan(view)
    before, number = NONE, heads[cls]
    for _ in range(FIND_LOOK):
        if number == NONE or view.blocks[number].writer == view.me:
            break
        before, number = number, view.blocks[number].next
    if number == NONE or view.blocks[number].writer != view.me:
        before, number = NONE, heads[cls]
    if number == NONE:
        return block_carve(view, cls)
    block = view.blocks[number]
    if before == NONE:
        heads[cls] = block.next
    else:
        view.blocks[before].next = block.next
    block.listed = 0
    return OK, number


def block_claim(view: View, block: SharedBlock) -> None:
    """Under A: make a free block ours.

    It is in no queue before it is anybody's: a number that an earlier use left would let the
    sweep take it for an item of that queue.
    """
    block.queue = block.item = block.link = NONE
    block.owner = view.me


def block_take(view: View, pages: int, kind: int) -> tuple[Status, int]:
    """Under A: take a block of *pages* and account for its memory."""
    arena = view.arena
    cls = class_of_pages(pages)
    if cls >= CLASSES:
        return Status.NO_MEMORY, NONE
    status, number = block_find(view, cls)
    if status is not OK:
        return status, NONE
    block = view.blocks[number]
    if pages > block.claimed:
        more = (pages - block.claimed) * PAGE
        if arena.reserved + more > arena.limit:
            block_list(view, number)
            return Status.NO_MEMORY, NONE
        arena.reserved += more
        block.claimed = pages
    block.kind = kind
    block.idle = 0
    block.writer = view.me
    block_claim(view, block)
    return OK, number


def block_mark_freed(view: View, number: int) -> None:
    """Have the allocator look at a block. Takes no lock and may run at any moment."""
    arena = view.arena
    release()
    arena.group_dirty[number // DIRTY_GROUP] = 1
    arena.dirty = 1
    if arena.space_waiters != 0:
        arena.space_seq = (arena.space_seq + 1) & 0xFFFFFFFF
        wait_wake(arena.address(_SPACE_SEQ), EVERYBODY)


def block_free(view: View, number: int) -> None:
    """Free a block. Takes no lock and may run at any moment, in a finalizer too."""
    block = view.blocks[number]
    named = block.link if block.kind == KIND_HANDLE else NONE
    block.owner = FREE
    block_mark_freed(view, number)
    if named < QUEUES:
        slot_mark(view, named)


def block_unlend(view: View, number: int, who: int) -> None:
    """Say that *who* does not show the block any more."""
    block = view.blocks[number]
    if block.lender == who:
        block.lender = 0
    elif block.lender2 == who:
        block.lender2 = 0
    block_mark_freed(view, number)


def block_back(view: View, number: int, pages: int, deadline: int) -> Status:
    """Make the block's pages certain; gives the block back when the system has none."""
    block = view.blocks[number]
    if block.backed >= pages:
        return OK
    begun = block.backed * PAGE
    status = arena_reserve(view, block.offset + begun, pages * PAGE - begun)
    if status is OK:
        block.backed = pages
        return OK
    # The steps before the failing one.
    arena_punch(view, block.offset + begun, class_pages(block.cls) * PAGE - begun)

    def unclaim() -> Status:
        view.arena.reserved -= (block.claimed - block.backed) * PAGE
        block.claimed = block.backed
        return OK

    arena_locked(view, deadline, unclaim)
    block_free(view, number)
    return status
