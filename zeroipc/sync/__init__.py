"""Synchronisation between processes by names in a segment, one class in each file."""

from __future__ import annotations

from .barrier import Barrier
from .event import Event
from .latch import Latch
from .mutex import Mutex
from .once import Once
from .semaphore import Semaphore

__all__ = ["Barrier", "Event", "Latch", "Mutex", "Once", "Semaphore"]
