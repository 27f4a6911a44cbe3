/* Locks before, in and after an operation of the instruction sweep. */
#ifndef LOCKING_H
#define LOCKING_H

#include "before.h"

enum { STEP_THREAD = 7, STEP_WAITERS = 3 };

static rig_queue step_lock; /* the lock of the scenario */
static struct {
    uint32_t fewest, most; /* its value, or how many of its waiters were notified, after a death */
} step_expect;

static void lock_make(uint32_t kind, uint32_t value)
{
    setup_plain();
    REQUIRE_OK(lock_create(&rig, kind, value, 9, &step_lock.slot, &step_lock.generation, rig_soon()));
    lock_at(&rig, step_lock.slot)->waiters = 1; /* a sleeper that is not there: the wake runs */
}

static zi_status lock_try(void)
{
    return lock_take(&rig, step_lock.slot, step_lock.generation, STEP_THREAD, rig_soon());
}

static void do_lock(void) { REQUIRE_OK(lock_try()); }
static void do_unlock(void) { REQUIRE_OK(lock_give(&rig, step_lock.slot, step_lock.generation, rig_soon())); }
static void do_event_set(void) { REQUIRE_OK(event_set(&rig, step_lock.slot, step_lock.generation, 1, rig_soon())); }
static void do_event_clear(void) { REQUIRE_OK(event_set(&rig, step_lock.slot, step_lock.generation, 0, rig_soon())); }
static void do_await_lock(void) { lock_await(&rig, step_lock.slot, zi_now() + 100000, 0); }
static void do_await_event(void) { event_await(&rig, step_lock.slot, 0, zi_now() + 100000, 0); }

static void setup_lock(void) { lock_make(ZI_LOCK_PLAIN, 1); }

static void setup_lock_taken(void)
{
    setup_lock();
    do_lock();
}

static void setup_semaphore_to_take(void)
{
    lock_make(ZI_LOCK_SEMAPHORE, 5);
    step_expect.fewest = 4, step_expect.most = 5;
}

static void setup_semaphore_to_give(void)
{
    lock_make(ZI_LOCK_SEMAPHORE, 5);
    step_expect.fewest = 5, step_expect.most = 6;
}

static void setup_event(void) { lock_make(ZI_LOCK_EVENT, 0); }

static void setup_event_set(void)
{
    setup_event();
    do_event_set();
}

/* --- Conditions --------------------------------------------------------------------------- */

static uint32_t step_place;

static void do_enter(void)
{
    REQUIRE_OK(waiter_enter(&rig, step_lock.slot, step_lock.generation, &step_place, rig_soon()));
}

static void do_notify_two(void) { REQUIRE_OK(waiters_notify(&rig, step_lock.slot, step_lock.generation, 2, NULL, rig_soon())); }
static void do_notify_all(void) { REQUIRE_OK(waiters_notify(&rig, step_lock.slot, step_lock.generation, UINT64_MAX, NULL, rig_soon())); }

static void do_settle(void)
{
    waiter_settle(&rig, step_lock.slot, step_lock.generation, step_place, 1, rig_soon());
}

/* The parent waits so many times. */
static void wait_here(uint32_t waiters, uint32_t fewest, uint32_t most)
{
    lock_make(ZI_LOCK_CONDITION, 0);
    for (uint32_t i = 0; i < waiters; i++) do_enter();
    step_expect.fewest = fewest, step_expect.most = most;
}

static void setup_condition(void) { wait_here(STEP_WAITERS, 0, 0); }
static void setup_condition_full(void) { wait_here(ZI_WAITERS_INLINE, 0, 0); }
static void setup_condition_page_full(void) { wait_here(ZI_PAGE / sizeof(zi_waiter), 0, 0); }
static void setup_notify_two(void) { wait_here(STEP_WAITERS, 0, 2); }
static void setup_notify_all(void) { wait_here(STEP_WAITERS, 0, STEP_WAITERS); }

/* Two dead ones wait before the parent does; the first of them was notified. */
static void wait_twice(void)
{
    do_enter();
    do_enter();
    REQUIRE_OK(waiters_notify(&rig, step_lock.slot, step_lock.generation, 1, NULL, rig_soon()));
}

static void setup_dead_waiters(void)
{
    lock_make(ZI_LOCK_CONDITION, 0);
    rig_run_and_die(wait_twice);
    for (uint32_t i = 0; i < STEP_WAITERS; i++) do_enter();
    step_expect.fewest = 1, step_expect.most = 2;
}

static void hold_for_ever(void) { do_lock(); }

static void setup_dead_holder(void)
{
    setup_lock();
    rig_run_and_die(hold_for_ever);
}

static void do_create_locks(void)
{
    rig_queue made;
    for (uint32_t kind = ZI_LOCK_PLAIN; kind <= ZI_LOCK_CONDITION; kind++)
        REQUIRE_OK(lock_create(&rig, kind, 1, 1, &made.slot, &made.generation, rig_soon()));
}

static void setup_unheld_condition(void)
{
    setup_condition_full();
    do_enter();
    holding_clear(&rig, step_lock.slot);
}

/* --- The survivor --------------------------------------------------------------------------- */

/* Whoever had it is dead, unless it is the parent; nobody has it twice. */
static void survive_holder(zi_lock *lock)
{
    if (lock->holder != 0) { /* the parent's: it is given back by another, once */
        REQUIRE(lock_try() == ZI_EMPTY, "a lock is had twice");
        do_unlock();
    }
    do_lock();
    REQUIRE(lock_try() == ZI_EMPTY, "a lock is had twice");
    do_unlock();
    REQUIRE(!lock->died, "told twice of a death");
    REQUIRE(lock_give(&rig, step_lock.slot, step_lock.generation, rig_soon()) == ZI_FULL, "given back twice");
}

static void survive_event(zi_lock *lock)
{
    REQUIRE(lock->value <= 1, "value %u", lock->value);
    uint32_t seq = lock->seq;
    do_event_clear();
    REQUIRE(!event_is_set(lock, seq), "set after it was cleared");
    do_event_set();
    REQUIRE(event_is_set(lock, seq) && lock->seq == seq + 1, "seq %u", lock->seq);
}

/* The oldest were notified, no more than there should be and no fewer. */
static void survive_condition(zi_lock *lock)
{
    const zi_waiter *table = waiters_table(&rig, lock);
    uint32_t notified = 0, waiting = 0;
    uint64_t newest = 0, oldest = UINT64_MAX;
    for (uint32_t index = 0; index < lock->capacity; index++) {
        if (table[index].state == ZI_WAITER_NOTIFIED && ++notified && table[index].ticket > newest) newest = table[index].ticket;
        if (table[index].state == ZI_WAITER_WAITING && ++waiting && table[index].ticket < oldest) oldest = table[index].ticket;
    }
    REQUIRE(notified == 0 || waiting == 0 || newest < oldest, "ticket %lu before %lu", newest, oldest);
    uint32_t fewest = step_book->finished ? step_expect.most : step_expect.fewest;
    if (step_expect.fewest) fewest = step_expect.fewest;
    REQUIRE(notified >= fewest && notified <= step_expect.most, "%u were notified, not %u to %u", notified, fewest, step_expect.most);
    do_notify_all();
    REQUIRE(waiters_oldest(&rig, lock) == ZI_NONE, "somebody still waits");
    do_enter();
    REQUIRE(waiters_table(&rig, lock)[step_place].state == ZI_WAITER_WAITING, "no place");
    do_settle();
}

static void survive_lock(uint32_t slot)
{
    zi_lock *lock = lock_at(&rig, slot);
    if (slot != step_lock.slot || lock->generation != step_lock.generation) return;
    if (lock->kind <= ZI_LOCK_RECURSIVE) survive_holder(lock);
    if (lock->kind == ZI_LOCK_SEMAPHORE)
        REQUIRE(lock->value >= step_expect.fewest && lock->value <= step_expect.most, "value %u", lock->value);
    if (lock->kind == ZI_LOCK_EVENT) survive_event(lock);
    if (lock->kind == ZI_LOCK_CONDITION) survive_condition(lock);
}

#endif
