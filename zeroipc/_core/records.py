"""The records of the transport as Python sees them: the twin of the structs in layout.h.

What each field means is written in layout.py; the annotations here are for type checkers.
"""

from __future__ import annotations

import struct
from typing import Generic, TypeVar

from .atomics import Mapping, Record
from .fields import Field, Layout
from .layout import ARENA, BLOCK, LOCK, MEMORY, PARTICIPANT, QUEUE, WAITER


class SharedArena(Record, layout=ARENA):
    """ARENA."""

    magic: int
    version: int
    mutex_nbytes: int
    token: int
    nbytes: int
    limit: int
    creator_pid: int
    layout_sum: int
    creator_start: int
    lock: int
    participants_used: int
    queues_used: int
    blocks_used: int
    blocks_backed: int
    queues_backed: int
    fork_clock: int
    slots_full: int
    frontier: int
    reserved: int
    last_sweep: int
    free_head: memoryview
    dirty: int
    queues_dirty: int
    space_seq: int
    space_waiters: int
    group_dirty: memoryview
    slots_dirty: memoryview


class SharedParticipant(Record, layout=PARTICIPANT):
    """PARTICIPANT."""

    pid: int
    generation: int
    start: int
    born: int
    elder: int
    reserved_at: int


class Wake:
    """The three words of one reason to sleep: sequence, sleepers, pending; see wait.py."""

    __slots__ = ("address", "pending_at", "seq_at", "waiters_at", "words")

    def __init__(self, queue: Record, fields: tuple[Field, Field, Field]) -> None:
        self.words = queue.mapping.u32
        self.address = queue.address(fields[0])
        self.seq_at, self.waiters_at, self.pending_at = (
            (queue.at + field.offset) // 4 for field in fields
        )


_ITEMS = (QUEUE.items_seq, QUEUE.items_waiters, QUEUE.items_pending)
_ROOM = (QUEUE.room_seq, QUEUE.room_waiters, QUEUE.room_pending)
_FREE = (LOCK.seq, LOCK.waiters, LOCK.pending)
_DONE = (QUEUE.done_seq, QUEUE.done_waiters, QUEUE.done_pending)


class SharedQueue(Record, layout=QUEUE):
    """QUEUE."""

    lock: int
    used: int
    generation: int
    torn: int
    handled: int
    head: int
    tail: int
    head_cpu: int
    tail_cpu: int
    items_seq: int
    items_waiters: int
    items_pending: int
    room_seq: int
    room_waiters: int
    room_pending: int
    maxsize: int
    state: int
    done_seq: int
    done_waiters: int
    done_pending: int
    tally: int
    claims: int
    lost: int
    named: int

    @property
    def items(self) -> Wake:
        """What getters sleep on."""
        return Wake(self, _ITEMS)

    @property
    def room(self) -> Wake:
        """What putters sleep on."""
        return Wake(self, _ROOM)

    @property
    def done(self) -> Wake:
        """What those sleep on who join the tasks."""
        return Wake(self, _DONE)


class SharedMemory(Record, layout=MEMORY):
    """MEMORY."""

    lock: int
    used: int
    generation: int
    torn: int
    handled: int
    nbytes: int
    block: int
    bytes: memoryview


class SharedLock(Record, layout=LOCK):
    """LOCK."""

    lock: int
    used: int
    generation: int
    torn: int
    handled: int
    kind: int
    died: int
    holder: int
    thread: int
    count: int
    value: int
    maxvalue: int
    cpu: int
    tickets: int
    seq: int
    waiters: int
    pending: int
    block: int
    capacity: int
    lost: int
    table: memoryview

    @property
    def free(self) -> Wake:
        """What those sleep on who wait for it."""
        return Wake(self, _FREE)


class SharedWaiter(Record, layout=WAITER):
    """WAITER."""

    state: int
    owner: int
    ticket: int


class SharedBlock(Record, layout=BLOCK):
    """BLOCK."""

    owner: int
    lender: int
    lender2: int
    queue: int
    item: int
    next: int
    link: int
    kind: int
    cls: int
    listed: int
    inherited_from: int
    inherited_until: int
    claimed: int
    backed: int
    idle: int
    writer: int
    offset: int


R = TypeVar("R", bound=Record)


class Table(Generic[R]):
    """A row of records of one kind."""

    __slots__ = ("_at", "_kind", "_mapping", "_nbytes")

    def __init__(self, kind: type[R], mapping: Mapping, at: int) -> None:
        self._kind = kind
        self._mapping = mapping
        self._at = at
        self._nbytes = kind.layout.nbytes

    def __getitem__(self, index: int) -> R:
        return self._kind(self._mapping, self._at + index * self._nbytes)


_CODES = {"uint8_t": "B", "uint16_t": "H", "uint32_t": "I", "uint64_t": "Q", "char": "s"}


def struct_of(layout: Layout) -> struct.Struct:
    """Return what packs and unpacks a record that nobody else looks at meanwhile."""
    text, end = "=", 0
    for field in layout.fields:
        text += f"{field.offset - end}x{field.length}{_CODES[field.ctype]}"
        end = field.end
    return struct.Struct(f"{text}{layout.nbytes - end}x")
