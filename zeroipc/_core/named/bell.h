/* Waiting for named structures: who sleeps, and who wakes them.
 *
 * The shared format has no word to sleep on.  The first of our processes that has to sleep adds
 * the table entry WAIT_NAME; from then on, whoever changes a structure rings.  Peers written
 * in other languages never ring, so sleepers also look by themselves every few milliseconds.
 *
 * Sleeper: 1. read seq   2. mark waiters AWAKE, unless it is marked   3. look again   4. watch
 *          seq for a moment   5. mark waiters ASLEEP, and sleep while seq is as read
 * Ringer:  1. change the structure   2. fence   3. if waiters is marked: clear it, move seq,
 *          and if it was or is ASLEEP wake all
 *
 * A ringer that clears a sleeper's mark moves seq afterwards, and the sleeper read seq before
 * it set the mark: so its sleep ends at once.  A ringer that sees no mark made its change before
 * the sleeper looked again.  One that dies in between costs a sleeper one nap. */
#ifndef ZI_NAMED_BELL_H
#define ZI_NAMED_BELL_H

#include <limits.h>
#include <string.h>

#include "../wait.h"
#include "layout.h"
#include "words.h"

#define ZI_ENTRY_NAME_NBYTES 32

typedef struct {
    uint8_t *base;            /* of the segment */
    uint64_t nbytes;
    uint64_t count_at;        /* where the table counts its entries */
    uint64_t entries_at;      /* where they begin */
    uint32_t stride;          /* bytes of an entry: its name, then offset and size */
    uint32_t slots;
    uint32_t word_at;         /* the offset of the word that is watched */
    uint32_t seen;            /* entries when we looked for WAIT_NAME last */
    zi_wait_bucket *bucket;   /* NULL until it was found */
} zi_bell;

static inline uint32_t bell_index(uint32_t word_at)
{
    return (uint32_t)(word_at * (uint32_t)ZI_WAIT_MULTIPLIER) >> ZI_WAIT_SHIFT;
}

static inline uint64_t bell_field(const uint8_t *at, uint32_t nbytes)
{
    uint64_t value = 0;
    memcpy(&value, at, nbytes);
    return value;
}

/* Take the bucket from an entry called WAIT_NAME, if the entry is sound. */
static inline void bell_take(zi_bell *bell, const uint8_t *entry)
{
    uint32_t width = (bell->stride - ZI_ENTRY_NAME_NBYTES) / 2;
    uint64_t offset = bell_field(entry + ZI_ENTRY_NAME_NBYTES, width);
    uint64_t size = bell_field(entry + ZI_ENTRY_NAME_NBYTES + width, width);
    uint64_t wanted = ZI_WAIT_BUCKETS * sizeof(zi_wait_bucket);
    if (size != wanted || offset % 8 != 0) return;
    if (bell->nbytes < wanted || offset > bell->nbytes - wanted) return;
    bell->bucket = (zi_wait_bucket *)(bell->base + offset) + bell_index(bell->word_at);
}

/* Look for WAIT_NAME when the table has grown. */
static inline void bell_find(zi_bell *bell)
{
    uint32_t count = ZI_LOAD(*(uint32_t *)(bell->base + bell->count_at));
    if (count == bell->seen || count > bell->slots) return;
    bell->seen = count;
    for (uint32_t i = 0; i < count && bell->bucket == NULL; i++) {
        const uint8_t *entry = bell->base + bell->entries_at + (uint64_t)i * bell->stride;
        if (memcmp(entry, ZI_WAIT_NAME, sizeof(ZI_WAIT_NAME)) == 0) bell_take(bell, entry);
    }
}

/* After a change: wake whoever may wait for it. */
static inline void bell_ring(zi_bell *bell)
{
    zi_fence(); /* [bell.change] pairs with bell_listen: the change before the look at waiters */
    if (bell->bucket == NULL) {
        bell_find(bell);
        if (bell->bucket == NULL) return;
    }
    zi_wait_bucket *bucket = bell->bucket;
    if (ZI_LOAD(bucket->waiters) == ZI_WAIT_NOBODY) return;
    uint32_t who = __atomic_exchange_n(&bucket->waiters, ZI_WAIT_NOBODY, __ATOMIC_SEQ_CST);
    word_add32(&bucket->seq, 1);
    /* Whoever went to sleep before seq moved has marked that before. */
    if (who == ZI_WAIT_ASLEEP || ZI_LOAD(bucket->waiters) == ZI_WAIT_ASLEEP)
        wait_wake(&bucket->seq, INT_MAX);
}

/* Say that somebody is about to sleep; return the seq to sleep on.  Look again afterwards. */
static inline uint32_t bell_listen(zi_bell *bell)
{
    uint32_t seq = ZI_LOAD(bell->bucket->seq);
    word_cas32(&bell->bucket->waiters, ZI_WAIT_NOBODY, ZI_WAIT_AWAKE);
    zi_fence(); /* [bell.change] */
    return seq;
}

/* --- Spinning before a sleep ---
 *
 * It pays while answers come from another CPU within some microseconds, and on this CPU never.
 * The bucket does not say where the other side runs, so each thread learns from its last spins:
 * one in vain halves the next, and when nothing is left of it, one sleep in ZI_SPIN_AGAIN tries
 * once more. */
enum { ZI_BELL_SPIN_NS = 50000, ZI_BELL_SPIN_LEAST_NS = 4000, ZI_SPIN_AGAIN = 64 };

static __thread uint32_t bell_spin_ns = ZI_BELL_SPIN_NS;
static __thread uint32_t bell_slept;

/* Watch seq for a while; whether it moved. */
static inline int bell_spin(const zi_wait_bucket *bucket, uint32_t seen)
{
    if (bell_spin_ns < ZI_BELL_SPIN_LEAST_NS) {
        if (++bell_slept % ZI_SPIN_AGAIN) return 0;
        bell_spin_ns = ZI_BELL_SPIN_LEAST_NS;
    }
    uint64_t end = zi_now() + bell_spin_ns;
    do {
        for (int pause = 0; pause < 16; pause++) {
            if (ZI_LOAD(bucket->seq) != seen) {
                bell_spin_ns = ZI_BELL_SPIN_NS;
                return 1;
            }
            zi_pause();
        }
    } while (zi_now() < end);
    bell_spin_ns /= 2;
    return 0;
}

/* Sleep while seq is *seen*, for at most *nap* nanoseconds; a signal ends it too. */
static inline void bell_sleep(zi_bell *bell, uint32_t seen, uint64_t nap)
{
    uint64_t end = zi_now() + nap;
    if (bell_spin(bell->bucket, seen)) return;
    ZI_STORE(bell->bucket->waiters, ZI_WAIT_ASLEEP);
    zi_fence(); /* the mark before the kernel's look at seq */
    wait_sleep(&bell->bucket->seq, seen, end);
}

#endif
