/* The operations of the instruction sweep: `prepare` runs unharmed in the victim, which is
 * killed somewhere in `operation`. */
#ifndef SCENARIOS_H
#define SCENARIOS_H

#include "locking.h"

typedef struct {
    const char *name;
    void (*setup)(void);
    void (*prepare)(void);
    void (*operation)(void);
    int unregistered; /* the victim registers itself, if at all */
} scenario;

static void prepare_nothing(void) {}

static void prepare_block(void) { REQUIRE_OK(block_alloc(&rig, 5000, ZI_KIND_DATA, &step_block, rig_soon())); }

static void prepare_loan(void)
{
    prepare_block();
    block_lend(&rig, step_block);
}

static void prepare_two_tasks(void) { get_some(step_main, 2); }

static void do_put(void) { put_next(step_main, 24, 0); }
static void do_put_blocks(void) { put_next(step_main, 24, 2); }
static void do_put_long(void) { put_next(step_main, 500, 1); }
static void do_put_large(void) { put_next(step_main, 9000, 0); }
static void do_get(void) { get_next(step_main); }
static void do_get_two(void) { get_some(step_main, 2); }
static void do_free(void) { block_free(&rig, step_block); }
static void do_unlend(void) { block_unlend(&rig, step_block, rig.me), block_free(&rig, step_block); }
static void do_trim(void) { arena_trim(&rig, 0, 0, rig_soon()); }
static void do_alloc_at_limit(void) { REQUIRE_OK(block_alloc(&rig, 6 * MB, ZI_KIND_DATA, &step_block, rig_soon())); }
static void do_sweep(void) { arena_sweep(&rig, rig_soon()); }
static void do_register(void) { REQUIRE_OK(arena_register(&rig, rig_soon())); }
static void do_deregister(void) { arena_deregister(&rig); }
static void do_create(void) { rig_create(0, 0); }
static void do_create_joinable(void) { rig_create(7, ZI_NOTE_TASKS); }

static void do_create_memory(void)
{
    uint32_t slot, generation;
    REQUIRE_OK(memory_create(&rig, 8, &slot, &generation, rig_soon()));
    REQUIRE_OK(memory_create(&rig, 300, &slot, &generation, rig_soon()));
}

static void do_reclaim(void) { slots_reclaim(&rig, rig_soon()); }
static void do_reserve(void) { participant_reserve(&rig, &step_reserved, rig_soon()); }
static void do_adopt(void) { REQUIRE_OK(participant_adopt(&rig, step_reserved, rig_soon())); }
static void do_hold(void) { REQUIRE_OK(queue_hold(&rig, step_main.slot, step_main.generation, rig_soon())); }
static void do_drop(void) { holding_clear(&rig, step_main.slot); }
static void do_shut(void) { REQUIRE_OK(queue_shut(&rig, step_main.slot, step_main.generation, 0, rig_soon())); }

static void do_shut_now(void) { REQUIRE_OK(queue_shut(&rig, step_main.slot, step_main.generation, 1, rig_soon())); }

static void do_put_many(void)
{
    static unsigned char bytes[3][64];
    zi_message messages[3];
    uint32_t done;
    for (uint32_t i = 0; i < 3; i++) {
        REQUIRE_OK(item_make(&messages[i], 3 + i, 32, 1));
        messages[i].payload = memcpy(bytes[i], rig_payload, 32);
    }
    REQUIRE_OK(queue_put(&rig, step_main.slot, step_main.generation, messages, 3, &done, rig_soon()));
}

static zi_message step_message;

/* Of four blocks the first is on its way for the second time, and still shown. */
static void prepare_message(void)
{
    REQUIRE_OK(item_make(&step_message, 3, 24, 4));
    block_lend(&rig, step_message.blocks[0]);
}

/* Three blocks that the putter still shows, and one that it does not. */
static void do_put_loans(void)
{
    uint32_t done;
    for (uint32_t i = 0; i < 3; i++) block_lend(&rig, step_message.blocks[i]);
    REQUIRE_OK(queue_put(&rig, step_main.slot, step_main.generation, &step_message, 1, &done, rig_soon()));
    for (uint32_t i = 0; i < 3; i++) block_unlend(&rig, step_message.blocks[i], rig.me);
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
    REQUIRE_OK(task_done(&rig, step_main.slot, step_main.generation, rig_soon()));
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
    REQUIRE_OK(block_alloc(&rig, 0, ZI_KIND_HANDLE, &message.blocks[0], rig_soon()));
    rig.queues[step_other.slot].handled = 1;
    rig.blocks[message.blocks[0]].link = step_other.slot;
    message.nblocks = 1;
    REQUIRE_OK(queue_put(&rig, step_main.slot, step_main.generation, &message, 1, &done, rig_soon()));
}

static void prepare_held_other(void) { REQUIRE_OK(queue_hold(&rig, step_other.slot, step_other.generation, rig_soon())); }

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
    REQUIRE_OK(queue_get(&rig, step_main.slot, step_main.generation, &message, 1, &done, rig_soon()));
    REQUIRE_OK(queue_hold(&rig, rig.blocks[message.blocks[0]].link, step_other.generation, rig_soon()));
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
    {"put: loans", setup_plain, prepare_message, do_put_loans, 0},
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
    {"sweep: not registered", setup_dead, prepare_nothing, do_sweep, 1},
    {"register", setup_dead, prepare_nothing, do_register, 1},
    {"deregister", setup_dead, leave_everything, do_deregister, 0},
    {"reserve", setup_plain, prepare_nothing, do_reserve, 0},
    {"adopt", setup_reserved, prepare_nothing, do_adopt, 1},
    {"create", setup_plain, prepare_nothing, do_create, 0},
    {"create: joinable", setup_plain, prepare_nothing, do_create_joinable, 0},
    {"create: reclaim first", setup_unheld, prepare_nothing, do_create, 0},
    {"reclaim", setup_unheld, prepare_nothing, do_reclaim, 0},
    {"memory: create", setup_plain, prepare_nothing, do_create_memory, 0},
    {"memory: reclaim", setup_memory, prepare_nothing, do_create_memory, 0},
    {"lock: create", setup_plain, prepare_nothing, do_create_locks, 0},
    {"lock: reclaim", setup_unheld_condition, prepare_nothing, do_create_locks, 0},
    {"lock: take", setup_lock, prepare_nothing, do_lock, 0},
    {"lock: give", setup_lock, do_lock, do_unlock, 0},
    {"lock: give another's", setup_lock_taken, prepare_nothing, do_unlock, 0},
    {"lock: await", setup_lock_taken, prepare_nothing, do_await_lock, 0},
    {"lock: take after a death", setup_dead_holder, do_sweep, do_lock, 0},
    {"lock: sweep", setup_dead_holder, prepare_nothing, do_sweep, 0},
    {"semaphore: take", setup_semaphore_to_take, prepare_nothing, do_lock, 0},
    {"semaphore: give", setup_semaphore_to_give, prepare_nothing, do_unlock, 0},
    {"event: set", setup_event, prepare_nothing, do_event_set, 0},
    {"event: clear", setup_event_set, prepare_nothing, do_event_clear, 0},
    {"event: await", setup_event, prepare_nothing, do_await_event, 0},
    {"condition: enter", setup_condition, prepare_nothing, do_enter, 0},
    {"condition: enter, in a block", setup_condition_full, prepare_nothing, do_enter, 0},
    {"condition: enter, in a larger block", setup_condition_page_full, prepare_nothing, do_enter, 0},
    {"condition: notify", setup_notify_two, prepare_nothing, do_notify_two, 0},
    {"condition: notify all", setup_notify_all, prepare_nothing, do_notify_all, 0},
    {"condition: settle", setup_condition, do_enter, do_settle, 0},
    {"condition: sweep", setup_dead_waiters, prepare_nothing, do_sweep, 0},
    {"hold", setup_plain, prepare_nothing, do_hold, 0},
    {"drop", setup_plain, do_hold, do_drop, 0},
    {"shut", setup_bounded_sleepers, prepare_nothing, do_shut, 0},
    {"shut: drop", setup_plain, prepare_nothing, do_shut_now, 0},
    {"handle: send", setup_handle, prepare_held_other, do_send_handle, 0},
    {"handle: take", setup_handle, prepare_sent_handle, do_take_handle, 0},
};

enum { SCENARIOS = sizeof scenarios / sizeof *scenarios };

#endif
