"""Shared memory between processes that feels like the standard library.

Public names are loaded on first use, so that `import zeroipc` stays cheap: NumPy and
cloudpickle come in only with what needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._backend import backend as backend
    from ._eventual import gather as gather
    from .array import Array as Array
    from .atomic import Atomic as Atomic
    from .channel import Channel as Channel
    from .channel import select as select
    from .errors import AlreadySetError as AlreadySetError
    from .errors import BackendError as BackendError
    from .errors import CapacityError as CapacityError
    from .errors import ClosedChannelError as ClosedChannelError
    from .errors import ClosedError as ClosedError
    from .errors import DTypeError as DTypeError
    from .errors import EmptyError as EmptyError
    from .errors import FreedError as FreedError
    from .errors import FullError as FullError
    from .errors import IntruderError as IntruderError
    from .errors import InvalidNameError as InvalidNameError
    from .errors import MovedError as MovedError
    from .errors import NameExistsError as NameExistsError
    from .errors import NameTooLongError as NameTooLongError
    from .errors import NestedCallError as NestedCallError
    from .errors import NoRoomError as NoRoomError
    from .errors import OutOfRangeError as OutOfRangeError
    from .errors import OwnerDiedError as OwnerDiedError
    from .errors import ReleaseError as ReleaseError
    from .errors import RemoteError as RemoteError
    from .errors import SegmentAccessError as SegmentAccessError
    from .errors import SegmentExistsError as SegmentExistsError
    from .errors import SegmentFormatError as SegmentFormatError
    from .errors import SegmentFullError as SegmentFullError
    from .errors import SegmentNotFoundError as SegmentNotFoundError
    from .errors import SegmentNotReadyError as SegmentNotReadyError
    from .errors import ShmFullError as ShmFullError
    from .errors import StalledError as StalledError
    from .errors import StructureNotFoundError as StructureNotFoundError
    from .errors import TableFullError as TableFullError
    from .errors import TaskTimeoutError as TaskTimeoutError
    from .errors import UnpicklableError as UnpicklableError
    from .errors import VersionError as VersionError
    from .errors import WaitTimeoutError as WaitTimeoutError
    from .errors import WorkerDiedError as WorkerDiedError
    from .errors import ZeroIPCError as ZeroIPCError
    from .event_stream import EventStream as EventStream
    from .flow import Flow as Flow
    from .function import Function as Function
    from .future import Future as Future
    from .lazy import Lazy as Lazy
    from .lazy import LazyBool as LazyBool
    from .map import Map as Map
    from .memory import Memory as Memory
    from .pool import Node as Node
    from .pool import Pool as Pool
    from .queue import Queue as Queue
    from .ring import Ring as Ring
    from .set import Set as Set
    from .stack import Stack as Stack
    from .stream import Stream as Stream
    from .sync import Barrier as Barrier
    from .sync import Event as Event
    from .sync import Latch as Latch
    from .sync import Monitor as Monitor
    from .sync import Mutex as Mutex
    from .sync import Once as Once
    from .sync import RWLock as RWLock
    from .sync import Semaphore as Semaphore
    from .sync import Signal as Signal
    from .table import Table as Table

__version__ = "0.1.0"

_NAMES = {
    "_backend": ("backend",),
    "_eventual": ("gather",),
    "array": ("Array",),
    "atomic": ("Atomic",),
    "channel": ("Channel", "select"),
    "errors": (
        "AlreadySetError",
        "BackendError",
        "CapacityError",
        "ClosedChannelError",
        "ClosedError",
        "DTypeError",
        "EmptyError",
        "FreedError",
        "FullError",
        "IntruderError",
        "InvalidNameError",
        "MovedError",
        "NameExistsError",
        "NameTooLongError",
        "NestedCallError",
        "NoRoomError",
        "OutOfRangeError",
        "OwnerDiedError",
        "ReleaseError",
        "RemoteError",
        "SegmentAccessError",
        "SegmentExistsError",
        "SegmentFormatError",
        "SegmentFullError",
        "SegmentNotFoundError",
        "SegmentNotReadyError",
        "ShmFullError",
        "StalledError",
        "StructureNotFoundError",
        "TableFullError",
        "TaskTimeoutError",
        "UnpicklableError",
        "VersionError",
        "WaitTimeoutError",
        "WorkerDiedError",
        "ZeroIPCError",
    ),
    "event_stream": ("EventStream",),
    "flow": ("Flow",),
    "function": ("Function",),
    "future": ("Future",),
    "lazy": ("Lazy", "LazyBool"),
    "map": ("Map",),
    "memory": ("Memory",),
    "pool": ("Node", "Pool"),
    "queue": ("Queue",),
    "ring": ("Ring",),
    "set": ("Set",),
    "stack": ("Stack",),
    "stream": ("Stream",),
    "sync": (
        "Barrier",
        "Event",
        "Latch",
        "Monitor",
        "Mutex",
        "Once",
        "RWLock",
        "Semaphore",
        "Signal",
    ),
    "table": ("Table",),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

__all__ = ["__version__", *_MODULE_OF]  # noqa: PLE0604 - every name is a str


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'zeroipc' has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
