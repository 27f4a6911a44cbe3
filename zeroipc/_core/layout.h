/* Written by tools/gen_layout.py from layout.py. Do not edit: change layout.py. */
#ifndef ZI_LAYOUT_H
#define ZI_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "mutex.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the shared format is little-endian"
#endif
#define ZI_LINE 64

/* The first word of every named segment; stored last by its creator. */
#define ZI_MAGIC 0x5a49504d

/* Table slots of a segment that does not say otherwise. */
#define ZI_DEFAULT_SLOTS 64

/* Structures start at multiples of this, and no element may ask for more. */
#define ZI_MAX_ALIGN 8

/* Blocks start and end on pages, so that a block can be given back, or remapped, alone. */
#define ZI_PAGE 4096

/* Most processes attached to one arena at a time: ten bits of an identity. */
#define ZI_PARTICIPANTS 1024

/* Most slots of one arena: queues, locks and pieces of memory. */
#define ZI_QUEUES 16384

/* Most blocks of one arena: eighteen bits of a cursor. */
#define ZI_BLOCKS 0x40000

/* Size classes of blocks: 0 bytes, then 4, 8, 12 KB, then four steps to each doubling. */
#define ZI_CLASSES 104

/* Blocks, or slots, that share one dirty byte. */
#define ZI_DIRTY_GROUP 64

/* Most blocks that one message carries: one for its buffers, the rest loans and handles. */
#define ZI_MESSAGE_BLOCKS 16

/* Payload bytes that travel in the ring itself; more goes into a block. */
#define ZI_INLINE_MAX 16384
#define ZI_CHUNK_MIN 4096

/* Bytes of a queue's first and largest ring chunk. */
#define ZI_CHUNK_MAX 0x100000
#define ZI_CURSOR_ITEM_BITS 29
#define ZI_CURSOR_CHUNK_BITS 18

/* A cursor is item << 35 | chunk << 17 | offset / 8: one 64-bit store moves it. */
#define ZI_CURSOR_OFFSET_BITS 17
#define ZI_FREE 0

/* Owner words that are no identity: a block nobody has, and one that a queue has. */
#define ZI_QUEUED UINT64_C(0xffffffff)

/* No block, no queue, no item. */
#define ZI_NONE UINT64_C(0xffffffff)

/* The pid of a participant entry that a parent keeps for the child it is about to fork. */
#define ZI_RESERVED_PID UINT64_C(0xffffffff)
#define ZI_KIND_DATA 0
#define ZI_KIND_RING 1
#define ZI_KIND_HANDLE 2
#define ZI_KIND_TALLY 3

/* What a block holds: message bytes, a chunk of a queue's ring, nothing but the name of a slot that is on its way to another process, the open tasks of each participant, the bytes or waiters of a slot. */
#define ZI_KIND_MEMORY 4
#define ZI_ROLE_QUEUE 1
#define ZI_ROLE_LOCK 2

/* What a slot holds; 0: nothing. */
#define ZI_ROLE_MEMORY 3

/* Most bytes of memory that lie in the slot itself; more has a block. */
#define ZI_MEMORY_INLINE 128
#define ZI_LOCK_PLAIN 0
#define ZI_LOCK_RECURSIVE 1
#define ZI_LOCK_SEMAPHORE 2
#define ZI_LOCK_EVENT 3

/* What a slot of ROLE_LOCK is. */
#define ZI_LOCK_CONDITION 4

/* Most waiters of a condition that the slot itself has room for; more have a block. */
#define ZI_WAITERS_INLINE 8
#define ZI_WAITER_NONE 0
#define ZI_WAITER_WAITING 1

/* States of a waiter: there is none; it waits; it was notified and has not run yet. */
#define ZI_WAITER_NOTIFIED 2

/* The length word of a record that says: go on at the start of another chunk. */
#define ZI_RECORD_LINK UINT64_C(0xffffffff)
#define ZI_NOTE_NOTHING 0
#define ZI_NOTE_TASKS 1

/* What a queue notes of its takers: nothing; how many tasks each participant has open; which item each worker took last. */
#define ZI_NOTE_CLAIMS 2
#define ZI_STATE_OPEN 0
#define ZI_STATE_SHUT 1

/* Queue states: open; no more puts; no more puts and nothing left to get. */
#define ZI_STATE_SHUT_NOW 2
#define ZI_ARENA_MAGIC UINT64_C(0x314e524150495a00)
#define ZI_ARENA_VERSION 1
#define ZI_PAYLOAD_NONE 0
#define ZI_PAYLOAD_FALSE 1
#define ZI_PAYLOAD_TRUE 2
#define ZI_PAYLOAD_INT 3
#define ZI_PAYLOAD_FLOAT 4
#define ZI_PAYLOAD_STR 5
#define ZI_PAYLOAD_BYTES 6
#define ZI_PAYLOAD_BYTEARRAY 7
#define ZI_PAYLOAD_PICKLE 8
#define ZI_PAYLOAD_PARTS 9

/* What a payload encodes: nothing more; an int64; a float64; UTF-8; bytes; a pickle; a pickle with buffers (PARTS, PART); an array (ARRAY_HEAD). */
#define ZI_PAYLOAD_ARRAY 10

/* Flag: the payload lies at the start of the message's last block; the ring has its length. */
#define ZI_PAYLOAD_IN_BLOCK 256

/* Flag: the array's data is a block of its own that was moved, not copied. */
#define ZI_PAYLOAD_LOAN 512

/* Flag: the putter took the message back while it was queued; who gets it drops it. */
#define ZI_PAYLOAD_CANCELLED 1024
#define ZI_PARTICIPANTS_OFFSET 8192

/* Holdings: a byte per participant and slot, written by its participant alone. */
#define ZI_ROWS_OFFSET 0x12000
#define ZI_QUEUES_OFFSET 0x1012000
#define ZI_BLOCKS_OFFSET 0x1412000

/* Where the first block lies. */
#define ZI_DATA_OFFSET 0x2412000

/* Both sides of an arena must agree on all of the transport's layouts. */
#define ZI_LAYOUT_SUM 0x34037a78

/* Header of a named segment, version 2, at offset 0. */
typedef struct zi_table {
    /* MAGIC; 0 while the segment is being made */
    uint32_t magic;
    /* 2; or 1 in an early form with the same fields */
    uint32_t version;
    /* entries in use; never more than the slots */
    uint32_t entry_count;
    /* slots; 0 means DEFAULT_SLOTS, or unrecorded in version 1 */
    uint32_t max_entries;
    /* bytes of the segment; nothing lies beyond */
    uint64_t memory_size;
    /* first byte never handed out; not always aligned */
    uint64_t next_offset;
} zi_table;
_Static_assert(offsetof(zi_table, magic) == 0,
               "zi_table.magic must be at 0");
_Static_assert(offsetof(zi_table, version) == 4,
               "zi_table.version must be at 4");
_Static_assert(offsetof(zi_table, entry_count) == 8,
               "zi_table.entry_count must be at 8");
_Static_assert(offsetof(zi_table, max_entries) == 12,
               "zi_table.max_entries must be at 12");
_Static_assert(offsetof(zi_table, memory_size) == 16,
               "zi_table.memory_size must be at 16");
_Static_assert(offsetof(zi_table, next_offset) == 24,
               "zi_table.next_offset must be at 24");
_Static_assert(sizeof(zi_table) == 32,
               "zi_table must be 32 bytes");

/* Entry i of version 2, at TABLE.nbytes + i * ENTRY.nbytes. */
typedef struct zi_entry {
    /* UTF-8, padded with NUL, at most 31 bytes before it */
    char entry_name[32];
    /* where the structure starts, from the start of the segment */
    uint64_t offset;
    /* bytes it asked for */
    uint64_t size;
} zi_entry;
_Static_assert(offsetof(zi_entry, entry_name) == 0,
               "zi_entry.entry_name must be at 0");
_Static_assert(offsetof(zi_entry, offset) == 32,
               "zi_entry.offset must be at 32");
_Static_assert(offsetof(zi_entry, size) == 40,
               "zi_entry.size must be at 40");
_Static_assert(sizeof(zi_entry) == 48,
               "zi_entry must be 48 bytes");

/* Header of a named segment, version 1, which records neither slots nor size. */
typedef struct zi_table_v1 {
    /* as in version 2 */
    uint32_t magic;
    /* 1 */
    uint32_t version;
    /* as in version 2 */
    uint32_t entry_count;
    /* as in version 2; starts behind the last slot */
    uint32_t next_offset;
} zi_table_v1;
_Static_assert(offsetof(zi_table_v1, magic) == 0,
               "zi_table_v1.magic must be at 0");
_Static_assert(offsetof(zi_table_v1, version) == 4,
               "zi_table_v1.version must be at 4");
_Static_assert(offsetof(zi_table_v1, entry_count) == 8,
               "zi_table_v1.entry_count must be at 8");
_Static_assert(offsetof(zi_table_v1, next_offset) == 12,
               "zi_table_v1.next_offset must be at 12");
_Static_assert(sizeof(zi_table_v1) == 16,
               "zi_table_v1 must be 16 bytes");

/* Entry i of version 1, at TABLE_V1.nbytes + i * ENTRY_V1.nbytes. */
typedef struct zi_entry_v1 {
    /* as in version 2 */
    char entry_name[32];
    /* as in version 2 */
    uint32_t offset;
    /* as in version 2 */
    uint32_t size;
} zi_entry_v1;
_Static_assert(offsetof(zi_entry_v1, entry_name) == 0,
               "zi_entry_v1.entry_name must be at 0");
_Static_assert(offsetof(zi_entry_v1, offset) == 32,
               "zi_entry_v1.offset must be at 32");
_Static_assert(offsetof(zi_entry_v1, size) == 36,
               "zi_entry_v1.size must be at 36");
_Static_assert(sizeof(zi_entry_v1) == 40,
               "zi_entry_v1 must be 40 bytes");

/* Header of an array. */
typedef struct zi_array {
    /* elements, at least 1; they follow, zero at first */
    uint64_t capacity;
} zi_array;
_Static_assert(offsetof(zi_array, capacity) == 0,
               "zi_array.capacity must be at 0");
_Static_assert(sizeof(zi_array) == 8,
               "zi_array must be 8 bytes");

/* Header of an array made by the C library: read, never written. */
typedef struct zi_array_c {
    /* as in ARRAY */
    uint64_t capacity;
    /* bytes of one element */
    uint64_t elem_size;
} zi_array_c;
_Static_assert(offsetof(zi_array_c, capacity) == 0,
               "zi_array_c.capacity must be at 0");
_Static_assert(offsetof(zi_array_c, elem_size) == 8,
               "zi_array_c.elem_size must be at 8");
_Static_assert(sizeof(zi_array_c) == 16,
               "zi_array_c must be 16 bytes");

/* The first bytes of an arena. */
typedef struct zi_arena {
    /* ARENA_MAGIC, stored last */
    uint64_t magic;
    /* ARENA_VERSION */
    uint32_t version;
    /* sizeof(pthread_mutex_t) where it was made */
    uint32_t mutex_nbytes;
    /* random: tells this arena from a later one of the same name */
    uint64_t token;
    /* of the file, most of it never touched */
    uint64_t nbytes;
    /* most bytes that blocks may reserve */
    uint64_t limit;
    /* who made it and unlinks it */
    uint32_t creator_pid;
    /* checksum of this layout: both sides must agree on all of it */
    uint32_t layout_sum;
    /* the creator's start time, clock ticks since boot */
    uint64_t creator_start;
    uint8_t pad_56[8];
    /* A: guards all that follows up to `dirty`, and what blocks say of themselves */
    zi_mutex lock;
    /* entries that were ever used */
    uint32_t participants_used;
    /* slots that were ever used */
    uint32_t queues_used;
    /* descriptors in use; their extents touch one another */
    uint32_t blocks_used;
    /* descriptors whose memory is reserved */
    uint32_t blocks_backed;
    /* slots whose memory is reserved */
    uint32_t queues_backed;
    /* counts forks */
    uint32_t fork_clock;
    /* no slot below this one is unused; derived */
    uint32_t slots_full;
    uint8_t pad_140[4];
    /* end of the last block, bytes from the segment's start */
    uint64_t frontier;
    /* bytes that blocks claim; derived, recounted after a death */
    uint64_t reserved;
    /* CLOCK_MONOTONIC ns; who moves it sweeps */
    uint64_t last_sweep;
    /* first free block of each class; derived */
    uint32_t free_head[104];
    uint8_t pad_584[56];
    /* set after an owner or lender word was cleared without the lock */
    uint32_t dirty;
    /* set after a holding was dropped without the lock */
    uint32_t queues_dirty;
    /* futex word: memory came free */
    uint32_t space_seq;
    /* how many wait for memory; a hint */
    uint32_t space_waiters;
    uint8_t pad_656[48];
    /* which groups of blocks to look at */
    uint8_t group_dirty[4096];
    /* which groups of slots to look at */
    uint8_t slots_dirty[256];
} zi_arena;
_Static_assert(offsetof(zi_arena, magic) == 0,
               "zi_arena.magic must be at 0");
_Static_assert(offsetof(zi_arena, version) == 8,
               "zi_arena.version must be at 8");
_Static_assert(offsetof(zi_arena, mutex_nbytes) == 12,
               "zi_arena.mutex_nbytes must be at 12");
_Static_assert(offsetof(zi_arena, token) == 16,
               "zi_arena.token must be at 16");
_Static_assert(offsetof(zi_arena, nbytes) == 24,
               "zi_arena.nbytes must be at 24");
_Static_assert(offsetof(zi_arena, limit) == 32,
               "zi_arena.limit must be at 32");
_Static_assert(offsetof(zi_arena, creator_pid) == 40,
               "zi_arena.creator_pid must be at 40");
_Static_assert(offsetof(zi_arena, layout_sum) == 44,
               "zi_arena.layout_sum must be at 44");
_Static_assert(offsetof(zi_arena, creator_start) == 48,
               "zi_arena.creator_start must be at 48");
_Static_assert(offsetof(zi_arena, lock) == 64,
               "zi_arena.lock must be at 64");
_Static_assert(offsetof(zi_arena, participants_used) == 112,
               "zi_arena.participants_used must be at 112");
_Static_assert(offsetof(zi_arena, queues_used) == 116,
               "zi_arena.queues_used must be at 116");
_Static_assert(offsetof(zi_arena, blocks_used) == 120,
               "zi_arena.blocks_used must be at 120");
_Static_assert(offsetof(zi_arena, blocks_backed) == 124,
               "zi_arena.blocks_backed must be at 124");
_Static_assert(offsetof(zi_arena, queues_backed) == 128,
               "zi_arena.queues_backed must be at 128");
_Static_assert(offsetof(zi_arena, fork_clock) == 132,
               "zi_arena.fork_clock must be at 132");
_Static_assert(offsetof(zi_arena, slots_full) == 136,
               "zi_arena.slots_full must be at 136");
_Static_assert(offsetof(zi_arena, frontier) == 144,
               "zi_arena.frontier must be at 144");
_Static_assert(offsetof(zi_arena, reserved) == 152,
               "zi_arena.reserved must be at 152");
_Static_assert(offsetof(zi_arena, last_sweep) == 160,
               "zi_arena.last_sweep must be at 160");
_Static_assert(offsetof(zi_arena, free_head) == 168,
               "zi_arena.free_head must be at 168");
_Static_assert(offsetof(zi_arena, dirty) == 640,
               "zi_arena.dirty must be at 640");
_Static_assert(offsetof(zi_arena, queues_dirty) == 644,
               "zi_arena.queues_dirty must be at 644");
_Static_assert(offsetof(zi_arena, space_seq) == 648,
               "zi_arena.space_seq must be at 648");
_Static_assert(offsetof(zi_arena, space_waiters) == 652,
               "zi_arena.space_waiters must be at 652");
_Static_assert(offsetof(zi_arena, group_dirty) == 704,
               "zi_arena.group_dirty must be at 704");
_Static_assert(offsetof(zi_arena, slots_dirty) == 4800,
               "zi_arena.slots_dirty must be at 4800");
_Static_assert(sizeof(zi_arena) == 5056,
               "zi_arena must be 5056 bytes");

/* A process that is attached. Identity: generation << 10 | index. */
typedef struct zi_participant {
    /* 0: empty; stored last when an entry is taken, cleared last */
    uint32_t pid;
    /* counts the takers of this entry */
    uint32_t generation;
    /* start time of the process, clock ticks since boot */
    uint64_t start;
    /* fork_clock when the entry was reserved by a fork; 0: not forked */
    uint32_t born;
    /* `born` of the first forked process of its line */
    uint32_t elder;
    /* CLOCK_MONOTONIC ns of the reservation */
    uint64_t reserved_at;
    uint8_t pad_32[32];
} zi_participant;
_Static_assert(offsetof(zi_participant, pid) == 0,
               "zi_participant.pid must be at 0");
_Static_assert(offsetof(zi_participant, generation) == 4,
               "zi_participant.generation must be at 4");
_Static_assert(offsetof(zi_participant, start) == 8,
               "zi_participant.start must be at 8");
_Static_assert(offsetof(zi_participant, born) == 16,
               "zi_participant.born must be at 16");
_Static_assert(offsetof(zi_participant, elder) == 20,
               "zi_participant.elder must be at 20");
_Static_assert(offsetof(zi_participant, reserved_at) == 24,
               "zi_participant.reserved_at must be at 24");
_Static_assert(sizeof(zi_participant) == 64,
               "zi_participant must be 64 bytes");

/* A message queue. Items in it: tail.item - head.item. */
typedef struct zi_queue {
    /* Q: guards everything of this queue, and the item numbers of its blocks */
    zi_mutex lock;
    /* ROLE_...: what the slot holds; 0: nothing */
    uint32_t used;
    /* counts the takers of this slot */
    uint32_t generation;
    /* 1: a holder of Q died, and what it left has yet to be mended */
    uint32_t torn;
    /* 1: a handle to it was made */
    uint32_t handled;
    /* cursor of the next record to get */
    uint64_t head;
    /* cursor of the next record to put */
    uint64_t tail;
    /* CPU that got last: a hint for spinning */
    uint32_t head_cpu;
    /* CPU that put last */
    uint32_t tail_cpu;
    /* futex word: items came */
    uint32_t items_seq;
    /* sleepers for items; may count dead ones */
    uint32_t items_waiters;
    /* a sleeper was woken and has not run yet */
    uint32_t items_pending;
    /* the same three for room */
    uint32_t room_seq;
    uint32_t room_waiters;
    uint32_t room_pending;
    /* most items; 0: no bound */
    uint32_t maxsize;
    /* STATE_OPEN, STATE_SHUT or STATE_SHUT_NOW */
    uint32_t state;
    uint8_t pad_120[8];
    /* futex word: no task is unfinished, or tasks were lost */
    uint32_t done_seq;
    uint32_t done_waiters;
    uint32_t done_pending;
    /* block of the open tasks, or NONE: open | taking << 32 per participant */
    uint32_t tally;
    /* block of the item that each worker took last, or NONE */
    uint32_t claims;
    uint8_t pad_148[4];
    /* tasks whose takers died, told to one join | who is being counted << 32 */
    uint64_t lost;
    /* 1: strangers may find it by a name */
    uint32_t named;
    uint8_t pad_164[92];
} zi_queue;
_Static_assert(offsetof(zi_queue, lock) == 0,
               "zi_queue.lock must be at 0");
_Static_assert(offsetof(zi_queue, used) == 48,
               "zi_queue.used must be at 48");
_Static_assert(offsetof(zi_queue, generation) == 52,
               "zi_queue.generation must be at 52");
_Static_assert(offsetof(zi_queue, torn) == 56,
               "zi_queue.torn must be at 56");
_Static_assert(offsetof(zi_queue, handled) == 60,
               "zi_queue.handled must be at 60");
_Static_assert(offsetof(zi_queue, head) == 64,
               "zi_queue.head must be at 64");
_Static_assert(offsetof(zi_queue, tail) == 72,
               "zi_queue.tail must be at 72");
_Static_assert(offsetof(zi_queue, head_cpu) == 80,
               "zi_queue.head_cpu must be at 80");
_Static_assert(offsetof(zi_queue, tail_cpu) == 84,
               "zi_queue.tail_cpu must be at 84");
_Static_assert(offsetof(zi_queue, items_seq) == 88,
               "zi_queue.items_seq must be at 88");
_Static_assert(offsetof(zi_queue, items_waiters) == 92,
               "zi_queue.items_waiters must be at 92");
_Static_assert(offsetof(zi_queue, items_pending) == 96,
               "zi_queue.items_pending must be at 96");
_Static_assert(offsetof(zi_queue, room_seq) == 100,
               "zi_queue.room_seq must be at 100");
_Static_assert(offsetof(zi_queue, room_waiters) == 104,
               "zi_queue.room_waiters must be at 104");
_Static_assert(offsetof(zi_queue, room_pending) == 108,
               "zi_queue.room_pending must be at 108");
_Static_assert(offsetof(zi_queue, maxsize) == 112,
               "zi_queue.maxsize must be at 112");
_Static_assert(offsetof(zi_queue, state) == 116,
               "zi_queue.state must be at 116");
_Static_assert(offsetof(zi_queue, done_seq) == 128,
               "zi_queue.done_seq must be at 128");
_Static_assert(offsetof(zi_queue, done_waiters) == 132,
               "zi_queue.done_waiters must be at 132");
_Static_assert(offsetof(zi_queue, done_pending) == 136,
               "zi_queue.done_pending must be at 136");
_Static_assert(offsetof(zi_queue, tally) == 140,
               "zi_queue.tally must be at 140");
_Static_assert(offsetof(zi_queue, claims) == 144,
               "zi_queue.claims must be at 144");
_Static_assert(offsetof(zi_queue, lost) == 152,
               "zi_queue.lost must be at 152");
_Static_assert(offsetof(zi_queue, named) == 160,
               "zi_queue.named must be at 160");
_Static_assert(sizeof(zi_queue) == 256,
               "zi_queue must be 256 bytes");

/* A slot that holds memory which processes share, zero at first. */
typedef struct zi_memory {
    /* Q: of this slot */
    zi_mutex lock;
    /* ROLE_...: what the slot holds; 0: nothing */
    uint32_t used;
    /* counts the takers of this slot */
    uint32_t generation;
    /* 1: a holder of Q died, and what it left has yet to be mended */
    uint32_t torn;
    /* 1: a handle to it was made */
    uint32_t handled;
    /* how many there are */
    uint64_t nbytes;
    /* where they are, or NONE: in `bytes` */
    uint32_t block;
    uint8_t pad_76[52];
    /* the memory itself, if it fits */
    uint8_t bytes[128];
} zi_memory;
_Static_assert(offsetof(zi_memory, lock) == 0,
               "zi_memory.lock must be at 0");
_Static_assert(offsetof(zi_memory, used) == 48,
               "zi_memory.used must be at 48");
_Static_assert(offsetof(zi_memory, generation) == 52,
               "zi_memory.generation must be at 52");
_Static_assert(offsetof(zi_memory, torn) == 56,
               "zi_memory.torn must be at 56");
_Static_assert(offsetof(zi_memory, handled) == 60,
               "zi_memory.handled must be at 60");
_Static_assert(offsetof(zi_memory, nbytes) == 64,
               "zi_memory.nbytes must be at 64");
_Static_assert(offsetof(zi_memory, block) == 72,
               "zi_memory.block must be at 72");
_Static_assert(offsetof(zi_memory, bytes) == 128,
               "zi_memory.bytes must be at 128");
_Static_assert(sizeof(zi_memory) == 256,
               "zi_memory must be 256 bytes");

/* A slot that holds a lock, a semaphore, an event or a condition. */
typedef struct zi_lock {
    /* Q: guards everything of this lock, and is held for a moment only */
    zi_mutex lock;
    /* ROLE_...: what the slot holds; 0: nothing */
    uint32_t used;
    /* counts the takers of this slot */
    uint32_t generation;
    /* 1: a holder of Q died, and what it left has yet to be mended */
    uint32_t torn;
    /* 1: a handle to it was made */
    uint32_t handled;
    /* LOCK_... */
    uint16_t kind;
    /* 1: who had it before the holder died with it */
    uint16_t died;
    /* identity of who has it, or 0 */
    uint32_t holder;
    /* which thread of the holder */
    uint64_t thread;
    /* how often the holder has it, of a recursive lock */
    uint32_t count;
    /* of a semaphore, what is left; of an event, whether it is set; see `cpu` */
    uint32_t value;
    /* of a semaphore */
    uint32_t maxvalue;
    /* CPU that changed it last: a hint; of a condition, `value` has the one before */
    uint32_t cpu;
    /* how many waiters of a condition there ever were */
    uint64_t tickets;
    /* futex word: it came free, was set, or notified */
    uint32_t seq;
    /* sleepers; may count dead ones */
    uint32_t waiters;
    /* a sleeper was woken and has not run yet */
    uint32_t pending;
    /* of the waiters of a condition, or NONE: they are in `table` */
    uint32_t block;
    /* of waiters */
    uint32_t capacity;
    /* how many died while they waited */
    uint32_t lost;
    /* the waiters, if they fit */
    uint64_t table[16];
} zi_lock;
_Static_assert(offsetof(zi_lock, lock) == 0,
               "zi_lock.lock must be at 0");
_Static_assert(offsetof(zi_lock, used) == 48,
               "zi_lock.used must be at 48");
_Static_assert(offsetof(zi_lock, generation) == 52,
               "zi_lock.generation must be at 52");
_Static_assert(offsetof(zi_lock, torn) == 56,
               "zi_lock.torn must be at 56");
_Static_assert(offsetof(zi_lock, handled) == 60,
               "zi_lock.handled must be at 60");
_Static_assert(offsetof(zi_lock, kind) == 64,
               "zi_lock.kind must be at 64");
_Static_assert(offsetof(zi_lock, died) == 66,
               "zi_lock.died must be at 66");
_Static_assert(offsetof(zi_lock, holder) == 68,
               "zi_lock.holder must be at 68");
_Static_assert(offsetof(zi_lock, thread) == 72,
               "zi_lock.thread must be at 72");
_Static_assert(offsetof(zi_lock, count) == 80,
               "zi_lock.count must be at 80");
_Static_assert(offsetof(zi_lock, value) == 84,
               "zi_lock.value must be at 84");
_Static_assert(offsetof(zi_lock, maxvalue) == 88,
               "zi_lock.maxvalue must be at 88");
_Static_assert(offsetof(zi_lock, cpu) == 92,
               "zi_lock.cpu must be at 92");
_Static_assert(offsetof(zi_lock, tickets) == 96,
               "zi_lock.tickets must be at 96");
_Static_assert(offsetof(zi_lock, seq) == 104,
               "zi_lock.seq must be at 104");
_Static_assert(offsetof(zi_lock, waiters) == 108,
               "zi_lock.waiters must be at 108");
_Static_assert(offsetof(zi_lock, pending) == 112,
               "zi_lock.pending must be at 112");
_Static_assert(offsetof(zi_lock, block) == 116,
               "zi_lock.block must be at 116");
_Static_assert(offsetof(zi_lock, capacity) == 120,
               "zi_lock.capacity must be at 120");
_Static_assert(offsetof(zi_lock, lost) == 124,
               "zi_lock.lost must be at 124");
_Static_assert(offsetof(zi_lock, table) == 128,
               "zi_lock.table must be at 128");
_Static_assert(sizeof(zi_lock) == 256,
               "zi_lock must be 256 bytes");

/* One who waits for a condition, or has come to a barrier. */
typedef struct zi_waiter {
    /* WAITER_..., stored last by who comes */
    uint32_t state;
    /* identity of who waits */
    uint32_t owner;
    /* who came earlier is notified first */
    uint64_t ticket;
} zi_waiter;
_Static_assert(offsetof(zi_waiter, state) == 0,
               "zi_waiter.state must be at 0");
_Static_assert(offsetof(zi_waiter, owner) == 4,
               "zi_waiter.owner must be at 4");
_Static_assert(offsetof(zi_waiter, ticket) == 8,
               "zi_waiter.ticket must be at 8");
_Static_assert(sizeof(zi_waiter) == 16,
               "zi_waiter must be 16 bytes");

/* What an arena knows of one block. */
typedef struct zi_block {
    /* FREE, QUEUED or an identity: the truth about the block */
    uint32_t owner;
    /* 0, or the identity of a sender that still shows the array it moved */
    uint32_t lender;
    /* another one: who had passed the array on before */
    uint32_t lender2;
    /* slot that has it, or whose ring holds or announces it, or NONE */
    uint32_t queue;
    /* number of the item it goes with, or NONE */
    uint32_t item;
    /* next of the free list; derived */
    uint32_t next;
    /* ring chunk: the chunk after it; handle: the slot it names */
    uint32_t link;
    /* KIND_... */
    uint16_t kind;
    /* size class */
    uint8_t cls;
    /* 1 while on a free list; derived */
    uint8_t listed;
    /* fork_clock of the first fork that inherited a view; 0: none */
    uint32_t inherited_from;
    /* fork_clock when the owner was done with it; 0: not yet */
    uint32_t inherited_until;
    /* pages accounted for in `reserved` */
    uint32_t claimed;
    /* pages that are reserved for certain */
    uint32_t backed;
    /* trims that found the block free */
    uint32_t idle;
    /* identity that took it last: its page tables and caches have it */
    uint32_t writer;
    /* of its first byte, from the segment's start */
    uint64_t offset;
} zi_block;
_Static_assert(offsetof(zi_block, owner) == 0,
               "zi_block.owner must be at 0");
_Static_assert(offsetof(zi_block, lender) == 4,
               "zi_block.lender must be at 4");
_Static_assert(offsetof(zi_block, lender2) == 8,
               "zi_block.lender2 must be at 8");
_Static_assert(offsetof(zi_block, queue) == 12,
               "zi_block.queue must be at 12");
_Static_assert(offsetof(zi_block, item) == 16,
               "zi_block.item must be at 16");
_Static_assert(offsetof(zi_block, next) == 20,
               "zi_block.next must be at 20");
_Static_assert(offsetof(zi_block, link) == 24,
               "zi_block.link must be at 24");
_Static_assert(offsetof(zi_block, kind) == 28,
               "zi_block.kind must be at 28");
_Static_assert(offsetof(zi_block, cls) == 30,
               "zi_block.cls must be at 30");
_Static_assert(offsetof(zi_block, listed) == 31,
               "zi_block.listed must be at 31");
_Static_assert(offsetof(zi_block, inherited_from) == 32,
               "zi_block.inherited_from must be at 32");
_Static_assert(offsetof(zi_block, inherited_until) == 36,
               "zi_block.inherited_until must be at 36");
_Static_assert(offsetof(zi_block, claimed) == 40,
               "zi_block.claimed must be at 40");
_Static_assert(offsetof(zi_block, backed) == 44,
               "zi_block.backed must be at 44");
_Static_assert(offsetof(zi_block, idle) == 48,
               "zi_block.idle must be at 48");
_Static_assert(offsetof(zi_block, writer) == 52,
               "zi_block.writer must be at 52");
_Static_assert(offsetof(zi_block, offset) == 56,
               "zi_block.offset must be at 56");
_Static_assert(sizeof(zi_block) == 64,
               "zi_block must be 64 bytes");

/* A record of a ring: this, block numbers, payload; each part padded to 8 bytes. */
typedef struct zi_record {
    /* of the payload, or RECORD_LINK */
    uint32_t nbytes;
    /* how the payload is encoded */
    uint16_t kind;
    /* how many block numbers follow; a link: unused */
    uint16_t nblocks;
} zi_record;
_Static_assert(offsetof(zi_record, nbytes) == 0,
               "zi_record.nbytes must be at 0");
_Static_assert(offsetof(zi_record, kind) == 4,
               "zi_record.kind must be at 4");
_Static_assert(offsetof(zi_record, nblocks) == 6,
               "zi_record.nblocks must be at 6");
_Static_assert(sizeof(zi_record) == 8,
               "zi_record must be 8 bytes");

/* A pickle of protocol 5 and where its out-of-band buffers are. */
typedef struct zi_parts {
    /* how many PART follow */
    uint32_t count;
    /* 1: the pickle follows them; 0: it is in the last block, at `offset` */
    uint32_t inlined;
    /* of the pickle in the last block */
    uint64_t offset;
    /* of the pickle */
    uint64_t nbytes;
} zi_parts;
_Static_assert(offsetof(zi_parts, count) == 0,
               "zi_parts.count must be at 0");
_Static_assert(offsetof(zi_parts, inlined) == 4,
               "zi_parts.inlined must be at 4");
_Static_assert(offsetof(zi_parts, offset) == 8,
               "zi_parts.offset must be at 8");
_Static_assert(offsetof(zi_parts, nbytes) == 16,
               "zi_parts.nbytes must be at 16");
_Static_assert(sizeof(zi_parts) == 24,
               "zi_parts must be 24 bytes");

/* One out-of-band buffer. */
typedef struct zi_part {
    /* which of the message's blocks */
    uint32_t block;
    /* 1: the buffer was read-only */
    uint16_t readonly;
    /* 1: an array showed it, and may again */
    uint16_t array;
    /* in the block; a multiple of 64, unless the block was moved */
    uint64_t offset;
    uint64_t nbytes;
} zi_part;
_Static_assert(offsetof(zi_part, block) == 0,
               "zi_part.block must be at 0");
_Static_assert(offsetof(zi_part, readonly) == 4,
               "zi_part.readonly must be at 4");
_Static_assert(offsetof(zi_part, array) == 6,
               "zi_part.array must be at 6");
_Static_assert(offsetof(zi_part, offset) == 8,
               "zi_part.offset must be at 8");
_Static_assert(offsetof(zi_part, nbytes) == 16,
               "zi_part.nbytes must be at 16");
_Static_assert(sizeof(zi_part) == 24,
               "zi_part must be 24 bytes");

/* An array of a plain dtype; ndim lengths of 8 bytes follow, then, inlined, its data. */
typedef struct zi_array_head {
    uint8_t ndim;
    /* 1: first index fastest */
    uint8_t fortran;
    uint8_t readonly;
    /* a NumPy type character, NUL-padded */
    char format[5];
    /* of the data in its block */
    uint64_t offset;
} zi_array_head;
_Static_assert(offsetof(zi_array_head, ndim) == 0,
               "zi_array_head.ndim must be at 0");
_Static_assert(offsetof(zi_array_head, fortran) == 1,
               "zi_array_head.fortran must be at 1");
_Static_assert(offsetof(zi_array_head, readonly) == 2,
               "zi_array_head.readonly must be at 2");
_Static_assert(offsetof(zi_array_head, format) == 3,
               "zi_array_head.format must be at 3");
_Static_assert(offsetof(zi_array_head, offset) == 8,
               "zi_array_head.offset must be at 8");
_Static_assert(sizeof(zi_array_head) == 16,
               "zi_array_head must be 16 bytes");

#endif /* ZI_LAYOUT_H */
