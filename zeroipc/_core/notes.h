/* What a queue notes of its takers, in a block of its own; a 64- or 32-bit cell each.
 *
 * A joinable queue tallies open tasks: a cell per participant says how many tasks it took and
 * has not done, and which item it is just taking (its number + 1, or 0).  One store before
 * `head` writes both, so the repair knows whether to take the count back.
 *
 * A queue of tasks for workers has claims: the item that each took last; see claims.h. */
#ifndef ZI_NOTES_H
#define ZI_NOTES_H

#include "ring.h"

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

static inline uint32_t *queue_claims(const zi_view *view, const zi_queue *queue)
{
    return (uint32_t *)block_bytes(view, queue->claims);
}

/* Under Q, after its holder died: nobody has taken what is still in the queue. */
static inline void claims_repair(zi_view *view, const zi_queue *queue)
{
    uint32_t *claims = queue_claims(view, queue);
    for (uint32_t number = 0; number < ZI_PARTICIPANTS; number++)
        if (claims[number] != ZI_NONE && queue_has_item(queue, claims[number]))
            ZI_STORE(claims[number], (uint32_t)ZI_NONE);
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
        ZI_STORE(queue_claims(view, queue)[claimant], item);
}

#endif
