/* Lazy values: SPECIFICATION.md, "Lazy values". */
#ifndef PEER_LAZY_H
#define PEER_LAZY_H

#include "segment.h"

enum { LAZY_PENDING, LAZY_COMPUTING, LAZY_COMPUTED, LAZY_ERROR };
enum { LAZY_CONSTANT, LAZY_ADD, LAZY_MULTIPLY, LAZY_NEGATE };
enum { LAZY_AND = 1, LAZY_OR, LAZY_XOR, LAZY_NOT };

typedef struct {
    _Atomic uint32_t *state, *count; /* a truth value has no count */
    uint32_t *op;
    uint8_t *a, *b, *value;
    const char *message;
    uint64_t nbytes;
} Lazy;

static Lazy lazy_at(uint8_t *base, Type type) {
    uint64_t s = type.nbytes, align = align_of(type), unit = align < 4 ? 4 : align;
    uint64_t operands = unit + round_up(4, unit);
    uint64_t value = round_up(operands + round_up(2 * s < 8 ? 8 : 2 * s, unit), align);
    uint64_t count = round_up(value + s + 256, 4);
    return (Lazy){
        .state = (_Atomic uint32_t *)(void *)base,
        .op = (uint32_t *)(void *)(base + unit),
        .a = base + operands,
        .b = base + operands + s,
        .value = base + value,
        .message = (char *)base + value + s,
        .count = (_Atomic uint32_t *)(void *)(base + count),
        .nbytes = round_up(count + 4, unit),
    };
}

static Lazy lazy_of(const char *name, Type type) {
    uint64_t size;
    uint8_t *base = structure(name, 4, &size);
    Lazy lazy = lazy_at(base, type);
    if (size != lazy.nbytes || *lazy.op > LAZY_NEGATE) {
        fail("%s is not a lazy value of this type that we know how to compute", name);
    }
    return lazy;
}

static Lazy boolean_at(uint8_t *base) {
    return (Lazy){
        .state = (_Atomic uint32_t *)(void *)base,
        .op = (uint32_t *)(void *)(base + 4),
        .a = base + 8,
        .b = base + 9,
        .value = base + 12,
        .message = "",
        .nbytes = 16,
    };
}

static Element lazy_result(const Lazy *lazy, Type type) {
    Element a = {{0}}, b = {{0}};
    memcpy(a.bytes, lazy->a, type.nbytes);
    memcpy(b.bytes, lazy->b, type.nbytes);
    if (type.kind == 'f') {
        double x = strtod(shown(type, &a), NULL), y = strtod(shown(type, &b), NULL);
        double z = *lazy->op == LAZY_ADD ? x + y : *lazy->op == LAZY_MULTIPLY ? x * y : -x;
        char text[64];
        snprintf(text, sizeof text, "%.17g", z);
        return parse_element(type, text);
    }
    uint64_t x = (uint64_t)integer_of(type, &a), y = (uint64_t)integer_of(type, &b);
    uint64_t z = *lazy->op == LAZY_ADD ? x + y : *lazy->op == LAZY_MULTIPLY ? x * y : 0 - x;
    return element_of(type, (int64_t)z);
}

static uint8_t boolean_result(const Lazy *lazy) {
    uint8_t a = *lazy->a, b = *lazy->b;
    return *lazy->op == LAZY_AND   ? a & b
           : *lazy->op == LAZY_OR  ? a | b
           : *lazy->op == LAZY_XOR ? a ^ b
           : *lazy->op == LAZY_NOT ? !a
                                   : a;
}

/* Computes it unless somebody did; the state at last. */
static uint32_t lazy_force(const Lazy *lazy, Type type, bool boolean) {
    for (unsigned tries = 0;; pause_a_little(&tries)) {
        uint32_t state = atomic_load_explicit(lazy->state, memory_order_acquire);
        if (state == LAZY_COMPUTED || state == LAZY_ERROR) {
            return state;
        }
        if (state == LAZY_PENDING &&
            atomic_compare_exchange_strong(lazy->state, &state, LAZY_COMPUTING)) {
            if (boolean) {
                *lazy->value = boolean_result(lazy);
            } else {
                Element result = lazy_result(lazy, type);
                memcpy(lazy->value, result.bytes, type.nbytes);
            }
            atomic_store_explicit(lazy->state, LAZY_COMPUTED, memory_order_release);
            if (!boolean) {
                atomic_fetch_add(lazy->count, 1);
            }
        }
    }
}

/* lazy.create NAME TYPE OP A B */
static void lazy_create(char **word) {
    Type type = type_of(word[1]);
    Space space = begin_add(word[0], lazy_at(NULL, type).nbytes);
    Lazy lazy = lazy_at(space.bytes, type);
    Element a = parse_element(type, word[3]), b = parse_element(type, word[4]);
    *lazy.op = (uint32_t)number(word[2]);
    memcpy(lazy.a, a.bytes, type.nbytes);
    memcpy(lazy.b, b.bytes, type.nbytes);
    if (*lazy.op == LAZY_CONSTANT) {
        memcpy(lazy.value, a.bytes, type.nbytes);
        *lazy.state = LAZY_COMPUTED;
    }
    end_add(word[0], space);
    answer("");
}

/* lazy.force NAME TYPE: "value" or "error", and which */
static void lazy_force_command(char **word) {
    Type type = type_of(word[1]);
    Lazy lazy = lazy_of(word[0], type);
    Element value = {{0}};
    if (lazy_force(&lazy, type, false) == LAZY_ERROR) {
        answer("error %.256s", lazy.message);
        return;
    }
    memcpy(value.bytes, lazy.value, type.nbytes);
    answer("value %s", shown(type, &value));
}

/* lazy.count NAME TYPE: how many times it was computed */
static void lazy_count(char **word) {
    answer("%" PRIu32, *lazy_of(word[0], type_of(word[1])).count);
}

/* boolean.create NAME OP A B and boolean.force NAME */
static void boolean_create(char **word) {
    Space space = begin_add(word[0], 16);
    Lazy lazy = boolean_at(space.bytes);
    *lazy.op = (uint32_t)number(word[1]);
    *lazy.a = (uint8_t)number(word[2]);
    *lazy.b = (uint8_t)number(word[3]);
    if (*lazy.op == LAZY_CONSTANT) {
        *lazy.value = *lazy.a;
        *lazy.state = LAZY_COMPUTED;
    }
    end_add(word[0], space);
    answer("");
}

static void boolean_force(char **word) {
    uint64_t size;
    Lazy lazy = boolean_at(structure(word[0], 16, &size));
    lazy_force(&lazy, (Type){'u', 1}, true);
    answer("%d", *lazy.value);
}

static const Command LAZY_COMMANDS[] = {
    {"lazy.create", 5, lazy_create},
    {"lazy.force", 2, lazy_force_command},
    {"lazy.count", 2, lazy_count},
    {"boolean.create", 4, boolean_create},
    {"boolean.force", 1, boolean_force},
    {0},
};

#endif
