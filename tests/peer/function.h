/* Functions, called and served: SPECIFICATION.md, "Function". The one that is served here gives
 * 3 x + 1, and fails for x below 0.
 */
#ifndef PEER_FUNCTION_H
#define PEER_FUNCTION_H

#include "owner.h"

#define FUNCTION_VERSION 1
#define FUNCTION_MESSAGE 256

typedef struct {
    uint32_t version, slots, argument_nbytes, result_nbytes;
    _Atomic uint64_t tickets;
    uint8_t gap[40];
    _Atomic uint32_t called;
    uint8_t gap_too[60];
    _Atomic uint32_t done, freed;
    uint8_t rest[56];
} FunctionHeader;

typedef struct {
    _Atomic uint64_t word;
    uint64_t ticket;
    uint32_t client, reserved;
    uint8_t argument[];
} Call;

_Static_assert(sizeof(FunctionHeader) == 192 && sizeof(Call) == 24, "sizes");
_Static_assert(offsetof(FunctionHeader, called) == 64, "offsets");
_Static_assert(offsetof(FunctionHeader, done) == 128, "offsets");

enum {
    FUNCTION_FREE,
    FUNCTION_CLAIMED,
    FUNCTION_CALLED,
    FUNCTION_RUNNING,
    FUNCTION_DONE,
    FUNCTION_FAILED,
    FUNCTION_ABANDONED
};

typedef struct {
    FunctionHeader *header;
    uint8_t *slots;
    Type argument, result;
    uint64_t result_at, message_at, nbytes; /* of a slot */
} Function;

static Function function_shape(Type argument, Type result) {
    Function function = {.argument = argument, .result = result};
    function.result_at = up8(sizeof(Call) + argument.nbytes);
    function.message_at = up8(function.result_at + result.nbytes);
    function.nbytes = round_up(function.message_at + FUNCTION_MESSAGE, 64);
    return function;
}

static Function function_of(char **word) {
    uint64_t size;
    Function function = function_shape(type_of(word[1]), type_of(word[2]));
    FunctionHeader *header = structure(word[0], sizeof *header, &size);
    function.header = header;
    function.slots = (uint8_t *)(header + 1);
    if (header->version != FUNCTION_VERSION || header->slots == 0 ||
        header->argument_nbytes != function.argument.nbytes ||
        header->result_nbytes != function.result.nbytes ||
        sizeof *header + header->slots * function.nbytes > size) {
        fail("%s is not such a function", word[0]);
    }
    return function;
}

static Call *call_at(const Function *function, uint32_t i) {
    return (Call *)(void *)(function->slots + i * function->nbytes);
}

static uint32_t state_of(uint64_t word) { return word >> 32 & 0xFF; }

static uint64_t word_of(uint64_t generation, uint32_t state, uint32_t tag) {
    return generation << 40 | (uint64_t)state << 32 | tag;
}

static bool step(Call *call, uint64_t from, uint32_t state, uint32_t tag) {
    return atomic_compare_exchange_strong(&call->word, &from, word_of(from >> 40, state, tag));
}

/* --- the client */

/* Steps 1 to 3, or NULL if no slot is free. */
static Call *try_call(const Function *function, const Element *argument) {
    uint32_t tag = own_tag();
    for (uint32_t i = 0; i < function->header->slots; i++) {
        Call *call = call_at(function, i);
        uint64_t word = atomic_load(&call->word);
        uint64_t generation = ((word >> 40) + 1) & 0xFFFFFF;
        if (state_of(word) == FUNCTION_FREE &&
            atomic_compare_exchange_strong(&call->word, &word,
                                           word_of(generation, FUNCTION_CLAIMED, tag))) {
            call->client = tag;
            call->ticket = atomic_fetch_add(&function->header->tickets, 1);
            memcpy(call->argument, argument->bytes, function->argument.nbytes);
            step(call, word_of(generation, FUNCTION_CLAIMED, tag), FUNCTION_CALLED, tag);
            atomic_fetch_add(&function->header->called, 1);
            return call;
        }
    }
    return NULL;
}

/* Steps 7 and 8: the result, or the message; whether it is a result. */
static bool await_result(const Function *function, Call *call, Element *result, char *message) {
    uint64_t word;
    uint32_t state;
    for (unsigned tries = 0;; pause_a_little(&tries)) {
        word = atomic_load(&call->word);
        state = state_of(word);
        if (state == FUNCTION_DONE || state == FUNCTION_FAILED) {
            break;
        }
    }
    memcpy(result->bytes, (uint8_t *)call + function->result_at, function->result.nbytes);
    memcpy(message, (uint8_t *)call + function->message_at, FUNCTION_MESSAGE);
    step(call, word, FUNCTION_FREE, 0);
    atomic_fetch_add(&function->header->freed, 1);
    return state == FUNCTION_DONE;
}

static Call *make_call(const Function *function, const Element *argument) {
    Call *call;
    for (unsigned tries = 0; !(call = try_call(function, argument));) {
        pause_a_little(&tries);
    }
    return call;
}

/* function.create NAME ARGUMENT RESULT SLOTS */
static void function_create(char **word) {
    uint32_t slots = (uint32_t)number(word[3]);
    Function function = function_shape(type_of(word[1]), type_of(word[2]));
    Space space = begin_add(word[0], sizeof(FunctionHeader) + slots * function.nbytes);
    FunctionHeader *header = space.bytes;
    header->version = FUNCTION_VERSION;
    header->slots = slots;
    header->argument_nbytes = function.argument.nbytes;
    header->result_nbytes = function.result.nbytes;
    end_add(word[0], space);
    answer("");
}

/* function.call NAME ARGUMENT RESULT X: "value" or "error", and which */
static void function_call(char **word) {
    Function function = function_of(word);
    Element argument = parse_element(function.argument, word[3]), result = {{0}};
    char message[FUNCTION_MESSAGE + 1] = "";
    Call *call = make_call(&function, &argument);
    if (await_result(&function, call, &result, message)) {
        answer("value %s", shown(function.result, &result));
    } else {
        answer("error %s", message);
    }
}

/* function.call_range NAME ARGUMENT RESULT START COUNT: each must give 3 x + 1 */
static void function_call_range(char **word) {
    Function function = function_of(word);
    char message[FUNCTION_MESSAGE + 1] = "";
    int64_t start = number(word[3]), count = number(word[4]);
    for (int64_t x = start; x < start + count; x++) {
        Element argument = element_of(function.argument, x), result = {{0}};
        Call *call = make_call(&function, &argument);
        if (!await_result(&function, call, &result, message) ||
            integer_of(function.result, &result) != 3 * x + 1) {
            fail("%" PRId64 " gives %s%s", x, shown(function.result, &result), message);
        }
    }
    answer("");
}

/* function.post NAME ARGUMENT RESULT X: calls, and does not wait for the result */
static void function_post(char **word) {
    Function function = function_of(word);
    Element argument = parse_element(function.argument, word[3]);
    make_call(&function, &argument);
    answer("");
}

/* --- the server */

/* Step 4: the call with the lowest ticket, or NULL. */
static Call *try_take(const Function *function) {
    Call *first = NULL;
    uint64_t first_word = 0, first_ticket = 0;
    for (uint32_t i = 0; i < function->header->slots; i++) {
        Call *call = call_at(function, i);
        uint64_t word = atomic_load(&call->word);
        if (state_of(word) == FUNCTION_CALLED && (!first || call->ticket < first_ticket)) {
            first = call;
            first_word = word;
            first_ticket = call->ticket;
        }
    }
    return first && step(first, first_word, FUNCTION_RUNNING, own_tag()) ? first : NULL;
}

/* Step 5: the result, or the message; which of the two. */
static uint32_t run(const Function *function, Call *call) {
    Element argument = {{0}};
    memcpy(argument.bytes, call->argument, function->argument.nbytes);
    int64_t x = integer_of(function->argument, &argument);
    if (x < 0) {
        strcpy((char *)call + function->message_at, "below zero");
        return FUNCTION_FAILED;
    }
    Element result = element_of(function->result, 3 * x + 1);
    memcpy((uint8_t *)call + function->result_at, result.bytes, function->result.nbytes);
    return FUNCTION_DONE;
}

static Call *take_call(const Function *function) {
    Call *call;
    for (unsigned tries = 0; !(call = try_take(function));) {
        pause_a_little(&tries);
    }
    return call;
}

/* function.serve NAME ARGUMENT RESULT COUNT */
static void function_serve(char **word) {
    Function function = function_of(word);
    for (int64_t left = number(word[3]); left > 0; left--) {
        Call *call = take_call(&function);
        uint64_t running = atomic_load(&call->word);
        uint32_t state = run(&function, call);
        if (step(call, running, state, call->client)) {
            atomic_fetch_add(&function.header->done, 1);
        } else {
            step(call, atomic_load(&call->word), FUNCTION_FREE, 0); /* ABANDONED */
            atomic_fetch_add(&function.header->freed, 1);
        }
    }
    answer("");
}

/* function.take NAME ARGUMENT RESULT: takes a call and leaves it there */
static void function_take(char **word) {
    Function function = function_of(word);
    take_call(&function);
    answer("");
}

static const Command FUNCTION_COMMANDS[] = {
    {"function.create", 4, function_create},
    {"function.call", 4, function_call},
    {"function.call_range", 5, function_call_range},
    {"function.post", 4, function_post},
    {"function.serve", 4, function_serve},
    {"function.take", 3, function_take},
    {0},
};

#endif
