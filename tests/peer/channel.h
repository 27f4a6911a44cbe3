/* Channels: SPECIFICATION.md, "Channel". Without a buffer a side may claim or not: several claim in
 * turn, while programs in C++ know nothing of claims and are alone on their side.
 */
#ifndef PEER_CHANNEL_H
#define PEER_CHANNEL_H

#include "owner.h"
#include "queue.h"

typedef struct {
    uint32_t capacity;
    _Atomic uint32_t senders, receivers;
    _Atomic uint8_t closed;
    uint8_t padding[3];
    _Atomic uint64_t send_seq, recv_seq;
} ChannelHeader;

typedef struct {
    _Atomic uint8_t ready, consumed;
} Slot;

_Static_assert(sizeof(ChannelHeader) == 32, "as the table in the specification");

typedef struct {
    ChannelHeader *header;
    Box buffer; /* if the capacity is not 0, else */
    Slot *slot;
    uint8_t *value;
    Type type;
    uint64_t claim; /* our tag, or 0: claim nothing */
} Channel;

typedef enum { PASSED, CLOSED } Passing;

static uint64_t slot_nbytes(Type type) {
    uint64_t align = align_of(type);
    return round_up(round_up(sizeof(Slot), align) + type.nbytes, align);
}

static Channel channel_of(const char *name, Type type, bool claiming) {
    Channel channel = {.type = type, .claim = claiming ? own_tag() : 0};
    uint64_t size;
    channel.header = structure(part_of(name, "header"), sizeof *channel.header, NULL);
    if (channel.header->capacity) {
        channel.buffer = queue_open(part_of(name, "buffer"), type);
    } else {
        channel.slot = structure(part_of(name, "slot"), sizeof(Slot), &size);
        channel.value = (uint8_t *)channel.slot + round_up(sizeof(Slot), align_of(type));
        if (size != slot_nbytes(type)) {
            fail("%s is not a channel of such values", name);
        }
    }
    return channel;
}

static bool is_closed(const Channel *channel) {
    return atomic_load_explicit(&channel->header->closed, memory_order_acquire);
}

static void claim_side(const Channel *channel, _Atomic uint64_t *side) {
    uint64_t nobody = 0;
    for (unsigned tries = 0;
         channel->claim && !atomic_compare_exchange_strong(side, &nobody, channel->claim);
         nobody = 0) {
        pause_a_little(&tries);
    }
}

static void leave_side(const Channel *channel, _Atomic uint64_t *side) {
    if (channel->claim) {
        atomic_store_explicit(side, 0, memory_order_release);
    }
}

/* Takes an offered value back, unless it was received. */
static Passing take_back(const Channel *channel) {
    claim_side(channel, &channel->header->recv_seq);
    Passing how = atomic_load(&channel->slot->consumed) ? PASSED : CLOSED;
    if (how == CLOSED) {
        atomic_store(&channel->slot->ready, 0);
    }
    leave_side(channel, &channel->header->recv_seq);
    return how;
}

static Passing offer(const Channel *channel, const void *value) {
    Slot *slot = channel->slot;
    for (unsigned tries = 0; atomic_load(&slot->ready);) {
        if (is_closed(channel)) {
            return CLOSED;
        }
        pause_a_little(&tries);
    }
    memcpy(channel->value, value, channel->type.nbytes);
    atomic_store(&slot->consumed, 0);
    atomic_store_explicit(&slot->ready, 1, memory_order_release);
    for (unsigned tries = 0; !atomic_load_explicit(&slot->consumed, memory_order_acquire);) {
        if (is_closed(channel)) {
            return take_back(channel);
        }
        pause_a_little(&tries);
    }
    return PASSED;
}

static Passing channel_send(const Channel *channel, const void *value) {
    if (is_closed(channel)) {
        return CLOSED;
    }
    if (channel->header->capacity) {
        for (unsigned tries = 0; queue_try_push(&channel->buffer, value) != DONE;) {
            if (is_closed(channel)) {
                return CLOSED;
            }
            pause_a_little(&tries);
        }
        return PASSED;
    }
    atomic_fetch_add(&channel->header->senders, 1);
    claim_side(channel, &channel->header->send_seq);
    Passing how = offer(channel, value);
    leave_side(channel, &channel->header->send_seq);
    atomic_fetch_sub(&channel->header->senders, 1);
    return how;
}

static bool try_receive(const Channel *channel, void *value) {
    Slot *slot = channel->slot;
    bool got = false;
    if (!atomic_load(&slot->ready)) {
        return false;
    }
    claim_side(channel, &channel->header->recv_seq);
    if (atomic_load_explicit(&slot->ready, memory_order_acquire) && !atomic_load(&slot->consumed)) {
        memcpy(value, channel->value, channel->type.nbytes);
        atomic_store_explicit(&slot->consumed, 1, memory_order_release);
        atomic_store_explicit(&slot->ready, 0, memory_order_release);
        got = true;
    }
    leave_side(channel, &channel->header->recv_seq);
    return got;
}

static Passing channel_receive(const Channel *channel, void *value) {
    Passing how = PASSED;
    if (channel->header->capacity) {
        for (unsigned tries = 0;; pause_a_little(&tries)) {
            bool closed = is_closed(channel);
            Outcome outcome = queue_try_pop(&channel->buffer, value);
            if (outcome == DONE || (closed && outcome == NOT_NOW)) {
                return outcome == DONE ? PASSED : CLOSED;
            }
        }
    }
    atomic_fetch_add(&channel->header->receivers, 1);
    for (unsigned tries = 0; how == PASSED && !try_receive(channel, value);) {
        how = is_closed(channel) ? CLOSED : PASSED;
        pause_a_little(&tries);
    }
    atomic_fetch_sub(&channel->header->receivers, 1);
    return how;
}

/* channel.create NAME CAPACITY TYPE */
static void channel_create(char **word) {
    uint32_t capacity = (uint32_t)number(word[1]);
    Type type = type_of(word[2]);
    const char *header = part_of(word[0], "header");
    Space space = begin_add(header, sizeof(ChannelHeader));
    ((ChannelHeader *)space.bytes)->capacity = capacity;
    end_add(header, space);
    if (capacity) {
        queue_create(part_of(word[0], "buffer"), capacity, type);
    } else {
        const char *slot = part_of(word[0], "slot");
        end_add(slot, begin_add(slot, slot_nbytes(type)));
    }
    answer("");
}

/* channel.send NAME TYPE CLAIMING START COUNT: answers how many were taken before it was closed */
static void channel_send_command(char **word) {
    Type type = type_of(word[1]);
    Channel channel = channel_of(word[0], type, number(word[2]));
    int64_t start = number(word[3]), count = number(word[4]), sent = 0;
    for (; sent < count; sent++) {
        Element value = element_of(type, start + sent);
        if (channel_send(&channel, &value) == CLOSED) {
            break;
        }
    }
    answer("%" PRId64, sent);
}

/* channel.receive NAME TYPE CLAIMING COUNT SPAN: answers count and sum, until it is closed */
static void channel_receive_command(char **word) {
    Type type = type_of(word[1]);
    Channel channel = channel_of(word[0], type, number(word[2]));
    Tally tally = tally_of(number(word[4]));
    for (int64_t left = number(word[3]); left > 0; left--) {
        Element value = {{0}};
        if (channel_receive(&channel, &value) == CLOSED) {
            break;
        }
        tally_add(&tally, integer_of(type, &value));
    }
    tally_answer(&tally);
}

static void channel_close(char **word) {
    ChannelHeader *header = structure(part_of(word[0], "header"), sizeof *header, NULL);
    atomic_store_explicit(&header->closed, 1, memory_order_release);
    answer("");
}

static const Command CHANNEL_COMMANDS[] = {
    {"channel.create", 3, channel_create},
    {"channel.send", 5, channel_send_command},
    {"channel.receive", 5, channel_receive_command},
    {"channel.close", 1, channel_close},
    {0},
};

#endif
