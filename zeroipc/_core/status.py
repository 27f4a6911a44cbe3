"""What an operation of the core answers. "Full" and "empty" are answers, not errors."""

from __future__ import annotations

from enum import IntEnum, auto
from queue import Empty, Full
from typing import TYPE_CHECKING

from ..errors import ClosedQueueError, SegmentFormatError, ShmFullError, ShutDown
from .layout import BLOCKS, PARTICIPANTS, QUEUES

if TYPE_CHECKING:
    from .arena import View


class Status(IntEnum):
    """The answers; status.h has the same."""

    OK = 0
    EMPTY = auto()  # nothing to get
    FULL = auto()  # maxsize items are in the queue
    SHUT = auto()  # the queue takes no more puts, or has nothing left to get
    STALE = auto()  # the handle names a queue that is gone
    BUSY = auto()  # a lock was not free in time, or somebody is in the midst of an operation
    TIMEOUT = auto()  # the time is over
    INTERRUPTED = auto()  # a signal came in while sleeping
    NO_MEMORY = auto()  # the arena's limit is reached: memory may come back
    NO_SPACE = auto()  # the system has no page left for the arena
    NO_ENTRY = auto()  # a table (participants, queues, blocks) is full
    WANT_CHUNK = auto()  # the ring needs another chunk: allocate it, then try again
    DAMAGED = auto()  # the bytes are not what this layout allows
    LOST = auto()  # tasks of this queue died with the process that had them
    REPAIR = auto()  # the lock's holder died: repair, then call mutex_mended


OK = Status.OK

NO_ROOM = (Status.NO_MEMORY, Status.NO_SPACE, Status.NO_ENTRY)


def error_of(status: Status, view: View) -> Exception:
    """Return the exception that tells a caller of *status*."""
    limit, reserved = view.arena.limit, view.arena.reserved
    if status is Status.EMPTY:
        return Empty()
    if status is Status.FULL:
        return Full()
    if status is Status.SHUT:
        return ShutDown("the queue is shut down")
    if status is Status.STALE:
        return ClosedQueueError("the queue does not exist any more: its last holder is gone")
    if status is Status.NO_MEMORY:
        return ShmFullError(
            f"the arena is full: limit={limit} bytes, reserved={reserved}; "
            "receive or drop arrays that are in use"
        )
    if status is Status.NO_SPACE:
        return ShmFullError(
            f"no memory is left in /dev/shm: the arena has reserved {reserved} bytes; "
            "remove files there, or mount it larger"
        )
    if status is Status.NO_ENTRY:
        return ShmFullError(
            f"a table of the arena is full: at most {PARTICIPANTS} processes, "
            f"{QUEUES} slots (queues, locks, values), {BLOCKS} blocks"
        )
    if status is Status.DAMAGED:
        return SegmentFormatError("the arena is damaged, or of another layout")
    if status is Status.BUSY:
        return TimeoutError("a lock of the arena is held by a stopped process")
    return RuntimeError(f"unexpected status {int(status)}")
