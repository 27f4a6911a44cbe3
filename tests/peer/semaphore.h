/* Semaphores and mutexes: SPECIFICATION.md, "Semaphore" and "Mutex". */
#ifndef PEER_SEMAPHORE_H
#define PEER_SEMAPHORE_H

#include "atomic.h"
#include "owner.h"

typedef struct {
    _Atomic int32_t count, waiting;
    int32_t max_count;
    _Atomic uint32_t owner;
} Semaphore;

_Static_assert(sizeof(Semaphore) == 16, "as the table in the specification");

static Semaphore *semaphore_of(const char *name) {
    uint64_t size;
    Semaphore *semaphore = structure(name, sizeof *semaphore, &size);
    if (size != sizeof *semaphore || semaphore->max_count < 0) {
        fail("%s is not a semaphore", name);
    }
    return semaphore;
}

static void semaphore_create(const char *name, int32_t count, int32_t most) {
    Space space = begin_add(name, sizeof(Semaphore));
    *(Semaphore *)space.bytes = (Semaphore){.count = count, .max_count = most};
    end_add(name, space);
}

static bool semaphore_try_take(Semaphore *semaphore) {
    int32_t c = atomic_load(&semaphore->count);
    while (c > 0) {
        if (atomic_compare_exchange_weak(&semaphore->count, &c, c - 1)) {
            return true;
        }
    }
    return false;
}

static void semaphore_take(Semaphore *semaphore) {
    if (semaphore_try_take(semaphore)) {
        return;
    }
    atomic_fetch_add(&semaphore->waiting, 1);
    for (unsigned tries = 0; !semaphore_try_take(semaphore);) {
        pause_a_little(&tries);
    }
    atomic_fetch_sub(&semaphore->waiting, 1);
}

static bool semaphore_give(Semaphore *semaphore, int32_t n) {
    int64_t most = semaphore->max_count ? semaphore->max_count : INT32_MAX;
    int32_t c = atomic_load(&semaphore->count);
    do {
        if ((int64_t)c + n > most) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&semaphore->count, &c, c + n));
    return true;
}

/* semaphore.create NAME COUNT MOST; a mutex is one of 1 and 1 */
static void semaphore_create_command(char **word) {
    semaphore_create(word[0], (int32_t)number(word[1]), (int32_t)number(word[2]));
    answer("");
}

static void semaphore_take_command(char **word) {
    semaphore_take(semaphore_of(word[0]));
    answer("");
}

static void semaphore_try_take_command(char **word) {
    answer("%d", semaphore_try_take(semaphore_of(word[0])));
}

/* semaphore.give NAME COUNT: whether there was room for them */
static void semaphore_give_command(char **word) {
    answer("%d", semaphore_give(semaphore_of(word[0]), (int32_t)number(word[1])));
}

/* semaphore.facts NAME: count, waiting, max_count */
static void semaphore_facts(char **word) {
    const Semaphore *semaphore = semaphore_of(word[0]);
    answer("%d %d %d", (int)semaphore->count, (int)semaphore->waiting, semaphore->max_count);
}

/* semaphore.crowd NAME INSIDE MOST TIMES: takes and gives; the atomic INSIDE is never above MOST */
static void semaphore_crowd(char **word) {
    Semaphore *semaphore = semaphore_of(word[0]);
    _Atomic int64_t *inside = atomic_of(word[1]);
    int64_t most = number(word[2]);
    for (int64_t left = number(word[3]); left > 0; left--) {
        semaphore_take(semaphore);
        int64_t with_us = atomic_fetch_add(inside, 1) + 1;
        atomic_fetch_sub(inside, 1);
        semaphore_give(semaphore, 1);
        if (with_us > most) {
            fail("%" PRId64 " are inside", with_us);
        }
    }
    answer("");
}

/* mutex.count NAME NUMBER TIMES: adds to a number, one time after the other, under the mutex */
static void mutex_count(char **word) {
    Semaphore *mutex = semaphore_of(word[0]);
    volatile int64_t *counted = atomic_of(word[1]);
    for (int64_t left = number(word[2]); left > 0; left--) {
        semaphore_take(mutex);
        ++*counted;
        semaphore_give(mutex, 1);
    }
    answer("");
}

/* mutex.lock NAME: and says who has it, which other programs in C and C++ do not */
static void mutex_lock(char **word) {
    Semaphore *mutex = semaphore_of(word[0]);
    semaphore_take(mutex);
    atomic_store(&mutex->owner, own_tag());
    answer("");
}

static void mutex_unlock(char **word) {
    Semaphore *mutex = semaphore_of(word[0]);
    atomic_store_explicit(&mutex->owner, 0, memory_order_release);
    answer("%d", semaphore_give(mutex, 1));
}

static const Command SEMAPHORE_COMMANDS[] = {
    {"semaphore.create", 3, semaphore_create_command},
    {"semaphore.take", 1, semaphore_take_command},
    {"semaphore.try_take", 1, semaphore_try_take_command},
    {"semaphore.give", 2, semaphore_give_command},
    {"semaphore.facts", 1, semaphore_facts},
    {"semaphore.crowd", 4, semaphore_crowd},
    {"mutex.count", 3, mutex_count},
    {"mutex.lock", 1, mutex_lock},
    {"mutex.unlock", 1, mutex_unlock},
    {0},
};

#endif
