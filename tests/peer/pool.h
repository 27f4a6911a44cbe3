/* Pools: SPECIFICATION.md, "Pool". As programs in C++, it does not look whether a node is free. */
#ifndef PEER_POOL_H
#define PEER_POOL_H

#include "segment.h"

#define POOL_END UINT32_MAX

typedef struct {
    _Atomic uint64_t free_head; /* generation, index */
    _Atomic uint32_t allocated;
    uint32_t padding, capacity, elem_size;
} PoolHeader;

_Static_assert(sizeof(PoolHeader) == 24, "as the table in the specification");

typedef struct {
    PoolHeader *header;
    uint8_t *nodes;
    Type type;
    uint64_t nbytes; /* of a node */
} Pool;

static uint64_t node_nbytes(Type type) {
    return round_up(round_up(type.nbytes, 4) + 4, align_of(type) > 4 ? align_of(type) : 4);
}

static Pool pool_of(const char *name, const char *type_name) {
    uint64_t size;
    Pool pool = {.type = type_of(type_name)};
    pool.header = structure(name, sizeof *pool.header, &size);
    pool.nodes = (uint8_t *)(pool.header + 1);
    pool.nbytes = node_nbytes(pool.type);
    if (pool.header->capacity == 0 || pool.header->elem_size != pool.type.nbytes ||
        size != sizeof *pool.header + pool.header->capacity * pool.nbytes) {
        fail("%s is not a pool of such elements", name);
    }
    return pool;
}

static uint8_t *node_at(const Pool *pool, uint64_t i) {
    if (i >= pool->header->capacity) {
        fail("no such node: %" PRIu64, i);
    }
    return pool->nodes + i * pool->nbytes;
}

static _Atomic uint32_t *node_next(const Pool *pool, uint64_t i) {
    return (_Atomic uint32_t *)(void *)(node_at(pool, i) + round_up(pool->type.nbytes, 4));
}

static uint64_t moved_head(uint64_t head, uint32_t i) {
    return ((head >> 32) + 1) << 32 | i;
}

static bool pool_try_allocate(const Pool *pool, uint32_t *i) {
    uint64_t head = atomic_load(&pool->header->free_head), next;
    do {
        *i = (uint32_t)head;
        if (*i == POOL_END) {
            return false;
        }
        next = moved_head(head, atomic_load(node_next(pool, *i)));
    } while (!atomic_compare_exchange_weak(&pool->header->free_head, &head, next));
    atomic_fetch_add(&pool->header->allocated, 1);
    return true;
}

static uint32_t pool_allocate(const Pool *pool) {
    uint32_t i;
    for (unsigned tries = 0; !pool_try_allocate(pool, &i);) {
        pause_a_little(&tries);
    }
    return i;
}

static void pool_free(const Pool *pool, uint32_t i) {
    uint64_t head = atomic_load(&pool->header->free_head);
    do {
        atomic_store(node_next(pool, i), (uint32_t)head);
    } while (!atomic_compare_exchange_weak(&pool->header->free_head, &head, moved_head(head, i)));
    atomic_fetch_sub(&pool->header->allocated, 1);
}

/* pool.create NAME CAPACITY TYPE */
static void pool_create(char **word) {
    uint32_t capacity = (uint32_t)number(word[1]);
    Type type = type_of(word[2]);
    Space space = begin_add(word[0], sizeof(PoolHeader) + capacity * node_nbytes(type));
    Pool pool = {space.bytes, (uint8_t *)space.bytes + sizeof(PoolHeader), type, node_nbytes(type)};
    pool.header->capacity = capacity;
    pool.header->elem_size = type.nbytes;
    for (uint32_t i = 0; i < capacity; i++) {
        *node_next(&pool, i) = i + 1 < capacity ? i + 1 : POOL_END;
    }
    end_add(word[0], space);
    answer("");
}

/* pool.allocate NAME TYPE: the index, as soon as there is one; pool.try_allocate: or nothing */
static void pool_allocate_command(char **word) {
    Pool pool = pool_of(word[0], word[1]);
    answer("%" PRIu32, pool_allocate(&pool));
}

static void pool_try_allocate_command(char **word) {
    Pool pool = pool_of(word[0], word[1]);
    uint32_t i;
    if (pool_try_allocate(&pool, &i)) {
        answer("%" PRIu32, i);
    } else {
        answer("");
    }
}

/* pool.look NAME TYPE: steps 1 to 3 of allocating, answers head and next; pool.swap NAME TYPE HEAD
 * NEXT: step 4, answers whether nothing had happened in between */
static void pool_look(char **word) {
    Pool pool = pool_of(word[0], word[1]);
    uint64_t head = atomic_load(&pool.header->free_head);
    answer("%" PRIu64 " %" PRIu32, head, *node_next(&pool, (uint32_t)head));
}

static void pool_swap(char **word) {
    Pool pool = pool_of(word[0], word[1]);
    uint64_t head = (uint64_t)number(word[2]);
    uint64_t next = moved_head(head, (uint32_t)number(word[3]));
    answer("%d", atomic_compare_exchange_strong(&pool.header->free_head, &head, next));
}

static void pool_free_command(char **word) {
    Pool pool = pool_of(word[0], word[1]);
    uint32_t i = (uint32_t)number(word[2]);
    node_at(&pool, i);
    pool_free(&pool, i);
    answer("");
}

/* pool.set NAME TYPE I VALUE and pool.get NAME TYPE I */
static void pool_set(char **word) {
    Pool pool = pool_of(word[0], word[1]);
    Element element = parse_element(pool.type, word[3]);
    memcpy(node_at(&pool, (uint64_t)number(word[2])), element.bytes, pool.type.nbytes);
    answer("");
}

static void pool_get(char **word) {
    Pool pool = pool_of(word[0], word[1]);
    Element element = {{0}};
    memcpy(element.bytes, node_at(&pool, (uint64_t)number(word[2])), pool.type.nbytes);
    answer("%s", shown(pool.type, &element));
}

static void pool_allocated(char **word) {
    const PoolHeader *header = structure(word[0], sizeof *header, NULL);
    answer("%" PRIu32, header->allocated);
}

/* pool.churn NAME TYPE HELD ME TIMES: takes so many nodes, finds them unchanged, and frees them */
static void pool_churn(char **word) {
    Pool pool = pool_of(word[0], word[1]);
    uint32_t held[16];
    int64_t count = number(word[2]), me = number(word[3]), times = number(word[4]);
    for (int64_t turn = 0; turn < times; turn++) {
        for (int64_t n = 0; n < count && n < 16; n++) {
            held[n] = pool_allocate(&pool);
            Element mine = element_of(pool.type, 16 * me + n);
            memcpy(node_at(&pool, held[n]), mine.bytes, pool.type.nbytes);
        }
        for (int64_t n = 0; n < count && n < 16; n++) {
            Element found = {{0}};
            memcpy(found.bytes, node_at(&pool, held[n]), pool.type.nbytes);
            if (integer_of(pool.type, &found) != 16 * me + n) {
                fail("node %" PRIu32 " is another's too", held[n]);
            }
            pool_free(&pool, held[n]);
        }
    }
    answer("");
}

static const Command POOL_COMMANDS[] = {
    {"pool.create", 3, pool_create},
    {"pool.allocate", 2, pool_allocate_command},
    {"pool.try_allocate", 2, pool_try_allocate_command},
    {"pool.look", 2, pool_look},
    {"pool.swap", 4, pool_swap},
    {"pool.free", 3, pool_free_command},
    {"pool.set", 4, pool_set},
    {"pool.get", 3, pool_get},
    {"pool.allocated", 1, pool_allocated},
    {"pool.churn", 5, pool_churn},
    {0},
};

#endif
