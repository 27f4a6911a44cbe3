"""The core in pure Python: arenas and message queues. `zeroipc._native` is its twin in C.

Both may be at work in one arena at the same time. The same names, steps and messages are in
the C files beside these:

    arena.py blocks.py alloc.py participant.py ring.py          algorithms
    notes.py mqueue.py
    sweep.py slots.py registry.py memory.py claims.py shrink.py
    waiters.py lock.py
    atomics.py mutex.py wait.py owner.py records.py status.py   what they need
    codec.py parts.py arrays.py draft.py                        objects to messages and back
    arena_type.py block_type.py memory_type.py hold.py          what users hold
    queue_*.py lock_type.py event_type.py condition_type.py trimmer.py
    patience.py orphan.py                                       how they wait

Nothing here needs a compiler, an atomic read-modify-write, or executable memory.
"""

from __future__ import annotations

from .arena_type import Arena
from .block_type import Block
from .condition_type import Condition
from .event_type import Event
from .layout import (
    DATA_OFFSET,
    LOCK_CONDITION,
    LOCK_EVENT,
    LOCK_PLAIN,
    LOCK_RECURSIVE,
    LOCK_SEMAPHORE,
    NOTE_CLAIMS,
    NOTE_NOTHING,
    NOTE_TASKS,
    PARTICIPANTS,
)
from .lock_type import Lock
from .memory_type import Memory
from .queue_type import MessageQueue, send_handle

__all__ = [
    "DATA_OFFSET",
    "LOCK_CONDITION",
    "LOCK_EVENT",
    "LOCK_PLAIN",
    "LOCK_RECURSIVE",
    "LOCK_SEMAPHORE",
    "NOTE_CLAIMS",
    "NOTE_NOTHING",
    "NOTE_TASKS",
    "PARTICIPANTS",
    "Arena",
    "Block",
    "Condition",
    "Event",
    "Lock",
    "Memory",
    "MessageQueue",
    "send_handle",
]
