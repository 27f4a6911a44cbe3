/* Written by tools/gen_layout.py from layout.py. Do not edit: change layout.py. */
#ifndef ZI_NAMED_LAYOUT_H
#define ZI_NAMED_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the shared format is little-endian"
#endif

/* The table entry whose buckets our processes sleep on; made by the first that sleeps. */
#define ZI_WAIT_NAME ".wait"
#define ZI_WAIT_BUCKETS 64
#define ZI_WAIT_MULTIPLIER UINT64_C(0x9e3779b1)

/* The bucket of the word at an offset is (offset * WAIT_MULTIPLIER mod 2**32) >> WAIT_SHIFT. */
#define ZI_WAIT_SHIFT 26
#define ZI_WAIT_NOBODY 0
#define ZI_WAIT_ASLEEP 1

/* Marks of a bucket: nobody waits there; somebody may be asleep; all who wait are awake. */
#define ZI_WAIT_AWAKE 2
#define ZI_STACK_EMPTY 0
#define ZI_STACK_WRITING 1
#define ZI_STACK_READY 2

/* States of a stack's slot. */
#define ZI_STACK_READING 3

/* Most bytes of a map's value. */
#define ZI_MAP_VALUE_MAX 8
#define ZI_SLOT_EMPTY 0
#define ZI_SLOT_OCCUPIED 1
#define ZI_SLOT_DELETED 2

/* States of an entry of a map or set. */
#define ZI_SLOT_INSERTING 3

/* Integers hash to their value times this, modulo 2**64. */
#define ZI_HASH_MULTIPLIER UINT64_C(0x9e3779b1)
#define ZI_HASH_SEED UINT64_C(0xc70f6907)

/* Other keys hash by the 64-bit MurmurHash variant of the GNU C++ library. */
#define ZI_HASH_MURMUR UINT64_C(0xc6a4a7935bd1e995)

/* The index that ends the list of free nodes. */
#define ZI_POOL_END UINT64_C(0xffffffff)

/* Bytes of an error message, its NUL included. */
#define ZI_ERROR_NBYTES 256
#define ZI_FUTURE_PENDING 0
#define ZI_FUTURE_COMPUTING 1
#define ZI_FUTURE_READY 2

/* States of a future. */
#define ZI_FUTURE_ERROR 3
#define ZI_LAZY_PENDING 0
#define ZI_LAZY_COMPUTING 1
#define ZI_LAZY_COMPUTED 2

/* States of a lazy value. */
#define ZI_LAZY_ERROR 3
#define ZI_LAZY_CONSTANT 0
#define ZI_LAZY_ADD 1
#define ZI_LAZY_MULTIPLY 2
#define ZI_LAZY_NEGATE 3
#define ZI_LAZY_CHAIN 4

/* Operations of a lazy value. */
#define ZI_LAZY_EXTERNAL 5
#define ZI_LAZY_AND 1
#define ZI_LAZY_OR 2
#define ZI_LAZY_XOR 3

/* Operations of a lazy truth value; LAZY_CONSTANT too. */
#define ZI_LAZY_NOT 4

/* An owner tag is a process id, and above these bits the lowest ten of its start time. */
#define ZI_OWNER_PID_BITS 22
#define ZI_ONCE_PENDING 0
#define ZI_ONCE_RUNNING 1

/* States of a once. */
#define ZI_ONCE_DONE 2
#define ZI_EVENT_AUTOMATIC 0

/* Modes of an event. */
#define ZI_EVENT_MANUAL 1

/* Bytes of an atomic word, of any type: the value, then zeros. */
#define ZI_ATOMIC_NBYTES 8
#define ZI_FUNCTION_VERSION 1
#define ZI_FUNCTION_FREE 0
#define ZI_FUNCTION_CLAIMED 1
#define ZI_FUNCTION_CALLED 2
#define ZI_FUNCTION_RUNNING 3
#define ZI_FUNCTION_DONE 4
#define ZI_FUNCTION_FAILED 5

/* States of a slot, and whose tag is beside it: nobody's, the client's (1, 2, 4, 5), the server's (3, 6). */
#define ZI_FUNCTION_ABANDONED 6

/* One of the WAIT_BUCKETS buckets of WAIT_NAME. */
typedef struct zi_wait_bucket {
    /* changes when sleepers should look again: they sleep on this word */
    uint32_t seq;
    /* WAIT_...; cleared by whoever rings */
    uint32_t waiters;
} zi_wait_bucket;
_Static_assert(offsetof(zi_wait_bucket, seq) == 0,
               "zi_wait_bucket.seq must be at 0");
_Static_assert(offsetof(zi_wait_bucket, waiters) == 4,
               "zi_wait_bucket.waiters must be at 4");
_Static_assert(sizeof(zi_wait_bucket) == 8,
               "zi_wait_bucket must be 8 bytes");

/* Header of a queue; the items follow, then a sequence number (u32) for each slot. */
typedef struct zi_queue_header {
    /* number of the next item to pop, modulo 2**32 */
    uint32_t head;
    /* number of the next item to push, modulo 2**32 */
    uint32_t tail;
    /* slots, a power of two */
    uint32_t capacity;
    /* bytes of an item */
    uint32_t elem_size;
} zi_queue_header;
_Static_assert(offsetof(zi_queue_header, head) == 0,
               "zi_queue_header.head must be at 0");
_Static_assert(offsetof(zi_queue_header, tail) == 4,
               "zi_queue_header.tail must be at 4");
_Static_assert(offsetof(zi_queue_header, capacity) == 8,
               "zi_queue_header.capacity must be at 8");
_Static_assert(offsetof(zi_queue_header, elem_size) == 12,
               "zi_queue_header.elem_size must be at 12");
_Static_assert(sizeof(zi_queue_header) == 16,
               "zi_queue_header must be 16 bytes");

/* Header of a stack; the items follow, then a state (u32) for each slot. */
typedef struct zi_stack_header {
    /* index of the top item; -1 when empty */
    int32_t top;
    /* slots */
    uint32_t capacity;
    /* bytes of an item */
    uint32_t elem_size;
    /* 0 */
    uint32_t reserved;
} zi_stack_header;
_Static_assert(offsetof(zi_stack_header, top) == 0,
               "zi_stack_header.top must be at 0");
_Static_assert(offsetof(zi_stack_header, capacity) == 4,
               "zi_stack_header.capacity must be at 4");
_Static_assert(offsetof(zi_stack_header, elem_size) == 8,
               "zi_stack_header.elem_size must be at 8");
_Static_assert(offsetof(zi_stack_header, reserved) == 12,
               "zi_stack_header.reserved must be at 12");
_Static_assert(sizeof(zi_stack_header) == 16,
               "zi_stack_header must be 16 bytes");

/* Header of a ring; its bytes follow. */
typedef struct zi_ring_header {
    /* bytes written in all */
    uint64_t write_pos;
    /* bytes read in all */
    uint64_t read_pos;
    /* bytes, a multiple of elem_size */
    uint32_t capacity;
    /* bytes of an element */
    uint32_t elem_size;
} zi_ring_header;
_Static_assert(offsetof(zi_ring_header, write_pos) == 0,
               "zi_ring_header.write_pos must be at 0");
_Static_assert(offsetof(zi_ring_header, read_pos) == 8,
               "zi_ring_header.read_pos must be at 8");
_Static_assert(offsetof(zi_ring_header, capacity) == 16,
               "zi_ring_header.capacity must be at 16");
_Static_assert(offsetof(zi_ring_header, elem_size) == 20,
               "zi_ring_header.elem_size must be at 20");
_Static_assert(sizeof(zi_ring_header) == 24,
               "zi_ring_header must be 24 bytes");

/* Header of a map; the entries follow, each a state (u32), a key and a value. */
typedef struct zi_map_header {
    /* live entries, changed after the entry */
    uint32_t size;
    /* entries */
    uint32_t capacity;
    /* bytes of a key */
    uint32_t key_size;
    /* bytes of a value, at most MAP_VALUE_MAX */
    uint32_t value_size;
} zi_map_header;
_Static_assert(offsetof(zi_map_header, size) == 0,
               "zi_map_header.size must be at 0");
_Static_assert(offsetof(zi_map_header, capacity) == 4,
               "zi_map_header.capacity must be at 4");
_Static_assert(offsetof(zi_map_header, key_size) == 8,
               "zi_map_header.key_size must be at 8");
_Static_assert(offsetof(zi_map_header, value_size) == 12,
               "zi_map_header.value_size must be at 12");
_Static_assert(sizeof(zi_map_header) == 16,
               "zi_map_header must be 16 bytes");

/* Header of a set; the entries follow, each a state (u32) and a value. */
typedef struct zi_set_header {
    /* live entries, changed after the entry */
    uint32_t size;
    /* entries */
    uint32_t capacity;
    /* bytes of a value */
    uint32_t elem_size;
    /* 0 */
    uint32_t reserved;
} zi_set_header;
_Static_assert(offsetof(zi_set_header, size) == 0,
               "zi_set_header.size must be at 0");
_Static_assert(offsetof(zi_set_header, capacity) == 4,
               "zi_set_header.capacity must be at 4");
_Static_assert(offsetof(zi_set_header, elem_size) == 8,
               "zi_set_header.elem_size must be at 8");
_Static_assert(offsetof(zi_set_header, reserved) == 12,
               "zi_set_header.reserved must be at 12");
_Static_assert(sizeof(zi_set_header) == 16,
               "zi_set_header must be 16 bytes");

/* Header of a pool; the nodes follow, each an element and the next free index (u32). */
typedef struct zi_pool_header {
    /* generation << 32 | index of the first free node */
    uint64_t free_head;
    /* nodes in use, changed after free_head */
    uint32_t allocated;
    /* 0 */
    uint32_t padding;
    /* nodes */
    uint32_t capacity;
    /* bytes of an element */
    uint32_t elem_size;
} zi_pool_header;
_Static_assert(offsetof(zi_pool_header, free_head) == 0,
               "zi_pool_header.free_head must be at 0");
_Static_assert(offsetof(zi_pool_header, allocated) == 8,
               "zi_pool_header.allocated must be at 8");
_Static_assert(offsetof(zi_pool_header, padding) == 12,
               "zi_pool_header.padding must be at 12");
_Static_assert(offsetof(zi_pool_header, capacity) == 16,
               "zi_pool_header.capacity must be at 16");
_Static_assert(offsetof(zi_pool_header, elem_size) == 20,
               "zi_pool_header.elem_size must be at 20");
_Static_assert(sizeof(zi_pool_header) == 24,
               "zi_pool_header must be 24 bytes");

/* Header of a future; the value follows, then ERROR_NBYTES bytes of message. */
typedef struct zi_future_header {
    /* FUTURE_... */
    uint32_t state;
    /* how many wait for it */
    uint32_t waiters;
    /* when it was set: informative, its unit varies */
    uint64_t completion_time;
} zi_future_header;
_Static_assert(offsetof(zi_future_header, state) == 0,
               "zi_future_header.state must be at 0");
_Static_assert(offsetof(zi_future_header, waiters) == 4,
               "zi_future_header.waiters must be at 4");
_Static_assert(offsetof(zi_future_header, completion_time) == 8,
               "zi_future_header.completion_time must be at 8");
_Static_assert(sizeof(zi_future_header) == 16,
               "zi_future_header must be 16 bytes");

/* A lazy truth value. */
typedef struct zi_lazy_boolean {
    /* LAZY_... */
    uint32_t state;
    /* LAZY_CONSTANT or LAZY_AND ... LAZY_NOT */
    uint32_t op;
    /* first operand, 0 or 1 */
    uint8_t a;
    /* second operand */
    uint8_t b;
    /* 0 */
    uint16_t padding;
    /* the value */
    uint8_t cached;
    uint8_t pad_13[3];
} zi_lazy_boolean;
_Static_assert(offsetof(zi_lazy_boolean, state) == 0,
               "zi_lazy_boolean.state must be at 0");
_Static_assert(offsetof(zi_lazy_boolean, op) == 4,
               "zi_lazy_boolean.op must be at 4");
_Static_assert(offsetof(zi_lazy_boolean, a) == 8,
               "zi_lazy_boolean.a must be at 8");
_Static_assert(offsetof(zi_lazy_boolean, b) == 9,
               "zi_lazy_boolean.b must be at 9");
_Static_assert(offsetof(zi_lazy_boolean, padding) == 10,
               "zi_lazy_boolean.padding must be at 10");
_Static_assert(offsetof(zi_lazy_boolean, cached) == 12,
               "zi_lazy_boolean.cached must be at 12");
_Static_assert(sizeof(zi_lazy_boolean) == 16,
               "zi_lazy_boolean must be 16 bytes");

/* Entry NAME_header of a stream; NAME_buffer is a ring. */
typedef struct zi_stream_header {
    /* values emitted */
    uint64_t sequence;
    /* how many read */
    uint32_t subscribers;
    /* 1: nothing more will be emitted */
    uint8_t closed;
    uint8_t pad_13[3];
    /* elements of the buffer */
    uint32_t buffer_capacity;
    /* a name, padded with NUL */
    char transform[32];
    uint8_t pad_52[4];
} zi_stream_header;
_Static_assert(offsetof(zi_stream_header, sequence) == 0,
               "zi_stream_header.sequence must be at 0");
_Static_assert(offsetof(zi_stream_header, subscribers) == 8,
               "zi_stream_header.subscribers must be at 8");
_Static_assert(offsetof(zi_stream_header, closed) == 12,
               "zi_stream_header.closed must be at 12");
_Static_assert(offsetof(zi_stream_header, buffer_capacity) == 16,
               "zi_stream_header.buffer_capacity must be at 16");
_Static_assert(offsetof(zi_stream_header, transform) == 20,
               "zi_stream_header.transform must be at 20");
_Static_assert(sizeof(zi_stream_header) == 56,
               "zi_stream_header must be 56 bytes");

/* A stream without values. */
typedef struct zi_event_stream {
    /* events emitted */
    uint64_t event_count;
    /* 1: nothing more will be emitted */
    uint8_t closed;
    uint8_t pad_9[7];
} zi_event_stream;
_Static_assert(offsetof(zi_event_stream, event_count) == 0,
               "zi_event_stream.event_count must be at 0");
_Static_assert(offsetof(zi_event_stream, closed) == 8,
               "zi_event_stream.closed must be at 8");
_Static_assert(sizeof(zi_event_stream) == 16,
               "zi_event_stream must be 16 bytes");

/* Entry NAME_header of a channel; NAME_buffer is a queue, or NAME_slot a slot. */
typedef struct zi_channel_header {
    /* 0: unbuffered; else a power of two */
    uint32_t capacity;
    /* waiting, unbuffered only */
    uint32_t senders;
    /* waiting, unbuffered only */
    uint32_t receivers;
    /* 1: nothing more will be sent */
    uint8_t closed;
    uint8_t pad_13[3];
    /* 0; unbuffered, the claim of the one of ours that sends */
    uint64_t send_seq;
    /* 0; unbuffered, the claim of the one of ours that receives */
    uint64_t recv_seq;
} zi_channel_header;
_Static_assert(offsetof(zi_channel_header, capacity) == 0,
               "zi_channel_header.capacity must be at 0");
_Static_assert(offsetof(zi_channel_header, senders) == 4,
               "zi_channel_header.senders must be at 4");
_Static_assert(offsetof(zi_channel_header, receivers) == 8,
               "zi_channel_header.receivers must be at 8");
_Static_assert(offsetof(zi_channel_header, closed) == 12,
               "zi_channel_header.closed must be at 12");
_Static_assert(offsetof(zi_channel_header, send_seq) == 16,
               "zi_channel_header.send_seq must be at 16");
_Static_assert(offsetof(zi_channel_header, recv_seq) == 24,
               "zi_channel_header.recv_seq must be at 24");
_Static_assert(sizeof(zi_channel_header) == 32,
               "zi_channel_header must be 32 bytes");

/* Start of entry NAME_slot; the value follows at the next multiple of its alignment. */
typedef struct zi_channel_slot {
    /* 1: a value is in the slot */
    uint8_t ready;
    /* 1: the value has been read */
    uint8_t consumed;
} zi_channel_slot;
_Static_assert(offsetof(zi_channel_slot, ready) == 0,
               "zi_channel_slot.ready must be at 0");
_Static_assert(offsetof(zi_channel_slot, consumed) == 1,
               "zi_channel_slot.consumed must be at 1");
_Static_assert(sizeof(zi_channel_slot) == 2,
               "zi_channel_slot must be 2 bytes");

/* A semaphore; a mutex is one with count 1 and max_count 1. */
typedef struct zi_semaphore {
    /* permits */
    int32_t count;
    /* how many wait for a permit */
    int32_t waiting;
    /* most permits; 0: no limit */
    int32_t max_count;
    /* 0; ours alone: a mutex's owner tag, what a condition gave */
    uint32_t owner;
} zi_semaphore;
_Static_assert(offsetof(zi_semaphore, count) == 0,
               "zi_semaphore.count must be at 0");
_Static_assert(offsetof(zi_semaphore, waiting) == 4,
               "zi_semaphore.waiting must be at 4");
_Static_assert(offsetof(zi_semaphore, max_count) == 8,
               "zi_semaphore.max_count must be at 8");
_Static_assert(offsetof(zi_semaphore, owner) == 12,
               "zi_semaphore.owner must be at 12");
_Static_assert(sizeof(zi_semaphore) == 16,
               "zi_semaphore must be 16 bytes");

/* A barrier. */
typedef struct zi_barrier {
    /* of this generation */
    int32_t arrived;
    /* changes when all have arrived */
    int32_t generation;
    /* how many must arrive */
    int32_t participants;
    /* 0 */
    int32_t padding;
} zi_barrier;
_Static_assert(offsetof(zi_barrier, arrived) == 0,
               "zi_barrier.arrived must be at 0");
_Static_assert(offsetof(zi_barrier, generation) == 4,
               "zi_barrier.generation must be at 4");
_Static_assert(offsetof(zi_barrier, participants) == 8,
               "zi_barrier.participants must be at 8");
_Static_assert(offsetof(zi_barrier, padding) == 12,
               "zi_barrier.padding must be at 12");
_Static_assert(sizeof(zi_barrier) == 16,
               "zi_barrier must be 16 bytes");

/* A latch. */
typedef struct zi_latch {
    /* counts down to 0 */
    int32_t count;
    /* set at creation */
    int32_t initial_count;
    /* 0 */
    uint64_t padding;
} zi_latch;
_Static_assert(offsetof(zi_latch, count) == 0,
               "zi_latch.count must be at 0");
_Static_assert(offsetof(zi_latch, initial_count) == 4,
               "zi_latch.initial_count must be at 4");
_Static_assert(offsetof(zi_latch, padding) == 8,
               "zi_latch.padding must be at 8");
_Static_assert(sizeof(zi_latch) == 16,
               "zi_latch must be 16 bytes");

/* A once. */
typedef struct zi_once {
    /* ONCE_... */
    uint32_t state;
} zi_once;
_Static_assert(offsetof(zi_once, state) == 0,
               "zi_once.state must be at 0");
_Static_assert(sizeof(zi_once) == 4,
               "zi_once must be 4 bytes");

/* Entry NAME of an event; NAME_sem is a semaphore. */
typedef struct zi_event {
    /* 1: set */
    uint32_t signaled;
    /* EVENT_AUTOMATIC or EVENT_MANUAL */
    uint32_t mode;
    /* how many wait, manual mode only */
    uint32_t waiting;
} zi_event;
_Static_assert(offsetof(zi_event, signaled) == 0,
               "zi_event.signaled must be at 0");
_Static_assert(offsetof(zi_event, mode) == 4,
               "zi_event.mode must be at 4");
_Static_assert(offsetof(zi_event, waiting) == 8,
               "zi_event.waiting must be at 8");
_Static_assert(sizeof(zi_event) == 12,
               "zi_event must be 12 bytes");

/* Entry NAME_state of a read-write lock; NAME_rmtx and NAME_wmtx are mutexes. */
typedef struct zi_rwlock_state {
    /* how many read */
    int32_t readers;
    /* 1: somebody writes, or waits for the readers to leave */
    int32_t writer_active;
} zi_rwlock_state;
_Static_assert(offsetof(zi_rwlock_state, readers) == 0,
               "zi_rwlock_state.readers must be at 0");
_Static_assert(offsetof(zi_rwlock_state, writer_active) == 4,
               "zi_rwlock_state.writer_active must be at 4");
_Static_assert(sizeof(zi_rwlock_state) == 8,
               "zi_rwlock_state must be 8 bytes");

/* Entry NAME_count of a monitor; NAME_mtx is a mutex, NAME_cond a semaphore. */
typedef struct zi_monitor_count {
    /* how many wait for the condition */
    uint32_t count;
} zi_monitor_count;
_Static_assert(offsetof(zi_monitor_count, count) == 0,
               "zi_monitor_count.count must be at 0");
_Static_assert(sizeof(zi_monitor_count) == 4,
               "zi_monitor_count must be 4 bytes");

/* Header of entry NAME_state of a signal; the value follows. NAME_mtx is a mutex. */
typedef struct zi_signal_state {
    /* counts the changes */
    uint64_t version;
} zi_signal_state;
_Static_assert(offsetof(zi_signal_state, version) == 0,
               "zi_signal_state.version must be at 0");
_Static_assert(sizeof(zi_signal_state) == 8,
               "zi_signal_state must be 8 bytes");

/* Header of a function; the slots follow. */
typedef struct zi_function_header {
    /* FUNCTION_VERSION */
    uint32_t version;
    /* how many calls there can be at a time */
    uint32_t slots;
    /* bytes of the arguments */
    uint32_t argument_nbytes;
    /* bytes of the result */
    uint32_t result_nbytes;
    /* calls made: each takes the next number */
    uint64_t tickets;
    uint8_t pad_24[40];
    /* changes when a call is made; servers watch it */
    uint32_t called;
    uint8_t pad_68[60];
    /* changes when a call is done; clients watch it */
    uint32_t done;
    /* changes when a slot becomes free; clients watch it */
    uint32_t freed;
    uint8_t pad_136[56];
} zi_function_header;
_Static_assert(offsetof(zi_function_header, version) == 0,
               "zi_function_header.version must be at 0");
_Static_assert(offsetof(zi_function_header, slots) == 4,
               "zi_function_header.slots must be at 4");
_Static_assert(offsetof(zi_function_header, argument_nbytes) == 8,
               "zi_function_header.argument_nbytes must be at 8");
_Static_assert(offsetof(zi_function_header, result_nbytes) == 12,
               "zi_function_header.result_nbytes must be at 12");
_Static_assert(offsetof(zi_function_header, tickets) == 16,
               "zi_function_header.tickets must be at 16");
_Static_assert(offsetof(zi_function_header, called) == 64,
               "zi_function_header.called must be at 64");
_Static_assert(offsetof(zi_function_header, done) == 128,
               "zi_function_header.done must be at 128");
_Static_assert(offsetof(zi_function_header, freed) == 132,
               "zi_function_header.freed must be at 132");
_Static_assert(sizeof(zi_function_header) == 192,
               "zi_function_header must be 192 bytes");

/* Start of a slot; arguments, result and ERROR_NBYTES bytes of message follow. */
typedef struct zi_function_call {
    /* generation << 40 | FUNCTION_... << 32 | owner tag */
    uint64_t word;
    /* the call's number: lower ones are served first */
    uint64_t ticket;
    /* owner tag of who calls */
    uint32_t client;
    /* 0 */
    uint32_t reserved;
} zi_function_call;
_Static_assert(offsetof(zi_function_call, word) == 0,
               "zi_function_call.word must be at 0");
_Static_assert(offsetof(zi_function_call, ticket) == 8,
               "zi_function_call.ticket must be at 8");
_Static_assert(offsetof(zi_function_call, client) == 16,
               "zi_function_call.client must be at 16");
_Static_assert(offsetof(zi_function_call, reserved) == 20,
               "zi_function_call.reserved must be at 20");
_Static_assert(sizeof(zi_function_call) == 24,
               "zi_function_call must be 24 bytes");

#endif /* ZI_NAMED_LAYOUT_H */
