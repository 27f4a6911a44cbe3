/* Waiting for named structures: who sleeps, and who wakes them.
 *
 * The shared format has no word to sleep on.  The first of our processes that has to sleep adds
 * the table entry WAIT_NAME; from then on, whoever changes a structure rings.  Peers written
 * in other languages never ring, so sleepers also look by themselves every few milliseconds.
 *
 * Sleeper: 1. read seq   2. set waiters to 1   3. look again   4. sleep while seq is as read
 * Ringer:  1. change the structure   2. fence   3. waiters set: clear it, move seq, wake all
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
    if (ZI_LOAD(bucket->waiters) == 0) return;
    ZI_STORE(bucket->waiters, 0);
    word_add32(&bucket->seq, 1);
    wait_wake(&bucket->seq, INT_MAX);
}

/* Say that somebody is about to sleep; return the seq to sleep on.  Look again afterwards. */
static inline uint32_t bell_listen(zi_bell *bell)
{
    uint32_t seq = ZI_LOAD(bell->bucket->seq);
    ZI_STORE(bell->bucket->waiters, 1);
    zi_fence(); /* [bell.change] */
    return seq;
}

#endif
