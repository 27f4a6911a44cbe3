"""Every byte that ZeroIPC shares: each field, offset, size, magic number and version.

The only place where they are written. `layout.h` and the tables of SPECIFICATION.md
are made from this file by tools/gen_layout.py.
"""

from __future__ import annotations

from zlib import crc32

from .fields import LINE, U8, U16, U32, U64, Chars, Layout, Mutex, round_up

# --- Named segments: the format shared with C++ and C programs ---------------------

MAGIC = 0x5A49504D
"""The first word of every named segment; stored last by its creator."""

DEFAULT_SLOTS = 64
"""Table slots of a segment that does not say otherwise."""

MAX_ALIGN = 8
"""Structures start at multiples of this, and no element may ask for more."""

TABLE = Layout(
    "table",
    (
        U32("magic", "MAGIC; 0 while the segment is being made"),
        U32("version", "2; or 1 in an early form with the same fields"),
        U32("entry_count", "entries in use; never more than the slots"),
        U32("max_entries", "slots; 0 means DEFAULT_SLOTS, or unrecorded in version 1"),
        U64("memory_size", "bytes of the segment; nothing lies beyond"),
        U64("next_offset", "first byte never handed out; not always aligned"),
    ),
    doc="Header of a named segment, version 2, at offset 0.",
)

ENTRY = Layout(
    "entry",
    (
        Chars("entry_name", 32, "UTF-8, padded with NUL, at most 31 bytes before it"),
        U64("offset", "where the structure starts, from the start of the segment"),
        U64("size", "bytes it asked for"),
    ),
    doc="Entry i of version 2, at TABLE.nbytes + i * ENTRY.nbytes.",
)

TABLE_V1 = Layout(
    "table_v1",
    (
        U32("magic", "as in version 2"),
        U32("version", "1"),
        U32("entry_count", "as in version 2"),
        U32("next_offset", "as in version 2; starts behind the last slot"),
    ),
    doc="Header of a named segment, version 1, which records neither slots nor size.",
)

ENTRY_V1 = Layout(
    "entry_v1",
    (
        Chars("entry_name", 32, "as in version 2"),
        U32("offset", "as in version 2"),
        U32("size", "as in version 2"),
    ),
    doc="Entry i of version 1, at TABLE_V1.nbytes + i * ENTRY_V1.nbytes.",
)

ARRAY = Layout(
    "array",
    (U64("capacity", "elements, at least 1; they follow, zero at first"),),
    doc="Header of an array.",
)

ARRAY_C = Layout(
    "array_c",
    (U64("capacity", "as in ARRAY"), U64("elem_size", "bytes of one element")),
    doc="Header of an array made by the C library: read, never written.",
)

# --- Transport: arenas, blocks and message queues (ours alone) ---------------------

PAGE = 4096
"""Blocks start and end on pages, so that a block can be given back, or remapped, alone."""

PARTICIPANTS = 1024
"""Most processes attached to one arena at a time: ten bits of an identity."""
QUEUES = 16384
"""Most slots of one arena: queues, locks and pieces of memory."""
BLOCKS = 262144
"""Most blocks of one arena: eighteen bits of a cursor."""
CLASSES = 104
"""Size classes of blocks: 0 bytes, then 4, 8, 12 KB, then four steps to each doubling."""
DIRTY_GROUP = 64
"""Blocks, or slots, that share one dirty byte."""

MESSAGE_BLOCKS = 16
"""Most blocks that one message carries: one for its buffers, the rest loans and handles."""
INLINE_MAX = 16384
"""Payload bytes that travel in the ring itself; more goes into a block."""
CHUNK_MIN = 4096
CHUNK_MAX = 1 << 20
"""Bytes of a queue's first and largest ring chunk."""

CURSOR_ITEM_BITS = 29
CURSOR_CHUNK_BITS = 18
CURSOR_OFFSET_BITS = 17
"""A cursor is item << 35 | chunk << 17 | offset / 8: one 64-bit store moves it."""

FREE = 0
QUEUED = 0xFFFFFFFF
"""Owner words that are no identity: a block nobody has, and one that a queue has."""
NONE = 0xFFFFFFFF
"""No block, no queue, no item."""
RESERVED_PID = 0xFFFFFFFF
"""The pid of a participant entry that a parent keeps for the child it is about to fork."""

KIND_DATA = 0
KIND_RING = 1
KIND_HANDLE = 2
KIND_TALLY = 3
KIND_MEMORY = 4
"""What a block holds: message bytes, a chunk of a queue's ring, nothing but the name of
a slot that is on its way to another process, the open tasks of each participant, the bytes
or waiters of a slot."""

ROLE_QUEUE = 1
ROLE_LOCK = 2
ROLE_MEMORY = 3
"""What a slot holds; 0: nothing."""
MEMORY_INLINE = 128
"""Most bytes of memory that lie in the slot itself; more has a block."""

LOCK_PLAIN = 0
LOCK_RECURSIVE = 1
LOCK_SEMAPHORE = 2
LOCK_EVENT = 3
LOCK_CONDITION = 4
"""What a slot of ROLE_LOCK is."""
WAITERS_INLINE = 8
"""Most waiters of a condition that the slot itself has room for; more have a block."""
WAITER_NONE = 0
WAITER_WAITING = 1
WAITER_NOTIFIED = 2
"""States of a waiter: there is none; it waits; it was notified and has not run yet."""

RECORD_LINK = 0xFFFFFFFF
"""The length word of a record that says: go on at the start of another chunk."""

NOTE_NOTHING = 0
NOTE_TASKS = 1
NOTE_CLAIMS = 2
"""What a queue notes of its takers: nothing; how many tasks each participant has open; which
item each worker took last."""

STATE_OPEN = 0
STATE_SHUT = 1
STATE_SHUT_NOW = 2
"""Queue states: open; no more puts; no more puts and nothing left to get."""

ARENA_MAGIC = 0x314E5241_50495A00
ARENA_VERSION = 1

ARENA = Layout(
    "arena",
    (
        U64("magic", "ARENA_MAGIC, stored last"),
        U32("version", "ARENA_VERSION"),
        U32("mutex_nbytes", "sizeof(pthread_mutex_t) where it was made"),
        U64("token", "random: tells this arena from a later one of the same name"),
        U64("nbytes", "of the file, most of it never touched"),
        U64("limit", "most bytes that blocks may reserve"),
        U32("creator_pid", "who made it and unlinks it"),
        U32("layout_sum", "checksum of this layout: both sides must agree on all of it"),
        U64("creator_start", "the creator's start time, clock ticks since boot"),
        Mutex(
            "lock", "A: guards all that follows up to `dirty`, and what blocks say of themselves"
        ),
        U32("participants_used", "entries that were ever used"),
        U32("queues_used", "slots that were ever used"),
        U32("blocks_used", "descriptors in use; their extents touch one another"),
        U32("blocks_backed", "descriptors whose memory is reserved"),
        U32("queues_backed", "slots whose memory is reserved"),
        U32("fork_clock", "counts forks"),
        U32("slots_full", "no slot below this one is unused; derived"),
        U64("frontier", "end of the last block, bytes from the segment's start"),
        U64("reserved", "bytes that blocks claim; derived, recounted after a death"),
        U64("last_sweep", "CLOCK_MONOTONIC ns; who moves it sweeps"),
        U32("free_head", "first free block of each class; derived", count=CLASSES),
        U32("dirty", "set after an owner or lender word was cleared without the lock", line=True),
        U32("queues_dirty", "set after a holding was dropped without the lock"),
        U32("space_seq", "futex word: memory came free"),
        U32("space_waiters", "how many wait for memory; a hint"),
        U8(
            "group_dirty",
            "which groups of blocks to look at",
            count=BLOCKS // DIRTY_GROUP,
            line=True,
        ),
        U8("slots_dirty", "which groups of slots to look at", count=QUEUES // DIRTY_GROUP),
    ),
    doc="The first bytes of an arena.",
)

PARTICIPANT = Layout(
    "participant",
    (
        U32("pid", "0: empty; stored last when an entry is taken, cleared last"),
        U32("generation", "counts the takers of this entry"),
        U64("start", "start time of the process, clock ticks since boot"),
        U32("born", "fork_clock when the entry was reserved by a fork; 0: not forked"),
        U32("elder", "`born` of the first forked process of its line"),
        U64("reserved_at", "CLOCK_MONOTONIC ns of the reservation"),
    ),
    nbytes=LINE,
    doc="A process that is attached. Identity: generation << 10 | index.",
)

_SLOT = (
    U32("used", "ROLE_...: what the slot holds; 0: nothing"),
    U32("generation", "counts the takers of this slot"),
    U32("torn", "1: a holder of Q died, and what it left has yet to be mended"),
    U32("handled", "1: a handle to it was made"),
)
"""How every slot begins, behind its mutex."""

QUEUE = Layout(
    "queue",
    (
        Mutex("lock", "Q: guards everything of this queue, and the item numbers of its blocks"),
        *_SLOT,
        U64("head", "cursor of the next record to get", line=True),
        U64("tail", "cursor of the next record to put"),
        U32("head_cpu", "CPU that got last: a hint for spinning"),
        U32("tail_cpu", "CPU that put last"),
        U32("items_seq", "futex word: items came"),
        U32("items_waiters", "sleepers for items; may count dead ones"),
        U32("items_pending", "a sleeper was woken and has not run yet"),
        U32("room_seq", "the same three for room"),
        U32("room_waiters"),
        U32("room_pending"),
        U32("maxsize", "most items; 0: no bound"),
        U32("state", "STATE_OPEN, STATE_SHUT or STATE_SHUT_NOW"),
        U32("done_seq", "futex word: no task is unfinished, or tasks were lost", line=True),
        U32("done_waiters"),
        U32("done_pending"),
        U32("tally", "block of the open tasks, or NONE: open | taking << 32 per participant"),
        U32("claims", "block of the item that each worker took last, or NONE"),
        U64("lost", "tasks whose takers died, told to one join | who is being counted << 32"),
        U32("named", "1: strangers may find it by a name"),
    ),
    nbytes=256,
    doc="A message queue. Items in it: tail.item - head.item.",
)

MEMORY = Layout(
    "memory",
    (
        Mutex("lock", "Q: of this slot"),
        *_SLOT,
        U64("nbytes", "how many there are"),
        U32("block", "where they are, or NONE: in `bytes`"),
        U8("bytes", "the memory itself, if it fits", count=MEMORY_INLINE, line=True),
    ),
    nbytes=QUEUE.nbytes,
    doc="A slot that holds memory which processes share, zero at first.",
)

LOCK = Layout(
    "lock",
    (
        Mutex("lock", "Q: guards everything of this lock, and is held for a moment only"),
        *_SLOT,
        U16("kind", "LOCK_...", line=True),
        U16("died", "1: who had it before the holder died with it"),
        U32("holder", "identity of who has it, or 0"),
        U64("thread", "which thread of the holder"),
        U32("count", "how often the holder has it, of a recursive lock"),
        U32("value", "of a semaphore, what is left; of an event, whether it is set; see `cpu`"),
        U32("maxvalue", "of a semaphore"),
        U32("cpu", "CPU that changed it last: a hint; of a condition, `value` has the one before"),
        U64("tickets", "how many waiters of a condition there ever were"),
        U32("seq", "futex word: it came free, was set, or notified"),
        U32("waiters", "sleepers; may count dead ones"),
        U32("pending", "a sleeper was woken and has not run yet"),
        U32("block", "of the waiters of a condition, or NONE: they are in `table`"),
        U32("capacity", "of waiters"),
        U32("lost", "how many died while they waited"),
        U64("table", "the waiters, if they fit", count=2 * WAITERS_INLINE, line=True),
    ),
    nbytes=QUEUE.nbytes,
    doc="A slot that holds a lock, a semaphore, an event or a condition.",
)

WAITER = Layout(
    "waiter",
    (
        U32("state", "WAITER_..., stored last by who comes"),
        U32("owner", "identity of who waits"),
        U64("ticket", "who came earlier is notified first"),
    ),
    doc="One who waits for a condition, or has come to a barrier.",
)

BLOCK = Layout(
    "block",
    (
        U32("owner", "FREE, QUEUED or an identity: the truth about the block"),
        U32("lender", "0, or the identity of a sender that still shows the array it moved"),
        U32("lender2", "another one: who had passed the array on before"),
        U32("queue", "slot that has it, or whose ring holds or announces it, or NONE"),
        U32("item", "number of the item it goes with, or NONE"),
        U32("next", "next of the free list; derived"),
        U32("link", "ring chunk: the chunk after it; handle: the slot it names"),
        U16("kind", "KIND_..."),
        U8("cls", "size class"),
        U8("listed", "1 while on a free list; derived"),
        U32("inherited_from", "fork_clock of the first fork that inherited a view; 0: none"),
        U32("inherited_until", "fork_clock when the owner was done with it; 0: not yet"),
        U32("claimed", "pages accounted for in `reserved`"),
        U32("backed", "pages that are reserved for certain"),
        U32("idle", "trims that found the block free"),
        U32("writer", "identity that took it last: its page tables and caches have it"),
        U64("offset", "of its first byte, from the segment's start"),
    ),
    nbytes=LINE,
    doc="What an arena knows of one block.",
)

RECORD = Layout(
    "record",
    (
        U32("nbytes", "of the payload, or RECORD_LINK"),
        U16("kind", "how the payload is encoded"),
        U16("nblocks", "how many block numbers follow; a link: unused"),
    ),
    doc="A record of a ring: this, block numbers, payload; each part padded to 8 bytes.",
)

PAYLOAD_NONE = 0
PAYLOAD_FALSE = 1
PAYLOAD_TRUE = 2
PAYLOAD_INT = 3
PAYLOAD_FLOAT = 4
PAYLOAD_STR = 5
PAYLOAD_BYTES = 6
PAYLOAD_BYTEARRAY = 7
PAYLOAD_PICKLE = 8
PAYLOAD_PARTS = 9
PAYLOAD_ARRAY = 10
"""What a payload encodes: nothing more; an int64; a float64; UTF-8; bytes; a pickle; a
pickle with buffers (PARTS, PART); an array (ARRAY_HEAD)."""
PAYLOAD_IN_BLOCK = 0x100
"""Flag: the payload lies at the start of the message's last block; the ring has its length."""
PAYLOAD_LOAN = 0x200
"""Flag: the array's data is a block of its own that was moved, not copied."""
PAYLOAD_CANCELLED = 0x400
"""Flag: the putter took the message back while it was queued; who gets it drops it."""

PARTS = Layout(
    "parts",
    (
        U32("count", "how many PART follow"),
        U32("inlined", "1: the pickle follows them; 0: it is in the last block, at `offset`"),
        U64("offset", "of the pickle in the last block"),
        U64("nbytes", "of the pickle"),
    ),
    doc="A pickle of protocol 5 and where its out-of-band buffers are.",
)

PART = Layout(
    "part",
    (
        U32("block", "which of the message's blocks"),
        U16("readonly", "1: the buffer was read-only"),
        U16("array", "1: an array showed it, and may again"),
        U64("offset", "in the block; a multiple of 64, unless the block was moved"),
        U64("nbytes"),
    ),
    doc="One out-of-band buffer.",
)

ARRAY_HEAD = Layout(
    "array_head",
    (
        U8("ndim"),
        U8("fortran", "1: first index fastest"),
        U8("readonly"),
        Chars("format", 5, "a NumPy type character, NUL-padded"),
        U64("offset", "of the data in its block"),
    ),
    doc="An array of a plain dtype; ndim lengths of 8 bytes follow, then, inlined, its data.",
)

PARTICIPANTS_OFFSET = round_up(ARENA.nbytes, PAGE)
ROWS_OFFSET = PARTICIPANTS_OFFSET + PARTICIPANTS * PARTICIPANT.nbytes
"""Holdings: a byte per participant and slot, written by its participant alone."""
QUEUES_OFFSET = ROWS_OFFSET + PARTICIPANTS * QUEUES
BLOCKS_OFFSET = QUEUES_OFFSET + QUEUES * QUEUE.nbytes
DATA_OFFSET = BLOCKS_OFFSET + BLOCKS * BLOCK.nbytes
"""Where the first block lies."""

LAYOUTS = (ARENA, PARTICIPANT, QUEUE, MEMORY, LOCK, WAITER, BLOCK, RECORD, PARTS, PART, ARRAY_HEAD)
"""The layouts of the transport; their names and offsets make `layout_sum`."""

LAYOUT_SUM = crc32(
    repr(
        [
            (x.name, x.nbytes, [(f.name, f.ctype, f.length, f.offset) for f in x.fields])
            for x in LAYOUTS
        ]
    ).encode()
)
"""Both sides of an arena must agree on all of the transport's layouts."""
