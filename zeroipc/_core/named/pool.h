/* A pool of nodes of one size: any number of processes allocate and free.
 *
 * Free nodes are a list, last in first out.  free_head has the index of the first one, and a
 * generation that each change moves on, so that a swap fails if anything has happened since.
 *
 * Allocate: 1. (i, g) = free_head   2. none free if i = END   3. n = next of i
 *           4. claim: free_head (i, g) -> (n, g + 1)   5. allocated + 1
 * Free i:   1. n = next of i, (f, g) = free_head   2. i must not be in the list
 *           3. next of i: n -> f   4. free_head (f, g) -> (i, g + 1)   5. allocated - 1
 *
 * A process that dies in between leaves the list whole, and `allocated` one off at most.  The
 * nodes that it had stay allocated. */
#ifndef ZI_NAMED_POOL_H
#define ZI_NAMED_POOL_H

#include "../status.h"
#include "layout.h"
#include "words.h"

typedef struct {
    zi_pool_header *header;
    uint8_t *nodes;
    uint32_t capacity, next_at;
    uint64_t node_nbytes;
} zi_pool;

/* Searches that others may upset before a node is freed without one. */
#define ZI_POOL_SEARCHES 64

static inline uint64_t pool_next_at(uint32_t elem_size)
{
    return ((uint64_t)elem_size + 3) & ~UINT64_C(3);
}

static inline uint64_t pool_node_nbytes(uint32_t elem_size, uint32_t align)
{
    uint64_t unit = align > 4 ? align : 4;
    return (pool_next_at(elem_size) + 4 + unit - 1) / unit * unit;
}

static inline uint32_t *pool_next(const zi_pool *pool, uint32_t index)
{
    return (uint32_t *)(pool->nodes + index * pool->node_nbytes + pool->next_at);
}

static inline int pool_sound(const zi_pool *pool, uint32_t index)
{
    return index < pool->capacity || index == ZI_POOL_END;
}

/* Make *first* the first free node, if nothing has changed since *head* was read. */
static inline int pool_swap(const zi_pool *pool, uint64_t head, uint32_t first)
{
    /* [pool.freed] both ways: who allocates a node sees what was done before it was freed */
    uint64_t next = (head & ~UINT64_C(0xFFFFFFFF)) + (UINT64_C(1) << 32) + first;
    return word_cas64(&pool->header->free_head, head, next);
}

/* Take a free node: OK, EMPTY if there is none, or DAMAGED. */
static inline zi_status pool_allocate(const zi_pool *pool, uint32_t *index)
{
    for (;;) {
        uint64_t head = ZI_LOAD(pool->header->free_head); /* [pool.freed] acquire */
        *index = (uint32_t)head;
        if (*index == ZI_POOL_END) return ZI_EMPTY;
        if (*index >= pool->capacity) return ZI_DAMAGED;
        uint32_t next = ZI_LOAD(*pool_next(pool, *index));
        if (!pool_sound(pool, next)) {
            if (ZI_LOAD(pool->header->free_head) == head) return ZI_DAMAGED;
        } else if (pool_swap(pool, head, next)) {
            word_add32(&pool->header->allocated, 1);
            return ZI_OK;
        }
    }
}

/* Whether a node is among the first *most* that were free when *head* was read: STALE if it is,
 * DAMAGED if the list leads astray.  Right only if *head* has not changed. */
static inline zi_status pool_search(const zi_pool *pool, uint64_t head, uint32_t index,
                                    uint32_t most)
{
    uint32_t i = (uint32_t)head;
    for (uint32_t seen = 0; seen < most && i != ZI_POOL_END; seen++) {
        if (i >= pool->capacity) return ZI_DAMAGED;
        if (i == index) return ZI_STALE;
        i = ZI_LOAD(*pool_next(pool, i));
    }
    if (i == ZI_POOL_END) return ZI_OK;
    return most < pool->capacity && i < pool->capacity ? ZI_OK : ZI_DAMAGED; /* else a circle */
}

/* Give a node back: OK, STALE if it is free already, as far as *most* nodes tell, or DAMAGED. */
static inline zi_status pool_free(const zi_pool *pool, uint32_t index, uint32_t most)
{
    for (uint32_t turn = 0;; turn++) {
        uint32_t was = ZI_LOAD(*pool_next(pool, index));
        uint64_t head = ZI_LOAD(pool->header->free_head);
        uint32_t looked = turn < ZI_POOL_SEARCHES ? most : 0;
        zi_status status = pool_search(pool, head, index, looked);
        if (status != ZI_OK) {
            if (ZI_LOAD(pool->header->free_head) == head) return status;
        } else if (word_cas32(pool_next(pool, index), was, (uint32_t)head) &&
                   pool_swap(pool, head, index)) {
            word_add32(&pool->header->allocated, UINT32_MAX);
            return ZI_OK;
        }
    }
}

/* How many nodes are allocated, at some moment. */
static inline uint32_t pool_size(const zi_pool *pool)
{
    uint32_t allocated = ZI_LOAD(pool->header->allocated);
    if (allocated <= pool->capacity) return allocated;
    return (int32_t)allocated < 0 ? 0 : pool->capacity; /* a free may be counted first */
}

#endif
