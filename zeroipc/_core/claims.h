/* Task queues: which item each worker took last, and taking an item back.
 *
 * A worker has a number; each get notes the item's number under it, before the commit.  So
 * when a worker dies, the one item it may have died with is known: its claim.  Of a worker
 * that died before the commit, the repair of the lock voids the claim before anyone else can
 * take the item. */
#ifndef ZI_CLAIMS_H
#define ZI_CLAIMS_H

#include "registry.h"

/* The item that worker *number* took last, or NONE while it has taken none or the item is
 * still in the queue. */
static inline uint32_t claim_of(const zi_view *view, uint32_t slot, uint32_t number)
{
    const zi_queue *queue = &view->queues[slot];
    const uint32_t *claim = &queue_claims(view, queue)[number];
    uint32_t item = ZI_LOAD(*claim);
    if (item == ZI_NONE || queue_has_item(queue, item)) return ZI_NONE;
    return ZI_LOAD(*claim); /* again: the claim may have been void, and its item just taken */
}

/* Under Q: the record of a queued item. */
static inline zi_record *record_find(const zi_view *view, const zi_queue *queue, uint32_t item)
{
    zi_cursor at = cursor_load(&queue->head);
    for (;;) {
        zi_record *record = record_at(view, at.chunk, at.offset);
        if (record->nbytes == ZI_RECORD_LINK) {
            at.chunk = record_target(record);
            at.offset = 0;
        } else if (at.item == item) {
            return record;
        } else {
            at.offset += (uint32_t)sizeof *record + pad8(4u * record->nblocks) + pad8(record->nbytes);
            at.item = (at.item + 1) & ZI_ITEM_MASK;
        }
    }
}

/* Take a queued item back: who gets it drops it.  ZI_OK, or ZI_EMPTY: it was got already. */
static inline zi_status queue_cancel(zi_view *view, uint32_t slot, uint32_t generation, uint32_t item,
                                     uint64_t deadline)
{
    zi_queue *queue = &view->queues[slot];
    zi_status status = queue_lock(view, slot, deadline);
    if (status != ZI_OK) return status;
    status = queue_check(view, queue, generation);
    uint32_t head = cursor_load(&queue->head).item;
    if (status == ZI_OK && items_between(head, item) >= queue_size(queue)) status = ZI_EMPTY;
    if (status == ZI_OK) record_find(view, queue, item)->kind |= ZI_PAYLOAD_CANCELLED;
    queue_unlock(view, slot);
    return status;
}

#endif
