/* What is built over mutexes: SPECIFICATION.md, "Read-write lock", "Monitor" and "Signal". Mutexes
 * are taken without an owner tag, as programs in C++ do.
 */
#ifndef PEER_GUARDED_H
#define PEER_GUARDED_H

#include "gates.h"

typedef struct {
    _Atomic int32_t readers, writer_active;
} RwState;

typedef struct {
    RwState *state;
    Semaphore *rmtx, *wmtx;
} RwLock;

typedef struct {
    Semaphore *mutex, *cond;
    _Atomic uint32_t *count;
} Monitor;

typedef struct {
    _Atomic uint64_t *version;
    uint8_t *value;
    Semaphore *mutex;
    Type type;
} Signal;

/* The entry NAME of one byte, added last. */
static void add_mark(const char *name) { end_add(name, begin_add(name, 1)); }

static void add_mutex(const char *name, const char *part) {
    semaphore_create(part_of(name, part), 1, 1);
}

/* --- read-write lock */

static RwLock rwlock_of(const char *name) {
    exactly(name, 1);
    RwLock lock = {.state = exactly(part_of(name, "state"), sizeof(RwState))};
    lock.rmtx = semaphore_of(part_of(name, "rmtx"));
    lock.wmtx = semaphore_of(part_of(name, "wmtx"));
    return lock;
}

static void read_lock(const RwLock *lock) {
    semaphore_take(lock->rmtx);
    for (unsigned tries = 0; atomic_load(&lock->state->writer_active);) {
        semaphore_give(lock->rmtx, 1);
        pause_a_little(&tries);
        semaphore_take(lock->rmtx);
    }
    atomic_fetch_add(&lock->state->readers, 1);
    semaphore_give(lock->rmtx, 1);
}

static void read_unlock(const RwLock *lock) { atomic_fetch_sub(&lock->state->readers, 1); }

static void write_lock(const RwLock *lock) {
    semaphore_take(lock->wmtx);
    semaphore_take(lock->rmtx);
    atomic_store(&lock->state->writer_active, 1);
    semaphore_give(lock->rmtx, 1);
    for (unsigned tries = 0; atomic_load(&lock->state->readers) > 0;) {
        pause_a_little(&tries);
    }
}

static void write_unlock(const RwLock *lock) {
    atomic_store(&lock->state->writer_active, 0);
    semaphore_give(lock->wmtx, 1);
}

static void rwlock_create(char **word) {
    const char *state = part_of(word[0], "state");
    end_add(state, begin_add(state, sizeof(RwState)));
    add_mutex(word[0], "rmtx");
    add_mutex(word[0], "wmtx");
    add_mark(word[0]);
    answer("");
}

/* rwlock.act NAME read|unread|write|unwrite */
static void rwlock_act(char **word) {
    RwLock lock = rwlock_of(word[0]);
    if (strcmp(word[1], "read") == 0) {
        read_lock(&lock);
    } else if (strcmp(word[1], "unread") == 0) {
        read_unlock(&lock);
    } else if (strcmp(word[1], "write") == 0) {
        write_lock(&lock);
    } else {
        write_unlock(&lock);
    }
    answer("");
}

/* rwlock.facts NAME: readers, writer_active */
static void rwlock_facts(char **word) {
    RwLock lock = rwlock_of(word[0]);
    answer("%d %d", (int)lock.state->readers, (int)lock.state->writer_active);
}

/* rwlock.write NAME ARRAY TIMES: adds 1 to all elements; rwlock.read: they must be equal */
static void rwlock_write(char **word) {
    RwLock lock = rwlock_of(word[0]);
    uint64_t size;
    volatile int64_t *array = structure(word[1], 16, &size);
    for (int64_t left = number(word[2]); left > 0; left--) {
        write_lock(&lock);
        for (uint64_t i = 1; i < size / 8; i++) {
            array[i]++;
        }
        write_unlock(&lock);
    }
    answer("");
}

static void rwlock_read(char **word) {
    RwLock lock = rwlock_of(word[0]);
    uint64_t size;
    const volatile int64_t *array = structure(word[1], 16, &size);
    for (int64_t left = number(word[2]); left > 0; left--) {
        bool equal = true;
        read_lock(&lock);
        for (uint64_t i = 2; i < size / 8; i++) {
            equal = equal && array[i] == array[1];
        }
        read_unlock(&lock);
        if (!equal) {
            fail("read while somebody wrote");
        }
    }
    answer("");
}

/* --- monitor */

static Monitor monitor_of(const char *name) {
    exactly(name, 1);
    Monitor monitor = {.mutex = semaphore_of(part_of(name, "mtx"))};
    monitor.cond = semaphore_of(part_of(name, "cond"));
    monitor.count = exactly(part_of(name, "count"), 4);
    return monitor;
}

/* Waits for a permit, but for 5 ms at most: another may have taken the one that was meant for us.
 * Programs in C++ wait for ever, and may sleep on. */
static void monitor_wait(const Monitor *monitor) {
    int64_t deadline = now_ms() + 5;
    atomic_fetch_add(monitor->count, 1);
    semaphore_give(monitor->mutex, 1);
    for (unsigned tries = 0; !semaphore_try_take(monitor->cond) && now_ms() < deadline;) {
        pause_a_little(&tries);
    }
    semaphore_take(monitor->mutex);
    atomic_fetch_sub(monitor->count, 1);
}

/* As programs in C++ notify: n permits if anybody waits. */
static void monitor_notify(const Monitor *monitor, int32_t n) {
    if (atomic_load(monitor->count) > 0) {
        semaphore_give(monitor->cond, n);
    }
}

static void monitor_create(char **word) {
    add_mutex(word[0], "mtx");
    semaphore_create(part_of(word[0], "cond"), 0, 0);
    const char *count = part_of(word[0], "count");
    end_add(count, begin_add(count, 4));
    add_mark(word[0]);
    answer("");
}

/* monitor.turns NAME NUMBER ME SIDES TIMES: waits until the number mod SIDES is ME, adds 1, and
 * notifies all */
static void monitor_turns(char **word) {
    Monitor monitor = monitor_of(word[0]);
    volatile int64_t *turn = atomic_of(word[1]);
    int64_t me = number(word[2]), sides = number(word[3]);
    semaphore_take(monitor.mutex);
    for (int64_t left = number(word[4]); left > 0; left--) {
        while (*turn % sides != me) {
            monitor_wait(&monitor);
        }
        ++*turn;
        monitor_notify(&monitor, (int32_t)atomic_load(monitor.count));
    }
    semaphore_give(monitor.mutex, 1);
    answer("");
}

/* monitor.set NAME NUMBER VALUE N: under the mutex sets the number and notifies n */
static void monitor_set(char **word) {
    Monitor monitor = monitor_of(word[0]);
    volatile int64_t *value = atomic_of(word[1]);
    semaphore_take(monitor.mutex);
    *value = number(word[2]);
    monitor_notify(&monitor, (int32_t)number(word[3]));
    semaphore_give(monitor.mutex, 1);
    answer("");
}

/* --- signal */

static Signal signal_of(const char *name, const char *type_name) {
    uint64_t size;
    Signal signal = {.type = type_of(type_name)};
    exactly(name, 1);
    signal.version = structure(part_of(name, "state"), 8, &size);
    if (size != 8 + signal.type.nbytes && size != up8(8 + signal.type.nbytes)) {
        fail("%s is not a signal of such a value", name);
    }
    signal.value = (uint8_t *)signal.version + 8;
    signal.mutex = semaphore_of(part_of(name, "mtx"));
    return signal;
}

/* signal.create NAME TYPE VALUE ROUNDED */
static void signal_create(char **word) {
    Type type = type_of(word[1]);
    Element element = parse_element(type, word[2]);
    uint64_t exact = 8 + type.nbytes;
    const char *state = part_of(word[0], "state");
    Space space = begin_add(state, number(word[3]) ? up8(exact) : exact);
    memcpy((uint8_t *)space.bytes + 8, element.bytes, type.nbytes);
    end_add(state, space);
    add_mutex(word[0], "mtx");
    add_mark(word[0]);
    answer("");
}

static void signal_set(const Signal *signal, const Element *element) {
    semaphore_take(signal->mutex);
    memcpy(signal->value, element->bytes, signal->type.nbytes);
    atomic_fetch_add_explicit(signal->version, 1, memory_order_release);
    semaphore_give(signal->mutex, 1);
}

static uint64_t signal_get(const Signal *signal, Element *element) {
    semaphore_take(signal->mutex);
    uint64_t version = atomic_load(signal->version);
    memcpy(element->bytes, signal->value, signal->type.nbytes);
    semaphore_give(signal->mutex, 1);
    return version;
}

/* signal.set NAME TYPE VALUE */
static void signal_set_command(char **word) {
    Signal signal = signal_of(word[0], word[1]);
    Element element = parse_element(signal.type, word[2]);
    signal_set(&signal, &element);
    answer("");
}

/* signal.get NAME TYPE: version and value */
static void signal_get_command(char **word) {
    Signal signal = signal_of(word[0], word[1]);
    Element element = {{0}};
    uint64_t version = signal_get(&signal, &element);
    answer("%" PRIu64 " %s", version, shown(signal.type, &element));
}

/* signal.set_range NAME TYPE START COUNT; signal.watch NAME TYPE LAST: waits for changes up to a
 * value, all of which must be whole */
static void signal_set_range(char **word) {
    Signal signal = signal_of(word[0], word[1]);
    int64_t start = number(word[2]), count = number(word[3]);
    for (int64_t i = start; i < start + count; i++) {
        Element element = element_of(signal.type, i);
        signal_set(&signal, &element);
    }
    answer("");
}

static void signal_watch(char **word) {
    Signal signal = signal_of(word[0], word[1]);
    Element element = {{0}};
    int64_t last = number(word[2]), value;
    uint64_t seen = signal_get(&signal, &element);
    while ((value = integer_of(signal.type, &element)) != last) {
        for (unsigned tries = 0; atomic_load(signal.version) == seen;) {
            pause_a_little(&tries);
        }
        uint64_t version = signal_get(&signal, &element);
        if (version <= seen) {
            fail("version %" PRIu64 " after %" PRIu64, version, seen);
        }
        seen = version;
    }
    answer("%" PRIu64, seen);
}

static const Command GUARDED_COMMANDS[] = {
    {"rwlock.create", 1, rwlock_create},
    {"rwlock.act", 2, rwlock_act},
    {"rwlock.facts", 1, rwlock_facts},
    {"rwlock.write", 3, rwlock_write},
    {"rwlock.read", 3, rwlock_read},
    {"monitor.create", 1, monitor_create},
    {"monitor.turns", 5, monitor_turns},
    {"monitor.set", 4, monitor_set},
    {"signal.create", 4, signal_create},
    {"signal.set", 3, signal_set_command},
    {"signal.get", 2, signal_get_command},
    {"signal.set_range", 4, signal_set_range},
    {"signal.watch", 3, signal_watch},
    {0},
};

#endif
