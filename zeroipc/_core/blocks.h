/* Blocks: pages of the arena that somebody has, and the arena lock A, which guards their lists.
 *
 * Callers   any thread of an attached process
 * Progress  taking a block holds A for a bounded time; freeing takes no lock
 * Crash     owner words are the truth; free lists and sums are derived from them and are
 *           rebuilt by the next taker of A after a holder died
 * Bytes     ARENA, BLOCK in layout.py
 * Source    SPECIFICATION.md, "Blocks"
 *
 * TAKE      1. under A: take a free block of the class, or carve a new one, and store
 *              owner = me.  Killed before: the block is free.  After: the sweep frees it.
 *           2. without a lock: have the system reserve its pages, then store `backed`.
 * FREE      1. store owner = FREE.  Killed before: the sweep frees it.
 *           2. store the group's dirty byte, then `dirty`.  Killed between: the block is
 *              found by the next rebuild; a sweep after any death marks all groups. */
#ifndef ZI_BLOCKS_H
#define ZI_BLOCKS_H

#include "arena.h"

enum { ZI_FIND_LOOK = 8 };
#define ZI_LOCK_PATIENCE_NS UINT64_C(60000000000) /* of calls that have no time-out */

static inline unsigned char *block_bytes(const zi_view *view, uint32_t id)
{
    return view->base + view->blocks[id].offset;
}

/* --- The arena lock, and what is derived ------------------------------------------- */

static inline void block_list(zi_view *view, uint32_t id)
{
    zi_block *block = &view->blocks[id];
    block->next = view->arena->free_head[block->cls];
    view->arena->free_head[block->cls] = id;
    block->listed = 1;
}

/* Under A: have all groups looked at; frees that were cut short are found so. */
static inline void arena_mark_all(zi_view *view)
{
    for (uint32_t id = 0; id < view->arena->blocks_used; id += ZI_DIRTY_GROUP)
        ZI_STORE(view->arena->group_dirty[id / ZI_DIRTY_GROUP], 1);
    ZI_STORE(view->arena->dirty, 1);
}

/* Have a slot looked at: nobody may have it any more.  The group first, as for blocks. */
static inline void slot_mark(zi_view *view, uint32_t slot)
{
    ZI_STORE(view->arena->slots_dirty[slot / ZI_DIRTY_GROUP], 1);
    ZI_STORE(view->arena->queues_dirty, 1);
}

static inline void slots_mark_all(zi_view *view)
{
    for (uint32_t slot = 0; slot < view->arena->queues_used; slot += ZI_DIRTY_GROUP) slot_mark(view, slot);
}

/* Under A, after its holder died: make the derived data again, free the blocks of a slot
 * whose reclaim was cut short, and have everything looked at that was to be marked. */
static inline void arena_repair(zi_view *view)
{
    zi_arena *arena = view->arena;
    for (int cls = 0; cls < ZI_CLASSES; cls++) arena->free_head[cls] = ZI_NONE;
    arena->frontier = ZI_DATA_OFFSET;
    arena->reserved = 0;
    for (uint32_t id = 0; id < arena->blocks_used; id++) {
        zi_block *block = &view->blocks[id];
        block->listed = 0;
        arena->frontier = block->offset + class_pages(block->cls) * ZI_PAGE;
        arena->reserved += (uint64_t)block->claimed * ZI_PAGE;
        if (ZI_LOAD(block->owner) == ZI_QUEUED && !ZI_LOAD(view->queues[block->queue].used))
            ZI_STORE(block->owner, ZI_FREE);
    }
    arena->slots_full = 0;
    arena_mark_all(view);
    slots_mark_all(view);
}

/* Take A until *deadline*; 0: only if it comes free within a moment.  ZI_OK or ZI_BUSY: its
 * holder is stopped, or slow. */
static inline zi_status arena_lock(zi_view *view, uint64_t deadline)
{
    zi_mutex *lock = &view->arena->lock;
    zi_status status = deadline ? mutex_lock(lock, deadline) : mutex_try_lock(lock);
    if (status != ZI_REPAIR) return status;
    ZI_POINT("arena.repair");
    arena_repair(view);
    mutex_mended(&view->arena->lock);
    return ZI_OK;
}

static inline void arena_unlock(zi_view *view) { mutex_unlock(&view->arena->lock); }

/* --- Fork: blocks that children still see -------------------------------------------- */

/* Under A: whether a child that was forked while the block was in view may still run.
 * Conservative: any live process of the arena counts that was forked in that span or
 * descends from one that was. */
static inline int block_inherited(zi_view *view, zi_block *block)
{
    if (block->inherited_from == 0) return 0;
    if (block->inherited_until == 0) block->inherited_until = view->arena->fork_clock;
    for (uint32_t index = 0; index < view->arena->participants_used; index++) {
        const zi_participant *heir = &view->participants[index];
        if (heir->pid != 0 && heir->born >= block->inherited_from &&
            heir->elder <= block->inherited_until)
            return 1;
    }
    block->inherited_from = block->inherited_until = 0;
    return 0;
}

/* --- Loans: blocks that their senders still show -------------------------------------- */

/* How many of a block's two lender words say *who*; 0: nobody. */
static inline int block_lent_by(const zi_block *block, uint32_t who)
{
    return (ZI_LOAD(block->lender) == who) + (ZI_LOAD(block->lender2) == who);
}

/* Pin a block for its owner, this process, which is about to give it away.  A word that says
 * nobody is changed by the owner alone, and one that says somebody by that one. */
static inline void block_lend(zi_view *view, uint32_t id)
{
    zi_block *block = &view->blocks[id];
    ZI_STORE(*(ZI_LOAD(block->lender) == 0 ? &block->lender : &block->lender2), view->me);
}

/* --- Blocks ------------------------------------------------------------------------- */

/* Under A: list the blocks of a group that were freed since it was last looked at.  Those
 * that a child may still see are looked at again when a participant is gone. */
static inline void group_rescan(zi_view *view, uint32_t group)
{
    zi_arena *arena = view->arena;
    uint32_t first = group * ZI_DIRTY_GROUP, end = first + ZI_DIRTY_GROUP;
    if (end > arena->blocks_used) end = arena->blocks_used;
    for (uint32_t id = first; id < end; id++) {
        zi_block *block = &view->blocks[id];
        if (ZI_LOAD(block->owner) != ZI_FREE || block_lent_by(block, 0) < 2 || block->listed) continue;
        if (!block_inherited(view, block)) block_list(view, id);
    }
}

/* Under A: list what was freed.  The flags are cleared before the owners are read: a free
 * that is missed here has yet to set its flags. */
static inline void arena_rescan(zi_view *view)
{
    zi_arena *arena = view->arena;
    if (!ZI_LOAD(arena->dirty)) return;
    ZI_STORE(arena->dirty, 0);
    zi_fence();
    uint32_t groups = (arena->blocks_used + ZI_DIRTY_GROUP - 1) / ZI_DIRTY_GROUP;
    for (uint32_t group = 0; group < groups; group++) {
        if (!ZI_LOAD(arena->group_dirty[group])) continue;
        ZI_STORE(arena->group_dirty[group], 0);
        zi_fence();
        group_rescan(view, group);
    }
}

/* Under A: one more free block of *cls* at the frontier. */
static inline zi_status block_carve(zi_view *view, uint32_t cls, uint32_t *id)
{
    zi_arena *arena = view->arena;
    uint64_t nbytes = class_pages(cls) * ZI_PAGE;
    if (arena->blocks_used == ZI_BLOCKS) return ZI_NO_ENTRY;
    if (nbytes > arena->nbytes - arena->frontier) return ZI_NO_MEMORY;
    if (arena->blocks_used == arena->blocks_backed) {
        uint32_t more = 16 * ZI_PAGE / sizeof(zi_block);
        zi_status status = arena_reserve(
            view, ZI_BLOCKS_OFFSET + (uint64_t)arena->blocks_backed * sizeof(zi_block),
            (uint64_t)more * sizeof(zi_block));
        if (status != ZI_OK) return status;
        arena->blocks_backed += more;
    }
    zi_block *block = &view->blocks[arena->blocks_used];
    memset(block, 0, sizeof *block);
    block->cls = (uint8_t)cls;
    block->offset = arena->frontier;
    *id = arena->blocks_used;
    arena->frontier += nbytes;
    ZI_POINT("alloc.carve");
    ZI_STORE(arena->blocks_used, arena->blocks_used + 1);
    return ZI_OK;
}

/* Under A: a free block of *cls*, else a new one.  Among the first few, one that this
 * process wrote last: for another the first write to each page costs a fault, and each line
 * must come from the other CPU. */
static inline zi_status block_find(zi_view *view, uint32_t cls, uint32_t *id)
{
    zi_arena *arena = view->arena;
    uint32_t *first = &arena->free_head[cls], *link = first;
    if (*first == ZI_NONE || view->blocks[*first].writer != view->me) arena_rescan(view);
    for (int look = 0; look < ZI_FIND_LOOK && *link != ZI_NONE; look++) {
        if (view->blocks[*link].writer == view->me) break;
        link = &view->blocks[*link].next;
    }
    if (*link == ZI_NONE || view->blocks[*link].writer != view->me) link = first;
    *id = *link;
    if (*id == ZI_NONE) return block_carve(view, cls, id);
    *link = view->blocks[*id].next;
    view->blocks[*id].listed = 0;
    return ZI_OK;
}

/* Under A: make a free block ours.  It is in no queue before it is anybody's: a number that
 * an earlier use left would let the sweep take it for an item of that queue. */
static inline void block_claim(zi_view *view, zi_block *block)
{
    block->queue = block->item = block->link = ZI_NONE;
    ZI_POINT("alloc.before_owner");
    ZI_STORE(block->owner, view->me);
}

/* Under A: take a block of *pages* and account for its memory. */
static inline zi_status block_take(zi_view *view, uint64_t pages, uint32_t kind, uint32_t *id)
{
    zi_arena *arena = view->arena;
    uint32_t cls = class_of_pages(pages);
    if (cls >= ZI_CLASSES) return ZI_NO_MEMORY;
    zi_status status = block_find(view, cls, id);
    if (status != ZI_OK) return status;
    zi_block *block = &view->blocks[*id];
    if (pages > block->claimed) {
        uint64_t more = (pages - block->claimed) * ZI_PAGE;
        if (arena->reserved + more > arena->limit) {
            block_list(view, *id);
            return ZI_NO_MEMORY;
        }
        arena->reserved += more;
        block->claimed = (uint32_t)pages;
    }
    block->kind = (uint16_t)kind;
    block->idle = 0;
    block->writer = view->me;
    block_claim(view, block);
    return ZI_OK;
}

/* Free a block.  Takes no lock and may run at any moment, in a finalizer too. */
static inline void block_mark_freed(zi_view *view, uint32_t id)
{
    zi_arena *arena = view->arena;
    ZI_STORE(arena->group_dirty[id / ZI_DIRTY_GROUP], 1);
    ZI_STORE(arena->dirty, 1);
    if (ZI_LOAD(arena->space_waiters) != 0) {
        ZI_STORE(arena->space_seq, ZI_LOAD(arena->space_seq) + 1);
        wait_wake(&arena->space_seq, INT32_MAX);
    }
}

static inline void block_free(zi_view *view, uint32_t id)
{
    uint32_t named = view->blocks[id].kind == ZI_KIND_HANDLE ? view->blocks[id].link : ZI_NONE;
    ZI_STORE(view->blocks[id].owner, ZI_FREE);
    ZI_POINT("free.after_owner");
    block_mark_freed(view, id);
    if (named < ZI_QUEUES) slot_mark(view, named);
}

/* *who* does not show the block any more. */
static inline void block_unlend(zi_view *view, uint32_t id, uint32_t who)
{
    zi_block *block = &view->blocks[id];
    if (ZI_LOAD(block->lender) == who)
        ZI_STORE(block->lender, 0);
    else if (ZI_LOAD(block->lender2) == who)
        ZI_STORE(block->lender2, 0);
    block_mark_freed(view, id);
}

/* Make the block's pages certain; gives the block back when the system has none. */
static inline zi_status block_back(zi_view *view, uint32_t id, uint64_t pages, uint64_t deadline)
{
    zi_block *block = &view->blocks[id];
    if (block->backed >= pages) return ZI_OK;
    zi_status status = arena_reserve(view, block->offset + (uint64_t)block->backed * ZI_PAGE,
                                     (pages - block->backed) * ZI_PAGE);
    if (status == ZI_OK) {
        ZI_STORE(block->backed, (uint32_t)pages);
        return ZI_OK;
    }
    uint64_t begun = (uint64_t)block->backed * ZI_PAGE; /* the steps before the failing one */
    arena_punch(view, block->offset + begun, class_pages(block->cls) * ZI_PAGE - begun);
    if (arena_lock(view, deadline) == ZI_OK) {
        view->arena->reserved -= (uint64_t)(block->claimed - block->backed) * ZI_PAGE;
        block->claimed = block->backed;
        arena_unlock(view);
    }
    block_free(view, id);
    return status;
}

#endif
