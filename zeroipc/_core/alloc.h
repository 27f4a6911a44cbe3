/* Allocation, and giving memory back: what the arena cannot hold is looked for among free blocks.
 *
 * ALLOCATE  take a block (blocks.h); if there is no memory for it, trim and try again.
 * TRIM      1. under A: take free blocks, owner = me.  2. backed = 0, punch the pages out.
 *           3. under A: claimed = 0; then FREE.  Killed anywhere: blocks of a dead owner. */
#ifndef ZI_ALLOC_H
#define ZI_ALLOC_H

#include "blocks.h"

enum { ZI_TRIM_BATCH = 64 };

/* Under A: take blocks that are free, hold memory and were found free by *idle* trims
 * before, leaving *keep* bytes.  Returns how many were taken. */
static inline uint32_t trim_take(zi_view *view, uint64_t keep, uint32_t idle, uint32_t *taken)
{
    zi_arena *arena = view->arena;
    uint32_t count = 0;
    uint64_t kept = 0;
    arena_rescan(view);
    for (int cls = 0; cls < ZI_CLASSES; cls++) {
        uint32_t id = arena->free_head[cls], *link = &arena->free_head[cls];
        for (; id != ZI_NONE; id = view->blocks[id].next) {
            zi_block *block = &view->blocks[id];
            uint64_t nbytes = (uint64_t)block->claimed * ZI_PAGE;
            int take = nbytes != 0 && block->idle >= idle && kept + nbytes > keep;
            if (!take || count == ZI_TRIM_BATCH) {
                block->idle += block->idle < idle;
                kept += nbytes;
                link = &block->next;
                continue;
            }
            *link = block->next;
            block->listed = 0;
            block_claim(view, block);
            taken[count++] = id;
        }
    }
    return count;
}

/* Give memory of free blocks back to the system.  Returns the number of blocks. */
static inline uint32_t arena_trim(zi_view *view, uint64_t keep, uint32_t idle, uint64_t deadline)
{
    uint32_t taken[ZI_TRIM_BATCH];
    if (arena_lock(view, deadline) != ZI_OK) return 0;
    uint32_t count = trim_take(view, keep, idle, taken);
    arena_unlock(view);
    for (uint32_t i = 0; i < count; i++) {
        zi_block *block = &view->blocks[taken[i]];
        ZI_STORE(block->backed, 0);
        ZI_POINT("trim.before_punch");
        arena_punch(view, block->offset, class_pages(block->cls) * ZI_PAGE);
    }
    /* Without A they go on counting until they are used or trimmed again. */
    int counted = count != 0 && arena_lock(view, deadline) == ZI_OK;
    for (uint32_t i = 0; i < count && counted; i++) {
        view->arena->reserved -= (uint64_t)view->blocks[taken[i]].claimed * ZI_PAGE;
        view->blocks[taken[i]].claimed = 0;
    }
    if (counted) arena_unlock(view);
    for (uint32_t i = 0; i < count; i++) block_free(view, taken[i]);
    return count;
}

/* Allocate a block of *nbytes* (0 for a handle).  ZI_OK, ZI_NO_MEMORY at the arena's limit,
 * ZI_NO_SPACE when the system has none, ZI_NO_ENTRY; ZI_BUSY: A was not
 * free until *deadline*. */
static inline zi_status block_alloc(zi_view *view, uint64_t nbytes, uint32_t kind, uint32_t *id,
                                    uint64_t deadline)
{
    uint64_t pages = pages_of(nbytes);
    for (;;) {
        zi_status status = arena_lock(view, deadline);
        if (status != ZI_OK) return status;
        status = block_take(view, pages, kind, id);
        arena_unlock(view);
        if (status == ZI_OK) status = block_back(view, *id, pages, deadline);
        if (status != ZI_NO_MEMORY && status != ZI_NO_SPACE) return status;
        if (arena_trim(view, 0, 0, deadline) == 0) return status;
    }
}

#endif
