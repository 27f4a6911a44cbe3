/* The instruction sweep: a victim is killed after its k-th instruction, for every k, and a
 * process that comes later must find everything in order.
 *
 * One process steps while no other runs, so this covers deaths, not races; those are the
 * business of load.h. */
#ifndef STEPPER_H
#define STEPPER_H

#include <sched.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#include "scenarios.h"

static struct {
    uint32_t used, head, tail;
} step_queues[64]; /* of each slot, when the victim was dead */

/* --- The survivor -------------------------------------------------------------------------- */

/* The open tasks of the dead are reported, once and exactly. */
static void survive_tasks(uint32_t slot, uint32_t taken)
{
    uint32_t lost, generation = rig.queues[slot].generation;
    zi_status status = tasks_await(&rig, slot, generation, &lost, zi_now() + 1000);
    uint32_t fewest = taken - step_book->done_begun, most = taken - step_book->done_ended;
    REQUIRE(lost >= fewest && lost <= most, "lost %u of %u taken, %u done", lost, taken, step_book->done_ended);
    REQUIRE((status == ZI_LOST) == (lost != 0), "status %d", status);
    while ((status = task_done(&rig, slot, generation, rig_soon())) == ZI_OK) {
    }
    REQUIRE(status == ZI_EMPTY, "status %d", status);
    REQUIRE_OK(tasks_await(&rig, slot, generation, &lost, zi_now() + 1000));
}

/* What was to be dropped and was not is dropped by the next who shuts. */
static void survive_drop(rig_queue queue)
{
    uint64_t id;
    REQUIRE(item_get(queue, &id) == ZI_SHUT, "queue %u: an item after it was shut at once", queue.slot);
    REQUIRE_OK(queue_shut(&rig, queue.slot, queue.generation, 1, rig_soon()));
    REQUIRE(rig.queues[queue.slot].head >> 35 == rig.queues[queue.slot].tail >> 35, "queue %u: not empty", queue.slot);
}

/* All that was committed comes out, and no more. */
static void survive_queue(uint32_t slot)
{
    rig_queue queue = {slot, rig.queues[slot].generation};
    uint64_t id;
    if (rig.queues[slot].state == ZI_STATE_SHUT_NOW) {
        survive_drop(queue);
        return;
    }
    for (uint32_t item = step_queues[slot].head; item != step_queues[slot].tail; item++) {
        REQUIRE_OK(item_get(queue, &id));
        REQUIRE(id == item, "queue %u: got item %lu, not %u", slot, id, item);
    }
    uint32_t head = step_queues[slot].head, claim = head == 0 ? (uint32_t)ZI_NONE : head - 1;
    if (rig.queues[slot].claims != ZI_NONE)
        REQUIRE(claim_of(&rig, slot, STEP_WORKER) == claim, "claim %u, not %u", claim_of(&rig, slot, STEP_WORKER), claim);
    zi_status status = item_get(queue, &id);
    REQUIRE(status == (rig.queues[slot].state == ZI_STATE_OPEN ? ZI_EMPTY : ZI_SHUT), "queue %u: an item too many", slot);
}

static void survive_usable(rig_queue queue)
{
    if (rig.queues[queue.slot].state != ZI_STATE_OPEN) return;
    put_some(queue, 3, 600, 1);
    get_some(queue, 2);
    put_some(queue, 3, 600, 1);
    get_some(queue, 4);
    check(step_held);
}

static void survive(void)
{
    for (uint32_t index = 0; index < rig.arena->participants_used; index++)
        rig.participants[index].reserved_at = 0; /* as if the time to adopt were over */
    for (int dead = 0; arena_sweep(&rig, rig_soon()) != 0; dead++) REQUIRE(dead < 4, "the sweep does not end");
    slots_reclaim(&rig, rig_soon());
    for (uint32_t slot = 0; slot < rig.arena->queues_used; slot++)
        REQUIRE(!rig.queues[slot].used || holding_any(&rig, slot) || handle_any(&rig, slot), "queue %u, which nobody has, stays", slot);
    check(step_held);
    for (uint32_t slot = 0; slot < rig.arena->queues_used; slot++) {
        if (rig.queues[slot].used == ZI_ROLE_LOCK) survive_lock(slot);
        if (rig.queues[slot].used != ZI_ROLE_QUEUE) continue;
        REQUIRE(step_queues[slot].used, "queue %u has come to life", slot);
        survive_queue(slot);
        if (rig.queues[slot].tally != ZI_NONE) survive_tasks(slot, step_queues[slot].head);
    }
    check(step_held);
    survive_usable(step_main);
    survive_usable(rig_create(0, 0));
    arena_deregister(&rig);
}

/* A survivor of another implementation, behind two pipes; -1: there is none. */
static int step_ask = -1, step_answer = -1;

static void step_ask_survivor(void)
{
    char line[512] = "";
    REQUIRE(dprintf(step_ask, "%d\n", rig.fd) > 0, "errno %d", errno);
    ssize_t nbytes = read(step_answer, line, sizeof line - 1);
    REQUIRE(nbytes > 0 && strcmp(line, "ok\n") == 0, "the survivor says: %s", line);
}

/* It sweeps, and when that was checked it uses the queues and leaves. */
static void step_survive(void)
{
    if (step_ask < 0) {
        rig_run(survive);
        return;
    }
    step_ask_survivor();
    check(step_held);
    step_ask_survivor();
}

/* --- The victim ------------------------------------------------------------------------------ */

static pid_t victim_start(const scenario *what)
{
    pid_t pid = rig_fork();
    if (pid == 0) {
        if (!what->unregistered) REQUIRE_OK(arena_register(&rig, rig_soon()));
        what->prepare();
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        what->operation();
        step_book->items_after = cursor_load(&rig.queues[step_main.slot].tail).item;
        step_book->finished = 1;
        _exit(0);
    }
    int how;
    REQUIRE(waitpid(pid, &how, 0) == pid && WIFSTOPPED(how) && WSTOPSIG(how) == SIGSTOP, "wait status %x", how);
    return pid;
}

static int victim_ended(pid_t pid)
{
    int how;
    REQUIRE(waitpid(pid, &how, 0) == pid, "errno %d", errno);
    if (WIFSTOPPED(how)) {
        REQUIRE(WSTOPSIG(how) == SIGTRAP, "signal %d", WSTOPSIG(how));
        return 0;
    }
    REQUIRE(WIFEXITED(how) && WEXITSTATUS(how) == 0, "wait status %x", how);
    return 1;
}

/* One instruction; 0: the victim has ended. */
static int victim_step(pid_t pid)
{
    REQUIRE(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0, "errno %d", errno);
    return !victim_ended(pid);
}

static uint64_t victim_where(pid_t pid)
{
    return (uint64_t)ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user_regs_struct, rip), NULL);
}

/* Let the victim run until it is about to execute *where* for the *nth* time from now;
 * 0: it ended.  Much faster than stepping there. */
static int victim_run_to(pid_t pid, uint64_t where, uint32_t nth)
{
    long code = ptrace(PTRACE_PEEKTEXT, pid, where, NULL);
    for (;; nth--) {
        ptrace(PTRACE_POKETEXT, pid, where, (code & ~0xFFl) | 0xCC);
        REQUIRE(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0, "errno %d", errno);
        if (victim_ended(pid)) return 0;
        ptrace(PTRACE_POKETEXT, pid, where, code);
        ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, rip), where);
        if (nth == 0) return 1;
        if (!victim_step(pid)) return 0;
    }
}

/* --- The way the operation takes -------------------------------------------------------------- */

enum { STEP_MOST = 100000, STEP_RECORDS = 8 };
static uint64_t step_trace[STEP_MOST]; /* the k-th instruction */
static uint16_t step_nth[STEP_MOST];   /* how often it was executed before */

static uint32_t step_record(const scenario *what)
{
    uint32_t count = 0;
    what->setup();
    pid_t pid = victim_start(what);
    do {
        REQUIRE(count < STEP_MOST, "more than %u instructions", count);
        step_trace[count] = victim_where(pid);
        uint32_t same = count;
        while (same != 0 && step_trace[same - 1] != step_trace[count]) same--;
        step_nth[count] = same == 0 ? 0 : step_nth[same - 1] + 1;
        count++;
    } while (victim_step(pid));
    return count;
}

/* Go to instruction *k*: to one before it that is executed seldom, then step by step. */
static int step_to(pid_t pid, uint32_t k)
{
    uint32_t from = 0, cost = k;
    for (uint32_t at = 0; at <= k; at++) {
        uint32_t other = 3 * (step_nth[at] + 1u) + k - at;
        if (other >= cost) continue;
        cost = other;
        from = at;
    }
    if (from != 0 && !victim_run_to(pid, step_trace[from], step_nth[from])) return 0;
    for (; from < k; from++)
        if (!victim_step(pid)) return 0;
    return 1;
}

static void step_note_queues(void)
{
    for (uint32_t slot = 0; slot < 64 && slot < rig.arena->queues_used; slot++) {
        step_queues[slot].used = rig.queues[slot].used;
        step_queues[slot].head = cursor_load(&rig.queues[slot].head).item;
        step_queues[slot].tail = cursor_load(&rig.queues[slot].tail).item;
    }
}

/* Kill after *k* instructions and see what becomes of it; 0: it ended before, which may
 * happen near the end, as no two runs are quite the same. */
static int step_kill(const scenario *what, uint32_t k)
{
    snprintf(rig_context, sizeof rig_context, "%s, killed after instruction %u", what->name, k);
    memset(step_book, 0, sizeof *step_book);
    what->setup();
    pid_t pid = victim_start(what);
    if (!step_to(pid, k)) return 0;
    kill(pid, SIGKILL);
    rig_reap(pid);
    step_note_queues();
    if (step_book->finished)
        REQUIRE(step_queues[step_main.slot].tail == step_book->items_after, "a put that returned is undone");
    step_survive();
    check(step_held);
    return 1;
}

/* Record until two runs in a row have the same length: reading the clock now and then takes
 * another turn, and a run with such a turn is no measure for the others. */
static uint32_t step_settle(const scenario *what)
{
    uint32_t steps = step_record(what), before = 0;
    for (int more = 0; more < STEP_RECORDS && steps != before; more++) {
        before = steps;
        steps = step_record(what);
    }
    return steps;
}

/* Kill at every instruction, or at *kills* of them, evenly spread from a random one on. */
static void step_scenario(const scenario *what, uint32_t kills)
{
    snprintf(rig_context, sizeof rig_context, "%s, not killed", what->name);
    uint64_t start = zi_now();
    uint32_t steps = step_settle(what), count = 0, done = 0;
    static uint32_t places[STEP_MOST];
    for (uint32_t k = 0; k < steps; k++) /* a `rep stos` of n bytes is one instruction, not n */
        if (k == 0 || step_trace[k] != step_trace[k - 1]) places[count++] = k;
    uint32_t stride = count > kills ? count / kills : 1, first = (uint32_t)rand() % stride;
    for (uint32_t i = first; i < count; i += stride) done += (uint32_t)step_kill(what, places[i]);
    REQUIRE(done >= count / stride * 9 / 10, "only %u kills in %u instructions", done, count);
    printf("%-28s %6u instructions %6u kills %6.1f s\n", what->name, count, done, (double)(zi_now() - start) / 1e9);
}

/* Pin to one CPU: victim and tracer take turns, so a second CPU only costs wake-ups. */
static void step_pin(uint32_t number)
{
    cpu_set_t all, one;
    REQUIRE(sched_getaffinity(0, sizeof all, &all) == 0, "errno %d", errno);
    uint32_t skip = number % (uint32_t)CPU_COUNT(&all);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &all) || skip-- != 0) cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

/* 1 when this machine lets a process step its child. */
static int step_possible(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0) raise(SIGSTOP);
        _exit(0);
    }
    int how;
    waitpid(pid, &how, 0);
    if (!WIFSTOPPED(how)) return 0;
    int stepped = ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0;
    if (stepped) waitpid(pid, &how, 0);
    kill(pid, SIGKILL);
    waitpid(pid, &how, 0);
    return stepped;
}

#endif
