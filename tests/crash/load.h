/* Producers and consumers that are killed all the time, and an audit that knows the truth.
 *
 * Every item has a number.  Books outside the arena say which were started, sent and
 * delivered, and what each process has in hand, so that every lost item has somebody dead
 * who had it.  Deaths come from outside, and at named points of the core (-DZI_HOOKS). */
#ifndef LOAD_H
#define LOAD_H

#include "members.h"

enum {
    LOAD_ITEMS = 1 << 25,
    LOAD_HANDS = 16,
    LOAD_NOTHING = 0xFF,  /* a first payload byte repeated eight times: no item */
    LOAD_BEGUN = 1,
    LOAD_SENT = 2,
    LOAD_PRODUCER = 1,
    LOAD_CONSUMER = 2,
    LOAD_BACKLOG = 2000,  /* where producers wait by themselves when the queue has no bound */
};

typedef struct {
    uint64_t putting; /* the item + 1 that a producer is at */
    unsigned char payload[ZI_INLINE_MAX];
} load_hand;

typedef struct {
    uint32_t stop;
    uint64_t started, last_delivery, worst_gap;
    uint32_t at_points; /* how many died at a named point, or at the one that counts */
    uint8_t put[LOAD_ITEMS];       /* LOAD_BEGUN, LOAD_SENT */
    uint8_t delivered[LOAD_ITEMS]; /* how often */
    uint8_t excused[LOAD_ITEMS];   /* bits: a producer, a consumer died with it in hand */
    load_hand hands[LOAD_HANDS];
} load_books;

typedef struct {
    uint32_t producers, consumers, maxsize;
    uint32_t kills;      /* in all, or at the first point if `one_point` */
    int one_point;       /* half of those who die at points do so at the first */
    int only_points;     /* nobody is killed from outside */
    char **points;       /* where children kill themselves */
    int point_count;
} load_plan;

static load_books *load;
static load_plan load_is;
static rig_queue load_queue;

/* --- Named points ---------------------------------------------------------------------------- */

static const char *hook_point; /* where this process dies, and after how many passes */
static uint32_t hook_passes;
static int hook_counts; /* this death is of the kind that is counted */

void zi_hook(const char *point);

void zi_hook(const char *point)
{
    if (hook_point == NULL || strcmp(point, hook_point) != 0) return;
    if (hook_passes-- != 0) return;
    if (load != NULL && hook_counts) __atomic_fetch_add(&load->at_points, 1, __ATOMIC_RELAXED);
    kill(getpid(), SIGKILL);
}

/* --- What the children do ---------------------------------------------------------------------- */

/* Now and then everything else that a process does with an arena. */
static void load_aside(uint64_t turn)
{
    if (turn % 16 == 0) arena_tick(&rig);
    uint32_t block;
    if (block_alloc(&rig, (uint64_t)rand() % MB, ZI_KIND_DATA, &block, rig_soon()) == ZI_OK) block_free(&rig, block);
    if (turn % 64 != 0) return;
    rig_queue other;
    if (queue_create(&rig, 0, turn % 128 ? ZI_NOTE_TASKS : ZI_NOTE_CLAIMS, 0, &other.slot, &other.generation, rig_soon()) == ZI_OK) {
        for (uint64_t id = 0; id < 12; id++)
            if (item_put(other, id, 600, 1) != ZI_OK) break;
        uint64_t id;
        for (int i = 0; i < 9; i++)
            if (item_get(other, &id) != ZI_OK) break;
        if (turn % 3 != 0) {
            while (item_get(other, &id) == ZI_OK) {
            }
            queue_shrink(&rig, other.slot);
        }
        holding_clear(&rig, other.slot);
    }
    arena_trim(&rig, 0, 1, rig_soon());
    if (turn % 256 == 0) arena_sweep(&rig, rig_soon());
}

/* Wait for what *status* says is missing. */
static void load_await(zi_status status, int first)
{
    uint64_t deadline = zi_now() + 10 * (uint64_t)ZI_TICK_NS;
    if (status == ZI_EMPTY) queue_await_items(&rig, load_queue.slot, deadline, first);
    if (status == ZI_FULL) queue_await_room(&rig, load_queue.slot, deadline, first);
    if (status == ZI_NO_MEMORY) arena_await_space(&rig, deadline);
    REQUIRE(status == ZI_EMPTY || status == ZI_FULL || status == ZI_NO_MEMORY, "status %d", status);
}

static void load_produce(load_hand *hand)
{
    for (uint64_t turn = (uint64_t)rand() % 256; !ZI_LOAD(load->stop); turn++) {
        load_aside(turn);
        uint64_t id = __atomic_fetch_add(&load->started, 1, __ATOMIC_RELAXED);
        if (id >= LOAD_ITEMS) return;
        ZI_STORE(hand->putting, id + 1);
        ZI_STORE(load->put[id], LOAD_BEGUN);
        zi_status status;
        for (int first = 1; (status = item_put(load_queue, id, id % 5 ? 24 : 600, id % 3 == 0)) != ZI_OK; first = 0) {
            load_await(status, first);
            if (ZI_LOAD(load->stop)) return;
        }
        ZI_STORE(load->put[id], LOAD_SENT);
        while (!load_is.maxsize && queue_size(&rig.queues[load_queue.slot]) > LOAD_BACKLOG && !ZI_LOAD(load->stop))
            usleep(100);
    }
}

static void load_note_gap(void)
{
    uint64_t now = zi_now(), last = __atomic_exchange_n(&load->last_delivery, now, __ATOMIC_RELAXED);
    if (now > last && now - last > ZI_LOAD(load->worst_gap)) ZI_STORE(load->worst_gap, now - last);
}

/* An item that was delivered is noted before the hand forgets it. */
static zi_status load_take(load_hand *hand)
{
    zi_message message = {.payload = hand->payload, .claimant = ZI_NONE};
    uint32_t done;
    memset(hand->payload, LOAD_NOTHING, 8);
    zi_status status = queue_get(&rig, load_queue.slot, load_queue.generation, &message, 1, &done, rig_soon());
    if (status != ZI_OK) return status;
    uint64_t id = item_check(&message);
    REQUIRE(id < LOAD_ITEMS, "item %lu", id);
    __atomic_fetch_add(&load->delivered[id], 1, __ATOMIC_RELAXED);
    load_note_gap();
    memset(hand->payload, LOAD_NOTHING, 8);
    item_free(&message);
    REQUIRE_OK(task_done(&rig, load_queue.slot, load_queue.generation, rig_soon()));
    return ZI_OK;
}

static void load_consume(load_hand *hand)
{
    int first = 1;
    for (uint64_t turn = (uint64_t)rand() % 256; !ZI_LOAD(load->stop); turn++) {
        zi_status status = load_take(hand);
        if (status != ZI_OK) load_await(status, first);
        first = status == ZI_OK;
        load_aside(turn);
    }
}

/* Every third child has no point to die at, unless there are no kills from outside. */
static void load_arm(void)
{
    if (!load_is.only_points && rand() % 3 == 0) return;
    uint32_t first = load_is.one_point && rand() % 2;
    hook_point = load_is.points[first ? 0 : (uint32_t)rand() % (uint32_t)load_is.point_count];
    hook_passes = (uint32_t)rand() % (1u << rand() % 8);
    hook_counts = !load_is.one_point || hook_point == load_is.points[0];
}

static pid_t load_spawn(uint32_t number)
{
    uint32_t dice = (uint32_t)rand();
    pid_t pid = rig_fork();
    if (pid != 0) return pid;
    alarm(300);
    srand(dice);
    load_arm();
    memset(load->hands[number].payload, LOAD_NOTHING, 8);
    load->hands[number].putting = 0;
    REQUIRE_OK(arena_register(&rig, rig_soon()));
    REQUIRE_OK(queue_hold(&rig, load_queue.slot, load_queue.generation, rig_soon()));
    number < load_is.producers ? load_produce(&load->hands[number]) : load_consume(&load->hands[number]);
    arena_deregister(&rig);
    _exit(0);
}

/* --- The killer and the audit --------------------------------------------------------------------- */

static void load_excuse(const load_hand *hand)
{
    uint64_t id;
    memcpy(&id, hand->payload, 8);
    if (id < LOAD_ITEMS) load->excused[id] |= LOAD_CONSUMER;
    if (hand->putting != 0) load->excused[hand->putting - 1] |= LOAD_PRODUCER;
}

/* Whether the child is gone; a death other than by our kills is a failure. */
static int load_reap(uint32_t number, pid_t pid, int options)
{
    int how;
    if (waitpid(pid, &how, options) != pid) return 0;
    REQUIRE(how == 0 || (WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL), "a child ended with wait status %x", how);
    load_excuse(&load->hands[number]);
    return 1;
}

/* Kill and start again, often enough; returns the deaths. */
static uint32_t load_run(pid_t *pids, uint32_t count)
{
    uint32_t deaths = 0;
    uint64_t end = zi_now() + (RIG_PATIENCE + load_is.kills / 10) * UINT64_C(1000000000);
    for (uint32_t number = 0; number < count; number++) pids[number] = load_spawn(number);
    while ((load_is.one_point ? ZI_LOAD(load->at_points) : deaths) < load_is.kills) {
        usleep(300);
        REQUIRE(zi_now() < end, "too few deaths: %u, %u of them at points", deaths, load->at_points);
        REQUIRE(zi_now() < ZI_LOAD(load->last_delivery) + RIG_PATIENCE * UINT64_C(500000000), "no progress");
        if (!load_is.only_points && rand() % 4 == 0) kill(pids[(uint32_t)rand() % count], SIGKILL);
        for (uint32_t number = 0; number < count; number++) {
            if (!load_reap(number, pids[number], WNOHANG)) continue;
            deaths++;
            pids[number] = load_spawn(number);
        }
    }
    return deaths;
}

/* Wake all that sleep, so that how long they would have slept does not matter. */
static void load_kick(void)
{
    zi_queue *queue = &rig.queues[load_queue.slot];
    REQUIRE_OK(queue_lock(&rig, load_queue.slot, rig_soon()));
    queue->items_seq++;
    queue->room_seq++;
    queue_unlock(&rig, load_queue.slot);
    wait_wake(&queue->items_seq, INT32_MAX);
    wait_wake(&queue->room_seq, INT32_MAX);
}

static void load_stop(const pid_t *pids, uint32_t count)
{
    ZI_STORE(load->stop, 1);
    uint64_t end = zi_now() + RIG_PATIENCE * UINT64_C(1000000000);
    for (uint32_t number = 0; number < count; number++)
        while (!load_reap(number, pids[number], WNOHANG)) {
            REQUIRE(zi_now() < end, "child %u does not stop", number);
            load_kick();
            usleep(1000);
        }
}

/* Everything that is left comes out; the dead are swept; all blocks are back. */
static void load_settle(void)
{
    zi_status status;
    uint32_t lost;
    while (arena_sweep(&rig, rig_soon()) != 0) {
    }
    slots_reclaim(&rig, rig_soon());
    check(0);
    while ((status = load_take(&load->hands[0])) == ZI_OK) {
    }
    REQUIRE(status == ZI_EMPTY, "status %d", status);
    check(0);
    while ((status = tasks_await(&rig, load_queue.slot, load_queue.generation, &lost, zi_now() + 1000)) == ZI_LOST) {
    }
    REQUIRE(status == ZI_OK, "tasks are open after all was done: status %d", status);
    uint32_t queued = 0, used = 0;
    for (uint32_t id = 0; id < rig.arena->blocks_used; id++) queued += rig.blocks[id].owner == ZI_QUEUED;
    for (uint32_t slot = 0; slot < rig.arena->queues_used; slot++) used += rig.queues[slot].used;
    REQUIRE(used == 1 && queued == 2, "%u queues and %u blocks are left of one queue, its chunk and its tally", used, queued);
}

/* Each item once, or never and with a reason.  Prints what happened. */
static void load_audit(uint32_t deaths)
{
    uint64_t total = load->started < LOAD_ITEMS ? load->started : LOAD_ITEMS, lost = 0;
    for (uint64_t id = 0; id < total; id++) {
        REQUIRE(load->delivered[id] <= 1, "item %lu was delivered %u times", id, load->delivered[id]);
        if (load->delivered[id] || load->put[id] == 0) continue;
        uint32_t excuse = load->put[id] == LOAD_SENT ? LOAD_CONSUMER : LOAD_CONSUMER | LOAD_PRODUCER;
        REQUIRE(load->excused[id] & excuse, "item %lu is lost, and nobody who died had it; put %u, excused %u", id,
                load->put[id], load->excused[id]);
        lost++;
    }
    printf("%uP%uC, maxsize %2u, %-20s %6u deaths, %6u at points, %8lu items, %5lu died with their holder, "
           "worst gap %.0f ms\n", load_is.producers, load_is.consumers, load_is.maxsize,
           load_is.one_point ? load_is.points[0] : "all points", deaths, load->at_points, total, lost,
           (double)load->worst_gap / 1e6);
}

static void load_test(load_plan plan)
{
    pid_t pids[LOAD_HANDS];
    uint32_t count = plan.producers + plan.consumers;
    snprintf(rig_context, sizeof rig_context, "load, %s", plan.one_point ? plan.points[0] : "random");
    load_is = plan;
    load = rig_books(sizeof *load);
    rig_reset(32 * MB);
    load_queue = rig_create(plan.maxsize, ZI_NOTE_TASKS);
    load->last_delivery = zi_now();
    uint32_t deaths = load_run(pids, count);
    load_stop(pids, count);
    load_settle();
    load_audit(deaths);
    munmap(load, sizeof *load);
    load = NULL;
}

#endif
