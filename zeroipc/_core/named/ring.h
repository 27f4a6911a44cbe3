/* A ring of elements, first in first out: one producer, one consumer.
 *
 * Positions count bytes and only grow; position p lies at p mod capacity.  Positions and the
 * capacity are multiples of elem_size, so that no element straddles the end.
 *
 * Write: 1. w = write_pos   2. full if w - read_pos = capacity
 *        3. copy the elements in   4. publish: write_pos = w + their bytes
 * Read:  1. r = read_pos   2. empty if write_pos = r
 *        3. copy the elements out   4. give back: read_pos = r + their bytes
 *
 * A process that dies before 4 leaves the ring as it was. */
#ifndef ZI_NAMED_RING_H
#define ZI_NAMED_RING_H

#include <string.h>

#include "../status.h"
#include "layout.h"
#include "words.h"

typedef struct {
    zi_ring_header *header;
    uint8_t *bytes;
    uint32_t capacity, elem_size;
} zi_ring;

/* The free part, or the filled one: it starts at *start* among the ring's bytes, and goes on
 * at 0 where it reaches the end. */
typedef struct {
    uint64_t position;
    uint32_t start, nbytes;
} zi_ring_part;

static inline zi_status ring_part(const zi_ring *ring, uint64_t position, uint64_t nbytes,
                                  zi_ring_part *part)
{
    uint32_t start = (uint32_t)(position % ring->capacity);
    if (nbytes > ring->capacity || nbytes % ring->elem_size || start % ring->elem_size)
        return ZI_DAMAGED;
    *part = (zi_ring_part){position, start, (uint32_t)nbytes};
    return ZI_OK;
}

/* The free part, or FULL. */
static inline zi_status ring_room(const zi_ring *ring, zi_ring_part *part)
{
    uint64_t w = ZI_LOAD(ring->header->write_pos);
    /* [ring.read] acquire: the consumer has done with what it gave back */
    uint64_t filled = w - ZI_LOAD(ring->header->read_pos);
    zi_status status = ring_part(ring, w, ring->capacity - filled, part);
    return status == ZI_OK && part->nbytes == 0 ? ZI_FULL : status;
}

/* The filled part, or EMPTY. */
static inline zi_status ring_filled(const zi_ring *ring, zi_ring_part *part)
{
    uint64_t r = ZI_LOAD(ring->header->read_pos);
    /* [ring.written] acquire: what the producer published is all there */
    uint64_t filled = ZI_LOAD(ring->header->write_pos) - r;
    zi_status status = ring_part(ring, r, filled, part);
    return status == ZI_OK && part->nbytes == 0 ? ZI_EMPTY : status;
}

/* Cut a part down to *many* elements. */
static inline void ring_limit(const zi_ring *ring, zi_ring_part *part, uint64_t many)
{
    uint64_t most = part->nbytes / ring->elem_size;
    part->nbytes = (uint32_t)(many < most ? many : most) * ring->elem_size;
}

/* How many bytes of a part come before the end. */
static inline uint32_t ring_straight(const zi_ring *ring, const zi_ring_part *part)
{
    uint32_t straight = ring->capacity - part->start;
    return part->nbytes < straight ? part->nbytes : straight;
}

static inline void ring_publish(const zi_ring *ring, const zi_ring_part *part)
{
    /* [ring.written] release; pairs with ring_filled */
    ZI_STORE(ring->header->write_pos, part->position + part->nbytes);
}

static inline void ring_give_back(const zi_ring *ring, const zi_ring_part *part)
{
    /* [ring.read] release; pairs with ring_room */
    ZI_STORE(ring->header->read_pos, part->position + part->nbytes);
}

/* Write up to *many* elements, those that fit; *done* is how many. */
static inline zi_status ring_write(const zi_ring *ring, const uint8_t *items, uint64_t many,
                                   uint32_t *done)
{
    zi_ring_part room;
    *done = 0;
    zi_status status = ring_room(ring, &room);
    if (status != ZI_OK) return status;
    ring_limit(ring, &room, many);
    uint32_t straight = ring_straight(ring, &room);
    memcpy(ring->bytes + room.start, items, straight);
    memcpy(ring->bytes, items + straight, room.nbytes - straight);
    ring_publish(ring, &room);
    *done = room.nbytes / ring->elem_size;
    return ZI_OK;
}

/* Read up to *many* elements, those that are there; *done* is how many. */
static inline zi_status ring_read(const zi_ring *ring, uint8_t *items, uint64_t many,
                                  uint32_t *done)
{
    zi_ring_part filled;
    *done = 0;
    zi_status status = ring_filled(ring, &filled);
    if (status != ZI_OK) return status;
    ring_limit(ring, &filled, many);
    uint32_t straight = ring_straight(ring, &filled);
    memcpy(items, ring->bytes + filled.start, straight);
    memcpy(items + straight, ring->bytes, filled.nbytes - straight);
    ring_give_back(ring, &filled);
    *done = filled.nbytes / ring->elem_size;
    return ZI_OK;
}

/* Whether a window of *many* elements at *start* still begins the part, cut down to it. */
static inline zi_status ring_claim(const zi_ring *ring, zi_ring_part *part, uint64_t start,
                                   uint64_t many)
{
    if (part->start != start || many > ring_straight(ring, part) / ring->elem_size)
        return ZI_STALE;
    ring_limit(ring, part, many);
    return ZI_OK;
}

/* Publish a window that was filled in place; STALE if somebody else has written since. */
static inline zi_status ring_commit(const zi_ring *ring, uint64_t start, uint64_t many)
{
    zi_ring_part room;
    zi_status status = ring_room(ring, &room);
    if (status == ZI_OK) status = ring_claim(ring, &room, start, many);
    if (status == ZI_OK) ring_publish(ring, &room);
    return status;
}

/* Give back a window that was read in place; STALE if somebody else has read since. */
static inline zi_status ring_consume(const zi_ring *ring, uint64_t start, uint64_t many)
{
    zi_ring_part filled;
    zi_status status = ring_filled(ring, &filled);
    if (status == ZI_OK) status = ring_claim(ring, &filled, start, many);
    if (status == ZI_OK) ring_give_back(ring, &filled);
    return status;
}

#endif
