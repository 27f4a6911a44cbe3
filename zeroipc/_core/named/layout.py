"""Every byte of the named structures: fields, offsets, sizes and states.

The part of `layout.py`, one folder up, for what lives in a named segment. `layout.h` beside
this file and the tables of SPECIFICATION.md are made from it by tools/gen_layout.py.

Records begin at multiples of MAX_ALIGN. Elements and entries of the user's types follow the
records; where they lie is said in each structure's file, for it depends on the types.
"""

from __future__ import annotations

from ..fields import I32, U8, U16, U32, U64, Chars, Layout

# --- Waiting, ours alone ----------------------------------------------------------------

WAIT_NAME = b".wait"
"""The table entry whose buckets our processes sleep on; made by the first that sleeps."""

WAIT_BUCKETS = 64
WAIT_MULTIPLIER = 0x9E3779B1
WAIT_SHIFT = 26
"""The bucket of the word at an offset is (offset * WAIT_MULTIPLIER mod 2**32) >> WAIT_SHIFT."""

WAIT_NOBODY = 0
WAIT_ASLEEP = 1
WAIT_AWAKE = 2
"""Marks of a bucket: nobody waits there; somebody may be asleep; all who wait are awake."""

WAIT_BUCKET = Layout(
    "wait_bucket",
    (
        U32("seq", "changes when sleepers should look again: they sleep on this word"),
        U32("waiters", "WAIT_...; cleared by whoever rings"),
    ),
    doc="One of the WAIT_BUCKETS buckets of WAIT_NAME.",
)

# --- Containers -------------------------------------------------------------------------

QUEUE = Layout(
    "queue_header",
    (
        U32("head", "number of the next item to pop, modulo 2**32"),
        U32("tail", "number of the next item to push, modulo 2**32"),
        U32("capacity", "slots, a power of two"),
        U32("elem_size", "bytes of an item"),
    ),
    doc="Header of a queue; the items follow, then a sequence number (u32) for each slot.",
)

STACK = Layout(
    "stack_header",
    (
        I32("top", "index of the top item; -1 when empty"),
        U32("capacity", "slots"),
        U32("elem_size", "bytes of an item"),
        U32("reserved", "0"),
    ),
    doc="Header of a stack; the items follow, then a state (u32) for each slot.",
)

STACK_EMPTY = 0
STACK_WRITING = 1
STACK_READY = 2
STACK_READING = 3
"""States of a stack's slot."""

RING = Layout(
    "ring_header",
    (
        U64("write_pos", "bytes written in all"),
        U64("read_pos", "bytes read in all"),
        U32("capacity", "bytes, a multiple of elem_size"),
        U32("elem_size", "bytes of an element"),
    ),
    doc="Header of a ring; its bytes follow.",
)

MAP = Layout(
    "map_header",
    (
        U32("size", "live entries, changed after the entry"),
        U32("capacity", "entries"),
        U32("key_size", "bytes of a key"),
        U32("value_size", "bytes of a value, at most MAP_VALUE_MAX"),
    ),
    doc="Header of a map; the entries follow, each a state (u32), a key and a value.",
)

MAP_VALUE_MAX = 8
"""Most bytes of a map's value."""

SET = Layout(
    "set_header",
    (
        U32("size", "live entries, changed after the entry"),
        U32("capacity", "entries"),
        U32("elem_size", "bytes of a value"),
        U32("reserved", "0"),
    ),
    doc="Header of a set; the entries follow, each a state (u32) and a value.",
)

SLOT_EMPTY = 0
SLOT_OCCUPIED = 1
SLOT_DELETED = 2
SLOT_INSERTING = 3
"""States of an entry of a map or set."""

HASH_MULTIPLIER = 2654435761
"""Integers hash to their value times this, modulo 2**64."""
HASH_SEED = 0xC70F6907
HASH_MURMUR = 0xC6A4A7935BD1E995
"""Other keys hash by the 64-bit MurmurHash variant of the GNU C++ library."""

POOL = Layout(
    "pool_header",
    (
        U64("free_head", "generation << 32 | index of the first free node"),
        U32("allocated", "nodes in use, changed after free_head"),
        U32("padding", "0"),
        U32("capacity", "nodes"),
        U32("elem_size", "bytes of an element"),
    ),
    doc="Header of a pool; the nodes follow, each an element and the next free index (u32).",
)

POOL_END = 0xFFFFFFFF
"""The index that ends the list of free nodes."""

# --- Codata -----------------------------------------------------------------------------

ERROR_NBYTES = 256
"""Bytes of an error message, its NUL included."""

FUTURE = Layout(
    "future_header",
    (
        U32("state", "FUTURE_..."),
        U32("waiters", "how many wait for it"),
        U64("completion_time", "when it was set: informative, its unit varies"),
    ),
    doc="Header of a future; the value follows, then ERROR_NBYTES bytes of message.",
)

FUTURE_PENDING = 0
FUTURE_COMPUTING = 1
FUTURE_READY = 2
FUTURE_ERROR = 3
"""States of a future."""

LAZY_PENDING = 0
LAZY_COMPUTING = 1
LAZY_COMPUTED = 2
LAZY_ERROR = 3
"""States of a lazy value."""

LAZY_CONSTANT = 0
LAZY_ADD = 1
LAZY_MULTIPLY = 2
LAZY_NEGATE = 3
LAZY_CHAIN = 4
LAZY_EXTERNAL = 5
"""Operations of a lazy value."""

LAZY_BOOLEAN = Layout(
    "lazy_boolean",
    (
        U32("state", "LAZY_..."),
        U32("op", "LAZY_CONSTANT or LAZY_AND ... LAZY_NOT"),
        U8("a", "first operand, 0 or 1"),
        U8("b", "second operand"),
        U16("padding", "0"),
        U8("cached", "the value"),
    ),
    doc="A lazy truth value.",
)

LAZY_AND = 1
LAZY_OR = 2
LAZY_XOR = 3
LAZY_NOT = 4
"""Operations of a lazy truth value; LAZY_CONSTANT too."""

STREAM = Layout(
    "stream_header",
    (
        U64("sequence", "values emitted"),
        U32("subscribers", "how many read"),
        U8("closed", "1: nothing more will be emitted"),
        U32("buffer_capacity", "elements of the buffer"),
        Chars("transform", 32, "a name, padded with NUL"),
    ),
    doc="Entry NAME_header of a stream; NAME_buffer is a ring.",
)

SIGNAL_STREAM = Layout(
    "event_stream",
    (
        U64("event_count", "events emitted"),
        U8("closed", "1: nothing more will be emitted"),
    ),
    doc="A stream without values.",
)

CHANNEL = Layout(
    "channel_header",
    (
        U32("capacity", "0: unbuffered; else a power of two"),
        U32("senders", "waiting, unbuffered only"),
        U32("receivers", "waiting, unbuffered only"),
        U8("closed", "1: nothing more will be sent"),
        U64("send_seq", "0; unbuffered, the claim of the one of ours that sends"),
        U64("recv_seq", "0; unbuffered, the claim of the one of ours that receives"),
    ),
    doc="Entry NAME_header of a channel; NAME_buffer is a queue, or NAME_slot a slot.",
)

CHANNEL_SLOT = Layout(
    "channel_slot",
    (
        U8("ready", "1: a value is in the slot"),
        U8("consumed", "1: the value has been read"),
    ),
    doc="Start of entry NAME_slot; the value follows at the next multiple of its alignment.",
)

# --- Synchronisation --------------------------------------------------------------------

SEMAPHORE = Layout(
    "semaphore",
    (
        I32("count", "permits"),
        I32("waiting", "how many wait for a permit"),
        I32("max_count", "most permits; 0: no limit"),
        U32("owner", "0; ours alone: a mutex's owner tag, what a condition gave"),
    ),
    doc="A semaphore; a mutex is one with count 1 and max_count 1.",
)

OWNER_PID_BITS = 22
"""An owner tag is a process id, and above these bits the lowest ten of its start time."""

BARRIER = Layout(
    "barrier",
    (
        I32("arrived", "of this generation"),
        I32("generation", "changes when all have arrived"),
        I32("participants", "how many must arrive"),
        I32("padding", "0"),
    ),
    doc="A barrier.",
)

LATCH = Layout(
    "latch",
    (
        I32("count", "counts down to 0"),
        I32("initial_count", "set at creation"),
        U64("padding", "0"),
    ),
    doc="A latch.",
)

ONCE = Layout("once", (U32("state", "ONCE_..."),), doc="A once.")

ONCE_PENDING = 0
ONCE_RUNNING = 1
ONCE_DONE = 2
"""States of a once."""

EVENT = Layout(
    "event",
    (
        U32("signaled", "1: set"),
        U32("mode", "EVENT_AUTOMATIC or EVENT_MANUAL"),
        U32("waiting", "how many wait, manual mode only"),
    ),
    doc="Entry NAME of an event; NAME_sem is a semaphore.",
)

EVENT_AUTOMATIC = 0
EVENT_MANUAL = 1
"""Modes of an event."""

RWLOCK = Layout(
    "rwlock_state",
    (
        I32("readers", "how many read"),
        I32("writer_active", "1: somebody writes, or waits for the readers to leave"),
    ),
    doc="Entry NAME_state of a read-write lock; NAME_rmtx and NAME_wmtx are mutexes.",
)

MONITOR_COUNT = Layout(
    "monitor_count",
    (U32("count", "how many wait for the condition"),),
    doc="Entry NAME_count of a monitor; NAME_mtx is a mutex, NAME_cond a semaphore.",
)

SIGNAL = Layout(
    "signal_state",
    (U64("version", "counts the changes"),),
    doc="Header of entry NAME_state of a signal; the value follows. NAME_mtx is a mutex.",
)

# --- Ours alone -------------------------------------------------------------------------

ATOMIC_NBYTES = 8
"""Bytes of an atomic word, of any type: the value, then zeros."""

FUNCTION = Layout(
    "function_header",
    (
        U32("version", "FUNCTION_VERSION"),
        U32("slots", "how many calls there can be at a time"),
        U32("argument_nbytes", "bytes of the arguments"),
        U32("result_nbytes", "bytes of the result"),
        U64("tickets", "calls made: each takes the next number"),
        U32("called", "changes when a call is made; servers watch it", line=True),
        U32("done", "changes when a call is done; clients watch it", line=True),
        U32("freed", "changes when a slot becomes free; clients watch it"),
    ),
    doc="Header of a function; the slots follow.",
)

FUNCTION_VERSION = 1

FUNCTION_CALL = Layout(
    "function_call",
    (
        U64("word", "generation << 40 | FUNCTION_... << 32 | owner tag"),
        U64("ticket", "the call's number: lower ones are served first"),
        U32("client", "owner tag of who calls"),
        U32("reserved", "0"),
    ),
    doc="Start of a slot; arguments, result and ERROR_NBYTES bytes of message follow.",
)

FUNCTION_FREE = 0
FUNCTION_CLAIMED = 1
FUNCTION_CALLED = 2
FUNCTION_RUNNING = 3
FUNCTION_DONE = 4
FUNCTION_FAILED = 5
FUNCTION_ABANDONED = 6
"""States of a slot, and whose tag is beside it: nobody's, the client's (1, 2, 4, 5), the
server's (3, 6)."""

LAYOUTS = tuple(value for value in list(globals().values()) if isinstance(value, Layout))
