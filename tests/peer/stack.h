/* Stacks: SPECIFICATION.md, "Stack", in both orders: first the lock on a slot and then the claim,
 * or, as programs in C++ do, the claim first. Those give up after a while, and break the stack;
 * this one does not.
 */
#ifndef PEER_STACK_H
#define PEER_STACK_H

#include "box.h"

typedef struct {
    _Atomic int32_t top;
    uint32_t capacity, elem_size, reserved;
} Stack;

_Static_assert(sizeof(Stack) == 16, "as the table in the specification");

enum { STACK_EMPTY, STACK_WRITING, STACK_READY, STACK_READING };

static uint64_t stack_nbytes(uint64_t capacity, uint64_t nbytes) {
    return sizeof(Stack) + up8(capacity * nbytes) + 4 * capacity;
}

static _Atomic uint32_t *stack_state(const Box *box, int32_t slot) {
    uint8_t *all = box->items + up8((uint64_t)box->capacity * box->type.nbytes);
    return (_Atomic uint32_t *)(void *)all + slot;
}

static bool swap_state(_Atomic uint32_t *state, uint32_t from, uint32_t to) {
    return atomic_compare_exchange_strong(state, &from, to);
}

static void stack_write(const Box *box, int32_t slot, const void *item) {
    memcpy(item_at(box, (uint64_t)slot), item, box->type.nbytes);
    atomic_store_explicit(stack_state(box, slot), STACK_READY, memory_order_release);
}

static void stack_read(const Box *box, int32_t slot, void *item) {
    memcpy(item, item_at(box, (uint64_t)slot), box->type.nbytes);
    atomic_store_explicit(stack_state(box, slot), STACK_EMPTY, memory_order_release);
}

/* The lock first. */
static Outcome stack_try_push(const Box *box, const void *item) {
    Stack *stack = box->header;
    for (;;) {
        int32_t t = atomic_load(&stack->top), expected = t; /* 1 */
        if (t >= (int32_t)box->capacity - 1) {              /* 2 */
            return NOT_NOW;
        }
        _Atomic uint32_t *state = stack_state(box, t + 1);
        if (!swap_state(state, STACK_EMPTY, STACK_WRITING)) { /* 3 */
            if (atomic_load(&stack->top) == t) {
                return BUSY;
            }
        } else if (atomic_compare_exchange_strong(&stack->top, &expected, t + 1)) { /* 4 */
            stack_write(box, t + 1, item);
            return DONE;
        } else {
            atomic_store_explicit(state, STACK_EMPTY, memory_order_release);
        }
    }
}

static Outcome stack_try_pop(const Box *box, void *item) {
    Stack *stack = box->header;
    for (;;) {
        int32_t t = atomic_load(&stack->top), expected = t; /* 1 */
        if (t < 0) {                                        /* 2 */
            return NOT_NOW;
        }
        _Atomic uint32_t *state = stack_state(box, t);
        if (!swap_state(state, STACK_READY, STACK_READING)) { /* 3 */
            if (atomic_load(&stack->top) == t) {
                return BUSY;
            }
        } else if (atomic_compare_exchange_strong(&stack->top, &expected, t - 1)) { /* 4 */
            stack_read(box, t, item);
            return DONE;
        } else {
            atomic_store_explicit(state, STACK_READY, memory_order_release);
        }
    }
}

/* The claim first. */
static Outcome stack_claim_push(const Box *box, const void *item) {
    Stack *stack = box->header;
    int32_t t = atomic_load(&stack->top);
    do {
        if (t >= (int32_t)box->capacity - 1) {
            return NOT_NOW;
        }
    } while (!atomic_compare_exchange_weak(&stack->top, &t, t + 1));
    for (unsigned n = 0; !swap_state(stack_state(box, t + 1), STACK_EMPTY, STACK_WRITING);) {
        pause_a_little(&n);
    }
    stack_write(box, t + 1, item);
    return DONE;
}

static Outcome stack_claim_pop(const Box *box, void *item) {
    Stack *stack = box->header;
    int32_t t = atomic_load(&stack->top);
    do {
        if (t < 0) {
            return NOT_NOW;
        }
    } while (!atomic_compare_exchange_weak(&stack->top, &t, t - 1));
    for (unsigned n = 0; !swap_state(stack_state(box, t), STACK_READY, STACK_READING);) {
        pause_a_little(&n);
    }
    stack_read(box, t, item);
    return DONE;
}

static Box stack_open(const char *name, Type type) {
    uint64_t size;
    Stack *stack = structure(name, sizeof *stack, &size);
    uint32_t n = stack->capacity;
    if (n == 0 || n > INT32_MAX || stack->elem_size != type.nbytes ||
        stack_nbytes(n, type.nbytes) > size) {
        fail("%s is not a stack of such items", name);
    }
    return (Box){stack_try_push, stack_try_pop, stack, (uint8_t *)(stack + 1), n, type};
}

static Box stack_open_claiming(const char *name, Type type) {
    Box box = stack_open(name, type);
    box.try_push = stack_claim_push;
    box.try_pop = stack_claim_pop;
    return box;
}

static void stack_create(const char *name, uint32_t capacity, Type type) {
    Space space = begin_add(name, stack_nbytes(capacity, type.nbytes));
    *(Stack *)space.bytes = (Stack){.top = -1, .capacity = capacity, .elem_size = type.nbytes};
    end_add(name, space);
}

#endif
