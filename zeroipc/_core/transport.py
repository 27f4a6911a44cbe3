"""The core in pure Python: arenas and message queues. `zeroipc._native` is its twin in C.

Both may be at work in one arena at the same time. The same names, steps and messages are in
the C files beside these:

    arena.py blocks.py alloc.py participant.py ring.py notes.py mqueue.py        algorithms
    sweep.py registry.py claims.py shrink.py
    atomics.py mutex.py wait.py owner.py records.py status.py                    what they need
    arena_type.py queue_type.py codec.py arrays.py                               what users hold

Nothing here needs a compiler, an atomic read-modify-write, or executable memory.
"""

from __future__ import annotations

from .arena_type import Arena, Block
from .layout import DATA_OFFSET, NOTE_CLAIMS, NOTE_NOTHING, NOTE_TASKS, PARTICIPANTS
from .queue_type import MessageQueue, send_handle

__all__ = [
    "DATA_OFFSET",
    "NOTE_CLAIMS",
    "NOTE_NOTHING",
    "NOTE_TASKS",
    "PARTICIPANTS",
    "Arena",
    "Block",
    "MessageQueue",
    "send_handle",
]
