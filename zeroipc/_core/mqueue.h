/* The message queue: any number of putters and getters, messages of any size.
 *
 * Callers   any thread of an attached process that holds the queue
 * Progress  one lock Q per queue, held for a bounded time
 * Crash     a put is true from its one store to `tail`, a get from its one store to `head`
 * Bytes     QUEUE, BLOCK, RECORD in layout.py
 * Source    SPECIFICATION.md, "Message queue"
 *
 * PUT  1. lock Q.  2. write the record behind `tail`, where nobody looks.
 *      3. announce: item number into each block.  4. store `tail`: the item is there.
 *      5. owner = QUEUED for each block.  6. unlock; wake.
 * GET  1. lock Q.  2. copy the record; owner = me for each block.
 *      3. store `head`: the item is ours.  4. forget the item number of each block; free
 *      chunks left behind.  5. unlock; wake.
 *
 * A block of a dead owner is in the queue iff head.item <= block.item < tail.item; the
 * sweep asks that. */
#ifndef ZI_MQUEUE_H
#define ZI_MQUEUE_H

#include "alloc.h"
#include "notes.h"

/* --- The lock, and repair after its holder died ---------------------------------------- */

/* Under Q: whether a block whose owner died is still in the queue, or of the slot. */
static inline int queue_has_block(const zi_view *view, const zi_queue *queue, uint32_t id)
{
    const zi_block *block = &view->blocks[id];
    uint32_t role = ZI_LOAD(queue->used);
    if (role == ZI_ROLE_MEMORY) return ((const zi_memory *)queue)->block == id;
    if (role == ZI_ROLE_LOCK) return ((const zi_lock *)queue)->block == id;
    if (role != ZI_ROLE_QUEUE) return 0;
    if (block->kind == ZI_KIND_RING) return queue_has_chunk(view, queue, id);
    if (block->kind == ZI_KIND_TALLY) return queue->tally == id || queue->claims == id;
    return block->item != ZI_NONE && queue_has_item(queue, block->item);
}

/* Under Q and A, after the holder of Q died, before any new commit: void the item numbers
 * that were announced and not committed, and free chunks that were left and not freed. */
static inline void queue_repair(zi_view *view, uint32_t slot)
{
    zi_queue *queue = &view->queues[slot];
    int queues = queue->used == ZI_ROLE_QUEUE;
    if (queues && queue->tally != ZI_NONE) tally_repair(view, queue);
    if (queues && queue->claims != ZI_NONE) claims_repair(view, queue);
    uint32_t used = ZI_LOAD(view->arena->blocks_used);
    for (uint32_t id = 0; id < used; id++) {
        zi_block *block = &view->blocks[id];
        uint32_t owner = ZI_LOAD(block->owner);
        if (owner == ZI_FREE || block->queue != slot || queue_has_block(view, queue, id)) continue;
        if (block->kind == ZI_KIND_DATA || block->kind == ZI_KIND_HANDLE)
            block->item = ZI_NONE;
        else if (owner == ZI_QUEUED)
            block_free(view, id);
    }
    if (queues) queue->items_pending = queue->room_pending = queue->done_pending = 0;
    if (queue->used == ZI_ROLE_LOCK) ((zi_lock *)queue)->pending = 0;
}

/* Behind an attempt to take Q that said *status*: what a dead holder left is mended under A, so
 * that no block becomes another's while it is looked at.  While A cannot be had the queue
 * stays torn, and busy for whoever comes. */
static inline zi_status queue_mend(zi_view *view, uint32_t slot, zi_status status, uint64_t deadline)
{
    zi_queue *queue = &view->queues[slot];
    if (status == ZI_REPAIR) {
        ZI_POINT("queue.repair");
        ZI_STORE(queue->torn, 1);
        mutex_mended(&queue->lock);
        status = ZI_OK;
    }
    if (status != ZI_OK || !queue->torn) return status;
    status = arena_lock(view, deadline);
    if (status == ZI_OK) {
        queue_repair(view, slot);
        ZI_STORE(queue->torn, 0);
        arena_unlock(view);
        return ZI_OK;
    }
    mutex_unlock(&queue->lock);
    return status;
}

/* Take Q until *deadline*; 0: only if it comes free within a moment. */
static inline zi_status queue_lock(zi_view *view, uint32_t slot, uint64_t deadline)
{
    zi_mutex *lock = &view->queues[slot].lock;
    return queue_mend(view, slot, deadline ? mutex_lock(lock, deadline) : mutex_try_lock(lock), deadline);
}

static inline void queue_unlock(zi_view *view, uint32_t slot) { mutex_unlock(&view->queues[slot].lock); }

/* --- Put ------------------------------------------------------------------------------ */

/* Under Q: put one message. */
static inline zi_status put_locked(zi_view *view, uint32_t slot, zi_message *message, uint32_t *spare)
{
    zi_queue *queue = &view->queues[slot];
    zi_cursor at = cursor_load(&queue->tail);
    if (queue->state != ZI_STATE_OPEN) return ZI_SHUT;
    uint32_t size = queue_size(queue);
    if ((queue->maxsize && size >= queue->maxsize) || size == ZI_ITEM_MASK) return ZI_FULL;
    uint32_t need = message_need(message), last = at.chunk;
    zi_status status = put_place(view, queue, slot, need, &at, spare);
    if (status != ZI_OK) return status;
    ZI_POINT("put.before_record");
    put_record(view, at, message);
    for (uint32_t i = 0; i < message->nblocks; i++) {
        view->blocks[message->blocks[i]].queue = slot;
        view->blocks[message->blocks[i]].item = at.item;
    }
    message->item = at.item;
    zi_cursor next = {at.item + 1, at.chunk, at.offset + need};
    ZI_POINT("put.before_commit");
    /* [queue.tail] release; pairs with the spinning acquire in queue_await_items. */
    ZI_STORE(queue->tail, cursor_pack(next));
    ZI_POINT("put.after_commit");
    queue->tail_cpu = zi_this_cpu();
    for (uint32_t i = 0; i < message->nblocks; i++)
        ZI_STORE(view->blocks[message->blocks[i]].owner, (uint32_t)ZI_QUEUED);
    if (at.chunk != last) ZI_STORE(view->blocks[at.chunk].owner, (uint32_t)ZI_QUEUED);
    return ZI_OK;
}

/* Under Q: whether the queue is still there, and this process still in the arena. */
static inline zi_status queue_check(const zi_view *view, const zi_queue *queue, uint32_t generation)
{
    return view->me && queue->used == ZI_ROLE_QUEUE && queue->generation == generation ? ZI_OK : ZI_STALE;
}

/* One locked visit: put as many of *count* messages as go; *done is how many went. */
static inline zi_status put_visit(zi_view *view, uint32_t slot, uint32_t generation,
                                  zi_message *messages, uint32_t count, uint32_t *done,
                                  uint32_t *spare, uint32_t *want, uint64_t deadline)
{
    zi_queue *queue = &view->queues[slot];
    zi_status status = queue_lock(view, slot, deadline);
    if (status != ZI_OK) return status;
    uint32_t before = *done;
    status = queue_check(view, queue, generation);
    while (status == ZI_OK && *done < count) {
        status = put_locked(view, slot, &messages[*done], spare);
        *done += status == ZI_OK;
    }
    if (status == ZI_WANT_CHUNK) *want = put_chunk_nbytes(view, queue, message_need(&messages[*done]));
    int wake = *done != before && wake_decide(&queue->items_seq, &queue->items_waiters, &queue->items_pending);
    queue_unlock(view, slot);
    if (wake && messages[0].defers) {
        messages[0].owes = 1;
        return status;
    }
    ZI_POINT("put.before_wake");
    if (wake) wait_wake(&queue->items_seq, 1);
    return status;
}

/* Put *count* messages in order, without waiting for room; *done says how many went.
 * *deadline* bounds the wait for locks; 0: give up after a moment with ZI_BUSY. */
static inline zi_status queue_put(zi_view *view, uint32_t slot, uint32_t generation,
                                  zi_message *messages, uint32_t count, uint32_t *done,
                                  uint64_t deadline)
{
    uint32_t spare = ZI_NONE, want = 0;
    zi_status status;
    *done = 0;
    for (;;) {
        status = put_visit(view, slot, generation, messages, count, done, &spare, &want, deadline);
        if (status != ZI_WANT_CHUNK) break;
        if (spare != ZI_NONE) block_free(view, spare);
        status = block_alloc(view, want, ZI_KIND_RING, &spare, deadline);
        if (status != ZI_OK) return status;
    }
    if (spare != ZI_NONE) block_free(view, spare);
    return status;
}

/* --- Get ------------------------------------------------------------------------------ */

/* Under Q: get one message; from a queue that is shut at once, to drop it. */
static inline zi_status get_locked(zi_view *view, uint32_t slot, zi_message *message)
{
    zi_queue *queue = &view->queues[slot];
    zi_cursor at = cursor_load(&queue->head), tail = cursor_load(&queue->tail);
    if (at.item == tail.item) return queue->state == ZI_STATE_OPEN ? ZI_EMPTY : ZI_SHUT;
    uint32_t left = at.chunk;
    zi_status status = get_record(view, &at, message);
    if (status != ZI_OK) return status;
    for (uint32_t i = 0; i < message->nblocks; i++) {
        if (message->blocks[i] >= view->arena->blocks_used) return ZI_DAMAGED;
        ZI_STORE(view->blocks[message->blocks[i]].owner, view->me);
    }
    uint64_t *cell = queue->state == ZI_STATE_SHUT_NOW ? NULL : get_tally(view, queue, at.item);
    get_claim(view, queue, message->claimant, at.item);
    at.item++;
    ZI_POINT("get.before_commit");
    ZI_STORE(queue->head, cursor_pack(at));
    ZI_POINT("get.after_commit");
    queue->head_cpu = zi_this_cpu();
    if (cell != NULL) ZI_STORE(*cell, tally_pack(tally_open(*cell), 0));
    for (uint32_t i = 0; i < message->nblocks; i++) view->blocks[message->blocks[i]].item = ZI_NONE;
    get_leave(view, left, at.chunk);
    return ZI_OK;
}

/* Get up to *count* messages, without waiting for any; *done says how many came.  The
 * payloads must hold INLINE_MAX bytes each.  Wakes a putter that waits for room, and the
 * next getter when items are left. */
static inline zi_status queue_get(zi_view *view, uint32_t slot, uint32_t generation,
                                  zi_message *messages, uint32_t count, uint32_t *done,
                                  uint64_t deadline)
{
    zi_queue *queue = &view->queues[slot];
    *done = 0;
    zi_status status = queue_lock(view, slot, deadline);
    if (status != ZI_OK) return status;
    status = queue_check(view, queue, generation);
    if (status == ZI_OK && queue->state == ZI_STATE_SHUT_NOW) status = ZI_SHUT;
    while (status == ZI_OK && *done < count) {
        status = get_locked(view, slot, &messages[*done]);
        *done += status == ZI_OK;
    }
    int next = 0, room = 0;
    if (*done != 0) {
        room = wake_decide(&queue->room_seq, &queue->room_waiters, &queue->room_pending);
        if (queue_size(queue) != 0)
            next = wake_decide(&queue->items_seq, &queue->items_waiters, &queue->items_pending);
    }
    queue_unlock(view, slot);
    ZI_POINT("get.before_wake");
    if (room) wait_wake(&queue->room_seq, 1);
    if (next) wait_wake(&queue->items_seq, 1);
    return *done != 0 ? ZI_OK : status;
}

#endif
