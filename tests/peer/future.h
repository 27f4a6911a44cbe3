/* Futures: SPECIFICATION.md, "Future". */
#ifndef PEER_FUTURE_H
#define PEER_FUTURE_H

#include "segment.h"

#define MESSAGE_BYTES 256

typedef struct {
    _Atomic uint32_t state, waiters;
    _Atomic uint64_t completion_time;
    uint8_t value[]; /* then the message */
} Future;

_Static_assert(sizeof(Future) == 16, "as the table in the specification");

enum { PENDING, COMPUTING, READY, ERROR };

static uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static Future *future_of(const char *name, Type type) {
    uint64_t size, exact = sizeof(Future) + type.nbytes + MESSAGE_BYTES;
    Future *future = structure(name, exact, &size);
    if (size != exact && size != up8(exact)) {
        fail("%s is not a future of such a value", name);
    }
    return future;
}

/* Claims a future, writes its value or its message, and publishes it; whether it was not set. */
static bool future_set(Future *future, const void *from, void *to, size_t nbytes, uint32_t state) {
    uint32_t expected = PENDING;
    if (!atomic_compare_exchange_strong(&future->state, &expected, COMPUTING)) {
        return false;
    }
    memcpy(to, from, nbytes);
    future->completion_time = clock_ns();
    atomic_store_explicit(&future->state, state, memory_order_release);
    return true;
}

/* Waits; the state then. */
static uint32_t future_wait(Future *future) {
    uint32_t state;
    atomic_fetch_add(&future->waiters, 1);
    for (unsigned tries = 0;; pause_a_little(&tries)) {
        state = atomic_load_explicit(&future->state, memory_order_acquire);
        if (state == READY || state == ERROR) {
            break;
        }
    }
    atomic_fetch_sub(&future->waiters, 1);
    return state;
}

/* future.create NAME TYPE ROUNDED: whether the size is a multiple of 8 */
static void future_create(char **word) {
    uint64_t exact = sizeof(Future) + type_of(word[1]).nbytes + MESSAGE_BYTES;
    end_add(word[0], begin_add(word[0], number(word[2]) ? up8(exact) : exact));
    answer("");
}

/* future.set NAME TYPE VALUE and future.error NAME TYPE MESSAGE: whether it was not set before */
static void future_set_command(char **word) {
    Type type = type_of(word[1]);
    Future *future = future_of(word[0], type);
    Element value = parse_element(type, word[2]);
    answer("%d", future_set(future, value.bytes, future->value, type.nbytes, READY));
}

static void future_error(char **word) {
    Type type = type_of(word[1]);
    Future *future = future_of(word[0], type);
    char *message = (char *)future->value + type.nbytes;
    answer("%d", future_set(future, word[2], message, strlen(word[2]) + 1, ERROR));
}

/* future.error_first NAME TYPE MESSAGE: the state before the message, as C++ programs do */
static void future_error_first(char **word) {
    Type type = type_of(word[1]);
    Future *future = future_of(word[0], type);
    atomic_store(&future->state, ERROR);
    memcpy(future->value + type.nbytes, word[2], strlen(word[2]) + 1);
    atomic_store(&future->completion_time, clock_ns());
    answer("1");
}

/* future.get NAME TYPE: "value" or "error", and which */
static void future_get(char **word) {
    Type type = type_of(word[1]);
    Future *future = future_of(word[0], type);
    Element value = {{0}};
    if (future_wait(future) == ERROR) {
        answer("error %.*s", MESSAGE_BYTES, (char *)future->value + type.nbytes);
        return;
    }
    memcpy(value.bytes, future->value, type.nbytes);
    answer("value %s", shown(type, &value));
}

static const Command FUTURE_COMMANDS[] = {
    {"future.create", 3, future_create},
    {"future.set", 3, future_set_command},
    {"future.error", 3, future_error},
    {"future.error_first", 3, future_error_first},
    {"future.get", 2, future_get},
    {0},
};

#endif
