/* The ring of a queue: how messages lie in its chunks, one behind the other.
 *
 * A queue is a chain of ring chunks.  A cursor says which item, in which chunk, where; the
 * items in the queue are tail.item - head.item.  A link record says "go on at the start of
 * chunk X"; X is the same chunk when the ring wraps.  A chunk is in the queue iff the chain
 * from head to tail passes it.
 *
 * Bytes     QUEUE, RECORD in layout.py
 * Source    SPECIFICATION.md, "Message queue" */
#ifndef ZI_RING_H
#define ZI_RING_H

#include "participant.h"

#define ZI_ITEM_MASK ((1u << ZI_CURSOR_ITEM_BITS) - 1)
#define ZI_LINK_NBYTES ((uint32_t)sizeof(zi_record))

typedef struct {
    uint32_t item, chunk, offset;
} zi_cursor;

/* A message on its way in or out; `payload` belongs to the caller. */
typedef struct {
    unsigned char *payload;
    uint32_t nbytes;
    uint16_t kind, nblocks;
    uint32_t claimant; /* of a getter from a queue with claims: its worker number */
    uint32_t item;     /* its number, once it was put */
    uint8_t defers;    /* alone, and whoever puts it wakes the getter himself, later */
    uint8_t owes;      /* once it was put: whether he has to */
    uint32_t blocks[ZI_MESSAGE_BLOCKS];
} zi_message;

static inline zi_cursor cursor_load(const uint64_t *word)
{
    uint64_t bits = ZI_LOAD(*word);
    zi_cursor cursor = {
        (uint32_t)(bits >> (ZI_CURSOR_CHUNK_BITS + ZI_CURSOR_OFFSET_BITS)),
        (uint32_t)(bits >> ZI_CURSOR_OFFSET_BITS) & ((1u << ZI_CURSOR_CHUNK_BITS) - 1),
        (uint32_t)(bits & ((1u << ZI_CURSOR_OFFSET_BITS) - 1)) * 8,
    };
    return cursor;
}

static inline uint64_t cursor_pack(zi_cursor cursor)
{
    return (uint64_t)(cursor.item & ZI_ITEM_MASK) << (ZI_CURSOR_CHUNK_BITS + ZI_CURSOR_OFFSET_BITS) |
           (uint64_t)cursor.chunk << ZI_CURSOR_OFFSET_BITS | cursor.offset / 8;
}

static inline uint32_t items_between(uint32_t head, uint32_t tail) { return (tail - head) & ZI_ITEM_MASK; }

static inline uint32_t pad8(uint32_t nbytes) { return (nbytes + 7) & ~7u; }

static inline uint32_t chunk_nbytes(const zi_view *view, uint32_t chunk)
{
    return (uint32_t)(class_pages(view->blocks[chunk].cls) * ZI_PAGE);
}

static inline zi_record *record_at(const zi_view *view, uint32_t chunk, uint32_t offset)
{
    return (zi_record *)(block_bytes(view, chunk) + offset);
}

static inline uint32_t message_need(const zi_message *message)
{
    return (uint32_t)sizeof(zi_record) + pad8(4u * message->nblocks) + pad8(message->nbytes);
}

/* How many items the queue holds; true at some moment. */
static inline uint32_t queue_size(const zi_queue *queue)
{
    uint32_t head = cursor_load(&queue->head).item;
    return items_between(head, cursor_load(&queue->tail).item);
}

/* --- What is in the queue --------------------------------------------------------------- */

/* Under Q: whether the chain of chunks from head to tail passes *chunk*. */
static inline int queue_has_chunk(const zi_view *view, const zi_queue *queue, uint32_t chunk)
{
    uint32_t at = cursor_load(&queue->head).chunk, end = cursor_load(&queue->tail).chunk;
    while (at != chunk && at != end && at != ZI_NONE) at = view->blocks[at].link;
    return at == chunk;
}

static inline int queue_has_item(const zi_queue *queue, uint32_t item)
{
    return items_between(cursor_load(&queue->head).item, item) < queue_size(queue);
}

/* --- Writing behind the tail, where nobody looks ----------------------------------------- */

static inline void record_link(const zi_view *view, zi_cursor from, uint32_t chunk)
{
    zi_record *link = record_at(view, from.chunk, from.offset);
    link->nbytes = ZI_RECORD_LINK;
    memcpy(&link->kind, &chunk, sizeof chunk); /* kind and nblocks are unused in a link */
}

static inline uint32_t record_target(const zi_record *link)
{
    uint32_t chunk;
    memcpy(&chunk, &link->kind, sizeof chunk);
    return chunk;
}

/* Under Q: move *at* to where *need* bytes fit, writing a link if it must.  Behind every
 * record there is room for a link.  *spare* is a chunk to go on in, or NONE; it becomes
 * NONE when it was used.  ZI_WANT_CHUNK: there is no room and no spare. */
static inline zi_status put_place(zi_view *view, zi_queue *queue, uint32_t slot, uint32_t need,
                                  zi_cursor *at, uint32_t *spare)
{
    zi_cursor head = cursor_load(&queue->head);
    uint32_t room = need + ZI_LINK_NBYTES;
    int wrapped = head.chunk == at->chunk && head.offset > at->offset;
    uint32_t end = wrapped ? head.offset : chunk_nbytes(view, at->chunk);
    if (room <= end - at->offset) return ZI_OK;
    if (!wrapped && head.chunk == at->chunk && room <= head.offset) {
        record_link(view, *at, at->chunk);
        at->offset = 0;
        return ZI_OK;
    }
    if (*spare == ZI_NONE || chunk_nbytes(view, *spare) < room) return ZI_WANT_CHUNK;
    zi_block *block = &view->blocks[*spare];
    block->queue = slot;
    block->link = ZI_NONE;
    record_link(view, *at, *spare);
    view->blocks[at->chunk].link = *spare;
    at->chunk = *spare;
    at->offset = 0;
    *spare = ZI_NONE;
    return ZI_OK;
}

/* Bytes of the next chunk: twice the last one, and room for four such records. */
static inline uint32_t put_chunk_nbytes(const zi_view *view, const zi_queue *queue, uint32_t need)
{
    uint32_t nbytes = 2 * chunk_nbytes(view, cursor_load(&queue->tail).chunk);
    while (nbytes < 4 * (need + ZI_LINK_NBYTES)) nbytes *= 2;
    return nbytes < ZI_CHUNK_MAX ? nbytes : ZI_CHUNK_MAX;
}

static inline void put_record(zi_view *view, zi_cursor at, const zi_message *message)
{
    zi_record *record = record_at(view, at.chunk, at.offset);
    unsigned char *bytes = (unsigned char *)(record + 1);
    record->nbytes = message->nbytes;
    record->kind = message->kind;
    record->nblocks = message->nblocks;
    memcpy(bytes, message->blocks, 4u * message->nblocks);
    memcpy(bytes + pad8(4u * message->nblocks), message->payload, message->nbytes);
}

/* --- Reading at the head ------------------------------------------------------------------ */

/* Under Q: copy the record at *at* out; the message's payload must hold INLINE_MAX bytes. */
static inline zi_status get_record(const zi_view *view, zi_cursor *at, zi_message *message)
{
    zi_record *record = record_at(view, at->chunk, at->offset);
    for (int links = 0; record->nbytes == ZI_RECORD_LINK; links++) {
        at->chunk = record_target(record);
        if (links == 4 || at->chunk >= view->arena->blocks_used) return ZI_DAMAGED;
        at->offset = 0;
        record = record_at(view, at->chunk, 0);
    }
    if (record->nbytes > ZI_INLINE_MAX || record->nblocks > ZI_MESSAGE_BLOCKS) return ZI_DAMAGED;
    unsigned char *bytes = (unsigned char *)(record + 1);
    message->nbytes = record->nbytes;
    message->kind = record->kind;
    message->nblocks = record->nblocks;
    memcpy(message->blocks, bytes, 4u * record->nblocks);
    memcpy(message->payload, bytes + pad8(4u * record->nblocks), record->nbytes);
    at->offset += message_need(message);
    return ZI_OK;
}

/* Under Q: free the chunks from *from* up to *to*, which the reader has left. */
static inline void get_leave(zi_view *view, uint32_t from, uint32_t to)
{
    while (from != to && from != ZI_NONE) {
        uint32_t next = view->blocks[from].link;
        block_free(view, from);
        from = next;
    }
}

#endif
