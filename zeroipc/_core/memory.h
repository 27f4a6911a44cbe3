/* A piece of memory: bytes that processes share for as long as one of them has it.
 *
 * Callers   any; what the bytes mean, and who may write when, is up to them
 * Progress  making and dropping hold A for a bounded time
 * Crash     the bytes stay as they are
 * Bytes     MEMORY in layout.py
 * Source    SPECIFICATION.md, "Memory"
 *
 * A block of a message is one process's at a time, and a fork makes a copy of it; this is what
 * many have, and what a forked child goes on sharing. */
#ifndef ZI_MEMORY_H
#define ZI_MEMORY_H

#include "slots.h"

static inline zi_memory *memory_at(const zi_view *view, uint32_t slot) { return (zi_memory *)&view->queues[slot]; }

static inline unsigned char *memory_bytes(const zi_view *view, uint32_t slot)
{
    zi_memory *memory = memory_at(view, slot);
    return memory->block == ZI_NONE ? memory->bytes : block_bytes(view, memory->block);
}

/* Under A: fill a slot in; `used` last.  The block becomes the slot's after that. */
static inline void memory_fill(zi_view *view, uint32_t slot, uint64_t nbytes, uint32_t block)
{
    zi_memory *memory = memory_at(view, slot);
    memory->generation++;
    memory->handled = 0;
    memory->nbytes = nbytes;
    memory->block = block;
    if (block == ZI_NONE)
        memset(memory->bytes, 0, sizeof memory->bytes);
    else
        view->blocks[block].queue = slot;
    holding_set(view, slot);
    ZI_STORE(memory->used, ZI_ROLE_MEMORY);
    if (block != ZI_NONE) ZI_STORE(view->blocks[block].owner, (uint32_t)ZI_QUEUED);
}

/* Make *nbytes* of memory, all zero, that this process holds. */
static inline zi_status memory_create(zi_view *view, uint64_t nbytes, uint32_t *slot, uint32_t *generation,
                                      uint64_t deadline)
{
    uint32_t block = ZI_NONE;
    slots_reclaim(view, deadline);
    zi_status status = ZI_OK;
    if (nbytes > ZI_MEMORY_INLINE) {
        status = block_alloc(view, nbytes, ZI_KIND_MEMORY, &block, deadline);
        if (status != ZI_OK) return status;
        memset(block_bytes(view, block), 0, nbytes);
    }
    status = arena_lock(view, deadline);
    if (status == ZI_OK) {
        status = slot_take(view, slot);
        if (status == ZI_OK) {
            memory_fill(view, *slot, nbytes, block);
            *generation = memory_at(view, *slot)->generation;
        }
        arena_unlock(view);
    }
    if (status != ZI_OK && block != ZI_NONE) block_free(view, block);
    return status;
}

#endif
