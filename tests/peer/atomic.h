/* Atomic numbers: SPECIFICATION.md, "Atomic". */
#ifndef PEER_ATOMIC_H
#define PEER_ATOMIC_H

#include "segment.h"

static void *atomic_of(const char *name) {
    uint64_t size;
    void *atomic = structure(name, 8, &size);
    if (size != 8) {
        fail("%s is not an atomic", name);
    }
    return atomic;
}

/* atomic.create NAME TYPE VALUE */
static void atomic_create(char **word) {
    Type type = type_of(word[1]);
    Element element = parse_element(type, word[2]);
    Space space = begin_add(word[0], 8);
    memcpy(space.bytes, element.bytes, type.nbytes);
    end_add(word[0], space);
    answer("");
}

/* atomic.load NAME TYPE */
static void atomic_load_command(char **word) {
    Type type = type_of(word[1]);
    Element element = {{0}};
    memcpy(element.bytes, atomic_of(word[0]), type.nbytes);
    answer("%s", shown(type, &element));
}

/* Adds to the bits of a number of 8 bytes, or of 4. */
static void add_wide(_Atomic uint64_t *word, Type type, const Element *step) {
    uint64_t now = atomic_load(word), next;
    do {
        double value, more;
        memcpy(&value, &now, sizeof value);
        memcpy(&more, step->bytes, sizeof more);
        value += more;
        next = now + (uint64_t)step->words[0];
        if (type.kind == 'f') {
            memcpy(&next, &value, sizeof next);
        }
    } while (!atomic_compare_exchange_weak(word, &now, next));
}

/* atomic.add NAME TYPE VALUE TIMES */
static void atomic_add(char **word) {
    Type type = type_of(word[1]);
    Element step = parse_element(type, word[2]);
    void *atomic = atomic_of(word[0]);
    for (int64_t left = number(word[3]); left > 0; left--) {
        if (type.nbytes == 8) {
            add_wide(atomic, type, &step);
        } else {
            atomic_fetch_add((_Atomic uint32_t *)atomic, (uint32_t)step.words[0]);
        }
    }
    answer("");
}

/* atomic.await NAME TYPE VALUE: until it is that */
static void atomic_await(char **word) {
    Type type = type_of(word[1]);
    Element wanted = parse_element(type, word[2]), now = {{0}};
    const void *atomic = atomic_of(word[0]);
    for (unsigned tries = 0;; pause_a_little(&tries)) {
        now.words[0] = (int64_t)(type.nbytes == 8 ? atomic_load((_Atomic uint64_t *)atomic)
                                                  : atomic_load((_Atomic uint32_t *)atomic));
        if (memcmp(now.bytes, wanted.bytes, type.nbytes) == 0) {
            break;
        }
    }
    answer("");
}

static const Command ATOMIC_COMMANDS[] = {
    {"atomic.create", 3, atomic_create},
    {"atomic.load", 2, atomic_load_command},
    {"atomic.add", 4, atomic_add},
    {"atomic.await", 3, atomic_await},
    {0},
};

#endif
