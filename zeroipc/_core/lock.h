/* Locks, semaphores and events: words that change under the slot's mutex, held for a moment.
 *
 * Callers   any thread of an attached process that holds the slot; a plain lock and a
 *           semaphore may be given back by another than took them
 * Progress  one lock Q per slot, held for a bounded time; who waits sleeps at most a tick
 * Crash     a lock is taken and given back by one store to `holder`, a semaphore by one to
 *           `value`; the sweep gives back the locks of the dead, and says so in `died`
 * Bytes     LOCK in layout.py
 * Source    SPECIFICATION.md, "Locks"
 *
 * TAKE  1. lock Q.  2. if it is free: thread, count = 1.  3. holder = me.  4. unlock.
 * GIVE  1. lock Q.  2. died = 0.  3. holder = 0.  4. unlock; wake one.
 *
 * A semaphore has no holder: what a dead process had taken of it stays taken, since nobody
 * knows whether it was to be given back.  A robust mutex alone would not do: it cannot be
 * given back by another thread. */
#ifndef ZI_LOCK_H
#define ZI_LOCK_H

#include "slots.h"

/* --- Made ------------------------------------------------------------------------------ */

/* Under A: fill a slot in; `used` last. */
static inline void lock_fill(zi_view *view, uint32_t slot, uint32_t kind, uint32_t value, uint32_t maxvalue)
{
    zi_lock *lock = lock_at(view, slot);
    lock->generation++;
    lock->handled = 0;
    memset(&lock->kind, 0, sizeof *lock - offsetof(zi_lock, kind));
    lock->kind = (uint16_t)kind;
    lock->value = value;
    lock->maxvalue = maxvalue;
    lock->block = ZI_NONE;
    lock->capacity = ZI_WAITERS_INLINE;
    holding_set(view, slot);
    ZI_STORE(lock->used, ZI_ROLE_LOCK);
}

/* Make a lock of a *kind*, LOCK_..., that this process holds the slot of. */
static inline zi_status lock_create(zi_view *view, uint32_t kind, uint32_t value, uint32_t maxvalue, uint32_t *slot,
                                    uint32_t *generation, uint64_t deadline)
{
    slots_reclaim(view, deadline);
    zi_status status = arena_lock(view, deadline);
    if (status != ZI_OK) return status;
    status = slot_take(view, slot);
    if (status == ZI_OK) {
        lock_fill(view, *slot, kind, value, maxvalue);
        *generation = lock_at(view, *slot)->generation;
    }
    arena_unlock(view);
    return status;
}

/* --- Locks and semaphores ----------------------------------------------------------------- */

/* Whether it could be taken; a hint without Q. */
static inline int lock_is_free(const zi_lock *lock)
{
    return lock->kind == ZI_LOCK_SEMAPHORE ? ZI_LOAD(lock->value) != 0 : ZI_LOAD(lock->holder) == 0;
}

/* Whether this very thread has it.  Only it can change the answer. */
static inline int lock_is_mine(const zi_view *view, const zi_lock *lock, uint64_t thread)
{
    return ZI_LOAD(lock->holder) == view->me && lock->thread == thread && view->me != 0;
}

/* Under Q: the words of TAKE; returns whether another sleeper is to be woken. */
static inline int take_locked(zi_view *view, zi_lock *lock, uint64_t thread)
{
    lock->cpu = zi_this_cpu();
    if (lock->kind == ZI_LOCK_SEMAPHORE) {
        ZI_STORE(lock->value, lock->value - 1);
        return lock->value != 0 && wake_decide(&lock->seq, &lock->waiters, &lock->pending);
    }
    lock->thread = thread;
    lock->count = 1;
    /* [lock.holder] release; pairs with the acquire in lock_is_free and in every visit. */
    ZI_STORE(lock->holder, view->me);
    return 0;
}

/* TAKE, without waiting.  ZI_EMPTY: somebody has it. */
static inline zi_status lock_take(zi_view *view, uint32_t slot, uint32_t generation, uint64_t thread, uint64_t deadline)
{
    zi_lock *lock = lock_at(view, slot);
    zi_status status = lock_visit(view, slot, deadline);
    if (status != ZI_OK) return status;
    int wake = 0;
    status = lock_check(view, lock, generation);
    if (status == ZI_OK && !lock_is_free(lock)) status = ZI_EMPTY;
    if (status == ZI_OK) wake = take_locked(view, lock, thread);
    queue_unlock(view, slot);
    if (wake) wait_wake(&lock->seq, 1);
    return status;
}

/* GIVE.  ZI_FULL: nobody has it, or the semaphore is at its highest. */
static inline zi_status lock_give(zi_view *view, uint32_t slot, uint32_t generation, uint64_t deadline)
{
    zi_lock *lock = lock_at(view, slot);
    zi_status status = lock_visit(view, slot, deadline);
    if (status != ZI_OK) return status;
    int wake = 0;
    status = lock_check(view, lock, generation);
    if (status == ZI_OK && lock->kind == ZI_LOCK_SEMAPHORE) {
        if (lock->value >= lock->maxvalue)
            status = ZI_FULL;
        else
            ZI_STORE(lock->value, lock->value + 1);
    } else if (status == ZI_OK) {
        if (lock->holder == 0) status = ZI_FULL;
        ZI_STORE(lock->died, 0);
        ZI_STORE(lock->holder, 0);
    }
    if (status == ZI_OK) wake = wake_decide(&lock->seq, &lock->waiters, &lock->pending);
    queue_unlock(view, slot);
    if (wake) wait_wake(&lock->seq, 1);
    return status;
}

/* Spin while another CPU has it.  Returns whether it is worth trying. */
static inline int lock_spin(const zi_lock *lock)
{
    if (lock_is_free(lock)) return 1;
    ZI_SPIN_UNTIL(lock_is_free(lock), &lock->cpu);
}

/* Wait until it may be free, at most until *deadline* and for a tick.  *first*: spin before
 * sleeping.  ZI_OK: worth trying; ZI_TIMEOUT, ZI_INTERRUPTED, ZI_BUSY. */
static inline zi_status lock_await(zi_view *view, uint32_t slot, uint64_t deadline, int first)
{
    zi_lock *lock = lock_at(view, slot);
    if (first && lock_spin(lock)) return ZI_OK;
    zi_status status = queue_lock(view, slot, deadline);
    if (status != ZI_OK) return status;
    if (lock_is_free(lock) || lock->used != ZI_ROLE_LOCK) {
        queue_unlock(view, slot);
        return ZI_OK;
    }
    uint32_t seq = wake_announce(&lock->seq, &lock->waiters, &lock->pending);
    queue_unlock(view, slot);
    zi_status slept = wait_sleep(&lock->seq, seq, deadline);
    if (queue_lock(view, slot, zi_now() + ZI_TICK_NS) == ZI_OK) {
        wake_retract(&lock->waiters, &lock->pending);
        queue_unlock(view, slot);
    }
    if (slept == ZI_TIMEOUT) arena_tick(view);
    return slept;
}

/* --- Events -------------------------------------------------------------------------------- */

/* Set it, and wake everybody; or clear it.  `seq` counts how often it was set. */
static inline zi_status event_set(zi_view *view, uint32_t slot, uint32_t generation, uint32_t value, uint64_t deadline)
{
    zi_lock *lock = lock_at(view, slot);
    zi_status status = lock_visit(view, slot, deadline);
    if (status != ZI_OK) return status;
    status = lock_check(view, lock, generation);
    int wake = status == ZI_OK && value && !lock->value;
    if (status == ZI_OK) {
        if (value) lock->cpu = zi_this_cpu(); /* who clears it is the one who waits */
        /* [event.value] release; pairs with the acquire in event_is_set. */
        ZI_STORE(lock->value, value);
        if (wake) ZI_STORE(lock->seq, lock->seq + 1);
    }
    wake = wake && lock->waiters != 0;
    queue_unlock(view, slot);
    if (wake) wait_wake(&lock->seq, INT32_MAX);
    return status;
}

/* Whether it is set, or was since *seq* was read. */
static inline int event_is_set(const zi_lock *lock, uint32_t seq)
{
    return ZI_LOAD(lock->value) != 0 || ZI_LOAD(lock->seq) != seq;
}

/* Wait until it was set after *seq* was read, at most until *deadline* and for a tick. */
static inline zi_status event_await(zi_view *view, uint32_t slot, uint32_t seq, uint64_t deadline, int first)
{
    zi_lock *lock = lock_at(view, slot);
    if (first && wait_spin_word(&lock->seq, seq, &lock->cpu)) return ZI_OK;
    zi_status status = queue_lock(view, slot, deadline);
    if (status != ZI_OK) return status;
    int set = event_is_set(lock, seq);
    if (!set) lock->waiters++;
    queue_unlock(view, slot);
    if (set) return ZI_OK;
    zi_status slept = wait_sleep(&lock->seq, seq, deadline);
    if (queue_lock(view, slot, zi_now() + ZI_TICK_NS) == ZI_OK) {
        if (lock->waiters != 0) lock->waiters--;
        queue_unlock(view, slot);
    }
    if (slept == ZI_TIMEOUT) arena_tick(view);
    return slept;
}

#endif
