/* The one waiting policy: spin while that can pay, then sleep, never for longer than a tick.
 *
 * Sleepers watch a futex word that wakers change.  A waker may die between publishing and
 * waking, so a wake is a hint and every sleep ends by itself.
 *
 * Spinning pays only while the other side runs on another CPU: it stores the number of
 * its CPU beside what it publishes, and who would spin compares it with its own.  A spin that
 * lasts lets others have this CPU: the other side, if it has moved here, or a third process that
 * the other side waits for too.  Not sooner: who would come is one that is to be woken again. */
#ifndef ZI_WAIT_H
#define ZI_WAIT_H

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "atomics.h"
#include "status.h"

#ifndef ZI_TICK_NS
#define ZI_TICK_NS 100000000u /* longest sleep: how late a lost wake can be noticed */
#endif
#define ZI_SPIN_NS 50000u /* about one sleep and wake on another CPU: the break-even */
#define ZI_SPIN_LONG_NS 250000u /* while this thread's sleeps turn out this short */
#define ZI_SPIN_ALONE_NS 15000u /* how long a spin keeps others from this CPU */
#define ZI_FOREVER UINT64_MAX

static inline uint64_t zi_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline struct timespec zi_timespec(uint64_t ns)
{
    return (struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
}

/* The system keeps the number up to date in the thread's own memory, where glibc (2.35) says. */
#if defined(__x86_64__) && __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#define ZI_RSEQ 1
#else
#define ZI_RSEQ 0
#endif

static inline uint32_t zi_this_cpu(void)
{
#if ZI_RSEQ
    if (__rseq_size != 0) {
        char *thread;
        __asm__("movq %%fs:0, %0" : "=r"(thread));
        return ((volatile struct rseq *)(thread + __rseq_offset))->cpu_id;
    }
#endif
    int cpu = sched_getcpu();
    return cpu < 0 ? 0 : (uint32_t)cpu;
}

/* How long this thread spins: after a sleep that was over soon, spinning would have been
 * the cheaper way, as when the other side copies a large array; so it spins longer until a
 * sleep is long again. */
static __thread uint64_t wait_spin_ns = ZI_SPIN_NS;

static inline void wait_learn(uint64_t slept_ns)
{
    wait_spin_ns = slept_ns < ZI_SPIN_LONG_NS - ZI_SPIN_NS ? ZI_SPIN_LONG_NS : ZI_SPIN_NS;
}

/* Whether the time to spin is over: not before *end, which is set when it is 0. */
static inline int wait_spun(uint64_t *end)
{
    uint64_t now = zi_now();
    if (*end == 0)
        *end = now + wait_spin_ns;
    else if (*end - now < wait_spin_ns - ZI_SPIN_ALONE_NS)
        sched_yield();
    return now >= *end;
}

/* The body of a function that spins until *changed*; gives up after a while, or at once when
 * the one who changes it was last seen on this CPU and so cannot be running now. */
#define ZI_SPIN_UNTIL(changed, peer_cpu)                               \
    uint64_t end = 0;                                                  \
    do {                                                               \
        if (ZI_LOAD(*(peer_cpu)) == zi_this_cpu()) return 0;           \
        for (int pause = 0; pause < 64; pause++) {                     \
            if (changed) return 1;                                     \
            zi_pause();                                                \
        }                                                              \
    } while (!wait_spun(&end));                                        \
    return 0

/* Watch *word* until it differs from *seen*.  Returns whether it changed. */
static inline int wait_spin(const uint64_t *word, uint64_t seen, const uint32_t *peer_cpu)
{
    ZI_SPIN_UNTIL(ZI_LOAD(*word) != seen, peer_cpu);
}

/* The same of a word of 32 bits. */
static inline int wait_spin_word(const uint32_t *word, uint32_t seen, const uint32_t *peer_cpu)
{
    ZI_SPIN_UNTIL(ZI_LOAD(*word) != seen, peer_cpu);
}

/* Sleep while *word* is *seen*, at most until *deadline* and at most for a tick.
 * ZI_OK: woken, or the word had changed; ZI_TIMEOUT; ZI_INTERRUPTED by a signal. */
static inline zi_status wait_sleep(const uint32_t *word, uint32_t seen, uint64_t deadline)
{
    uint64_t now = zi_now();
    if (now >= deadline) return ZI_TIMEOUT;
    uint64_t span = deadline - now < ZI_TICK_NS ? deadline - now : ZI_TICK_NS;
    struct timespec timeout = zi_timespec(span);
    if (syscall(SYS_futex, word, FUTEX_WAIT, seen, &timeout, NULL, 0) == 0) {
        wait_learn(zi_now() - now);
        return ZI_OK;
    }
    return errno == EINTR ? ZI_INTERRUPTED : errno == ETIMEDOUT ? ZI_TIMEOUT : ZI_OK;
}

static inline void wait_wake(const uint32_t *word, int sleepers)
{
    syscall(SYS_futex, word, FUTEX_WAKE, sleepers, NULL, NULL, 0);
}

/* As wait_sleep and wait_wake, for sleepers on one word that are told apart by *bits*. */
static inline zi_status wait_sleep_as(const uint32_t *word, uint32_t seen, uint32_t bits, uint64_t deadline)
{
    uint64_t now = zi_now(), end = now + ZI_TICK_NS;
    if (now >= deadline) return ZI_TIMEOUT;
    if (deadline < end) end = deadline;
    struct timespec until = zi_timespec(end);
    if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET, seen, &until, NULL, bits) == 0) {
        wait_learn(zi_now() - now);
        return ZI_OK;
    }
    return errno == EINTR ? ZI_INTERRUPTED : errno == ETIMEDOUT ? ZI_TIMEOUT : ZI_OK;
}

static inline void wait_wake_some(const uint32_t *word, uint32_t bits)
{
    syscall(SYS_futex, word, FUTEX_WAKE_BITSET, INT32_MAX, NULL, NULL, bits);
}

/* --- Wake words: sequence, sleepers, pending ------------------------------------
 *
 * Changed under the lock of their queue only.  `pending` says that a sleeper was woken and
 * has not run yet, so that a burst of messages costs one system call.  A sleeper that died
 * leaves `waiters` too high; that costs a system call now and then, and is never corrected
 * downward, because too low a count would lose a wake. */

/* Under the lock: note a sleeper, and return the word to sleep on. */
static inline uint32_t wake_announce(const uint32_t *seq, uint32_t *waiters, uint32_t *pending)
{
    *waiters += 1;
    *pending = 0;
    return *seq;
}

/* Under the lock, after sleeping. */
static inline void wake_retract(uint32_t *waiters, uint32_t *pending)
{
    if (*waiters != 0) *waiters -= 1;
    *pending = 0;
}

/* Under the lock: decide whether to wake.  The call itself comes after the unlock. */
static inline int wake_decide(uint32_t *seq, const uint32_t *waiters, uint32_t *pending)
{
    if (*waiters == 0 || *pending) return 0;
    *pending = 1;
    ZI_STORE(*seq, *seq + 1);
    return 1;
}

#endif
