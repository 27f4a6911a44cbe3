/* What is there before an operation of the instruction sweep.
 *
 * In every queue the id of an item is its item number, so that what is delivered can be told
 * from head and tail alone.  The parent runs these, stays alive and holds its queues. */
#ifndef BEFORE_H
#define BEFORE_H

#include "members.h"

/* Kept outside the arena, written by victim and parent. */
typedef struct {
    uint32_t finished;             /* the operation returned */
    uint32_t done_begun, done_ended; /* calls of task_done by the dead */
    uint32_t items_after;          /* items of step_main once the operation returned */
} step_books;

enum { STEP_WORKER = 3 }; /* the victim's number in task queues */

static step_books *step_book;
static rig_queue step_main, step_other;
static uint32_t step_held;     /* blocks in the parent's hands */
static uint32_t step_reserved; /* the identity that `adopt` takes */
static uint32_t step_block;

static void put_next(rig_queue queue, uint32_t nbytes, uint32_t nblocks)
{
    REQUIRE_OK(item_put(queue, cursor_load(&rig.queues[queue.slot].tail).item, nbytes, nblocks));
}

static void get_next(rig_queue queue)
{
    uint64_t id, item = cursor_load(&rig.queues[queue.slot].head).item;
    REQUIRE(item_get(queue, &id) == ZI_OK && id == item, "got item %lu, not %lu", id, item);
}

static void put_some(rig_queue queue, uint32_t count, uint32_t nbytes, uint32_t nblocks)
{
    for (uint32_t i = 0; i < count; i++) put_next(queue, nbytes, nblocks);
}

static void get_some(rig_queue queue, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) get_next(queue);
}

/* Item 0 stays in queue 0 in all of them: a block that claims to be of item 0 of queue 0,
 * because its fields are zero, is then found out. */
static void setup_plain(void)
{
    rig_reset(8 * MB);
    step_held = 0;
    step_main = rig_create(0, 0);
    put_some(step_main, 3, 24, 2);
}

static void setup_recycled(void)
{
    setup_plain();
    get_some(step_main, 2);
}

static void setup_bounded_sleepers(void)
{
    rig_reset(8 * MB);
    step_held = 0;
    step_main = rig_create(8, 0);
    put_some(step_main, 3, 24, 1);
    rig.queues[step_main.slot].items_waiters = 1; /* sleepers that are not there: the wake runs */
    rig.queues[step_main.slot].room_waiters = 1;
}

/* The next record of 500 bytes does not fit into the first chunk. */
static void setup_chunk_full(void)
{
    setup_plain();
    put_some(step_main, 7, 500, 1);
}

/* Three chunks; the next get is the first from the second. */
static void setup_chunks(void)
{
    setup_plain();
    put_some(step_main, 40, 500, 1);
    get_some(step_main, 10);
}

/* The tail is near the end of the only chunk, and there is room at its start. */
static void setup_wrap_put(void)
{
    setup_chunk_full();
    get_some(step_main, 6);
}

static void setup_wrap_get(void)
{
    setup_wrap_put();
    put_some(step_main, 2, 500, 1);
    get_some(step_main, 4);
}

static void setup_tasks(void)
{
    rig_reset(8 * MB);
    step_held = 0;
    step_main = rig_create(0, ZI_NOTE_TASKS);
    put_some(step_main, 5, 24, 1);
    rig.queues[step_main.slot].done_waiters = 1;
}

static void setup_claims(void)
{
    rig_reset(8 * MB);
    step_held = 0;
    step_main = rig_create(0, ZI_NOTE_CLAIMS);
    put_some(step_main, 5, 24, 1);
}

/* Empty, with a large chunk. */
static void setup_large(void)
{
    setup_plain();
    put_some(step_main, 40, 500, 1);
    get_some(step_main, 43);
}

static void setup_limit(void)
{
    setup_plain();
    uint32_t blocks[6];
    for (int i = 0; i < 6; i++) REQUIRE_OK(block_alloc(&rig, MB, ZI_KIND_DATA, &blocks[i], rig_soon()));
    for (int i = 0; i < 6; i++) block_free(&rig, blocks[i]);
}

/* A queue with everything in it, which nobody holds. */
static void setup_unheld(void)
{
    setup_plain();
    step_other = rig_create(0, ZI_NOTE_TASKS);
    put_some(step_other, 12, 900, 1);
    get_some(step_other, 4);
    holding_clear(&rig, step_other.slot);
}

static void setup_handle(void)
{
    rig_reset(8 * MB);
    step_held = 0;
    step_main = rig_create(0, 0);
    step_other = rig_create(0, 0);
    put_some(step_other, 3, 24, 1);
    holding_clear(&rig, step_other.slot);
}

/* Two pieces of memory that nobody holds, one of them with a block. */
static void setup_memory(void)
{
    setup_plain();
    uint32_t slot, generation;
    for (uint32_t nbytes = 8; nbytes < 10000; nbytes += 5000) {
        REQUIRE_OK(memory_create(&rig, nbytes, &slot, &generation, rig_soon()));
        holding_clear(&rig, slot);
    }
}

static void setup_reserved(void)
{
    setup_plain();
    participant_reserve(&rig, &step_reserved, rig_soon());
}

/* What a participant may leave behind: blocks, a loan, a put that is committed but not
 * marked, an item in hand, open tasks, a queue of its own. */
static void leave_everything(void)
{
    uint32_t block;
    REQUIRE_OK(block_alloc(&rig, 5000, ZI_KIND_DATA, &block, rig_soon()));
    REQUIRE_OK(block_alloc(&rig, 5000, ZI_KIND_DATA, &block, rig_soon()));
    block_lend(&rig, block);
    block_lend(&rig, block);
    put_next(step_main, 24, 2);
    for (uint32_t id = 0; id < rig.arena->blocks_used; id++)
        if (rig.blocks[id].owner == ZI_QUEUED && rig.blocks[id].item == 5) rig.blocks[id].owner = rig.me;
    zi_message message = {.payload = rig_payload, .claimant = ZI_NONE};
    uint32_t done;
    REQUIRE_OK(queue_get(&rig, step_main.slot, step_main.generation, &message, 1, &done, 0));
    get_next(step_main);
    put_some(rig_create(0, ZI_NOTE_TASKS), 3, 24, 1);
}

static void setup_dead(void)
{
    setup_tasks();
    rig_run_and_die(leave_everything);
}

/* As if killed in the middle of a put, with the lists of the arena in pieces too. */
static void leave_locked(void)
{
    uint32_t block;
    leave_everything();
    REQUIRE_OK(item_make(&(zi_message){0}, 9, 24, 3));
    REQUIRE_OK(block_alloc(&rig, 5000, ZI_KIND_DATA, &block, rig_soon()));
    REQUIRE_OK(queue_lock(&rig, step_main.slot, zi_now() + ZI_TICK_NS));
    rig.blocks[block].queue = step_main.slot;
    rig.blocks[block].item = cursor_load(&rig.queues[step_main.slot].tail).item;
    get_tally(&rig, &rig.queues[step_main.slot], cursor_load(&rig.queues[step_main.slot].head).item);
    REQUIRE_OK(arena_lock(&rig, rig_soon()));
    rig.arena->free_head[1] = rig.arena->free_head[2] = ZI_NONE;
    rig.arena->frontier += 4096;
    rig.arena->reserved = 0;
}

static void setup_dead_locked(void)
{
    setup_tasks();
    put_some(step_main, 3, 24, 3);
    get_some(step_main, 2);
    for (int i = 0; i < 2; i++) REQUIRE_OK(task_done(&rig, step_main.slot, step_main.generation, rig_soon()));
    step_book->done_begun = step_book->done_ended = 2;
    rig_run_and_die(leave_locked);
}

#endif
