"""Synchronisation between processes by names in a segment, one class in each file."""

from __future__ import annotations

from .barrier import Barrier
from .event import Event
from .latch import Latch
from .monitor import Monitor
from .mutex import Mutex
from .once import Once
from .rwlock import RWLock
from .semaphore import Semaphore
from .signal import Signal

__all__ = [
    "Barrier",
    "Event",
    "Latch",
    "Monitor",
    "Mutex",
    "Once",
    "RWLock",
    "Semaphore",
    "Signal",
]
