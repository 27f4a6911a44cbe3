/* check(): every invariant of an arena in which nothing is going on and no dead is unswept.
 *
 * It walks rings and lists by itself, from the bytes, and believes none of the core's own
 * functions about them. */
#ifndef CHECK_H
#define CHECK_H

#include "rig.h"

static uint8_t check_seen[ZI_BLOCKS]; /* blocks that some queue was found to hold */

/* Blocks touch one another; what they claim is what the arena counts and the file has. */
static void check_extents(void)
{
    const zi_arena *arena = rig.arena;
    uint64_t offset = ZI_DATA_OFFSET, claimed = 0, backed = 0;
    for (uint32_t id = 0; id < arena->blocks_used; id++) {
        const zi_block *block = &rig.blocks[id];
        REQUIRE(block->offset == offset, "block %u is at %lx, not %lx", id, block->offset, offset);
        REQUIRE(block->backed <= block->claimed && block->claimed <= class_pages(block->cls),
                "block %u: backed %u, claimed %u, class %u", id, block->backed, block->claimed, block->cls);
        offset += class_pages(block->cls) * ZI_PAGE;
        claimed += block->claimed;
        backed += block->backed;
    }
    REQUIRE(arena->frontier == offset, "frontier %lx, blocks end at %lx", arena->frontier, offset);
    REQUIRE(arena->reserved == claimed * ZI_PAGE, "reserved %lu, recount %lu", arena->reserved, claimed * ZI_PAGE);
    REQUIRE(arena->reserved <= arena->limit, "reserved %lu, limit %lu", arena->reserved, arena->limit);
    struct stat file;
    REQUIRE(fstat(rig.fd, &file) == 0, "errno %d", errno);
    uint64_t tables = (ZI_ROWS_OFFSET + (uint64_t)arena->participants_used * ZI_QUEUES +
                       arena->queues_backed * sizeof(zi_queue) + arena->blocks_backed * sizeof(zi_block)) / ZI_PAGE;
    uint64_t steps = (ZI_QUEUES + ZI_PAGE) / ZI_PAGE + 16; /* a death may leave one step of each */
    uint64_t pages = (uint64_t)file.st_blocks * 512 / ZI_PAGE;
    REQUIRE(pages >= tables + backed, "%lu pages, but %lu of tables and %lu backed", pages, tables, backed);
    REQUIRE(pages <= tables + claimed + steps, "%lu pages, but %lu of tables and %lu claimed", pages, tables, claimed);
}

/* A block is on the free list of its class iff it is free. */
static void check_free_lists(void)
{
    for (uint32_t slot = 0; slot < rig.arena->slots_full; slot++)
        REQUIRE(rig.queues[slot].used, "slot %u is unused, below %u", slot, rig.arena->slots_full);
    uint32_t listed = 0, marked = 0;
    for (uint32_t cls = 0; cls < ZI_CLASSES; cls++) {
        for (uint32_t id = rig.arena->free_head[cls]; id != ZI_NONE; id = rig.blocks[id].next) {
            REQUIRE(id < rig.arena->blocks_used && ++listed <= rig.arena->blocks_used, "list %u is broken at %u", cls, id);
            const zi_block *block = &rig.blocks[id];
            REQUIRE(block->cls == cls && block->listed && block->owner == ZI_FREE && block->lender == 0 && block->lender2 == 0,
                    "block %u on list %u: class %u, listed %u, owner %x", id, cls, block->cls, block->listed, block->owner);
        }
    }
    for (uint32_t id = 0; id < rig.arena->blocks_used; id++) {
        const zi_block *block = &rig.blocks[id];
        int free_now = block->owner == ZI_FREE && block->lender == 0 && block->lender2 == 0 && block->inherited_from == 0;
        REQUIRE(block->listed == free_now, "block %u: listed %u, owner %x, lender %x", id, block->listed,
                block->owner, block->lender);
        marked += block->listed;
    }
    REQUIRE(marked == listed, "%u blocks are marked as listed, %u are", marked, listed);
}

static void check_holds(uint32_t slot, uint32_t id, uint32_t kind)
{
    REQUIRE(id < rig.arena->blocks_used && !check_seen[id], "queue %u, block %u is there twice", slot, id);
    const zi_block *block = &rig.blocks[id];
    REQUIRE(block->owner == ZI_QUEUED && block->queue == slot,
            "queue %u, block %u: owner %x, queue %u", slot, id, block->owner, block->queue);
    REQUIRE(kind == ZI_KIND_DATA ? block->kind == ZI_KIND_DATA || block->kind == ZI_KIND_HANDLE : block->kind == kind,
            "queue %u, block %u is of kind %u", slot, id, block->kind);
    check_seen[id] = 1;
}

static uint32_t check_chunk, check_offset; /* how far a ring was walked */

/* Follow links; the two words of the record behind them. */
static const unsigned char *check_links(uint32_t slot, uint32_t head[2])
{
    const unsigned char *bytes = block_bytes(&rig, check_chunk) + check_offset;
    for (memcpy(head, bytes, 8); head[0] == ZI_RECORD_LINK; memcpy(head, bytes, 8)) {
        if (head[1] != check_chunk) check_holds(slot, head[1], ZI_KIND_RING);
        check_chunk = head[1];
        check_offset = 0;
        bytes = block_bytes(&rig, head[1]);
    }
    return bytes;
}

static void check_record(uint32_t slot, uint64_t item)
{
    uint32_t head[2], id;
    const unsigned char *bytes = check_links(slot, head);
    uint32_t nblocks = head[1] >> 16;
    for (uint32_t i = 0; i < nblocks; i++) {
        memcpy(&id, bytes + 8 + 4 * i, 4);
        check_holds(slot, id, ZI_KIND_DATA);
        REQUIRE(rig.blocks[id].item == item, "queue %u, item %lu: block %u says %u", slot, item, id, rig.blocks[id].item);
    }
    check_offset += 8 + (4 * nblocks + 7) / 8 * 8 + (head[0] + 7) / 8 * 8;
    REQUIRE(check_offset + 8 <= class_pages(rig.blocks[check_chunk].cls) * ZI_PAGE, "queue %u, item %lu", slot, item);
}

/* From head to tail there is a whole record per item, and what it names is in the queue. */
static void check_ring(uint32_t slot)
{
    uint64_t head = rig.queues[slot].head, tail = rig.queues[slot].tail;
    uint32_t tail_chunk = (tail >> 17) & 0x3FFFF, tail_offset = (uint32_t)(tail & 0x1FFFF) * 8, words[2];
    check_chunk = (head >> 17) & 0x3FFFF;
    check_offset = (uint32_t)(head & 0x1FFFF) * 8;
    check_holds(slot, check_chunk, ZI_KIND_RING);
    for (uint64_t item = head >> 35; item != tail >> 35; item = (item + 1) & ZI_ITEM_MASK) check_record(slot, item);
    if (check_chunk != tail_chunk) check_links(slot, words); /* a shrink may have died in between */
    REQUIRE(check_chunk == tail_chunk && check_offset == tail_offset,
            "queue %u: the last item ends at %u:%u, not at the tail", slot, check_chunk, check_offset);
}

static int check_alive(uint32_t owner)
{
    for (uint32_t index = 0; index < rig.arena->participants_used; index++)
        if (rig.participants[index].pid != 0 && participant_identity(&rig, index) == owner) return 1;
    return 0;
}

/* No lock is a dead one's, and nobody dead waits. */
static void check_lock(uint32_t slot)
{
    const zi_lock *lock = lock_at(&rig, slot);
    REQUIRE(lock->holder == 0 || check_alive(lock->holder), "lock %u belongs to the dead %x", slot, lock->holder);
    if (lock->block != ZI_NONE) check_holds(slot, lock->block, ZI_KIND_MEMORY);
    const zi_waiter *table = waiters_table(&rig, lock);
    for (uint32_t index = 0; index < lock->capacity; index++)
        REQUIRE(table[index].state == ZI_WAITER_NONE || check_alive(table[index].owner), "lock %u: the dead %x waits", slot,
                table[index].owner);
}

static void check_lender(uint32_t id, uint32_t lender)
{
    REQUIRE(lender == 0 || check_alive(lender), "block %u is lent by the dead %x", id, lender);
}

static void check_participants(void)
{
    REQUIRE(rig.arena->participants_used <= ZI_PARTICIPANTS, "%u", rig.arena->participants_used);
    for (uint32_t index = 0; index < rig.arena->participants_used; index++)
        REQUIRE(!participant_dead(&rig, index), "participant %u, pid %u, was not swept", index, rig.participants[index].pid);
}

/* What the holder of a lock left half-way is mended by the next who takes it. */
static void check_locks(void)
{
    for (uint32_t slot = 0; slot < rig.arena->queues_used; slot++) {
        REQUIRE_OK(queue_lock(&rig, slot, zi_now() + ZI_TICK_NS));
        queue_unlock(&rig, slot);
    }
    REQUIRE_OK(arena_lock(&rig, rig_soon()));
}

/* All of it; *held* is how many blocks the living should have in their hands. */
static void check(uint32_t held)
{
    check_locks();
    arena_rescan(&rig);
    memset(check_seen, 0, rig.arena->blocks_used);
    check_participants();
    check_extents();
    check_free_lists();
    for (uint32_t slot = 0; slot < rig.arena->queues_used; slot++) {
        if (rig.queues[slot].used == ZI_ROLE_MEMORY && memory_at(&rig, slot)->block != ZI_NONE)
            check_holds(slot, memory_at(&rig, slot)->block, ZI_KIND_MEMORY);
        if (rig.queues[slot].used == ZI_ROLE_LOCK) check_lock(slot);
        if (rig.queues[slot].used != ZI_ROLE_QUEUE) continue;
        check_ring(slot);
        if (rig.queues[slot].tally != ZI_NONE) check_holds(slot, rig.queues[slot].tally, ZI_KIND_TALLY);
        if (rig.queues[slot].claims != ZI_NONE) check_holds(slot, rig.queues[slot].claims, ZI_KIND_TALLY);
    }
    for (uint32_t id = 0; id < rig.arena->blocks_used; id++) {
        uint32_t owner = rig.blocks[id].owner;
        check_lender(id, rig.blocks[id].lender);
        check_lender(id, rig.blocks[id].lender2);
        if (owner == ZI_FREE) continue;
        REQUIRE((owner == ZI_QUEUED) == check_seen[id], "block %u, kind %u, queue %u, item %u: queued, but in no queue", id,
                rig.blocks[id].kind, rig.blocks[id].queue, rig.blocks[id].item);
        if (owner == ZI_QUEUED) continue;
        REQUIRE(check_alive(owner), "block %u belongs to the dead %x", id, owner);
        REQUIRE(held-- != 0, "block %u of %x should have come back", id, owner);
    }
    REQUIRE(held == 0, "%u blocks that the living held are gone", held);
    arena_unlock(&rig);
}

#endif
