/* A bounded stack, last in first out: many pushers, many poppers.
 *
 * Each slot has a state: EMPTY, WRITING, READY, READING.  WRITING and READING are a lock on the
 * slot; top is the index of the highest item.
 *
 * Push: 1. t = top   2. full if t = capacity - 1   3. lock slot t + 1: EMPTY -> WRITING
 *       4. claim: top t -> t + 1; if that fails, unlock and start over
 *       5. write the item   6. publish: READY
 * Pop:  1. t = top   2. empty if t = -1   3. lock slot t: READY -> READING
 *       4. claim: top t -> t - 1; if that fails, unlock and start over
 *       5. read the item   6. give back: EMPTY
 *
 * Programs in other languages claim first and lock then: they may give up, and cannot always
 * take their claim back.  Here nothing is claimed that is not locked, so nothing has to be taken
 * back but a lock of one's own.
 *
 * A process that dies between 3 and 6 leaves its slot locked: BUSY for whoever comes to it. */
#ifndef ZI_NAMED_STACK_H
#define ZI_NAMED_STACK_H

#include <string.h>

#include "../status.h"
#include "layout.h"
#include "words.h"

typedef struct {
    zi_stack_header *header;
    uint8_t *items;
    uint32_t *states;
    uint32_t capacity, elem_size;
} zi_stack;

static inline uint64_t stack_states_at(uint32_t capacity, uint32_t elem_size)
{
    return sizeof(zi_stack_header) + (((uint64_t)capacity * elem_size + 7) & ~UINT64_C(7));
}

static inline uint64_t stack_nbytes(uint32_t capacity, uint32_t elem_size)
{
    return stack_states_at(capacity, elem_size) + 4 * (uint64_t)capacity;
}

static inline uint8_t *stack_item(const zi_stack *stack, int64_t index)
{
    return stack->items + (uint64_t)index * stack->elem_size;
}

/* The index of the highest item, -1 for none, or DAMAGED. */
static inline zi_status stack_top(const zi_stack *stack, int64_t *t)
{
    *t = ZI_LOAD(stack->header->top);
    return *t < -1 || *t >= (int64_t)stack->capacity ? ZI_DAMAGED : ZI_OK;
}

static inline int stack_claim(const zi_stack *stack, int64_t t, int64_t next)
{
    return word_cas32((uint32_t *)&stack->header->top, (uint32_t)t, (uint32_t)next);
}

/* Lock slots from *index* on, upwards or downwards, while they are in state *from*; how many. */
static inline uint32_t stack_lock(const zi_stack *stack, int64_t index, int step, uint32_t most,
                                  uint32_t from, uint32_t to)
{
    uint32_t locked = 0;
    /* [stack.published] [stack.given_back] acquire: what the other side wrote or read is done */
    while (locked < most && word_cas32(&stack->states[index + (int64_t)locked * step], from, to))
        locked++;
    return locked;
}

static inline void stack_unlock(const zi_stack *stack, int64_t index, int step, uint32_t many,
                                uint32_t state)
{
    for (uint32_t i = 0; i < many; i++) ZI_STORE(stack->states[index + (int64_t)i * step], state);
}

/* Why a slot could not be locked: somebody was faster (OK: try again), has it locked or has left
 * it so (BUSY), or nobody can have left it so (DAMAGED). */
static inline zi_status stack_obstacle(const zi_stack *stack, int64_t t, int64_t index,
                                       uint32_t wanted)
{
    uint32_t state = ZI_LOAD(stack->states[index]);
    if (ZI_LOAD(stack->header->top) != t || state == wanted) return ZI_OK;
    return state > ZI_STACK_READING ? ZI_DAMAGED : ZI_BUSY;
}

/* Push up to *many* items, those that fit; *done* is how many. */
static inline zi_status stack_push(const zi_stack *stack, const uint8_t *items, uint32_t many,
                                   uint32_t *done)
{
    int64_t t;
    *done = 0;
    for (;;) {
        zi_status status = stack_top(stack, &t);
        if (status != ZI_OK) return status;
        uint32_t room = stack->capacity - (uint32_t)(t + 1);
        if (room == 0) return ZI_FULL;
        uint32_t locked = stack_lock(stack, t + 1, 1, many < room ? many : room, ZI_STACK_EMPTY,
                                     ZI_STACK_WRITING);
        if (locked == 0) {
            status = stack_obstacle(stack, t, t + 1, ZI_STACK_EMPTY);
            if (status != ZI_OK) return status;
        } else if (stack_claim(stack, t, t + locked)) {
            memcpy(stack_item(stack, t + 1), items, (uint64_t)locked * stack->elem_size);
            /* [stack.published] release; pairs with stack_lock in a pop */
            stack_unlock(stack, t + 1, 1, locked, ZI_STACK_READY);
            *done = locked;
            return ZI_OK;
        } else {
            stack_unlock(stack, t + 1, 1, locked, ZI_STACK_EMPTY);
        }
    }
}

/* Pop up to *many* items, the highest first, those that are there; *done* is how many. */
static inline zi_status stack_pop(const zi_stack *stack, uint8_t *items, uint32_t many,
                                  uint32_t *done)
{
    int64_t t;
    *done = 0;
    for (;;) {
        zi_status status = stack_top(stack, &t);
        if (status != ZI_OK) return status;
        uint32_t size = (uint32_t)(t + 1);
        if (size == 0) return ZI_EMPTY;
        uint32_t locked = stack_lock(stack, t, -1, many < size ? many : size, ZI_STACK_READY,
                                     ZI_STACK_READING);
        if (locked == 0) {
            status = stack_obstacle(stack, t, t, ZI_STACK_READY);
            if (status != ZI_OK) return status;
        } else if (stack_claim(stack, t, t - locked)) {
            for (uint32_t i = 0; i < locked; i++)
                memcpy(items + (uint64_t)i * stack->elem_size, stack_item(stack, t - i),
                       stack->elem_size);
            /* [stack.given_back] release; pairs with stack_lock in a push */
            stack_unlock(stack, t, -1, locked, ZI_STACK_EMPTY);
            *done = locked;
            return ZI_OK;
        } else {
            stack_unlock(stack, t, -1, locked, ZI_STACK_READY);
        }
    }
}

/* Copy the highest item, which stays. */
static inline zi_status stack_peek(const zi_stack *stack, uint8_t *item)
{
    int64_t t;
    for (;;) {
        zi_status status = stack_top(stack, &t);
        if (status != ZI_OK) return status;
        if (t == -1) return ZI_EMPTY;
        if (stack_lock(stack, t, -1, 1, ZI_STACK_READY, ZI_STACK_READING) == 0) {
            status = stack_obstacle(stack, t, t, ZI_STACK_READY);
            if (status != ZI_OK) return status;
            continue;
        }
        memcpy(item, stack_item(stack, t), stack->elem_size);
        int is_top = ZI_LOAD(stack->header->top) == t;
        stack_unlock(stack, t, -1, 1, ZI_STACK_READY);
        if (is_top) return ZI_OK;
    }
}

#endif
