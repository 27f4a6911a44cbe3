/* The sweep: what the dead held goes back, what they had put stays put.
 *
 * It may be killed at any step and is then simply done again: a dead participant's entry
 * is cleared last.  It never holds more than one queue lock and the arena lock, because
 * the kernel walks at most 2048 robust locks of a dead thread.  One process sweeps per
 * tick: the one that moves `last_sweep`.
 *
 * SWEEP of one dead participant
 *   1. each block with its identity as owner: lock its queue, then the arena; QUEUED if it
 *      is in the queue, else FREE.
 *   2. each block with its identity as a lender: that word = 0.
 *   3. each queue with a tally of it: the open tasks are lost; each lock that it has comes
 *      free; its places among the waiters of conditions are struck out.
 *   4. its row of holdings, then its pid: 0.
 * A step that does not get a lock in time leaves the entry to the next sweep. */
#ifndef ZI_SWEEP_H
#define ZI_SWEEP_H

#include "waiters.h"

/* Step 1 for one block. */
static inline void sweep_block(zi_view *view, uint32_t id, uint32_t dead, uint64_t deadline)
{
    zi_block *block = &view->blocks[id];
    uint32_t slot = ZI_LOAD(block->queue);
    int queued = slot < ZI_QUEUES;
    if (queued && queue_lock(view, slot, deadline) != ZI_OK) return;
    if (arena_lock(view, deadline) == ZI_OK) {
        if (ZI_LOAD(block->owner) == dead && block->queue == slot) {
            if (queued && queue_has_block(view, &view->queues[slot], id))
                ZI_STORE(block->owner, (uint32_t)ZI_QUEUED);
            else
                block_free(view, id);
        }
        arena_unlock(view);
    }
    if (queued) queue_unlock(view, slot);
}

/* Step 2 for one block, under A: another sweeper may have been faster, and the block may
 * have a new lender by now. */
static inline void sweep_lender(zi_view *view, uint32_t id, uint32_t dead, uint64_t deadline)
{
    if (arena_lock(view, deadline) != ZI_OK) return;
    while (block_lent_by(&view->blocks[id], dead) != 0) block_unlend(view, id, dead);
    arena_unlock(view);
}

/* Under Q: move the open tasks of a participant to `lost`.  The first store says whose they
 * are, so that a death between it and the second does not count them twice.  A cell below
 * zero balances tasks that another took, and stays. */
static inline int tally_lose(zi_view *view, zi_queue *queue, uint32_t index)
{
    uint64_t *cell = &queue_tally(view, queue)[index];
    int32_t open = tally_open(*cell);
    if (open <= 0) return 0;
    ZI_STORE(queue->lost, (queue->lost + (uint32_t)open) | (uint64_t)(index + 1) << 32);
    ZI_POINT("sweep.counted");
    ZI_STORE(*cell, 0);
    ZI_STORE(queue->lost, (uint32_t)queue->lost);
    return 1;
}

/* Step 3 for one queue: report the open tasks to whoever joins.  The entry may be another's
 * by now if another sweeper was faster.  Returns whether it is done. */
static inline int sweep_tally(zi_view *view, uint32_t slot, uint32_t index, uint32_t dead, uint64_t deadline)
{
    zi_queue *queue = &view->queues[slot];
    if (ZI_LOAD(queue->used) != ZI_ROLE_QUEUE || queue->tally == ZI_NONE) return 1;
    if (queue_lock(view, slot, deadline) != ZI_OK) return 0;
    int wake = 0;
    if (queue->used == ZI_ROLE_QUEUE && queue->tally != ZI_NONE && participant_identity(view, index) == dead &&
        tally_lose(view, queue, index))
        wake = wake_decide(&queue->done_seq, &queue->done_waiters, &queue->done_pending);
    queue_unlock(view, slot);
    if (wake) wait_wake(&queue->done_seq, INT32_MAX);
    return 1;
}

/* Step 3 for one lock.  Returns whether it is done. */
static inline int sweep_lock(zi_view *view, uint32_t slot, uint32_t dead, uint64_t deadline)
{
    zi_lock *lock = lock_at(view, slot);
    if (ZI_LOAD(lock->used) != ZI_ROLE_LOCK) return 1;
    if (ZI_LOAD(lock->holder) != dead && lock->kind != ZI_LOCK_CONDITION) return 1;
    if (queue_lock(view, slot, deadline) != ZI_OK) return 0;
    int wake = 0;
    uint32_t bits = 0;
    if (lock->used == ZI_ROLE_LOCK && lock->holder == dead) {
        ZI_STORE(lock->died, 1);
        ZI_STORE(lock->holder, 0);
        wake = wake_decide(&lock->seq, &lock->waiters, &lock->pending);
    }
    if (lock->used == ZI_ROLE_LOCK && lock->kind == ZI_LOCK_CONDITION) bits = waiters_strike(view, lock, dead);
    queue_unlock(view, slot);
    if (wake) wait_wake(&lock->seq, 1);
    if (bits) wait_wake_some(&lock->seq, bits);
    return 1;
}

/* All steps for one participant; returns whether nothing of it is left. */
static inline int sweep_participant(zi_view *view, uint32_t index, uint32_t dead, uint64_t deadline)
{
    uint32_t used = ZI_LOAD(view->arena->blocks_used), left = 0;
    for (uint32_t id = 0; id < used; id++) {
        zi_block *block = &view->blocks[id];
        if (ZI_LOAD(block->owner) == dead) sweep_block(view, id, dead, deadline);
        if (block_lent_by(block, dead) != 0) sweep_lender(view, id, dead, deadline);
        left += ZI_LOAD(block->owner) == dead || block_lent_by(block, dead) != 0;
        ZI_POINT("sweep.block");
    }
    for (uint32_t slot = 0; slot < ZI_LOAD(view->arena->queues_used); slot++)
        left += !sweep_tally(view, slot, index, dead, deadline) + !sweep_lock(view, slot, dead, deadline);
    if (left != 0 || arena_lock(view, deadline) != ZI_OK) return 0;
    if (participant_identity(view, index) == dead) {
        memset(participant_row(view, index), 0, ZI_QUEUES);
        ZI_POINT("sweep.before_clear");
        ZI_STORE(view->participants[index].pid, 0);
        slots_mark_all(view);
        arena_mark_all(view); /* frees that the dead cut short, blocks they inherited */
    }
    arena_unlock(view);
    return 1;
}

/* Return what dead participants held, as far as locks are free until *deadline*.  Returns how
 * many dead there were. */
static inline uint32_t arena_sweep(zi_view *view, uint64_t deadline)
{
    uint32_t count = 0;
    uint32_t used = ZI_LOAD(view->arena->participants_used);
    for (uint32_t index = 0; index < used; index++) {
        uint32_t identity = participant_identity(view, index);
        if (identity == view->me || !participant_dead(view, index)) continue;
        sweep_participant(view, index, identity, deadline);
        count++;
    }
    return count;
}

/* Sweep if nobody has done so for a tick. */
static inline void arena_tick(zi_view *view)
{
    uint64_t *last = &view->arena->last_sweep;
    if (zi_now() < ZI_LOAD(*last) + ZI_TICK_NS || arena_lock(view, 0) != ZI_OK) return;
    uint64_t now = zi_now();
    int mine = now >= *last + ZI_TICK_NS;
    if (mine) ZI_STORE(*last, now);
    arena_unlock(view);
    if (mine) arena_sweep(view, now + ZI_TICK_NS);
}

/* Register this process, sweeping first when the table is full of the dead. */
static inline zi_status arena_register(zi_view *view, uint64_t deadline)
{
    zi_status status = participant_register(view, deadline);
    if (status != ZI_NO_ENTRY) return status;
    arena_sweep(view, deadline);
    return participant_register(view, deadline);
}

/* Leave in good order: what this process still owns goes back as if it had died. */
static inline void arena_deregister(zi_view *view)
{
    if (view->me != 0) sweep_participant(view, identity_index(view->me), view->me, zi_now() + 10 * (uint64_t)ZI_TICK_NS);
    view->me = 0;
}

/* --- Waiting: spin, announce, sleep, and a sweep at each tick --------------------------- */

/* Watch one side of a queue.  *first*: spin before sleeping.  Returns ZI_OK when it is
 * worth trying again, ZI_TIMEOUT at the tick or *deadline*, ZI_INTERRUPTED, ZI_BUSY. */
static inline zi_status queue_await_items(zi_view *view, uint32_t slot, uint64_t deadline, int first)
{
    zi_queue *queue = &view->queues[slot];
    uint64_t seen = ZI_LOAD(queue->tail);
    if (first && queue_size(queue) == 0 && wait_spin(&queue->tail, seen, &queue->tail_cpu)) return ZI_OK;
    zi_status status = queue_lock(view, slot, deadline);
    if (status != ZI_OK) return status;
    if (queue_size(queue) != 0 || queue->state != ZI_STATE_OPEN || queue->used != ZI_ROLE_QUEUE) {
        queue_unlock(view, slot);
        return ZI_OK;
    }
    uint32_t seq = wake_announce(&queue->items_seq, &queue->items_waiters, &queue->items_pending);
    queue_unlock(view, slot);
    ZI_POINT("wait.announced");
    zi_status slept = wait_sleep(&queue->items_seq, seq, deadline);
    status = queue_lock(view, slot, zi_now() + ZI_TICK_NS);
    if (status == ZI_OK) {
        wake_retract(&queue->items_waiters, &queue->items_pending);
        queue_unlock(view, slot);
    }
    if (slept == ZI_TIMEOUT) arena_tick(view);
    return slept;
}

static inline zi_status queue_await_room(zi_view *view, uint32_t slot, uint64_t deadline, int first)
{
    zi_queue *queue = &view->queues[slot];
    uint64_t seen = ZI_LOAD(queue->head);
    if (first && queue_size(queue) >= queue->maxsize && wait_spin(&queue->head, seen, &queue->head_cpu))
        return ZI_OK;
    zi_status status = queue_lock(view, slot, deadline);
    if (status != ZI_OK) return status;
    if (queue_size(queue) < queue->maxsize || queue->state != ZI_STATE_OPEN || queue->used != ZI_ROLE_QUEUE) {
        queue_unlock(view, slot);
        return ZI_OK;
    }
    uint32_t seq = wake_announce(&queue->room_seq, &queue->room_waiters, &queue->room_pending);
    queue_unlock(view, slot);
    zi_status slept = wait_sleep(&queue->room_seq, seq, deadline);
    status = queue_lock(view, slot, zi_now() + ZI_TICK_NS);
    if (status == ZI_OK) {
        wake_retract(&queue->room_waiters, &queue->room_pending);
        queue_unlock(view, slot);
    }
    if (slept == ZI_TIMEOUT) arena_tick(view);
    return slept;
}

/* Wait for memory of the arena to come free.  Freeing takes no lock, so the count of
 * waiters is only a hint and the sleep is short. */
static inline zi_status arena_await_space(zi_view *view, uint64_t deadline)
{
    zi_arena *arena = view->arena;
    uint64_t soon = zi_now() + ZI_TICK_NS / 10;
    uint32_t seq = ZI_LOAD(arena->space_seq);
    ZI_STORE(arena->space_waiters, 1);
    zi_fence();
    if (ZI_LOAD(arena->dirty)) return ZI_OK;
    zi_status slept = wait_sleep(&arena->space_seq, seq, deadline < soon ? deadline : soon);
    ZI_STORE(arena->space_waiters, 0); /* who waits still wakes by itself soon */
    arena_tick(view);
    return slept;
}

#endif
