/* The operations of the instruction sweep: what is there before, and what the victim does.
 *
 * `setup` runs in the parent, which stays alive and holds its queues.  The victim runs
 * `prepare` unharmed and is killed somewhere in `operation`.  In every queue the id of an
 * item is its item number, so that what is delivered can be told from head and tail alone. */
#ifndef SCENARIOS_H
#define SCENARIOS_H

#include "members.h"

typedef struct {
    const char *name;
    void (*setup)(void);
    void (*prepare)(void);
    void (*operation)(void);
    int unregistered; /* the victim registers itself, if at all */
} scenario;

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

/* --- Before ---------------------------------------------------------------------------- */

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
    step_main = rig_create(0, 0, "main");
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
    step_main = rig_create(8, 0, "");
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
    step_main = rig_create(0, ZI_NOTE_TASKS, "");
    put_some(step_main, 5, 24, 1);
    rig.queues[step_main.slot].done_waiters = 1;
}

static void setup_claims(void)
{
    rig_reset(8 * MB);
    step_held = 0;
    step_main = rig_create(0, ZI_NOTE_CLAIMS, "");
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
    for (int i = 0; i < 6; i++) REQUIRE_OK(block_alloc(&rig, MB, ZI_KIND_DATA, &blocks[i]));
    for (int i = 0; i < 6; i++) block_free(&rig, blocks[i]);
}

/* A queue with everything in it, which nobody holds. */
static void setup_unheld(void)
{
    setup_plain();
    step_other = rig_create(0, ZI_NOTE_TASKS, "other");
    put_some(step_other, 12, 900, 1);
    get_some(step_other, 4);
    holding_clear(&rig, step_other.slot);
}

static void setup_handle(void)
{
    rig_reset(8 * MB);
    step_held = 0;
    step_main = rig_create(0, 0, "");
    step_other = rig_create(0, 0, "");
    put_some(step_other, 3, 24, 1);
    holding_clear(&rig, step_other.slot);
}

static void setup_reserved(void)
{
    setup_plain();
    participant_reserve(&rig, &step_reserved);
}

/* What a participant may leave behind: blocks, a loan, a put that is committed but not
 * marked, an item in hand, open tasks, a queue of its own. */
static void leave_everything(void)
{
    uint32_t block;
    REQUIRE_OK(block_alloc(&rig, 5000, ZI_KIND_DATA, &block));
    REQUIRE_OK(block_alloc(&rig, 5000, ZI_KIND_DATA, &block));
    rig.blocks[block].lender = rig.me;
    put_next(step_main, 24, 2);
    for (uint32_t id = 0; id < rig.arena->blocks_used; id++)
        if (rig.blocks[id].owner == ZI_QUEUED && rig.blocks[id].item == 5) rig.blocks[id].owner = rig.me;
    zi_message message = {.payload = rig_payload, .claimant = ZI_NONE};
    uint32_t done;
    REQUIRE_OK(queue_get(&rig, step_main.slot, step_main.generation, &message, 1, &done, 0));
    get_next(step_main);
    put_some(rig_create(0, ZI_NOTE_TASKS, "own"), 3, 24, 1);
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
    REQUIRE_OK(block_alloc(&rig, 5000, ZI_KIND_DATA, &block));
    REQUIRE_OK(queue_lock(&rig, step_main.slot, zi_now() + ZI_TICK_NS));
    rig.blocks[block].queue = step_main.slot;
    rig.blocks[block].item = cursor_load(&rig.queues[step_main.slot].tail).item;
    get_tally(&rig, &rig.queues[step_main.slot], cursor_load(&rig.queues[step_main.slot].head).item);
    REQUIRE_OK(arena_lock(&rig));
    rig.arena->free_head[1] = rig.arena->free_head[2] = ZI_NONE;
    rig.arena->frontier += 4096;
    rig.arena->reserved = 0;
}

static void setup_dead_locked(void)
{
    setup_tasks();
    put_some(step_main, 3, 24, 3);
    get_some(step_main, 2);
    for (int i = 0; i < 2; i++) REQUIRE_OK(task_done(&rig, step_main.slot, step_main.generation));
    step_book->done_begun = step_book->done_ended = 2;
    rig_run_and_die(leave_locked);
}

/* --- The operations --------------------------------------------------------------------- */

static void prepare_nothing(void) {}

static void prepare_block(void) { REQUIRE_OK(block_alloc(&rig, 5000, ZI_KIND_DATA, &step_block)); }

static void prepare_loan(void)
{
    prepare_block();
    rig.blocks[step_block].lender = rig.me;
}

static void prepare_two_tasks(void) { get_some(step_main, 2); }

static void do_put(void) { put_next(step_main, 24, 0); }
static void do_put_blocks(void) { put_next(step_main, 24, 2); }
static void do_put_long(void) { put_next(step_main, 500, 1); }
static void do_put_large(void) { put_next(step_main, 9000, 0); }
static void do_get(void) { get_next(step_main); }
static void do_get_two(void) { get_some(step_main, 2); }
static void do_free(void) { block_free(&rig, step_block); }
static void do_unlend(void) { block_unlend(&rig, step_block), block_free(&rig, step_block); }
static void do_trim(void) { arena_trim(&rig, 0, 0); }
static void do_alloc_at_limit(void) { REQUIRE_OK(block_alloc(&rig, 6 * MB, ZI_KIND_DATA, &step_block)); }
static void do_sweep(void) { arena_sweep(&rig); }
static void do_register(void) { REQUIRE_OK(arena_register(&rig)); }
static void do_deregister(void) { arena_deregister(&rig); }
static void do_create(void) { rig_create(0, 0, "new"); }
static void do_create_joinable(void) { rig_create(7, ZI_NOTE_TASKS, ""); }
static void do_create_known(void) { rig_create(0, ZI_NOTE_TASKS, "main"); }
static void do_reclaim(void) { queues_reclaim(&rig); }
static void do_reserve(void) { participant_reserve(&rig, &step_reserved); }
static void do_adopt(void) { REQUIRE_OK(participant_adopt(&rig, step_reserved)); }
static void do_hold(void) { REQUIRE_OK(queue_hold(&rig, step_main.slot, step_main.generation)); }
static void do_drop(void) { holding_clear(&rig, step_main.slot); }
static void do_shut(void) { REQUIRE_OK(queue_shut(&rig, step_main.slot, step_main.generation, 0)); }

static void do_find(void)
{
    uint32_t slot, generation;
    REQUIRE_OK(queue_find(&rig, "main", &slot, &generation));
}

static void do_put_many(void)
{
    static unsigned char bytes[3][64];
    zi_message messages[3];
    uint32_t done;
    for (uint32_t i = 0; i < 3; i++) {
        REQUIRE_OK(item_make(&messages[i], 3 + i, 32, 1));
        messages[i].payload = memcpy(bytes[i], rig_payload, 32);
    }
    REQUIRE_OK(queue_put(&rig, step_main.slot, step_main.generation, messages, 3, &done, zi_now() + ZI_LOCK_PATIENCE_NS));
}

static void do_get_claim(void)
{
    rig_claimant = STEP_WORKER;
    get_next(step_main);
}

static void do_shrink(void) { REQUIRE(queue_shrink(&rig, step_main.slot), "nothing shrank"); }

static void do_task_done(void)
{
    step_book->done_begun++;
    REQUIRE_OK(task_done(&rig, step_main.slot, step_main.generation));
    step_book->done_ended++;
}

static void do_await_items(void)
{
    get_some(step_main, 3);
    queue_await_items(&rig, step_main.slot, zi_now() + 100000, 0);
}

static void do_await_room(void)
{
    put_some(step_main, 5, 16, 0);
    queue_await_room(&rig, step_main.slot, zi_now() + 100000, 0);
}

static void do_await_tasks(void)
{
    uint32_t lost;
    tasks_await(&rig, step_main.slot, step_main.generation, &lost, zi_now() + 100000);
}

static void do_send_handle(void)
{
    zi_message message;
    uint32_t done;
    REQUIRE_OK(item_make(&message, 0, 24, 0));
    REQUIRE_OK(block_alloc(&rig, 0, ZI_KIND_HANDLE, &message.blocks[0]));
    rig.blocks[message.blocks[0]].link = step_other.slot;
    message.nblocks = 1;
    REQUIRE_OK(queue_put(&rig, step_main.slot, step_main.generation, &message, 1, &done, zi_now() + ZI_LOCK_PATIENCE_NS));
}

static void prepare_held_other(void) { REQUIRE_OK(queue_hold(&rig, step_other.slot, step_other.generation)); }

static void prepare_sent_handle(void)
{
    prepare_held_other();
    do_send_handle();
    holding_clear(&rig, step_other.slot);
}

static void do_take_handle(void)
{
    zi_message message = {.payload = rig_payload, .claimant = ZI_NONE};
    uint32_t done;
    REQUIRE_OK(queue_get(&rig, step_main.slot, step_main.generation, &message, 1, &done, zi_now() + ZI_LOCK_PATIENCE_NS));
    REQUIRE_OK(queue_hold(&rig, rig.blocks[message.blocks[0]].link, step_other.generation));
    block_free(&rig, message.blocks[0]);
}

static const scenario scenarios[] = {
    {"put", setup_plain, prepare_nothing, do_put, 0},
    {"put: new blocks", setup_plain, prepare_nothing, do_put_blocks, 0},
    {"put: recycled blocks", setup_recycled, prepare_nothing, do_put_blocks, 0},
    {"put: new chunk", setup_chunk_full, prepare_nothing, do_put_long, 0},
    {"put: larger chunk", setup_chunk_full, prepare_nothing, do_put_large, 0},
    {"put: wrap", setup_wrap_put, prepare_nothing, do_put_long, 0},
    {"put: many", setup_plain, prepare_nothing, do_put_many, 0},
    {"put: sleepers", setup_bounded_sleepers, prepare_nothing, do_put_blocks, 0},
    {"put: after a death in put", setup_dead_locked, prepare_nothing, do_put_blocks, 0},
    {"get", setup_plain, prepare_nothing, do_get, 0},
    {"get: two and free", setup_plain, prepare_nothing, do_get_two, 0},
    {"get: leave a chunk", setup_chunks, prepare_nothing, do_get_two, 0},
    {"get: wrap", setup_wrap_get, prepare_nothing, do_get_two, 0},
    {"get: sleepers", setup_bounded_sleepers, prepare_nothing, do_get, 0},
    {"get: task", setup_tasks, prepare_nothing, do_get_two, 0},
    {"get: after a death in put", setup_dead_locked, prepare_nothing, do_get, 0},
    {"get: claim", setup_claims, prepare_nothing, do_get_claim, 0},
    {"shrink", setup_large, prepare_nothing, do_shrink, 0},
    {"task_done", setup_tasks, prepare_two_tasks, do_task_done, 0},
    {"await items", setup_plain, prepare_nothing, do_await_items, 0},
    {"await room", setup_bounded_sleepers, prepare_nothing, do_await_room, 0},
    {"await tasks", setup_tasks, prepare_nothing, do_await_tasks, 0},
    {"free", setup_recycled, prepare_block, do_free, 0},
    {"free: loan", setup_recycled, prepare_loan, do_unlend, 0},
    {"trim", setup_recycled, prepare_nothing, do_trim, 0},
    {"alloc: trim first", setup_limit, prepare_nothing, do_alloc_at_limit, 0},
    {"sweep", setup_dead, prepare_nothing, do_sweep, 0},
    {"sweep: died with locks", setup_dead_locked, prepare_nothing, do_sweep, 0},
    {"register", setup_dead, prepare_nothing, do_register, 1},
    {"deregister", setup_dead, leave_everything, do_deregister, 0},
    {"reserve", setup_plain, prepare_nothing, do_reserve, 0},
    {"adopt", setup_reserved, prepare_nothing, do_adopt, 1},
    {"create", setup_plain, prepare_nothing, do_create, 0},
    {"create: joinable", setup_plain, prepare_nothing, do_create_joinable, 0},
    {"create: known title", setup_plain, prepare_nothing, do_create_known, 0},
    {"create: reclaim first", setup_unheld, prepare_nothing, do_create, 0},
    {"reclaim", setup_unheld, prepare_nothing, do_reclaim, 0},
    {"find", setup_plain, prepare_nothing, do_find, 0},
    {"hold", setup_plain, prepare_nothing, do_hold, 0},
    {"drop", setup_plain, do_hold, do_drop, 0},
    {"shut", setup_bounded_sleepers, prepare_nothing, do_shut, 0},
    {"handle: send", setup_handle, prepare_held_other, do_send_handle, 0},
    {"handle: take", setup_handle, prepare_sent_handle, do_take_handle, 0},
};

enum { SCENARIOS = sizeof scenarios / sizeof *scenarios };

#endif
