/* Queues: SPECIFICATION.md, "Queue". */
#ifndef PEER_QUEUE_H
#define PEER_QUEUE_H

#include "box.h"

typedef struct {
    _Atomic uint32_t head, tail;
    uint32_t capacity, elem_size;
} Queue;

_Static_assert(sizeof(Queue) == 16, "as the table in the specification");

static uint64_t queue_nbytes(uint64_t capacity, uint64_t nbytes) {
    return sizeof(Queue) + up8(capacity * nbytes) + 4 * capacity;
}

static _Atomic uint32_t *queue_sequence(const Box *box, uint32_t position) {
    uint8_t *all = box->items + up8((uint64_t)box->capacity * box->type.nbytes);
    return (_Atomic uint32_t *)(void *)all + position % box->capacity;
}

/* Step 3: whether a slot's sequence is what it must be; if not, why. */
static Outcome queue_ready(uint32_t sequence, uint32_t wanted) {
    if ((int32_t)(sequence - wanted) > 0) {
        fail("damaged: sequence %" PRIu32 " is ahead of %" PRIu32, sequence, wanted);
    }
    return sequence == wanted ? DONE : BUSY;
}

static Outcome queue_try_push(const Box *box, const void *item) {
    Queue *queue = box->header;
    for (;;) {
        uint32_t t = atomic_load(&queue->tail), expected = t;                   /* 1 */
        if ((int32_t)(t - atomic_load(&queue->head)) >= (int32_t)box->capacity) { /* 2 */
            return NOT_NOW;
        }
        _Atomic uint32_t *at = queue_sequence(box, t);
        uint32_t sequence = atomic_load_explicit(at, memory_order_acquire); /* 3 */
        if (sequence != t) {
            if (atomic_load(&queue->tail) == t) {
                return queue_ready(sequence, t);
            }
        } else if (atomic_compare_exchange_strong(&queue->tail, &expected, t + 1)) { /* 4 */
            memcpy(item_at(box, t % box->capacity), item, box->type.nbytes);         /* 5 */
            atomic_store_explicit(at, t + 1, memory_order_release);                  /* 6 */
            return DONE;
        }
    }
}

static Outcome queue_try_pop(const Box *box, void *item) {
    Queue *queue = box->header;
    for (;;) {
        uint32_t h = atomic_load(&queue->head), expected = h;   /* 1 */
        if ((int32_t)(atomic_load(&queue->tail) - h) <= 0) { /* 2 */
            return NOT_NOW;
        }
        _Atomic uint32_t *at = queue_sequence(box, h);
        uint32_t sequence = atomic_load_explicit(at, memory_order_acquire); /* 3 */
        if (sequence != h + 1) {
            if (atomic_load(&queue->head) == h) {
                return queue_ready(sequence, h + 1);
            }
        } else if (atomic_compare_exchange_strong(&queue->head, &expected, h + 1)) {  /* 4 */
            memcpy(item, item_at(box, h % box->capacity), box->type.nbytes);          /* 5 */
            atomic_store_explicit(at, h + box->capacity, memory_order_release); /* 6 */
            return DONE;
        }
    }
}

static Box queue_at(void *bytes, Type type, uint32_t capacity) {
    uint8_t *items = (uint8_t *)bytes + sizeof(Queue);
    return (Box){queue_try_push, queue_try_pop, bytes, items, capacity, type};
}

static Box queue_open(const char *name, Type type) {
    uint64_t size;
    Queue *queue = structure(name, sizeof *queue, &size);
    uint32_t n = queue->capacity;
    if (n == 0 || (n & (n - 1)) || queue->elem_size != type.nbytes ||
        queue_nbytes(n, type.nbytes) > size) {
        fail("%s is not a queue of such items", name);
    }
    return queue_at(queue, type, n);
}

static void queue_create(const char *name, uint32_t capacity, Type type) {
    Space space = begin_add(name, queue_nbytes(capacity, type.nbytes));
    Box box = queue_at(space.bytes, type, capacity);
    *(Queue *)box.header = (Queue){.capacity = capacity, .elem_size = type.nbytes};
    for (uint32_t i = 0; i < capacity; i++) {
        *queue_sequence(&box, i) = i;
    }
    end_add(name, space);
}

#endif
