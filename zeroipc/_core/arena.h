/* The arena: one sparse segment per process tree, with who is attached to it and its blocks.
 *
 * Callers   any thread of an attached process
 * Progress  allocation takes the arena lock A for a bounded time; freeing takes no lock
 * Crash     owner words are the truth; free lists and sums are derived from them and are
 *           rebuilt by the next taker of A after a holder died
 * Bytes     ARENA, PARTICIPANT, BLOCK in layout.py
 * Source    SPECIFICATION.md, "Arena"
 *
 * ALLOCATE  1. under A: take a free block of the class, or carve a new one, and store
 *              owner = me.  Killed before: the block is free.  After: the sweep frees it.
 *           2. without a lock: have the system reserve its pages, then store `backed`.
 * FREE      1. store owner = FREE.  Killed before: the sweep frees it.
 *           2. store the group's dirty byte, then `dirty`.  Killed between: the block is
 *              found by the next rebuild; a sweep after any death marks all groups.
 * TRIM      1. under A: take free blocks, owner = me.  2. backed = 0, punch the pages out.
 *           3. under A: claimed = 0; then FREE. */
#ifndef ZI_ARENA_H
#define ZI_ARENA_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "hooks.h"
#include "layout.h"
#include "owner.h"
#include "wait.h"

/* What this process knows of an arena that it has mapped. */
typedef struct {
    unsigned char *base;
    zi_arena *arena;
    zi_participant *participants;
    uint8_t *rows;
    zi_queue *queues;
    zi_block *blocks;
    int fd;
    uint32_t me; /* this process's identity; 0 before it is registered */
} zi_view;

#define ZI_STEP ((uint64_t)16 << 20) /* a signal makes the system start a reservation over */
enum { ZI_FIND_LOOK = 8 };
#define ZI_LOCK_PATIENCE_NS UINT64_C(60000000000)

/* --- Mapping ---------------------------------------------------------------------- */

static inline void view_map(zi_view *view, unsigned char *base, int fd)
{
    view->base = base;
    view->arena = (zi_arena *)base;
    view->participants = (zi_participant *)(base + ZI_PARTICIPANTS_OFFSET);
    view->rows = base + ZI_ROWS_OFFSET;
    view->queues = (zi_queue *)(base + ZI_QUEUES_OFFSET);
    view->blocks = (zi_block *)(base + ZI_BLOCKS_OFFSET);
    view->fd = fd;
    view->me = 0;
}

/* Have the system set pages aside, so that touching them cannot fail.  Pages that are
 * there already stay as they are.  The only place that asks for memory. */
static inline zi_status arena_reserve(zi_view *view, uint64_t offset, uint64_t nbytes)
{
    for (uint64_t done = 0; done < nbytes;) {
        uint64_t step = nbytes - done < ZI_STEP ? nbytes - done : ZI_STEP;
        if (fallocate(view->fd, 0, (off_t)(offset + done), (off_t)step) == 0)
            done += step;
        else if (errno != EINTR)
            return ZI_NO_SPACE;
    }
    return ZI_OK;
}

static inline void arena_punch(zi_view *view, uint64_t offset, uint64_t nbytes)
{
    while (fallocate(view->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                     (off_t)nbytes) != 0 && errno == EINTR) {
    }
}

/* Lay out a new, zeroed file of *nbytes*; the magic word comes last. */
static inline zi_status arena_format(zi_view *view, uint64_t nbytes, uint64_t limit, uint64_t token)
{
    zi_status status = arena_reserve(view, 0, ZI_ROWS_OFFSET);
    if (status != ZI_OK) return status;
    zi_arena *arena = view->arena;
    arena->version = ZI_ARENA_VERSION;
    arena->mutex_nbytes = sizeof(pthread_mutex_t);
    arena->layout_sum = ZI_LAYOUT_SUM;
    arena->token = token;
    arena->nbytes = nbytes;
    arena->limit = limit;
    arena->creator_pid = (uint32_t)getpid();
    arena->creator_start = owner_start_time((uint32_t)getpid());
    arena->frontier = ZI_DATA_OFFSET;
    for (int cls = 0; cls < ZI_CLASSES; cls++) arena->free_head[cls] = ZI_NONE;
    mutex_init(&arena->lock);
    ZI_STORE(arena->magic, ZI_ARENA_MAGIC);
    return ZI_OK;
}

/* Whether the mapped bytes are an arena of this very layout.  ZI_EMPTY: not ready yet. */
static inline zi_status arena_check(const zi_view *view, uint64_t nbytes)
{
    const zi_arena *arena = view->arena;
    if (nbytes < ZI_DATA_OFFSET) return ZI_DAMAGED;
    if (ZI_LOAD(arena->magic) == 0) return ZI_EMPTY;
    if (arena->magic != ZI_ARENA_MAGIC || arena->version != ZI_ARENA_VERSION ||
        arena->mutex_nbytes != sizeof(pthread_mutex_t) || arena->layout_sum != ZI_LAYOUT_SUM ||
        arena->nbytes != nbytes)
        return ZI_DAMAGED;
    return ZI_OK;
}

/* --- Size classes ----------------------------------------------------------------- */

/* 4, 8, 12 KB, then 16, 20, 24, 28, 32, 40, ... KB: at most a quarter is wasted. */
static inline uint32_t class_of_pages(uint64_t pages)
{
    if (pages < 4) return (uint32_t)pages;
    uint32_t power = 63u - (uint32_t)__builtin_clzll(pages);
    uint64_t step = (uint64_t)1 << (power - 2);
    uint64_t quarters = (pages + step - 1) / step; /* 4 to 8; 8 is the next power's 4 */
    return 4 + (power - 2) * 4 + (uint32_t)(quarters - 4);
}

static inline uint64_t class_pages(uint32_t cls)
{
    if (cls < 4) return cls;
    return (uint64_t)((cls - 4) % 4 + 4) << ((cls - 4) / 4);
}

static inline uint64_t pages_of(uint64_t nbytes) { return (nbytes + ZI_PAGE - 1) / ZI_PAGE; }

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

/* Under A, after its holder died: make the derived data again, free the blocks of a queue
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
    arena_mark_all(view);
    ZI_STORE(arena->queues_dirty, 1);
}

/* Take A.  ZI_OK, or ZI_BUSY when the holder does not let go for a minute (stopped). */
static inline zi_status arena_lock(zi_view *view)
{
    zi_status status = mutex_lock(&view->arena->lock, zi_now() + ZI_LOCK_PATIENCE_NS);
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
    if (view->blocks[id].kind == ZI_KIND_HANDLE) ZI_STORE(arena->queues_dirty, 1);
    if (ZI_LOAD(arena->space_waiters) != 0) {
        ZI_STORE(arena->space_seq, ZI_LOAD(arena->space_seq) + 1);
        wait_wake(&arena->space_seq, INT32_MAX);
    }
}

static inline void block_free(zi_view *view, uint32_t id)
{
    ZI_STORE(view->blocks[id].owner, ZI_FREE);
    ZI_POINT("free.after_owner");
    block_mark_freed(view, id);
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
static inline zi_status block_back(zi_view *view, uint32_t id, uint64_t pages)
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
    if (arena_lock(view) == ZI_OK) {
        view->arena->reserved -= (uint64_t)(block->claimed - block->backed) * ZI_PAGE;
        block->claimed = block->backed;
        arena_unlock(view);
    }
    block_free(view, id);
    return status;
}

/* --- Giving memory back -------------------------------------------------------------- */

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
static inline uint32_t arena_trim(zi_view *view, uint64_t keep, uint32_t idle)
{
    uint32_t taken[ZI_TRIM_BATCH];
    if (arena_lock(view) != ZI_OK) return 0;
    uint32_t count = trim_take(view, keep, idle, taken);
    arena_unlock(view);
    for (uint32_t i = 0; i < count; i++) {
        zi_block *block = &view->blocks[taken[i]];
        ZI_STORE(block->backed, 0);
        ZI_POINT("trim.before_punch");
        arena_punch(view, block->offset, class_pages(block->cls) * ZI_PAGE);
    }
    if (count == 0 || arena_lock(view) != ZI_OK) return 0;
    for (uint32_t i = 0; i < count; i++) {
        view->arena->reserved -= (uint64_t)view->blocks[taken[i]].claimed * ZI_PAGE;
        view->blocks[taken[i]].claimed = 0;
    }
    arena_unlock(view);
    for (uint32_t i = 0; i < count; i++) block_free(view, taken[i]);
    return count;
}

/* Allocate a block of *nbytes* (0 for a handle).  ZI_OK, ZI_NO_MEMORY at the arena's limit,
 * ZI_NO_SPACE when the system has none, ZI_NO_ENTRY, ZI_BUSY. */
static inline zi_status block_alloc(zi_view *view, uint64_t nbytes, uint32_t kind, uint32_t *id)
{
    uint64_t pages = pages_of(nbytes);
    for (;;) {
        zi_status status = arena_lock(view);
        if (status != ZI_OK) return status;
        status = block_take(view, pages, kind, id);
        arena_unlock(view);
        if (status == ZI_OK) status = block_back(view, *id, pages);
        if (status != ZI_NO_MEMORY && status != ZI_NO_SPACE) return status;
        if (arena_trim(view, 0, 0) == 0) return status;
    }
}

static inline unsigned char *block_bytes(const zi_view *view, uint32_t id)
{
    return view->base + view->blocks[id].offset;
}

#endif
