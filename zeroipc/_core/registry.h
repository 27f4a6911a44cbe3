/* Queues: made, shut, and what those who join them see. */
#ifndef ZI_REGISTRY_H
#define ZI_REGISTRY_H

#include "slots.h"

/* Under A: fill a slot in; `used` last.  The blocks become the queue's after that. */
static inline void queue_fill(zi_view *view, uint32_t slot, uint32_t maxsize, uint32_t named,
                              uint32_t chunk, uint32_t notes, uint32_t noting)
{
    zi_queue *queue = &view->queues[slot];
    zi_cursor start = {0, chunk, 0};
    queue->generation++;
    queue->handled = 0;
    queue->maxsize = maxsize;
    queue->state = ZI_STATE_OPEN;
    queue->items_waiters = queue->room_waiters = queue->done_waiters = 0;
    queue->items_pending = queue->room_pending = queue->done_pending = 0;
    queue->lost = 0;
    queue->tally = noting == ZI_NOTE_TASKS ? notes : ZI_NONE;
    queue->claims = noting == ZI_NOTE_CLAIMS ? notes : ZI_NONE;
    queue->head_cpu = queue->tail_cpu = zi_this_cpu();
    queue->named = named;
    ZI_STORE(queue->head, cursor_pack(start));
    ZI_STORE(queue->tail, cursor_pack(start));
    view->blocks[chunk].queue = slot;
    if (notes != ZI_NONE) view->blocks[notes].queue = slot;
    holding_set(view, slot);
    ZI_POINT("create.before_used");
    ZI_STORE(queue->used, ZI_ROLE_QUEUE);
    ZI_STORE(view->blocks[chunk].owner, (uint32_t)ZI_QUEUED);
    if (notes != ZI_NONE) ZI_STORE(view->blocks[notes].owner, (uint32_t)ZI_QUEUED);
}

/* Make a queue of at most *maxsize* items (0: no bound) that this process holds.  *noting*:
 * NOTE_...; *named*: whether strangers may find it. */
static inline zi_status queue_create(zi_view *view, uint32_t maxsize, uint32_t noting, uint32_t named,
                                     uint32_t *slot, uint32_t *generation, uint64_t deadline)
{
    uint32_t chunk, notes = ZI_NONE;
    slots_reclaim(view, deadline);
    zi_status status = block_alloc(view, ZI_CHUNK_MIN, ZI_KIND_RING, &chunk, deadline);
    if (status != ZI_OK) return status;
    if (noting != ZI_NOTE_NOTHING) {
        uint32_t nbytes = sizeof(uint64_t) * ZI_PARTICIPANTS;
        status = block_alloc(view, nbytes, ZI_KIND_TALLY, &notes, deadline);
        if (status == ZI_OK) memset(block_bytes(view, notes), noting == ZI_NOTE_CLAIMS ? 0xFF : 0, nbytes);
    }
    if (status == ZI_OK) status = arena_lock(view, deadline);
    if (status == ZI_OK) {
        status = slot_take(view, slot);
        if (status == ZI_OK) {
            queue_fill(view, *slot, maxsize, named, chunk, notes, noting);
            *generation = view->queues[*slot].generation;
        }
        arena_unlock(view);
    }
    if (status == ZI_OK) return ZI_OK;
    block_free(view, chunk);
    if (notes != ZI_NONE) block_free(view, notes);
    return status;
}

/* Hold a queue that a handle or a parent names.  ZI_STALE: it is gone already. */
static inline zi_status queue_hold(zi_view *view, uint32_t slot, uint32_t generation, uint64_t deadline)
{
    return slot_hold(view, slot, ZI_ROLE_QUEUE, generation, deadline);
}

#define ZI_DROP_MANY 8

/* Drop what is queued in a queue that is shut at once, a few messages per visit of Q.  Who dies
 * in between leaves them to whoever shuts it again, or to the queue's end. */
static inline zi_status queue_drop(zi_view *view, uint32_t slot, uint32_t generation, uint64_t deadline)
{
    unsigned char payload[ZI_INLINE_MAX];
    zi_message message = {.payload = payload, .claimant = ZI_NONE};
    for (;;) {
        zi_status status = queue_lock(view, slot, deadline);
        if (status != ZI_OK) return status;
        status = queue_check(view, &view->queues[slot], generation);
        for (int dropped = 0; status == ZI_OK && dropped < ZI_DROP_MANY; dropped++) {
            status = get_locked(view, slot, &message);
            for (uint32_t i = 0; status == ZI_OK && i < message.nblocks; i++) block_free(view, message.blocks[i]);
        }
        queue_unlock(view, slot);
        if (status != ZI_OK) return status == ZI_SHUT ? ZI_OK : status;
    }
}

/* Refuse further puts; with *now* drop what is queued as well, and wake everybody. */
static inline zi_status queue_shut(zi_view *view, uint32_t slot, uint32_t generation, int now, uint64_t deadline)
{
    zi_queue *queue = &view->queues[slot];
    zi_status status = queue_lock(view, slot, deadline);
    if (status != ZI_OK) return status;
    status = queue_check(view, queue, generation);
    if (status == ZI_OK && queue->state != ZI_STATE_SHUT_NOW)
        queue->state = now ? ZI_STATE_SHUT_NOW : ZI_STATE_SHUT;
    queue->items_seq++;
    queue->room_seq++;
    queue->done_seq++;
    queue_unlock(view, slot);
    wait_wake(&queue->items_seq, INT32_MAX);
    wait_wake(&queue->room_seq, INT32_MAX);
    wait_wake(&queue->done_seq, INT32_MAX);
    return now && status == ZI_OK ? queue_drop(view, slot, generation, deadline) : status;
}

/* --- Tasks of a joinable queue: queued items and those taken and not yet done ----------- */

/* Under Q: tasks put and not done. */
static inline int64_t tasks_open(const zi_view *view, const zi_queue *queue)
{
    int64_t open = queue->state == ZI_STATE_SHUT_NOW ? 0 : queue_size(queue);
    const uint64_t *cells = queue_tally(view, queue);
    for (uint32_t i = 0; i < ZI_LOAD(view->arena->participants_used); i++) open += tally_open(cells[i]);
    return open;
}

/* Under Q: take one off the tally: of this process, else of one that has tasks open, since
 * a task may be finished by another process than took it. */
static inline void tally_finish(zi_view *view, zi_queue *queue)
{
    uint64_t *cells = queue_tally(view, queue);
    uint32_t used = ZI_LOAD(view->arena->participants_used), mine = identity_index(view->me), whose = mine;
    if (tally_open(cells[mine]) <= 0)
        for (uint32_t index = 0; index < used && whose == mine; index++)
            if (tally_open(cells[index]) > 0) whose = index;
    ZI_STORE(cells[whose], tally_pack(tally_open(cells[whose]) - 1, 0));
}

/* One task is done.  ZI_EMPTY: more were done than were put. */
static inline zi_status task_done(zi_view *view, uint32_t slot, uint32_t generation, uint64_t deadline)
{
    zi_queue *queue = &view->queues[slot];
    zi_status status = queue_lock(view, slot, deadline);
    if (status != ZI_OK) return status;
    int wake = 0;
    int64_t open = 0;
    status = queue_check(view, queue, generation);
    if (status == ZI_OK && (open = tasks_open(view, queue)) <= 0) status = ZI_EMPTY;
    if (status == ZI_OK) {
        tally_finish(view, queue);
        if (open == 1) wake = wake_decide(&queue->done_seq, &queue->done_waiters, &queue->done_pending);
    }
    queue_unlock(view, slot);
    if (wake) wait_wake(&queue->done_seq, INT32_MAX);
    return status;
}

/* Wait, at most a tick, until no task is open.  ZI_OK: none is.  ZI_LOST: *lost tasks died
 * with their takers; told once.  ZI_TIMEOUT, ZI_INTERRUPTED: ask again. */
static inline zi_status tasks_await(zi_view *view, uint32_t slot, uint32_t generation, uint32_t *lost,
                                    uint64_t deadline)
{
    zi_queue *queue = &view->queues[slot];
    zi_status status = queue_lock(view, slot, deadline);
    if (status != ZI_OK) return status;
    status = queue_check(view, queue, generation);
    *lost = status == ZI_OK ? (uint32_t)queue->lost : 0;
    if (*lost != 0) {
        ZI_STORE(queue->lost, 0);
        status = ZI_LOST;
    }
    uint32_t seq = 0;
    int wait = status == ZI_OK && tasks_open(view, queue) > 0;
    if (wait) seq = wake_announce(&queue->done_seq, &queue->done_waiters, &queue->done_pending);
    queue_unlock(view, slot);
    if (!wait) return status;
    zi_status slept = wait_sleep(&queue->done_seq, seq, deadline);
    if (queue_lock(view, slot, zi_now() + ZI_TICK_NS) == ZI_OK) {
        wake_retract(&queue->done_waiters, &queue->done_pending);
        queue_unlock(view, slot);
    }
    if (slept == ZI_TIMEOUT) arena_tick(view);
    return slept == ZI_OK ? ZI_TIMEOUT : slept;
}

#endif
