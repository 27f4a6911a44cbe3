/* The robust process-shared mutex: a holder that dies hands it on.
 *
 * The kernel keeps a list of the robust mutexes that a thread holds and, when the thread
 * dies, gives each to a waiter with EOWNERDEAD.  It covers a death at any instruction of
 * lock and unlock, which no lock made of plain words can.
 *
 * Rules: the memory of a mutex is never unmapped while a thread may be inside lock or
 * unlock (glibc bug 14485), so arenas stay mapped; whoever gets ZI_REPAIR mends what the
 * lock guards, in steps that may be repeated, and then calls mutex_mended. */
#ifndef ZI_MUTEX_H
#define ZI_MUTEX_H

#include <errno.h>
#include <pthread.h>
#include <stdint.h>

#include "wait.h"

typedef union {
    pthread_mutex_t m;
    char bytes[48];
} zi_mutex;

_Static_assert(sizeof(pthread_mutex_t) <= 48, "a pthread mutex outgrew its field");

/* Who finds the mutex taken stays away for a microsecond or so.  The other side then does
 * several operations with everything in its own cache, instead of both fighting for the
 * cache line at each; throughput between two CPUs is 4 times that of trying at once. */
enum { ZI_LOCK_TRIES = 4, ZI_LOCK_BACKOFF = 64 };

static inline void mutex_init(zi_mutex *mutex)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&mutex->m, &attr);
    pthread_mutexattr_destroy(&attr);
}

static inline zi_status mutex_status(int error)
{
    switch (error) {
    case 0: return ZI_OK;
    case EOWNERDEAD: return ZI_REPAIR;
    case EBUSY:
    case ETIMEDOUT:
    case EDEADLK: return ZI_BUSY;
    default: return ZI_DAMAGED;
    }
}

/* Take the mutex if it comes free within a moment.  ZI_OK, ZI_REPAIR or ZI_BUSY. */
static inline zi_status mutex_try_lock(zi_mutex *mutex)
{
    for (int try = 0;; try++) {
        int error = pthread_mutex_trylock(&mutex->m);
        if (error != EBUSY || try == ZI_LOCK_TRIES) return mutex_status(error);
        for (int pause = 0; pause < ZI_LOCK_BACKOFF; pause++) zi_pause();
    }
}

/* Take the mutex, waiting until *deadline* (CLOCK_MONOTONIC ns).
 *
 * A sleep ends after a tick here too.  When a holder dies between the two steps of its unlock,
 * the word and the wake, and a third process takes the mutex in between, the kernel wakes
 * nobody for the dead, and the third does not know of sleepers. */
static inline zi_status mutex_lock(zi_mutex *mutex, uint64_t deadline)
{
    zi_status status = mutex_try_lock(mutex);
    if (status != ZI_BUSY) return status;
    int error;
    uint64_t end;
    do {
        end = zi_now() + ZI_TICK_NS;
        if (end > deadline) end = deadline;
        struct timespec until = zi_timespec(end);
        error = pthread_mutex_clocklock(&mutex->m, CLOCK_MONOTONIC, &until);
    } while (error == ETIMEDOUT && end < deadline);
    return mutex_status(error);
}

static inline void mutex_mended(zi_mutex *mutex) { pthread_mutex_consistent(&mutex->m); }

static inline void mutex_unlock(zi_mutex *mutex) { pthread_mutex_unlock(&mutex->m); }

#endif
