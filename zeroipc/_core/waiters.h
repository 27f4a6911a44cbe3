/* Those who wait for a condition, each with an entry of its own: whom a notify picks is woken,
 * and nobody else.
 *
 * Callers   any thread of an attached process that holds the slot
 * Progress  each step holds Q for a bounded time
 * Crash     the sweep strikes out the dead; what a dead one was notified of goes to the next
 * Bytes     LOCK, WAITER in layout.py
 * Source    SPECIFICATION.md, "Locks"
 *
 * ENTER   1. under Q: fill in an empty entry.  2. state = WAITING: it is there.
 * NOTIFY  1. under Q: state = NOTIFIED for the oldest who are WAITING.  2. seq + 1.  3. unlock; wake.
 * SETTLE  under Q, by who waits: if NOTIFIED, or the time is over, the entry is empty again.
 *
 * All sleep on one word, told apart by a bit each, so that an entry may move. */
#ifndef ZI_WAITERS_H
#define ZI_WAITERS_H

#include "mqueue.h"

static inline zi_lock *lock_at(const zi_view *view, uint32_t slot) { return (zi_lock *)&view->queues[slot]; }

/* Under Q: whether the lock is still there, and this process still in the arena. */
static inline zi_status lock_check(const zi_view *view, const zi_lock *lock, uint32_t generation)
{
    return view->me && lock->used == ZI_ROLE_LOCK && lock->generation == generation ? ZI_OK : ZI_STALE;
}

/* As queue_lock, with nothing on the way when Q is free and whole. */
static inline zi_status lock_visit(zi_view *view, uint32_t slot, uint64_t deadline)
{
    zi_lock *lock = lock_at(view, slot);
    int error = pthread_mutex_trylock(&lock->lock.m);
    if (error == 0 && !lock->torn) return ZI_OK;
    return error == EBUSY ? queue_lock(view, slot, deadline) : queue_mend(view, slot, mutex_status(error), deadline);
}

/* Under Q, except to see whether it is worth asking again. */
static inline zi_waiter *waiters_table(const zi_view *view, const zi_lock *lock)
{
    uint32_t block = ZI_LOAD(lock->block);
    return block == ZI_NONE ? (zi_waiter *)lock->table : (zi_waiter *)block_bytes(view, block);
}

/* Under Q: go on in *spare*, which is larger. */
static inline void waiters_move(zi_view *view, uint32_t slot, uint32_t spare)
{
    zi_lock *lock = lock_at(view, slot);
    uint32_t old = lock->block, nbytes = (uint32_t)sizeof(zi_waiter) * lock->capacity;
    uint32_t room = (uint32_t)(class_pages(view->blocks[spare].cls) * ZI_PAGE);
    memcpy(block_bytes(view, spare), waiters_table(view, lock), nbytes);
    memset(block_bytes(view, spare) + nbytes, 0, room - nbytes);
    view->blocks[spare].queue = slot;
    ZI_STORE(lock->block, spare);
    ZI_STORE(lock->capacity, room / (uint32_t)sizeof(zi_waiter));
    ZI_STORE(view->blocks[spare].owner, (uint32_t)ZI_QUEUED);
    if (old != ZI_NONE) block_free(view, old);
}

/* Under Q: an empty entry, or NONE. */
static inline uint32_t waiters_free(const zi_view *view, const zi_lock *lock)
{
    const zi_waiter *table = waiters_table(view, lock);
    for (uint32_t index = 0; index < lock->capacity; index++)
        if (table[index].state == ZI_WAITER_NONE) return index;
    return ZI_NONE;
}

/* One visit: take an entry, of *spare* if there is one.  ZI_WANT_CHUNK: there is no room. */
static inline zi_status waiter_visit(zi_view *view, uint32_t slot, uint32_t generation, uint32_t *spare,
                                     uint32_t *index, uint64_t deadline)
{
    zi_lock *lock = lock_at(view, slot);
    zi_status status = queue_lock(view, slot, deadline);
    if (status != ZI_OK) return status;
    status = lock_check(view, lock, generation);
    if (status == ZI_OK && (*index = waiters_free(view, lock)) == ZI_NONE) {
        status = ZI_WANT_CHUNK;
        if (*spare != ZI_NONE && class_pages(view->blocks[*spare].cls) * ZI_PAGE > lock->capacity * sizeof(zi_waiter)) {
            *index = lock->capacity;
            waiters_move(view, slot, *spare);
            *spare = ZI_NONE;
            status = ZI_OK;
        }
    }
    if (status == ZI_OK) {
        zi_waiter *waiter = &waiters_table(view, lock)[*index];
        waiter->owner = view->me;
        waiter->ticket = lock->tickets++;
        ZI_STORE(waiter->state, ZI_WAITER_WAITING);
    }
    queue_unlock(view, slot);
    return status;
}

/* ENTER; *index names the entry from now on. */
static inline zi_status waiter_enter(zi_view *view, uint32_t slot, uint32_t generation, uint32_t *index,
                                     uint64_t deadline)
{
    uint32_t spare = ZI_NONE;
    zi_status status;
    while ((status = waiter_visit(view, slot, generation, &spare, index, deadline)) == ZI_WANT_CHUNK) {
        if (spare != ZI_NONE) block_free(view, spare);
        uint64_t nbytes = (uint64_t)lock_at(view, slot)->capacity * sizeof(zi_waiter) * 2;
        status = block_alloc(view, nbytes, ZI_KIND_MEMORY, &spare, deadline);
        if (status != ZI_OK) return status;
    }
    if (spare != ZI_NONE) block_free(view, spare);
    return status;
}

/* Under Q: the oldest who is WAITING, or NONE. */
static inline uint32_t waiters_oldest(const zi_view *view, const zi_lock *lock)
{
    const zi_waiter *table = waiters_table(view, lock);
    uint32_t oldest = ZI_NONE;
    for (uint32_t index = 0; index < lock->capacity; index++)
        if (table[index].state == ZI_WAITER_WAITING && (oldest == ZI_NONE || table[index].ticket < table[oldest].ticket))
            oldest = index;
    return oldest;
}

static inline uint32_t waiter_bit(uint32_t index) { return (uint32_t)1 << index % 32; }

/* Under Q: note on which CPU who notifies is, and the one before: of two that take turns, the
 * one that waits has notified last. */
static inline void notifier_note(zi_lock *lock)
{
    ZI_STORE(lock->value, lock->cpu);
    lock->cpu = zi_this_cpu();
}

/* Where the CPU is noted of whoever may notify next: another than ours, if there is one. */
static inline const uint32_t *notifier_cpu(const zi_lock *lock)
{
    return ZI_LOAD(lock->cpu) == zi_this_cpu() ? &lock->value : &lock->cpu;
}

/* Under Q: notify the oldest *count*.  Returns the bits to wake, after the unlock. */
static inline uint32_t waiters_pick(zi_view *view, zi_lock *lock, uint64_t count)
{
    zi_waiter *table = waiters_table(view, lock);
    uint32_t bits = 0, index;
    while (count-- != 0 && (index = waiters_oldest(view, lock)) != ZI_NONE) {
        ZI_STORE(table[index].state, ZI_WAITER_NOTIFIED);
        bits |= waiter_bit(index);
    }
    /* [lock.seq] release; pairs with the acquire in waiter_sleep: who sees it sees its state. */
    if (bits) ZI_STORE(lock->seq, lock->seq + 1);
    notifier_note(lock);
    return bits;
}

/* Under Q: notify all, in one pass. */
static inline uint32_t waiters_pick_all(zi_view *view, zi_lock *lock)
{
    zi_waiter *table = waiters_table(view, lock);
    uint32_t bits = 0;
    for (uint32_t index = 0; index < lock->capacity; index++) {
        if (table[index].state != ZI_WAITER_WAITING) continue;
        ZI_STORE(table[index].state, ZI_WAITER_NOTIFIED);
        bits |= waiter_bit(index);
    }
    if (bits) ZI_STORE(lock->seq, lock->seq + 1);
    notifier_note(lock);
    return bits;
}

/* NOTIFY so many; everybody, if *count* is more than there can be.  With *owed* the wake is left
 * to the caller, who adds the bits and owes it until it gives the user's lock back: who is
 * woken before that only finds it taken. */
static inline zi_status waiters_notify(zi_view *view, uint32_t slot, uint32_t generation, uint64_t count,
                                       uint32_t *owed, uint64_t deadline)
{
    zi_lock *lock = lock_at(view, slot);
    zi_status status = queue_lock(view, slot, deadline);
    if (status != ZI_OK) return status;
    uint32_t bits = 0;
    status = lock_check(view, lock, generation);
    if (status == ZI_OK) bits = count >= lock->capacity ? waiters_pick_all(view, lock) : waiters_pick(view, lock, count);
    queue_unlock(view, slot);
    if (bits && owed) *owed |= bits;
    if (bits && !owed) wait_wake_some(&lock->seq, bits);
    return status;
}

/* SETTLE.  ZI_OK: it was notified; ZI_EMPTY: not yet.  In both cases, if *over* or notified,
 * the entry is given up. */
static inline zi_status waiter_settle(zi_view *view, uint32_t slot, uint32_t generation, uint32_t index, int over,
                                      uint64_t deadline)
{
    zi_lock *lock = lock_at(view, slot);
    zi_status status = queue_lock(view, slot, deadline);
    if (status != ZI_OK) return status;
    status = lock_check(view, lock, generation);
    if (status == ZI_OK) {
        zi_waiter *waiter = &waiters_table(view, lock)[index];
        status = waiter->state == ZI_WAITER_NOTIFIED ? ZI_OK : ZI_EMPTY;
        if (status == ZI_OK || over) ZI_STORE(waiter->state, ZI_WAITER_NONE);
    }
    queue_unlock(view, slot);
    return status;
}

/* Spin, then sleep until the entry may have been notified, at most until *deadline* and for a
 * tick.  ZI_OK: worth settling; ZI_TIMEOUT; ZI_INTERRUPTED. */
static inline zi_status waiter_sleep(zi_view *view, uint32_t slot, uint32_t index, uint64_t deadline, int first)
{
    zi_lock *lock = lock_at(view, slot);
    uint32_t seq = ZI_LOAD(lock->seq);
    if (ZI_LOAD(waiters_table(view, lock)[index].state) != ZI_WAITER_WAITING) return ZI_OK;
    if (first && wait_spin_word(&lock->seq, seq, notifier_cpu(lock))) return ZI_OK;
    return wait_sleep_as(&lock->seq, seq, waiter_bit(index), deadline);
}

/* Under Q: how many have an entry. */
static inline uint32_t waiters_count(const zi_view *view, const zi_lock *lock)
{
    const zi_waiter *table = waiters_table(view, lock);
    uint32_t count = 0;
    for (uint32_t index = 0; index < lock->capacity; index++) count += table[index].state != ZI_WAITER_NONE;
    return count;
}

/* Under Q: strike out a dead one; what it was notified of goes to the next.  First those who
 * wait, so that none of them is the next.  A death in between notifies one too many, or counts
 * one too many as lost, which is allowed.  Returns the bits to wake. */
static inline uint32_t waiters_strike(zi_view *view, zi_lock *lock, uint32_t dead)
{
    zi_waiter *table = waiters_table(view, lock);
    uint32_t bits = 0;
    for (uint32_t index = 0; index < lock->capacity; index++) {
        if (table[index].state != ZI_WAITER_WAITING || table[index].owner != dead) continue;
        ZI_STORE(lock->lost, lock->lost + 1);
        ZI_STORE(table[index].state, ZI_WAITER_NONE);
    }
    for (uint32_t index = 0; index < lock->capacity; index++) {
        if (table[index].state != ZI_WAITER_NOTIFIED || table[index].owner != dead) continue;
        bits |= waiters_pick(view, lock, 1);
        ZI_STORE(table[index].state, ZI_WAITER_NONE);
    }
    return bits;
}

#endif
