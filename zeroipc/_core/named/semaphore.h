/* Permits: a semaphore has some, a mutex one and a tag that says who holds it.
 *
 * Take:  1. count c > 0   2. count c -> c - 1          mutex: 3. owner = tag
 * Give:  1. count c, below max_count        mutex: 2. owner = 0   3. count c -> c + 1
 * Inherit a mutex: owner from the tag of a process that died to one's own; count stays 0.
 *
 * A process that dies with the permit and the tag is inherited from, by exactly one.  Between
 * 2 and 3 it leaves a mutex that nobody is known to hold. */
#ifndef ZI_NAMED_SEMAPHORE_H
#define ZI_NAMED_SEMAPHORE_H

#include "../status.h"
#include "layout.h"
#include "words.h"

static inline int32_t semaphore_most(const zi_semaphore *words)
{
    return words->max_count > 0 ? words->max_count : INT32_MAX;
}

static inline zi_status semaphore_take(zi_semaphore *words)
{
    for (;;) {
        int32_t count = ZI_LOAD(words->count);
        if (count <= 0) return ZI_EMPTY;
        /* [semaphore.permit] acquire: what was done before the permit was given is visible */
        if (word_cas32((uint32_t *)&words->count, (uint32_t)count, (uint32_t)count - 1))
            return ZI_OK;
    }
}

static inline zi_status semaphore_give(zi_semaphore *words, int32_t permits)
{
    for (;;) {
        int32_t count = ZI_LOAD(words->count);
        if (count > semaphore_most(words) - permits) return ZI_FULL;
        /* [semaphore.permit] release; pairs with semaphore_take */
        if (word_cas32((uint32_t *)&words->count, (uint32_t)count, (uint32_t)(count + permits)))
            return ZI_OK;
    }
}

static inline zi_status mutex_take(zi_semaphore *words, uint32_t tag)
{
    zi_status status = semaphore_take(words);
    if (status == ZI_OK) ZI_STORE(words->owner, tag);
    return status;
}

static inline zi_status mutex_give(zi_semaphore *words)
{
    for (;;) {
        int32_t count = ZI_LOAD(words->count);
        if (count >= semaphore_most(words)) return ZI_FULL;
        /* [mutex.owner] before the permit: the tag of the next holder stays */
        ZI_STORE(words->owner, 0);
        /* [semaphore.permit] release; pairs with semaphore_take */
        if (word_cas32((uint32_t *)&words->count, (uint32_t)count, (uint32_t)count + 1))
            return ZI_OK;
    }
}

/* Whether the mutex was held by *heritage*, a tag, and is now held by *tag*. */
static inline int mutex_inherit(zi_semaphore *words, uint32_t heritage, uint32_t tag)
{
    /* [mutex.owner] acquire: exactly one survivor, who sees what the dead had done */
    return word_cas32(&words->owner, heritage, tag);
}

#endif
