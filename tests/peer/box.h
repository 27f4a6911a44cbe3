/* What queues, rings and stacks have in common: push and pop, now or after a while. */
#ifndef PEER_BOX_H
#define PEER_BOX_H

#include "segment.h"

typedef enum { DONE, NOT_NOW, BUSY } Outcome;

typedef struct Box Box;

struct Box {
    Outcome (*try_push)(const Box *box, const void *item);
    Outcome (*try_pop)(const Box *box, void *item);
    void *header;
    uint8_t *items;
    uint32_t capacity; /* items */
    Type type;
};

typedef struct {
    const char *name;
    void (*create)(const char *name, uint32_t capacity, Type type);
    Box (*open)(const char *name, Type type);
} Kind;

static uint8_t *item_at(const Box *box, uint64_t slot) {
    return box->items + slot * box->type.nbytes;
}

static void push(const Box *box, const void *item) {
    for (unsigned tries = 0; box->try_push(box, item) != DONE;) {
        pause_a_little(&tries);
    }
}

static void pop(const Box *box, void *item) {
    for (unsigned tries = 0; box->try_pop(box, item) != DONE;) {
        pause_a_little(&tries);
    }
}

#endif
