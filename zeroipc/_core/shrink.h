/* An emptied queue goes back to one small chunk.
 *
 * SHRINK  1. allocate a chunk of CHUNK_MIN bytes.  2. lock Q; the queue is empty.
 *         3. write a link behind the last record, to the new chunk.
 *         4. store `tail`: (same item, new chunk, 0).  Killed before: the new chunk is in no
 *            chain and is freed.  After: it is in the chain; the next get follows the link.
 *         5. store `head`, the same.  Killed after: the repair frees the chunks left behind.
 *         6. free the chunks left behind; unlock.
 * The items in the queue are tail.item - head.item at each step: none. */
#ifndef ZI_SHRINK_H
#define ZI_SHRINK_H

#include "claims.h"

/* Whether the ring has outgrown its first chunk, or a shrink was cut short; a hint without Q. */
static inline int queue_is_large(const zi_view *view, const zi_queue *queue)
{
    uint32_t head = cursor_load(&queue->head).chunk, tail = cursor_load(&queue->tail).chunk;
    return head != tail || chunk_nbytes(view, tail) > ZI_CHUNK_MIN;
}

/* Under Q: have an empty queue go on in *spare*, which becomes NONE. */
static inline void shrink_locked(zi_view *view, uint32_t slot, uint32_t *spare)
{
    zi_queue *queue = &view->queues[slot];
    zi_cursor head = cursor_load(&queue->head), tail = cursor_load(&queue->tail);
    uint32_t fresh = *spare;
    if (chunk_nbytes(view, tail.chunk) > ZI_CHUNK_MIN) {
        view->blocks[fresh].queue = slot;
        view->blocks[fresh].link = ZI_NONE;
        record_link(view, tail, fresh);
        view->blocks[tail.chunk].link = fresh;
        zi_cursor start = {tail.item, fresh, 0};
        ZI_POINT("shrink.before_tail");
        ZI_STORE(queue->tail, cursor_pack(start));
        ZI_POINT("shrink.before_head");
        ZI_STORE(view->blocks[fresh].owner, (uint32_t)ZI_QUEUED);
        *spare = ZI_NONE;
    }
    ZI_STORE(queue->head, ZI_LOAD(queue->tail));
    ZI_POINT("shrink.before_free");
    get_leave(view, head.chunk, cursor_load(&queue->tail).chunk);
}

/* Shrink one queue if it is empty and nobody is at it.  Returns whether it did. */
static inline int queue_shrink(zi_view *view, uint32_t slot)
{
    zi_queue *queue = &view->queues[slot];
    uint32_t spare;
    if (ZI_LOAD(queue->used) != ZI_ROLE_QUEUE || queue_size(queue) != 0 || !queue_is_large(view, queue)) return 0;
    if (block_alloc(view, ZI_CHUNK_MIN, ZI_KIND_RING, &spare, 0) != ZI_OK) return 0;
    int done = 0;
    if (queue_lock(view, slot, 0) == ZI_OK) {
        done = queue->used == ZI_ROLE_QUEUE && queue_size(queue) == 0 && queue_is_large(view, queue);
        if (done) shrink_locked(view, slot, &spare);
        queue_unlock(view, slot);
    }
    if (spare != ZI_NONE) block_free(view, spare);
    return done;
}

/* Shrink the queues that are empty.  Returns how many did. */
static inline uint32_t queues_shrink(zi_view *view)
{
    uint32_t count = 0, used = ZI_LOAD(view->arena->queues_used);
    for (uint32_t slot = 0; slot < used; slot++) count += (uint32_t)queue_shrink(view, slot);
    return count;
}

#endif
