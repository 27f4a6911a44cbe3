/* Barriers, latches, what is done once, events: SPECIFICATION.md, the sections of these names. */
#ifndef PEER_GATES_H
#define PEER_GATES_H

#include "semaphore.h"

typedef struct {
    _Atomic int32_t arrived, generation;
    int32_t participants, padding;
} Barrier;

typedef struct {
    _Atomic int32_t count;
    int32_t initial_count;
    uint64_t padding;
} Latch;

typedef struct {
    _Atomic uint32_t signaled;
    uint32_t mode;
    _Atomic uint32_t waiting;
} Event;

_Static_assert(sizeof(Barrier) == 16 && sizeof(Latch) == 16 && sizeof(Event) == 12, "sizes");

enum { ONCE_PENDING, ONCE_RUNNING, ONCE_DONE };
enum { EVENT_AUTOMATIC, EVENT_MANUAL };

/* A structure of exactly so many bytes. */
static void *exactly(const char *name, uint64_t nbytes) {
    uint64_t size;
    void *found = structure(name, nbytes, &size);
    if (size != nbytes) {
        fail("%s must have %" PRIu64 " bytes: %" PRIu64, name, nbytes, size);
    }
    return found;
}

/* --- barrier: as C++ programs do it, in two steps */

static void barrier_wait(Barrier *barrier) {
    int32_t generation = atomic_load(&barrier->generation);
    if (atomic_fetch_add(&barrier->arrived, 1) == barrier->participants - 1) {
        atomic_store(&barrier->arrived, 0);
        atomic_fetch_add(&barrier->generation, 1);
        return;
    }
    for (unsigned tries = 0; atomic_load(&barrier->generation) == generation;) {
        pause_a_little(&tries);
    }
}

/* barrier.create NAME PARTICIPANTS */
static void barrier_create(char **word) {
    Space space = begin_add(word[0], sizeof(Barrier));
    *(Barrier *)space.bytes = (Barrier){.participants = (int32_t)number(word[1])};
    end_add(word[0], space);
    answer("");
}

/* barrier.meet NAME NUMBER TIMES: adds 1 to the number before each meeting, and looks after it */
static void barrier_meet(char **word) {
    Barrier *barrier = exactly(word[0], sizeof *barrier);
    _Atomic int64_t *before = atomic_of(word[1]);
    int64_t times = number(word[2]);
    for (int64_t turn = 1; turn <= times; turn++) {
        atomic_fetch_add(before, 1);
        barrier_wait(barrier);
        if (atomic_load(before) < turn * barrier->participants) {
            fail("passed before all had come");
        }
    }
    answer("");
}

/* barrier.facts NAME: arrived, generation, participants */
static void barrier_facts(char **word) {
    const Barrier *barrier = exactly(word[0], sizeof *barrier);
    answer("%d %d %d", (int)barrier->arrived, (int)barrier->generation, barrier->participants);
}

/* --- latch */

/* latch.create NAME COUNT */
static void latch_create(char **word) {
    int32_t count = (int32_t)number(word[1]);
    Space space = begin_add(word[0], sizeof(Latch));
    *(Latch *)space.bytes = (Latch){.count = count, .initial_count = count};
    end_add(word[0], space);
    answer("");
}

/* latch.count_down NAME N TIMES */
static void latch_count_down(char **word) {
    Latch *latch = exactly(word[0], sizeof *latch);
    int32_t n = (int32_t)number(word[1]);
    for (int64_t left = number(word[2]); left > 0; left--) {
        int32_t c = atomic_load(&latch->count);
        while (c > 0 && !atomic_compare_exchange_weak(&latch->count, &c, c > n ? c - n : 0)) {
        }
    }
    answer("");
}

static void latch_wait(char **word) {
    Latch *latch = exactly(word[0], sizeof *latch);
    for (unsigned tries = 0; atomic_load(&latch->count) > 0;) {
        pause_a_little(&tries);
    }
    answer("");
}

/* latch.facts NAME: count, initial_count */
static void latch_facts(char **word) {
    const Latch *latch = exactly(word[0], sizeof *latch);
    answer("%d %d", (int)latch->count, latch->initial_count);
}

/* --- once */

static void once_create(char **word) {
    end_add(word[0], begin_add(word[0], 4));
    answer("");
}

/* once.call NAME NUMBER: adds 1 to the number if nobody did; answers whether it was us */
static void once_call(char **word) {
    _Atomic uint32_t *state = exactly(word[0], 4);
    volatile int64_t *called = atomic_of(word[1]);
    uint32_t found = ONCE_PENDING;
    if (atomic_compare_exchange_strong(state, &found, ONCE_RUNNING)) {
        ++*called;
        atomic_store_explicit(state, ONCE_DONE, memory_order_release);
        answer("1");
        return;
    }
    for (unsigned tries = 0;
         atomic_load_explicit(state, memory_order_acquire) == ONCE_RUNNING;) {
        pause_a_little(&tries);
    }
    answer("0");
}

/* --- event */

static Event *event_of(const char *name, Semaphore **permits) {
    Event *event = exactly(name, sizeof *event);
    *permits = semaphore_of(part_of(name, "sem"));
    return event;
}

static void event_add_first(const char *name, const char *mode) {
    Space space = begin_add(name, sizeof(Event));
    ((Event *)space.bytes)->mode = (uint32_t)number(mode);
    end_add(name, space);
}

static void event_add_second(const char *name) {
    semaphore_create(part_of(name, "sem"), 0, 0);
}

/* event.create NAME MODE: its two entries; event.create_first and event.create_second: one each */
static void event_create(char **word) {
    event_add_first(word[0], word[1]);
    event_add_second(word[0]);
    answer("");
}

static void event_create_first(char **word) {
    event_add_first(word[0], word[1]);
    answer("");
}

static void event_create_second(char **word) {
    event_add_second(word[0]);
    answer("");
}

static void event_set(Event *event, Semaphore *permits) {
    atomic_store_explicit(&event->signaled, 1, memory_order_release);
    if (event->mode == EVENT_AUTOMATIC) {
        semaphore_give(permits, 1);
    }
}

static void event_set_command(char **word) {
    Semaphore *permits;
    Event *event = event_of(word[0], &permits);
    event_set(event, permits);
    answer("");
}

static void event_clear(char **word) {
    Semaphore *permits;
    atomic_store(&event_of(word[0], &permits)->signaled, 0);
    answer("");
}

static void event_wait(char **word) {
    Semaphore *permits;
    Event *event = event_of(word[0], &permits);
    if (event->mode == EVENT_AUTOMATIC) {
        semaphore_take(permits);
        atomic_store(&event->signaled, 0);
    } else {
        atomic_fetch_add(&event->waiting, 1);
        for (unsigned tries = 0;
             atomic_load_explicit(&event->signaled, memory_order_acquire) == 0;) {
            pause_a_little(&tries);
        }
        atomic_fetch_sub(&event->waiting, 1);
    }
    answer("");
}

static void event_pulse(char **word) {
    Semaphore *permits;
    Event *event = event_of(word[0], &permits);
    event_set(event, permits);
    for (unsigned tries = 0; atomic_load(&event->waiting) > 0;) {
        pause_a_little(&tries);
    }
    atomic_store(&event->signaled, 0);
    answer("");
}

/* event.facts NAME: signaled, mode, waiting */
static void event_facts(char **word) {
    Semaphore *permits;
    Event *event = event_of(word[0], &permits);
    answer("%" PRIu32 " %" PRIu32 " %" PRIu32, event->signaled, event->mode, event->waiting);
}

static const Command GATE_COMMANDS[] = {
    {"barrier.create", 2, barrier_create},
    {"barrier.meet", 3, barrier_meet},
    {"barrier.facts", 1, barrier_facts},
    {"latch.create", 2, latch_create},
    {"latch.count_down", 3, latch_count_down},
    {"latch.wait", 1, latch_wait},
    {"latch.facts", 1, latch_facts},
    {"once.create", 1, once_create},
    {"once.call", 2, once_call},
    {"event.create", 2, event_create},
    {"event.create_first", 2, event_create_first},
    {"event.create_second", 1, event_create_second},
    {"event.set", 1, event_set_command},
    {"event.clear", 1, event_clear},
    {"event.wait", 1, event_wait},
    {"event.pulse", 1, event_pulse},
    {"event.facts", 1, event_facts},
    {0},
};

#endif
