/* Queues: SPECIFICATION.md, "Queue". */
#ifndef PEER_QUEUE_H
#define PEER_QUEUE_H

#include "segment.h"

typedef struct {
    _Atomic uint32_t head, tail;
    uint32_t capacity, elem_size;
} QueueHeader;

_Static_assert(sizeof(QueueHeader) == 16, "as the table in the specification");

typedef struct {
    QueueHeader *header;
    uint8_t *items;
    _Atomic uint32_t *sequence;
    uint32_t capacity;
    Type type;
} Queue;

typedef enum { DONE, NOT_NOW, BUSY } Outcome;

static uint64_t queue_nbytes(uint64_t capacity, uint64_t nbytes) {
    return sizeof(QueueHeader) + up8(capacity * nbytes) + 4 * capacity;
}

static Queue queue_at(void *bytes, Type type, uint32_t capacity) {
    uint8_t *items = (uint8_t *)bytes + sizeof(QueueHeader);
    uint64_t sequence = up8((uint64_t)capacity * type.nbytes);
    return (Queue){bytes, items, (_Atomic uint32_t *)(void *)(items + sequence), capacity, type};
}

static Queue queue_of(const char *name, const char *type_name) {
    uint64_t size;
    Type type = type_of(type_name);
    QueueHeader *header = structure(name, sizeof *header, &size);
    uint32_t n = header->capacity;
    if (n == 0 || (n & (n - 1)) || header->elem_size != type.nbytes ||
        queue_nbytes(n, type.nbytes) > size) {
        fail("%s is not a queue of such items", name);
    }
    return queue_at(header, type, n);
}

static void queue_format(void *bytes, Type type, uint32_t capacity) {
    Queue queue = queue_at(bytes, type, capacity);
    *queue.header = (QueueHeader){.capacity = capacity, .elem_size = type.nbytes};
    for (uint32_t i = 0; i < capacity; i++) {
        queue.sequence[i] = i;
    }
}

static Outcome queue_try_push(const Queue *queue, const void *item) {
    for (;;) {
        uint32_t t = atomic_load(&queue->header->tail); /* 1 */
        if ((int32_t)(t - atomic_load(&queue->header->head)) >= (int32_t)queue->capacity) { /* 2 */
            return NOT_NOW;
        }
        uint32_t slot = t % queue->capacity;
        uint32_t sequence = atomic_load_explicit(&queue->sequence[slot], memory_order_acquire);
        if (sequence != t) { /* 3 */
            if (atomic_load(&queue->header->tail) != t) {
                continue;
            }
            if ((int32_t)(sequence - t) > 0) {
                fail("damaged: a sequence number is ahead");
            }
            return BUSY;
        }
        uint32_t expected = t;
        if (atomic_compare_exchange_strong(&queue->header->tail, &expected, t + 1)) { /* 4 */
            memcpy(queue->items + (uint64_t)slot * queue->type.nbytes, item, queue->type.nbytes);
            atomic_store_explicit(&queue->sequence[slot], t + 1, memory_order_release); /* 6 */
            return DONE;
        }
    }
}

static Outcome queue_try_pop(const Queue *queue, void *item) {
    for (;;) {
        uint32_t h = atomic_load(&queue->header->head); /* 1 */
        if ((int32_t)(atomic_load(&queue->header->tail) - h) <= 0) { /* 2 */
            return NOT_NOW;
        }
        uint32_t slot = h % queue->capacity;
        uint32_t sequence = atomic_load_explicit(&queue->sequence[slot], memory_order_acquire);
        if (sequence != h + 1) { /* 3 */
            if (atomic_load(&queue->header->head) != h) {
                continue;
            }
            if ((int32_t)(sequence - (h + 1)) > 0) {
                fail("damaged: a sequence number is ahead");
            }
            return BUSY;
        }
        uint32_t expected = h;
        if (atomic_compare_exchange_strong(&queue->header->head, &expected, h + 1)) { /* 4 */
            memcpy(item, queue->items + (uint64_t)slot * queue->type.nbytes, queue->type.nbytes);
            atomic_store_explicit(&queue->sequence[slot], h + queue->capacity,
                                  memory_order_release); /* 6 */
            return DONE;
        }
    }
}

static void queue_push(const Queue *queue, const void *item) {
    for (unsigned tries = 0; queue_try_push(queue, item) != DONE;) {
        pause_a_little(&tries);
    }
}

static void queue_pop(const Queue *queue, void *item) {
    for (unsigned tries = 0; queue_try_pop(queue, item) != DONE;) {
        pause_a_little(&tries);
    }
}

/* queue.create NAME CAPACITY TYPE */
static void queue_create_command(char **word) {
    uint32_t capacity = (uint32_t)number(word[1]);
    Type type = type_of(word[2]);
    Space space = begin_add(word[0], queue_nbytes(capacity, type.nbytes));
    queue_format(space.bytes, type, capacity);
    end_add(word[0], space);
    answer("");
}

/* queue.push NAME TYPE VALUE; queue.try_push the same, and answers whether it did */
static void queue_push_command(char **word) {
    Queue queue = queue_of(word[0], word[1]);
    Element element = parse_element(queue.type, word[2]);
    queue_push(&queue, &element);
    answer("");
}

static void queue_try_push_command(char **word) {
    Queue queue = queue_of(word[0], word[1]);
    Element element = parse_element(queue.type, word[2]);
    answer("%d", queue_try_push(&queue, &element) == DONE);
}

/* queue.pop NAME TYPE; queue.try_pop answers nothing if there is none */
static void queue_pop_command(char **word) {
    Queue queue = queue_of(word[0], word[1]);
    Element element = {{0}};
    queue_pop(&queue, &element);
    answer("%s", shown(queue.type, &element));
}

static void queue_try_pop_command(char **word) {
    Queue queue = queue_of(word[0], word[1]);
    Element element = {{0}};
    answer("%s", queue_try_pop(&queue, &element) == DONE ? shown(queue.type, &element) : "");
}

/* queue.push_range NAME TYPE START COUNT */
static void queue_push_range(char **word) {
    Queue queue = queue_of(word[0], word[1]);
    int64_t start = number(word[2]), count = number(word[3]);
    for (int64_t i = start; i < start + count; i++) {
        Element element = element_of(queue.type, i);
        queue_push(&queue, &element);
    }
    answer("");
}

/* queue.pop_count NAME TYPE COUNT SPAN: answers count and sum */
static void queue_pop_count(char **word) {
    Queue queue = queue_of(word[0], word[1]);
    Tally tally = tally_of(number(word[3]));
    for (int64_t left = number(word[2]); left > 0; left--) {
        Element element = {{0}};
        queue_pop(&queue, &element);
        tally_add(&tally, integer_of(queue.type, &element));
    }
    tally_answer(&tally);
}

/* queue.relay FROM TO TYPE COUNT: pops from one, pushes to the other */
static void queue_relay(char **word) {
    Queue from = queue_of(word[0], word[2]), to = queue_of(word[1], word[2]);
    for (int64_t left = number(word[3]); left > 0; left--) {
        Element element = {{0}};
        queue_pop(&from, &element);
        queue_push(&to, &element);
    }
    answer("");
}

static const Command QUEUE_COMMANDS[] = {
    {"queue.create", 3, queue_create_command},
    {"queue.push", 3, queue_push_command},
    {"queue.try_push", 3, queue_try_push_command},
    {"queue.pop", 2, queue_pop_command},
    {"queue.try_pop", 2, queue_try_pop_command},
    {"queue.push_range", 4, queue_push_range},
    {"queue.pop_count", 4, queue_pop_count},
    {"queue.relay", 4, queue_relay},
    {0},
};

#endif
