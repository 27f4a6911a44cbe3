/* A bounded queue, first in first out: many producers, many consumers.
 *
 * Each slot has a sequence number: p when the push of item p may write it, p + 1 when item p
 * may be popped.  Numbers run modulo 2^32; item p lies in slot p mod capacity.
 *
 * Push: 1. t = tail   2. full if t - head >= capacity   3. sequence must be t
 *       4. claim: tail t -> t + 1   5. write the item   6. publish: sequence = t + 1
 * Pop:  1. h = head   2. empty if head = tail   3. sequence must be h + 1
 *       4. claim: head h -> h + 1   5. read the item   6. give back: sequence = h + capacity
 *
 * A process that dies between 4 and 6 leaves its slot claimed: BUSY for whoever comes to it. */
#ifndef ZI_NAMED_QUEUE_H
#define ZI_NAMED_QUEUE_H

#include <string.h>

#include "../status.h"
#include "layout.h"
#include "words.h"

typedef struct {
    zi_queue_header *header;
    uint8_t *items;
    uint32_t *sequence;
    uint32_t capacity, elem_size;
} zi_named_queue;

static inline uint64_t queue_sequence_at(uint32_t capacity, uint32_t elem_size)
{
    return sizeof(zi_queue_header) + (((uint64_t)capacity * elem_size + 7) & ~UINT64_C(7));
}

static inline uint64_t queue_nbytes(uint32_t capacity, uint32_t elem_size)
{
    return queue_sequence_at(capacity, elem_size) + 4 * (uint64_t)capacity;
}

static inline uint8_t *queue_item(const zi_named_queue *queue, uint32_t number)
{
    return queue->items + (uint64_t)(number & (queue->capacity - 1)) * queue->elem_size;
}

static inline uint32_t *queue_sequence(const zi_named_queue *queue, uint32_t number)
{
    return &queue->sequence[number & (queue->capacity - 1)];
}

/* How many slots from *number* on, at most *most*, have the sequence number*s* + *ahead*. */
static inline uint32_t queue_ready(const zi_named_queue *queue, uint32_t number, uint32_t ahead,
                                   uint32_t most)
{
    uint32_t ready = 0;
    /* [queue.published] [queue.given_back] acquire: what the other side wrote or read is done */
    while (ready < most && ZI_LOAD(*queue_sequence(queue, number + ready)) == number + ready + ahead)
        ready++;
    return ready;
}

/* Why slot *number* is not ready: somebody was faster (OK: try again), is in the midst of it
 * (BUSY), or nobody can have left it so (DAMAGED). */
static inline zi_status queue_obstacle(const zi_named_queue *queue, const uint32_t *word,
                                       uint32_t number, uint32_t ahead)
{
    int32_t distance = (int32_t)(ZI_LOAD(*queue_sequence(queue, number)) - (number + ahead));
    if (ZI_LOAD(*word) != number || distance == 0) return ZI_OK;
    return distance < 0 ? ZI_BUSY : ZI_DAMAGED;
}

/* Push up to *many* items, those that fit; *done* is how many. */
static inline zi_status queue_push(const zi_named_queue *queue, const uint8_t *items, uint32_t many,
                                   uint32_t *done)
{
    *done = 0;
    for (;;) {
        uint32_t t = ZI_LOAD(queue->header->tail);
        int32_t room = (int32_t)(queue->capacity - (t - ZI_LOAD(queue->header->head)));
        if (room <= 0) return ZI_FULL;
        uint32_t most = (uint32_t)room < many ? (uint32_t)room : many;
        uint32_t ready = queue_ready(queue, t, 0, most < queue->capacity ? most : queue->capacity);
        if (ready == 0) {
            zi_status status = queue_obstacle(queue, &queue->header->tail, t, 0);
            if (status != ZI_OK) return status;
        } else if (word_cas32(&queue->header->tail, t, t + ready)) {
            for (uint32_t i = 0; i < ready; i++) {
                memcpy(queue_item(queue, t + i), items + (uint64_t)i * queue->elem_size,
                       queue->elem_size);
                /* [queue.published] release; pairs with queue_ready in a pop */
                ZI_STORE(*queue_sequence(queue, t + i), t + i + 1);
            }
            *done = ready;
            return ZI_OK;
        }
    }
}

/* Pop up to *many* items, those that are there; *done* is how many. */
static inline zi_status queue_pop(const zi_named_queue *queue, uint8_t *items, uint32_t many,
                                  uint32_t *done)
{
    *done = 0;
    for (;;) {
        uint32_t h = ZI_LOAD(queue->header->head);
        int32_t size = (int32_t)(ZI_LOAD(queue->header->tail) - h);
        if (size <= 0) return ZI_EMPTY;
        uint32_t most = (uint32_t)size < many ? (uint32_t)size : many;
        uint32_t ready = queue_ready(queue, h, 1, most < queue->capacity ? most : queue->capacity);
        if (ready == 0) {
            zi_status status = queue_obstacle(queue, &queue->header->head, h, 1);
            if (status != ZI_OK) return status;
        } else if (word_cas32(&queue->header->head, h, h + ready)) {
            for (uint32_t i = 0; i < ready; i++) {
                memcpy(items + (uint64_t)i * queue->elem_size, queue_item(queue, h + i),
                       queue->elem_size);
                /* [queue.given_back] release; pairs with queue_ready in a push */
                ZI_STORE(*queue_sequence(queue, h + i), h + i + queue->capacity);
            }
            *done = ready;
            return ZI_OK;
        }
    }
}

#endif
