/* The message queue: any number of putters and getters, messages of any size.
 *
 * Callers   any thread of an attached process that holds the queue
 * Progress  one lock Q per queue, held for a bounded time
 * Crash     a put is true from its one store to `tail`, a get from its one store to `head`
 * Bytes     QUEUE, BLOCK, RECORD in layout.py
 * Source    SPECIFICATION.md, "Message queue"
 *
 * A queue is a chain of ring chunks.  A cursor says which item, in which chunk, where; the
 * items in the queue are tail.item - head.item.  A link record says "go on at the start of
 * chunk X"; X is the same chunk when the ring wraps.
 *
 * PUT  1. lock Q.  2. write the record behind `tail`, where nobody looks.
 *      3. announce: item number into each block.  4. store `tail`: the item is there.
 *      5. owner = QUEUED for each block.  6. unlock; wake.
 * GET  1. lock Q.  2. copy the record; owner = me for each block.
 *      3. store `head`: the item is ours.  4. forget the item number of each block; free
 *      chunks left behind.  5. unlock; wake.
 *
 * A block of a dead owner is in the queue iff head.item <= block.item < tail.item; the
 * sweep asks that.  A chunk is in the queue iff the chain from head to tail passes it.
 *
 * A joinable queue tallies open tasks: a 64-bit cell per participant says how many tasks it
 * took and has not done, and which item it is just taking (its number + 1, or 0).  One
 * store before `head` writes both, so the repair knows whether to take the count back. */
#ifndef ZI_MQUEUE_H
#define ZI_MQUEUE_H

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

/* --- The lock, and repair after its holder died ---------------------------------------- */

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

/* Under Q: whether a block whose owner died is still in the queue. */
static inline int queue_has_block(const zi_view *view, const zi_queue *queue, uint32_t id)
{
    const zi_block *block = &view->blocks[id];
    if (!ZI_LOAD(queue->used)) return 0;
    if (block->kind == ZI_KIND_RING) return queue_has_chunk(view, queue, id);
    if (block->kind == ZI_KIND_TALLY) return queue->tally == id || queue->claims == id;
    return block->item != ZI_NONE && queue_has_item(queue, block->item);
}

static inline uint64_t *queue_tally(const zi_view *view, const zi_queue *queue)
{
    return (uint64_t *)block_bytes(view, queue->tally);
}

static inline int32_t tally_open(uint64_t cell) { return (int32_t)(uint32_t)cell; }

static inline uint64_t tally_pack(int32_t open, uint32_t taking)
{
    return (uint64_t)taking << 32 | (uint32_t)open;
}

/* Under Q, after its holder died: an item that is still in the queue was not taken, and who
 * was being counted as lost has been. */
static inline void tally_repair(zi_view *view, zi_queue *queue)
{
    uint64_t *cells = queue_tally(view, queue);
    for (uint32_t index = 0; index < ZI_LOAD(view->arena->participants_used); index++) {
        uint32_t taking = (uint32_t)(cells[index] >> 32);
        if (taking == 0) continue;
        int taken = !queue_has_item(queue, taking - 1);
        ZI_STORE(cells[index], tally_pack(tally_open(cells[index]) - !taken, 0));
    }
    uint32_t counted = (uint32_t)(queue->lost >> 32);
    if (counted != 0) ZI_STORE(cells[counted - 1], 0);
    ZI_STORE(queue->lost, (uint32_t)queue->lost);
}

/* Under Q, after its holder died: nobody has taken what is still in the queue. */
static inline void claims_repair(zi_view *view, const zi_queue *queue)
{
    uint32_t *claims = (uint32_t *)block_bytes(view, queue->claims);
    for (uint32_t number = 0; number < ZI_PARTICIPANTS; number++)
        if (claims[number] != ZI_NONE && queue_has_item(queue, claims[number]))
            ZI_STORE(claims[number], (uint32_t)ZI_NONE);
}

/* Under Q and A, after the holder of Q died, before any new commit: void the item numbers
 * that were announced and not committed, and free chunks that were left and not freed. */
static inline void queue_repair(zi_view *view, uint32_t slot)
{
    zi_queue *queue = &view->queues[slot];
    if (queue->used && queue->tally != ZI_NONE) tally_repair(view, queue);
    if (queue->used && queue->claims != ZI_NONE) claims_repair(view, queue);
    uint32_t used = ZI_LOAD(view->arena->blocks_used);
    for (uint32_t id = 0; id < used; id++) {
        zi_block *block = &view->blocks[id];
        uint32_t owner = ZI_LOAD(block->owner);
        if (owner == ZI_FREE || block->queue != slot || queue_has_block(view, queue, id)) continue;
        if (block->kind == ZI_KIND_DATA || block->kind == ZI_KIND_HANDLE)
            block->item = ZI_NONE;
        else if (owner == ZI_QUEUED)
            block_free(view, id);
    }
    queue->items_pending = queue->room_pending = queue->done_pending = 0;
}

/* Take Q until *deadline*; 0: only if it comes free within a moment. */
static inline zi_status queue_lock(zi_view *view, uint32_t slot, uint64_t deadline)
{
    zi_mutex *lock = &view->queues[slot].lock;
    zi_status status = deadline ? mutex_lock(lock, deadline) : mutex_try_lock(lock);
    if (status != ZI_REPAIR) return status;
    ZI_POINT("queue.repair");
    /* A, so that no block becomes another's while it is looked at.  When a stopped process
     * keeps A for ever, nobody can take a block either, and Q must be mended all the same. */
    zi_status quiet = arena_lock(view);
    queue_repair(view, slot);
    if (quiet == ZI_OK) arena_unlock(view);
    mutex_mended(lock);
    return ZI_OK;
}

static inline void queue_unlock(zi_view *view, uint32_t slot) { mutex_unlock(&view->queues[slot].lock); }

/* --- Put ------------------------------------------------------------------------------ */

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

/* Under Q: put one message. */
static inline zi_status put_locked(zi_view *view, uint32_t slot, zi_message *message, uint32_t *spare)
{
    zi_queue *queue = &view->queues[slot];
    zi_cursor at = cursor_load(&queue->tail);
    if (queue->state != ZI_STATE_OPEN) return ZI_SHUT;
    uint32_t size = queue_size(queue);
    if ((queue->maxsize && size >= queue->maxsize) || size == ZI_ITEM_MASK) return ZI_FULL;
    uint32_t need = message_need(message), last = at.chunk;
    zi_status status = put_place(view, queue, slot, need, &at, spare);
    if (status != ZI_OK) return status;
    ZI_POINT("put.before_record");
    put_record(view, at, message);
    for (uint32_t i = 0; i < message->nblocks; i++) {
        view->blocks[message->blocks[i]].queue = slot;
        view->blocks[message->blocks[i]].item = at.item;
    }
    message->item = at.item;
    zi_cursor next = {at.item + 1, at.chunk, at.offset + need};
    ZI_POINT("put.before_commit");
    /* [queue.tail] release; pairs with the spinning acquire in queue_await_items. */
    ZI_STORE(queue->tail, cursor_pack(next));
    ZI_POINT("put.after_commit");
    queue->tail_cpu = zi_this_cpu();
    for (uint32_t i = 0; i < message->nblocks; i++)
        ZI_STORE(view->blocks[message->blocks[i]].owner, (uint32_t)ZI_QUEUED);
    if (at.chunk != last) ZI_STORE(view->blocks[at.chunk].owner, (uint32_t)ZI_QUEUED);
    return ZI_OK;
}

/* Under Q: whether the queue is still there, and this process still in the arena. */
static inline zi_status queue_check(const zi_view *view, const zi_queue *queue, uint32_t generation)
{
    return view->me && queue->used && queue->generation == generation ? ZI_OK : ZI_STALE;
}

/* One locked visit: put as many of *count* messages as go; *done is how many went. */
static inline zi_status put_visit(zi_view *view, uint32_t slot, uint32_t generation,
                                  zi_message *messages, uint32_t count, uint32_t *done,
                                  uint32_t *spare, uint32_t *want, uint64_t deadline)
{
    zi_queue *queue = &view->queues[slot];
    zi_status status = queue_lock(view, slot, deadline);
    if (status != ZI_OK) return status;
    uint32_t before = *done;
    status = queue_check(view, queue, generation);
    while (status == ZI_OK && *done < count) {
        status = put_locked(view, slot, &messages[*done], spare);
        *done += status == ZI_OK;
    }
    if (status == ZI_WANT_CHUNK) *want = put_chunk_nbytes(view, queue, message_need(&messages[*done]));
    int wake = *done != before && wake_decide(&queue->items_seq, &queue->items_waiters, &queue->items_pending);
    queue_unlock(view, slot);
    ZI_POINT("put.before_wake");
    if (wake) wait_wake(&queue->items_seq, 1);
    return status;
}

/* Put *count* messages in order, without waiting for room; *done says how many went.
 * *deadline* bounds the wait for the lock; 0: give up after a moment with ZI_BUSY. */
static inline zi_status queue_put(zi_view *view, uint32_t slot, uint32_t generation,
                                  zi_message *messages, uint32_t count, uint32_t *done,
                                  uint64_t deadline)
{
    uint32_t spare = ZI_NONE, want = 0;
    zi_status status;
    *done = 0;
    for (;;) {
        status = put_visit(view, slot, generation, messages, count, done, &spare, &want, deadline);
        if (status != ZI_WANT_CHUNK) break;
        if (spare != ZI_NONE) block_free(view, spare);
        status = block_alloc(view, want, ZI_KIND_RING, &spare);
        if (status != ZI_OK) return status;
    }
    if (spare != ZI_NONE) block_free(view, spare);
    return status;
}

/* --- Get ------------------------------------------------------------------------------ */

/* Under Q: free the chunks from *from* up to *to*, which the reader has left. */
static inline void get_leave(zi_view *view, uint32_t from, uint32_t to)
{
    while (from != to && from != ZI_NONE) {
        uint32_t next = view->blocks[from].link;
        block_free(view, from);
        from = next;
    }
}

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

/* Under Q: this process takes *item* of a joinable queue; the store of `head` must follow. */
static inline uint64_t *get_tally(zi_view *view, const zi_queue *queue, uint32_t item)
{
    if (queue->tally == ZI_NONE) return NULL;
    uint64_t *cell = &queue_tally(view, queue)[identity_index(view->me)];
    ZI_STORE(*cell, tally_pack(tally_open(*cell) + 1, item + 1));
    return cell;
}

/* Under Q, before the commit: note which item a worker takes.  Should it die in between,
 * the item is still queued, and claims_repair sees that. */
static inline void get_claim(const zi_view *view, const zi_queue *queue, uint32_t claimant, uint32_t item)
{
    if (queue->claims != ZI_NONE && claimant < ZI_PARTICIPANTS)
        ZI_STORE(((uint32_t *)block_bytes(view, queue->claims))[claimant], item);
}

/* Under Q: get one message. */
static inline zi_status get_locked(zi_view *view, uint32_t slot, zi_message *message)
{
    zi_queue *queue = &view->queues[slot];
    if (queue->state == ZI_STATE_SHUT_NOW) return ZI_SHUT;
    zi_cursor at = cursor_load(&queue->head), tail = cursor_load(&queue->tail);
    if (at.item == tail.item) return queue->state == ZI_STATE_OPEN ? ZI_EMPTY : ZI_SHUT;
    uint32_t left = at.chunk;
    zi_status status = get_record(view, &at, message);
    if (status != ZI_OK) return status;
    for (uint32_t i = 0; i < message->nblocks; i++) {
        if (message->blocks[i] >= view->arena->blocks_used) return ZI_DAMAGED;
        ZI_STORE(view->blocks[message->blocks[i]].owner, view->me);
    }
    uint64_t *cell = get_tally(view, queue, at.item);
    get_claim(view, queue, message->claimant, at.item);
    at.item++;
    ZI_POINT("get.before_commit");
    ZI_STORE(queue->head, cursor_pack(at));
    ZI_POINT("get.after_commit");
    queue->head_cpu = zi_this_cpu();
    if (cell != NULL) ZI_STORE(*cell, tally_pack(tally_open(*cell), 0));
    for (uint32_t i = 0; i < message->nblocks; i++) view->blocks[message->blocks[i]].item = ZI_NONE;
    get_leave(view, left, at.chunk);
    return ZI_OK;
}

/* Get up to *count* messages, without waiting for any; *done says how many came.  The
 * payloads must hold INLINE_MAX bytes each.  Wakes a putter that waits for room, and the
 * next getter when items are left. */
static inline zi_status queue_get(zi_view *view, uint32_t slot, uint32_t generation,
                                  zi_message *messages, uint32_t count, uint32_t *done,
                                  uint64_t deadline)
{
    zi_queue *queue = &view->queues[slot];
    *done = 0;
    zi_status status = queue_lock(view, slot, deadline);
    if (status != ZI_OK) return status;
    status = queue_check(view, queue, generation);
    while (status == ZI_OK && *done < count) {
        status = get_locked(view, slot, &messages[*done]);
        *done += status == ZI_OK;
    }
    int next = 0, room = 0;
    if (*done != 0) {
        room = wake_decide(&queue->room_seq, &queue->room_waiters, &queue->room_pending);
        if (queue_size(queue) != 0)
            next = wake_decide(&queue->items_seq, &queue->items_waiters, &queue->items_pending);
    }
    queue_unlock(view, slot);
    ZI_POINT("get.before_wake");
    if (room) wait_wake(&queue->room_seq, 1);
    if (next) wait_wake(&queue->items_seq, 1);
    return *done != 0 ? ZI_OK : status;
}

#endif
