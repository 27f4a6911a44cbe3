/* Deaths at the limits: thousands of queues, a table full of the dead; and the price of waiting. */
#ifndef LIMITS_H
#define LIMITS_H

#include <sys/resource.h>

#include "load.h"

/* --- More queues than the kernel walks robust locks of a dead thread (2048) ------------------- */

enum { LIMIT_QUEUES = 3000, LIMIT_ROUNDS = 12 };
static rig_queue limit_queues[LIMIT_QUEUES];

/* In each queue an item whose put was committed but not marked: the sweep must take Q. */
static void limit_puts_everywhere(void)
{
    for (uint32_t i = 0; i < LIMIT_QUEUES; i++) REQUIRE_OK(item_put(limit_queues[i], i, 24, 1));
    for (uint32_t id = 0; id < rig.arena->blocks_used; id++)
        if (rig.blocks[id].kind == ZI_KIND_DATA && rig.blocks[id].owner == ZI_QUEUED) rig.blocks[id].owner = rig.me;
}

static void limit_sweeps_and_dies(void)
{
    hook_point = "sweep.block";
    hook_passes = (uint32_t)rand() % (2 * LIMIT_QUEUES);
    arena_sweep(&rig, rig_soon());
}

static void limits_queues(void)
{
    snprintf(rig_context, sizeof rig_context, "%d queues", LIMIT_QUEUES);
    rig_reset(256 * MB);
    for (uint32_t i = 0; i < LIMIT_QUEUES; i++) limit_queues[i] = rig_create(0, 0);
    for (int round = 0; round < LIMIT_ROUNDS; round++) {
        rig_run_and_die(limit_puts_everywhere);
        srand((uint32_t)rand());
        for (int sweeper = 0; sweeper < 3; sweeper++) {
            (void)rand();
            rig_run_and_die(limit_sweeps_and_dies);
        }
        while (arena_sweep(&rig, rig_soon()) != 0) {
        }
        check(0);
        for (uint32_t i = 0; i < LIMIT_QUEUES; i++) {
            uint64_t id;
            REQUIRE(item_get(limit_queues[i], &id) == ZI_OK && id == i, "queue %u", i);
        }
        check(0);
    }
    printf("%d queues, %d sweepers killed: ok\n", LIMIT_QUEUES, 3 * LIMIT_ROUNDS);
}

/* --- A participant table full of the dead -------------------------------------------------------- */

static void limit_fill_table(uint32_t pid)
{
    REQUIRE_OK(arena_reserve(&rig, ZI_ROWS_OFFSET, (uint64_t)ZI_PARTICIPANTS * ZI_QUEUES));
    rig.arena->participants_used = ZI_PARTICIPANTS;
    for (uint32_t index = 1; index < ZI_PARTICIPANTS; index++)
        rig.participants[index] = (zi_participant){.generation = 1, .start = 1, .pid = pid};
}

/* Two at a time register, each killed at some point of the sweep that this needs, until one
 * gets through. */
static void limits_table(void)
{
    static const char *const points[] = {"sweep.before_clear", "register.before_pid", "sweep.block", "arena.repair"};
    snprintf(rig_context, sizeof rig_context, "table full of the dead");
    pid_t gone = fork();
    if (gone == 0) _exit(0);
    rig_reap(gone);
    uint32_t killed = 0;
    for (uint32_t round = 0; round < 24; round++) {
        rig_reset(32 * MB);
        limit_fill_table((uint32_t)gone);
        pid_t pids[3];
        for (uint32_t i = 0; i < 3; i++) {
            uint32_t dice = (uint32_t)rand();
            if ((pids[i] = rig_fork()) != 0) continue;
            if (i != 2) hook_point = points[dice % 4];
            hook_passes = dice / 4 % 40;
            REQUIRE_OK(arena_register(&rig, rig_soon()));
            arena_deregister(&rig);
            _exit(0);
        }
        for (uint32_t i = 0; i < 3; i++) {
            int how = rig_reap(pids[i]);
            REQUIRE(how == 0 || (i != 2 && WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL), "process %u: wait status %x", i, how);
            killed += how != 0;
        }
        while (arena_sweep(&rig, rig_soon()) != 0) {
        }
        check(0);
    }
    printf("table full of the dead: %u of 48 killed while they registered: ok\n", killed);
}

/* --- What 64 blocked processes cost ---------------------------------------------------------------- */

enum { LIMIT_SLEEPERS = 64, LIMIT_PERCENT = 10 };

typedef struct {
    uint32_t ready, stop;
    uint64_t cpu_ns[LIMIT_SLEEPERS];
} limit_books;

static uint64_t limit_cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void limit_sleeps(limit_books *books, uint32_t number, rig_queue queue)
{
    REQUIRE_OK(arena_register(&rig, rig_soon()));
    __atomic_fetch_add(&books->ready, 1, __ATOMIC_SEQ_CST);
    while (ZI_LOAD(books->ready) < LIMIT_SLEEPERS) usleep(1000);
    uint64_t start = limit_cpu_ns();
    for (int first = 1; !ZI_LOAD(books->stop); first = 0) queue_await_items(&rig, queue.slot, ZI_FOREVER, first);
    books->cpu_ns[number] = limit_cpu_ns() - start;
    arena_deregister(&rig);
    _exit(0);
}

static void limits_idle(void)
{
    snprintf(rig_context, sizeof rig_context, "%d blocked processes", LIMIT_SLEEPERS);
    limit_books *books = rig_books(sizeof *books);
    pid_t pids[LIMIT_SLEEPERS];
    rig_reset(32 * MB);
    rig_queue queue = rig_create(0, 0);
    for (uint32_t number = 0; number < LIMIT_SLEEPERS; number++)
        if ((pids[number] = rig_fork()) == 0) limit_sleeps(books, number, queue);
    while (ZI_LOAD(books->ready) < LIMIT_SLEEPERS) usleep(1000);
    uint64_t start = zi_now(), sum = 0;
    usleep(4000000);
    ZI_STORE(books->stop, 1);
    double seconds = (double)(zi_now() - start) / 1e9;
    for (uint32_t number = 0; number < LIMIT_SLEEPERS; number++) {
        REQUIRE(rig_reap(pids[number]) == 0, "a sleeper failed");
        sum += books->cpu_ns[number];
    }
    double percent = (double)sum / 1e7 / seconds;
    printf("%d blocked processes: %.2f %% of a core\n", LIMIT_SLEEPERS, percent);
    REQUIRE(percent < LIMIT_PERCENT, "%.2f %%", percent);
    check(0);
}

#endif
