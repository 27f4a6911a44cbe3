/* The slots of an arena: taken, held, and reclaimed when nobody holds them.
 *
 * A slot holds a queue, a lock or a piece of memory: `used` says which.  It is free when no
 * live row holds it and no handle to it is on its way.  A slot that is dropped is only marked
 * (a finalizer must not lock); the next creation reclaims it. */
#ifndef ZI_SLOTS_H
#define ZI_SLOTS_H

#include "sweep.h"

/* Under A: whether a handle that names the slot is on its way. */
static inline int handle_any(const zi_view *view, uint32_t slot)
{
    if (!ZI_LOAD(view->queues[slot].handled)) return 0; /* most never go through a queue */
    for (uint32_t id = 0; id < view->arena->blocks_used; id++) {
        const zi_block *block = &view->blocks[id];
        if (block->kind == ZI_KIND_HANDLE && block->link == slot && ZI_LOAD(block->owner) != ZI_FREE)
            return 1;
    }
    return 0;
}

/* Under Q and A: free all blocks of a slot that nobody has; used = 0 first, so that a
 * death on the way leaves blocks of an unused slot, which arena_repair frees. */
static inline void slot_clear(zi_view *view, uint32_t slot)
{
    uint32_t role = view->queues[slot].used, block = ZI_NONE;
    if (role == ZI_ROLE_MEMORY) block = ((zi_memory *)&view->queues[slot])->block;
    if (role == ZI_ROLE_LOCK) block = ((zi_lock *)&view->queues[slot])->block;
    ZI_STORE(view->queues[slot].used, 0);
    ZI_POINT("reclaim.cleared");
    if (slot < view->arena->slots_full) view->arena->slots_full = slot;
    if (block != ZI_NONE) block_free(view, block);
    for (uint32_t id = 0; role == ZI_ROLE_QUEUE && id < view->arena->blocks_used; id++)
        if (view->blocks[id].queue == slot && ZI_LOAD(view->blocks[id].owner) == ZI_QUEUED) block_free(view, id);
}

/* Reclaim one slot if nobody has it; one that is locked for long is left for later. */
static inline void slot_reclaim(zi_view *view, uint32_t slot, uint64_t deadline)
{
    if (!ZI_LOAD(view->queues[slot].used) || holding_any(view, slot)) return;
    if (queue_lock(view, slot, deadline) != ZI_OK) {
        slot_mark(view, slot);
        return;
    }
    if (arena_lock(view, deadline) == ZI_OK) {
        /* Rows before handles, under A, without which no row is set: who gave its slot away
         * by a handle and dropped its row had made the handle before. */
        if (view->queues[slot].used && !holding_any(view, slot) && !handle_any(view, slot))
            slot_clear(view, slot);
        arena_unlock(view);
    } else {
        slot_mark(view, slot);
    }
    queue_unlock(view, slot);
}

/* Reclaim what nobody has, in the groups that were marked.  The flags are cleared before the
 * rows are read. */
static inline void slots_reclaim(zi_view *view, uint64_t deadline)
{
    if (!ZI_LOAD(view->arena->queues_dirty)) return;
    ZI_STORE(view->arena->queues_dirty, 0);
    zi_fence();
    uint32_t used = ZI_LOAD(view->arena->queues_used);
    for (uint32_t group = 0; group * ZI_DIRTY_GROUP < used; group++) {
        if (!ZI_LOAD(view->arena->slots_dirty[group])) continue;
        ZI_STORE(view->arena->slots_dirty[group], 0);
        zi_fence();
        uint32_t first = group * ZI_DIRTY_GROUP, end = first + ZI_DIRTY_GROUP < used ? first + ZI_DIRTY_GROUP : used;
        for (uint32_t slot = first; slot < end; slot++) slot_reclaim(view, slot, deadline);
    }
}

/* Under A: an unused slot whose mutex is ready.  A mutex is made once and never again. */
static inline zi_status slot_take(zi_view *view, uint32_t *found)
{
    zi_arena *arena = view->arena;
    uint32_t slot = arena->slots_full;
    while (slot < arena->queues_used && view->queues[slot].used) slot++;
    arena->slots_full = slot;
    if (slot == ZI_QUEUES) return ZI_NO_ENTRY;
    if (slot == arena->queues_backed) {
        uint32_t more = ZI_PAGE / sizeof(zi_queue);
        zi_status status = arena_reserve(view, ZI_QUEUES_OFFSET + (uint64_t)slot * sizeof(zi_queue), ZI_PAGE);
        if (status != ZI_OK) return status;
        arena->queues_backed += more;
    }
    if (slot == arena->queues_used) {
        mutex_init(&view->queues[slot].lock);
        ZI_STORE(arena->queues_used, slot + 1);
    }
    *found = slot;
    return ZI_OK;
}

/* Hold a slot that a handle or a parent names.  Set before it is looked at: from then on it
 * cannot be reclaimed.  ZI_STALE: it is gone already. */
static inline zi_status slot_hold(zi_view *view, uint32_t slot, uint32_t role, uint32_t generation, uint64_t deadline)
{
    if (slot >= ZI_LOAD(view->arena->queues_used)) return ZI_STALE;
    zi_status status = arena_lock(view, deadline);
    if (status != ZI_OK) return status;
    const zi_queue *held = &view->queues[slot];
    holding_set(view, slot);
    if (!view->me || held->used != role || held->generation != generation) {
        holding_clear(view, slot);
        status = ZI_STALE;
    }
    arena_unlock(view);
    return status;
}

#endif
