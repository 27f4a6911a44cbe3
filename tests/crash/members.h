/* Who is attached, what they hold, and what they have left to do, when all goes well. */
#ifndef MEMBERS_H
#define MEMBERS_H

#include "basics.h"

static rig_queue member_queue;

/* --- Reserve and adopt ------------------------------------------------------------------- */

static void members_fork(void)
{
    rig_reset(64 * MB);
    rig_queue queue = rig_create(0, 0);
    uint32_t reserved, viewed;
    REQUIRE_OK(block_alloc(&rig, 8192, ZI_KIND_DATA, &viewed, rig_soon()));
    participant_reserve(&rig, &reserved, rig_soon());
    REQUIRE(reserved != 0, "no entry");
    rig.blocks[viewed].inherited_from = rig.arena->fork_clock;
    int go[2];
    REQUIRE(pipe(go) == 0, "errno %d", errno);
    pid_t pid = rig_fork();
    if (pid == 0) {
        char byte;
        REQUIRE_OK(participant_adopt(&rig, reserved, rig_soon()));
        REQUIRE(participant_row(&rig, identity_index(rig.me))[queue.slot] == 1, "the holding was not inherited");
        REQUIRE_OK(item_put(queue, 7, 100, 1));
        REQUIRE(read(go[0], &byte, 1) == 1, "errno %d", errno);
        arena_deregister(&rig);
        _exit(0);
    }
    uint64_t id;
    while (item_get(queue, &id) == ZI_EMPTY) REQUIRE(queue_await_items(&rig, queue.slot, zi_now() + ZI_TICK_NS, 1) != ZI_DAMAGED, "");
    REQUIRE(id == 7, "item %lu", id);
    block_free(&rig, viewed);
    REQUIRE_OK(arena_lock(&rig, rig_soon()));
    arena_rescan(&rig);
    REQUIRE(!rig.blocks[viewed].listed, "recycled while the child may still see it");
    arena_unlock(&rig);
    REQUIRE(write(go[1], "x", 1) == 1, "errno %d", errno);
    REQUIRE(rig_reap(pid) == 0, "the child failed");
    close(go[0]);
    close(go[1]);
    check(0);
    REQUIRE(rig.blocks[viewed].listed, "not recycled after the child went");
}

/* A reservation that nobody adopts is void after a while; a late child registers anew. */
static void members_reservation_expires(void)
{
    rig_reset(64 * MB);
    uint32_t reserved;
    participant_reserve(&rig, &reserved, rig_soon());
    REQUIRE(arena_sweep(&rig, rig_soon()) == 0, "swept at once");
    rig.participants[identity_index(reserved)].reserved_at -= 2 * ZI_ADOPT_NS;
    REQUIRE(arena_sweep(&rig, rig_soon()) == 1, "not swept");
    pid_t pid = rig_fork();
    if (pid == 0) {
        REQUIRE_OK(participant_adopt(&rig, reserved, rig_soon()));
        REQUIRE(rig.me != reserved, "adopted a void entry");
        arena_deregister(&rig);
        _exit(0);
    }
    REQUIRE(rig_reap(pid) == 0, "the child failed");
    check(0);
}

/* A sweeper that found the reservation void just before the child adopted it must not
 * undo what the child has become. */
static void members_adopted_late(void)
{
    rig_reset(64 * MB);
    uint32_t reserved, parent = rig.me, block;
    participant_reserve(&rig, &reserved, rig_soon());
    REQUIRE_OK(participant_adopt(&rig, reserved, rig_soon())); /* this process plays the child */
    REQUIRE_OK(block_alloc(&rig, 4096, ZI_KIND_DATA, &block, rig_soon()));
    uint32_t child = rig.me;
    rig.me = parent;
    sweep_participant(&rig, identity_index(reserved), reserved, rig_soon());
    REQUIRE(rig.participants[identity_index(child)].pid == (uint32_t)getpid(), "the child was removed");
    REQUIRE(rig.blocks[block].owner == child, "the child's block was taken");
    check(1);
}

/* --- Handles and reclaim -------------------------------------------------------------------- */

static void member_takes_handle(void)
{
    zi_message message = {.payload = rig_payload, .claimant = ZI_NONE};
    uint32_t done;
    REQUIRE_OK(queue_get(&rig, member_queue.slot, member_queue.generation, &message, 1, &done, 0));
    rig_queue named = {rig.blocks[message.blocks[0]].link, 0};
    memcpy(&named.generation, message.payload, 4);
    REQUIRE_OK(queue_hold(&rig, named.slot, named.generation, rig_soon()));
    block_free(&rig, message.blocks[0]);
    uint64_t id;
    REQUIRE(item_get(named, &id) == ZI_OK && id == 5, "the queue behind the handle");
    REQUIRE(rig_create(0, 0).slot != named.slot, "a held queue was reclaimed");
}

/* A queue lives while a row or a handle on its way names it, and goes when none does. */
static void members_handles(void)
{
    rig_reset(64 * MB);
    member_queue = rig_create(0, 0);
    rig_queue named = rig_create(0, ZI_NOTE_TASKS);
    for (uint64_t sent = 5; sent < 50; sent++) REQUIRE_OK(item_put(named, sent, 900, 1));
    uint32_t handle, done;
    REQUIRE_OK(block_alloc(&rig, 0, ZI_KIND_HANDLE, &handle, rig_soon()));
    rig.queues[named.slot].handled = 1;
    rig.blocks[handle].link = named.slot;
    memcpy(rig_payload, &named.generation, 4);
    zi_message message = {.payload = rig_payload, .nbytes = 4, .nblocks = 1, .blocks = {handle}};
    REQUIRE_OK(queue_put(&rig, member_queue.slot, member_queue.generation, &message, 1, &done, 0));
    holding_clear(&rig, named.slot);
    slots_reclaim(&rig, rig_soon());
    REQUIRE(rig.queues[named.slot].used, "reclaimed under a handle");
    check(0);
    rig_run(member_takes_handle);
    arena_sweep(&rig, rig_soon());
    slots_reclaim(&rig, rig_soon());
    REQUIRE(!rig.queues[named.slot].used, "not reclaimed");
    REQUIRE(queue_hold(&rig, named.slot, named.generation, rig_soon()) == ZI_STALE, "a stale handle");
    check(0);
    REQUIRE(rig_create(0, 0).slot == named.slot, "the slot is not used again");
    check(0);
}

/* --- Open tasks ------------------------------------------------------------------------------ */

static zi_status member_done(void) { return task_done(&rig, member_queue.slot, member_queue.generation, rig_soon()); }

static void member_takes_three(void)
{
    uint64_t id;
    for (int i = 0; i < 3; i++) REQUIRE_OK(item_get(member_queue, &id));
    REQUIRE_OK(member_done());
}

static void member_does_three(void)
{
    for (int i = 0; i < 3; i++) REQUIRE_OK(member_done());
}

static void members_tasks(void)
{
    rig_reset(64 * MB);
    member_queue = rig_create(0, ZI_NOTE_TASKS);
    const rig_queue *queue = &member_queue;
    uint64_t id;
    uint32_t lost;
    REQUIRE(member_done() == ZI_EMPTY, "done before anything was put");
    REQUIRE_OK(tasks_await(&rig, queue->slot, queue->generation, &lost, zi_now() + ZI_TICK_NS));
    for (uint64_t sent = 0; sent < 10; sent++) REQUIRE_OK(item_put(*queue, sent, 100, 0));
    rig_run(member_takes_three);
    arena_sweep(&rig, rig_soon());
    REQUIRE(tasks_await(&rig, queue->slot, queue->generation, &lost, zi_now() + ZI_TICK_NS) == ZI_LOST && lost == 2, "lost %u", lost);
    REQUIRE(tasks_await(&rig, queue->slot, queue->generation, &lost, zi_now() + 1000) == ZI_TIMEOUT && lost == 0, "lost %u", lost);
    for (int i = 0; i < 7; i++) REQUIRE_OK(item_get(*queue, &id));
    rig_run(member_does_three); /* a process may finish what another one took */
    arena_sweep(&rig, rig_soon());
    for (int i = 0; i < 4; i++) REQUIRE_OK(member_done());
    REQUIRE(member_done() == ZI_EMPTY, "one too many");
    REQUIRE_OK(tasks_await(&rig, queue->slot, queue->generation, &lost, zi_now() + ZI_TICK_NS));
    check(0);
}

/* --- Four processes at once ------------------------------------------------------------------- */

static struct {
    uint64_t count, sum;
} *member_totals;

enum { MEMBER_ITEMS = 30000 };

static void member_await(rig_queue queue, zi_status why, int first)
{
    REQUIRE(why == ZI_EMPTY || why == ZI_FULL, "status %d", why);
    uint64_t deadline = zi_now() + ZI_TICK_NS;
    why == ZI_EMPTY ? queue_await_items(&rig, queue.slot, deadline, first) : queue_await_room(&rig, queue.slot, deadline, first);
}

static void member_produces(uint32_t number)
{
    for (uint64_t i = 0; i < MEMBER_ITEMS; i++) {
        uint64_t id = i * 2 + number;
        int first = 1;
        for (zi_status status; (status = item_put(member_queue, id, 8 + id % 200, id % 9 == 0)) != ZI_OK; first = 0)
            member_await(member_queue, status, first);
    }
}

static void member_consumes(uint32_t number)
{
    uint64_t id, last[2] = {0, 0};
    zi_status status;
    for (int first = 1; (status = item_get(member_queue, &id)) != ZI_SHUT; first = status != ZI_OK ? 0 : 1) {
        if (status != ZI_OK) {
            member_await(member_queue, status, first);
            continue;
        }
        REQUIRE(id / 2 + 1 > last[id % 2], "items of one producer out of order");
        last[id % 2] = id / 2 + 1;
        member_totals[number].count++;
        member_totals[number].sum += id;
    }
}

static void members_together(uint32_t maxsize)
{
    rig_reset(64 * MB);
    member_queue = rig_create(maxsize, 0);
    member_totals = rig_books(2 * sizeof *member_totals);
    pid_t pids[4];
    for (uint32_t number = 0; number < 4; number++) {
        pids[number] = rig_fork();
        if (pids[number] != 0) continue;
        REQUIRE_OK(arena_register(&rig, rig_soon()));
        number < 2 ? member_produces(number) : member_consumes(number - 2);
        arena_deregister(&rig);
        _exit(0);
    }
    for (int i = 0; i < 2; i++) REQUIRE(rig_reap(pids[i]) == 0, "a producer failed");
    REQUIRE_OK(queue_shut(&rig, member_queue.slot, member_queue.generation, 0, rig_soon()));
    for (int i = 2; i < 4; i++) REQUIRE(rig_reap(pids[i]) == 0, "a consumer failed");
    uint64_t count = member_totals[0].count + member_totals[1].count, sum = member_totals[0].sum + member_totals[1].sum;
    uint64_t all = 2 * MEMBER_ITEMS;
    REQUIRE(count == all && sum == all * (all - 1) / 2, "%lu items, sum %lu", count, sum);
    check(0);
}

#endif
