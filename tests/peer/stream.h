/* Streams, with and without values: SPECIFICATION.md, "Stream". */
#ifndef PEER_STREAM_H
#define PEER_STREAM_H

#include "ring.h"

typedef struct {
    _Atomic uint64_t sequence;
    _Atomic uint32_t subscribers;
    _Atomic uint8_t closed;
    uint8_t padding[3];
    uint32_t buffer_capacity;
    char transform[32];
    uint8_t rest[4];
} StreamHeader;

typedef struct {
    _Atomic uint64_t event_count;
    _Atomic uint8_t closed;
    uint8_t padding[7];
} EventStream;

_Static_assert(sizeof(StreamHeader) == 56 && sizeof(EventStream) == 16, "sizes");

static StreamHeader *stream_of(const char *name, Type type, Box *buffer) {
    StreamHeader *stream = structure(part_of(name, "header"), sizeof *stream, NULL);
    *buffer = ring_open(part_of(name, "buffer"), type);
    if (buffer->capacity != stream->buffer_capacity) {
        fail("%s has a buffer of another capacity", name);
    }
    return stream;
}

/* stream.create NAME CAPACITY TYPE */
static void stream_create(char **word) {
    uint32_t capacity = (uint32_t)number(word[1]);
    const char *header = part_of(word[0], "header");
    Space space = begin_add(header, sizeof(StreamHeader));
    ((StreamHeader *)space.bytes)->buffer_capacity = capacity;
    end_add(header, space);
    ring_create(part_of(word[0], "buffer"), capacity, type_of(word[2]));
    answer("");
}

/* stream.emit NAME TYPE START COUNT: answers how many before it was closed */
static void stream_emit(char **word) {
    Box buffer;
    Type type = type_of(word[1]);
    StreamHeader *stream = stream_of(word[0], type, &buffer);
    int64_t start = number(word[2]), count = number(word[3]), sent = 0;
    for (unsigned tries = 0; sent < count && !atomic_load(&stream->closed);) {
        Element element = element_of(type, start + sent);
        if (buffer.try_push(&buffer, &element) == DONE) {
            atomic_fetch_add(&stream->sequence, 1);
            sent++;
            tries = 0;
        } else {
            pause_a_little(&tries);
        }
    }
    answer("%" PRId64, sent);
}

/* stream.read NAME TYPE COUNT SPAN: answers count and sum, until it is closed */
static void stream_read(char **word) {
    Box buffer;
    Type type = type_of(word[1]);
    StreamHeader *stream = stream_of(word[0], type, &buffer);
    int64_t count = number(word[2]);
    Tally tally = tally_of(number(word[3]));
    atomic_fetch_add(&stream->subscribers, 1);
    for (unsigned tries = 0; tally.count < count;) {
        Element element = {{0}};
        bool closed = atomic_load_explicit(&stream->closed, memory_order_acquire);
        if (buffer.try_pop(&buffer, &element) == DONE) {
            tally_add(&tally, integer_of(type, &element));
            tries = 0;
        } else if (closed) {
            break;
        } else {
            pause_a_little(&tries);
        }
    }
    atomic_fetch_sub(&stream->subscribers, 1);
    tally_answer(&tally);
}

static void stream_close(char **word) {
    StreamHeader *stream = structure(part_of(word[0], "header"), sizeof *stream, NULL);
    atomic_store_explicit(&stream->closed, 1, memory_order_release);
    answer("");
}

/* stream.facts NAME: sequence, subscribers, closed */
static void stream_facts(char **word) {
    const StreamHeader *stream = structure(part_of(word[0], "header"), sizeof *stream, NULL);
    answer("%" PRIu64 " %" PRIu32 " %d", stream->sequence, stream->subscribers, stream->closed);
}

static EventStream *events_of(const char *name) {
    return structure(name, sizeof(EventStream), NULL);
}

static void events_create(char **word) {
    end_add(word[0], begin_add(word[0], sizeof(EventStream)));
    answer("");
}

/* events.emit NAME TIMES; events.await NAME COUNT: until there were so many */
static void events_emit(char **word) {
    EventStream *events = events_of(word[0]);
    for (int64_t left = number(word[1]); left > 0 && !atomic_load(&events->closed); left--) {
        atomic_fetch_add(&events->event_count, 1);
    }
    answer("");
}

static void events_await(char **word) {
    EventStream *events = events_of(word[0]);
    uint64_t wanted = (uint64_t)number(word[1]);
    for (unsigned tries = 0; atomic_load(&events->event_count) < wanted;) {
        pause_a_little(&tries);
    }
    answer("");
}

static const Command STREAM_COMMANDS[] = {
    {"stream.create", 3, stream_create},
    {"stream.emit", 4, stream_emit},
    {"stream.read", 4, stream_read},
    {"stream.close", 1, stream_close},
    {"stream.facts", 1, stream_facts},
    {"events.create", 1, events_create},
    {"events.emit", 2, events_emit},
    {"events.await", 2, events_await},
    {0},
};

#endif
