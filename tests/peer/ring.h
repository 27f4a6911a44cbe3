/* Rings, for one producer and one consumer: SPECIFICATION.md, "Ring". */
#ifndef PEER_RING_H
#define PEER_RING_H

#include "box.h"

typedef struct {
    _Atomic uint64_t write_pos, read_pos; /* bytes */
    uint32_t capacity;                    /* bytes */
    uint32_t elem_size;
} Ring;

_Static_assert(sizeof(Ring) == 24, "as the table in the specification");

static uint64_t ring_filled(const Ring *ring, uint64_t written, uint64_t read) {
    if (written - read > ring->capacity || (written - read) % ring->elem_size) {
        fail("damaged: %" PRIu64 " written, %" PRIu64 " read", written, read);
    }
    return written - read;
}

static Outcome ring_try_push(const Box *box, const void *item) {
    Ring *ring = box->header;
    uint64_t w = atomic_load_explicit(&ring->write_pos, memory_order_relaxed);
    uint64_t read = atomic_load_explicit(&ring->read_pos, memory_order_acquire);
    if (ring_filled(ring, w, read) + ring->elem_size > ring->capacity) {
        return NOT_NOW;
    }
    memcpy(box->items + w % ring->capacity, item, ring->elem_size);
    atomic_store_explicit(&ring->write_pos, w + ring->elem_size, memory_order_release);
    return DONE;
}

static Outcome ring_try_pop(const Box *box, void *item) {
    Ring *ring = box->header;
    uint64_t r = atomic_load_explicit(&ring->read_pos, memory_order_relaxed);
    uint64_t written = atomic_load_explicit(&ring->write_pos, memory_order_acquire);
    if (ring_filled(ring, written, r) == 0) {
        return NOT_NOW;
    }
    memcpy(item, box->items + r % ring->capacity, ring->elem_size);
    atomic_store_explicit(&ring->read_pos, r + ring->elem_size, memory_order_release);
    return DONE;
}

static Box ring_open(const char *name, Type type) {
    uint64_t size;
    Ring *ring = structure(name, sizeof *ring, &size);
    if (ring->capacity == 0 || ring->elem_size != type.nbytes ||
        ring->capacity % type.nbytes || sizeof *ring + ring->capacity > size) {
        fail("%s is not a ring of such elements", name);
    }
    return (Box){ring_try_push, ring_try_pop,   ring, (uint8_t *)(ring + 1),
                 ring->capacity / type.nbytes, type};
}

static void ring_create(const char *name, uint32_t capacity, Type type) {
    uint32_t nbytes = capacity * type.nbytes;
    Space space = begin_add(name, sizeof(Ring) + nbytes);
    *(Ring *)space.bytes = (Ring){.capacity = nbytes, .elem_size = type.nbytes};
    end_add(name, space);
}

#endif
