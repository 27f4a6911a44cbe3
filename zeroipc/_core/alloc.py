"""Allocation, and giving memory back: what the arena cannot hold is looked for among free blocks.

ALLOCATE  take a block (blocks.py); if there is no memory for it, trim and try again.
TRIM      1. under A: take free blocks, owner = me. 2. backed = 0, punch the pages out.
          3. under A: claimed = 0; then FREE. Killed anywhere: blocks of a dead owner.
"""

from __future__ import annotations

from .arena import View, arena_punch, class_pages, pages_of
from .blocks import arena_locked, arena_rescan, block_back, block_claim, block_free, block_take
from .layout import CLASSES, NONE, PAGE
from .status import OK, Status

TRIM_BATCH = 64


def trim_take(view: View, keep: int, idle: int, taken: list[int]) -> Status:
    """Under A: take blocks that are free, hold memory and were found free by *idle* trims before.

    Leaves *keep* bytes; takes TRIM_BATCH blocks at most.
    """
    kept = 0
    arena_rescan(view)
    heads = view.arena.free_head
    for cls in range(CLASSES):
        before, number = NONE, heads[cls]
        while number != NONE:
            block = view.blocks[number]
            after, nbytes = block.next, block.claimed * PAGE
            take = nbytes != 0 and block.idle >= idle and kept + nbytes > keep
            if not take or len(taken) == TRIM_BATCH:
                block.idle += block.idle < idle
                kept += nbytes
                before = number
            else:
                if before == NONE:
                    heads[cls] = after
                else:
                    view.blocks[before].next = after
                block.listed = 0
                block_claim(view, block)
                taken.append(number)
            number = after
    return OK


def trim_unclaim(view: View, taken: list[int]) -> Status:
    """Under A: blocks that have been punched out count for nothing."""
    for number in taken:
        view.arena.reserved -= view.blocks[number].claimed * PAGE
        view.blocks[number].claimed = 0
    return OK


def arena_trim(view: View, keep: int, idle: int, deadline: int) -> int:
    """Give memory of free blocks back to the system; return the number of blocks."""
    taken: list[int] = []
    try:
        arena_locked(view, deadline, lambda: trim_take(view, keep, idle, taken))
        for number in taken:
            block = view.blocks[number]
            block.backed = 0
            arena_punch(view, block.offset, class_pages(block.cls) * PAGE)
        if taken:  # without A they go on counting until they are used or trimmed again
            arena_locked(view, deadline, lambda: trim_unclaim(view, taken))
    finally:
        for number in taken:
            block_free(view, number)
    return len(taken)


def block_alloc(view: View, nbytes: int, kind: int, deadline: int) -> tuple[Status, int]:
    """Allocate a block of *nbytes* (0 for a handle).

    OK, NO_MEMORY at the arena's limit, NO_SPACE when the system has none, NO_ENTRY; BUSY: A
    was not free until *deadline*.
    """
    pages = pages_of(nbytes)
    number = NONE

    def take() -> Status:
        nonlocal number
        status, number = block_take(view, pages, kind)
        return status

    while True:
        try:
            status = arena_locked(view, deadline, take)
            if status is OK:
                status = block_back(view, number, pages, deadline)
        except BaseException:
            if number != NONE and view.blocks[number].owner == view.me:
                block_free(view, number)
            raise
        if status not in (Status.NO_MEMORY, Status.NO_SPACE):
            return status, number
        number = NONE
        if arena_trim(view, 0, 0, deadline) == 0:
            return status, NONE
