"""A piece of memory: bytes that processes share for as long as one of them has it.

Callers   any; what the bytes mean, and who may write when, is up to them
Progress  making and dropping hold A for a bounded time
Crash     the bytes stay as they are
Bytes     MEMORY in layout.py
Source    SPECIFICATION.md, "Memory"; memory.h is the same in C

A block of a message is one process's at a time, and a fork makes a copy of it; this is what
many have, and what a forked child goes on sharing.
"""

from __future__ import annotations

from .alloc import block_alloc
from .arena import View
from .blocks import arena_locked, block_bytes, block_free
from .layout import KIND_MEMORY, MEMORY, MEMORY_INLINE, NONE, QUEUED, QUEUES_OFFSET, ROLE_MEMORY
from .participant import holding_set
from .slots import slot_take, slots_reclaim
from .status import OK, Status

_ZEROS = bytes(1 << 20)


def memory_offset(view: View, slot: int) -> int:
    """Return where the bytes lie in the arena."""
    block = view.memories[slot].block
    if block == NONE:
        return QUEUES_OFFSET + slot * MEMORY.nbytes + MEMORY.bytes.offset
    return view.blocks[block].offset


def memory_fill(view: View, slot: int, nbytes: int, block: int) -> None:
    """Under A: fill a slot in; `used` last. The block becomes the slot's after that."""
    memory = view.memories[slot]
    memory.generation = (memory.generation + 1) & 0xFFFFFFFF
    memory.handled = 0
    memory.nbytes = nbytes
    memory.block = block
    if block == NONE:
        memory.bytes[:] = _ZEROS[:MEMORY_INLINE]
    else:
        view.blocks[block].queue = slot
    holding_set(view, slot)
    memory.used = ROLE_MEMORY
    if block != NONE:
        view.blocks[block].owner = QUEUED


def memory_create(view: View, nbytes: int, deadline: int) -> tuple[Status, int, int]:
    """Make *nbytes* of memory, all zero, that this process holds; its slot and generation."""
    slot = generation = NONE

    def work() -> Status:
        nonlocal slot, generation
        status, slot = slot_take(view)
        if status is OK:
            memory_fill(view, slot, nbytes, block)
            generation = view.memories[slot].generation
        return status

    slots_reclaim(view, deadline)
    status, block = OK, NONE
    if nbytes > MEMORY_INLINE:
        status, block = block_alloc(view, nbytes, KIND_MEMORY, deadline)
        if status is not OK:
            return status, NONE, NONE
        clear_bytes(block_bytes(view, block, nbytes))
    status = arena_locked(view, deadline, work)
    if status is not OK and block != NONE:
        block_free(view, block)
    return status, slot, generation


def clear_bytes(memory: memoryview) -> None:
    """Set all bytes to zero."""
    for start in range(0, len(memory), len(_ZEROS)):
        part = memory[start : start + len(_ZEROS)]
        part[:] = _ZEROS[: len(part)]
