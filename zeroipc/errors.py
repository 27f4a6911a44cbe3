"""Every exception of ZeroIPC: one family, so that one `except ZeroIPCError` catches all.

Each class also derives from the nearest built-in exception, so code written for the
standard library catches it too. All of them survive pickling.
"""

from __future__ import annotations

import pickle
import queue
from concurrent.futures import InvalidStateError
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._died import WorkerDiedError as WorkerDiedError

_SHUT_DOWN: tuple[type[Exception], ...] = (queue.ShutDown,) if hasattr(queue, "ShutDown") else ()


class ZeroIPCError(Exception):
    """The root of the family; never raised itself."""


# --- The segment as a whole --------------------------------------------------------


class SegmentNotFoundError(ZeroIPCError, FileNotFoundError):
    """No segment has this name. Raised by opening and unlinking.

    Create it first, or give a size to open-or-create it. When the segment is there but
    lacks a structure, it is `StructureNotFoundError`.
    """


class SegmentExistsError(ZeroIPCError, FileExistsError):
    """The name is taken. Raised by exclusive creation.

    Open it instead, or unlink it first. When a structure's name is taken inside a
    segment, it is `NameExistsError`.
    """


class SegmentAccessError(ZeroIPCError, PermissionError):
    """The segment belongs to somebody else, or its mode does not suit.

    Raised by attaching: the system refused, or a private segment (owned by the effective
    user, mode 0600) was required and this is not one. Nothing has been read from it.
    """


class SegmentFormatError(ZeroIPCError, ValueError):
    """The bytes are not a sound ZeroIPC segment: foreign, truncated or damaged.

    Raised by opening and by every operation that finds a stored number outside its
    bounds. Unlink the segment and make a new one. A sound segment of another format
    version gives `VersionError`.
    """


class SegmentNotReadyError(SegmentFormatError):
    """The segment exists but its creator has not finished it.

    Raised by opening after a bounded wait. The creator is slow, or it died half-way: then
    unlink the segment and make a new one.

    Attributes:
        nbytes: bytes that the creator had reserved so far.
    """

    def __init__(self, message: str, nbytes: int = 0) -> None:
        super().__init__(message)
        self.nbytes = nbytes


class VersionError(ZeroIPCError, ValueError):
    """A ZeroIPC segment, or a request for one, in a format version we do not know.

    Use a release of ZeroIPC that knows it. When the bytes make no sense at all, it is
    `SegmentFormatError`.
    """


class ShmFullError(ZeroIPCError, MemoryError):
    """The system has too little shared memory. Raised when pages are reserved.

    Nothing is left behind. Unlink what is not needed, or enlarge /dev/shm. When one
    segment has no room for another structure, it is `SegmentFullError`.

    Attributes:
        asked: bytes that were asked for.
        free: bytes that were free before.
    """

    def __init__(self, message: str, asked: int = 0, free: int = 0) -> None:
        super().__init__(message)
        self.asked = asked
        self.free = free


class QueueFullError(ShmFullError, queue.Full):
    """The queue may take the item but shared memory has no room for it. Raised by `put`.

    Only queues with a `maxsize` raise it, after the timeout; those without keep the item in
    the sending process until there is room. A message that no arena of this size can ever
    hold is a `ShmFullError` at once.
    """


# --- Structures inside a segment ---------------------------------------------------


class StructureNotFoundError(ZeroIPCError, KeyError):
    """The segment has no structure of this name. Raised by opening a structure.

    Create it by giving its capacity. When the segment itself is missing, it is
    `SegmentNotFoundError`.
    """

    def __str__(self) -> str:
        return Exception.__str__(self)  # KeyError would put the message in quotes


class NameExistsError(ZeroIPCError, ValueError):
    """The segment already has a structure of this name. Raised by exclusive creation.

    Open it, or choose another name; structures are never removed.
    """


class InvalidNameError(ZeroIPCError, ValueError):
    """A name of a segment or structure that cannot be used: empty, with NUL, reserved..."""


class NameTooLongError(InvalidNameError):
    """A name with too many bytes (not characters) in UTF-8.

    Raised on creation: a structure's name has at most 31 bytes, a segment's 255.
    """


class SegmentFullError(ZeroIPCError, MemoryError):
    """No room in the segment for another structure; nothing has been changed.

    Raised by creating a structure. Make the segment larger. When the system has no more
    shared memory, it is `ShmFullError`.
    """


class TableFullError(SegmentFullError):
    """All slots of the segment's table are taken; nothing has been changed.

    Create the segment with more `max_entries`.
    """


class DTypeError(ZeroIPCError, TypeError):
    """A dtype that cannot be shared, or that does not fit what is stored.

    Raised by creating and opening structures. Objects cannot be shared; a stored
    structure needs the element size it was made with.
    """


class CapacityError(ZeroIPCError, ValueError):
    """A capacity or size outside its range, or other than the one that is stored."""


class OutOfRangeError(ZeroIPCError, OverflowError):
    """A value that the dtype cannot hold. Raised by storing it; nothing has changed.

    A value of the wrong kind altogether gives `DTypeError`.
    """


# --- Use ---------------------------------------------------------------------------


class ClosedError(ZeroIPCError, ValueError):
    """You closed this handle before. When the other side broke, it is `OwnerDiedError`."""


class ClosedQueueError(ClosedError, OSError):
    """You closed this queue before. When somebody shut it down for all, it is `ShutDown`.

    The standard library's queues raise ValueError here or OSError there, whence both.
    """


class ShutDown(ClosedError, *_SHUT_DOWN):  # type: ignore[misc]  # noqa: N818 - as queue.ShutDown
    """Somebody shut the queue down. Raised by `put`, and by `get` when nothing is left to get.

    From Python 3.13 on it is a `queue.ShutDown` as well.
    """


class OwnerDiedError(ZeroIPCError, RuntimeError):
    """A process died while it held what this operation needs.

    What it held has been returned, and the structure is usable. When this side closed the
    handle, it is `ClosedError`.
    """


class TaskTimeoutError(ZeroIPCError, TimeoutError):
    """A task ran for longer than it may, and was ended with its worker.

    Raised by asking for its result. That a result does not come within the time that you wait
    for it is a plain TimeoutError, and the task goes on.
    """


class StalledError(ZeroIPCError, RuntimeError):
    """Another process is in the midst of an operation and does not go on: dead, or stopped.

    Raised by operations on named structures that need what it holds. The shared format does
    not say who it is, so this is found by time alone. When nobody else uses the structure,
    its `repair()` makes it usable again; the error's text names the structure.
    """


class IntruderError(ZeroIPCError, RuntimeError):
    """Somebody else is where only one may be: a ring has one producer and one consumer.

    Raised at the end of a window that another one has written to, or read from, meanwhile.
    Nothing was published or given back.
    """


class FreedError(ZeroIPCError, ValueError):
    """A node of a pool that was freed, or given away, before.

    Raised by freeing it once more, and by every use of its handle; nothing has changed.
    """


class ReleaseError(ZeroIPCError, RuntimeError, ValueError):
    """A lock that is free, or a semaphore with all its permits, was released once more.

    Raised by `release`; nothing has changed. The standard library's locks raise RuntimeError
    here and its semaphores ValueError, whence both.
    """


class NoRoomError(ZeroIPCError, MemoryError):
    """A map or set has an entry for every key it can hold. Raised by storing a new key.

    Erase others, or make it with a larger capacity. When the segment has no room for another
    structure, it is `SegmentFullError`.

    Attributes:
        done: of how many items an operation on many had done its work; else 0, and nothing
            has changed.
    """

    def __init__(self, message: str, done: int = 0) -> None:
        super().__init__(message)
        self.done = done


class WaitTimeoutError(ZeroIPCError, TimeoutError):
    """The time is over. Raised by operations with a *timeout*.

    Attributes:
        done: of how many items an operation on many had done its work; else 0, and nothing
            has changed.
    """

    def __init__(self, message: str, done: int = 0) -> None:
        super().__init__(message)
        self.done = done


class FullError(WaitTimeoutError, queue.Full):
    """A named queue has no room. Raised by `put` when the time is over; nothing has changed."""


class EmptyError(WaitTimeoutError, queue.Empty):
    """A named queue has no item. Raised by `get` when the time is over."""


class AlreadySetError(ZeroIPCError, InvalidStateError, RuntimeError):
    """A future has its result already, or somebody is just setting it. Raised by setting it.

    Nothing has changed; `try_set_result` says False instead.
    """


class RemoteError(ZeroIPCError, RuntimeError):
    """The work failed, perhaps in another process. Raised by asking for its result.

    The text is what whoever did the work wrote down: at most 255 bytes.
    """


class ClosedChannelError(ClosedError, EOFError):
    """Somebody closed the channel or stream for all, and nothing is left to receive.

    Raised by sending into it and receiving from it. When you let go of the handle, it is
    `ClosedError`.
    """


class MovedError(ZeroIPCError, ValueError):
    """This array was sent away with its memory and is not yours any more.

    Raised by sending it again. Send a copy, or make a new one.
    """


class UnpicklableError(ZeroIPCError, pickle.PicklingError, TypeError, AttributeError):
    """An object that cannot be sent to another process. Raised by the sending call.

    The message names the path to the culprit. `pickle` itself raises one or another of the
    three built-in classes, so this is all of them.
    """


class NestedCallError(ZeroIPCError, RuntimeError):
    """A call of a queue that a signal handler or a finalizer cannot make just then.

    Raised by the pure backend only, when its caller has interrupted a queue operation of its
    own thread, whose lock it would wait for: everything but `put`, which is made later.
    """


class BackendError(ZeroIPCError, ImportError):
    """The backend asked for is not available. Raised on first use of the package's core.

    The message gives the remedy; ZEROIPC_BACKEND chooses native, pure or auto.
    """


def __getattr__(name: str) -> Any:
    """Load WorkerDiedError on first use: its base brings half of multiprocessing along."""
    if name == "WorkerDiedError":
        from ._died import WorkerDiedError

        return globals().setdefault(name, WorkerDiedError)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
