"""Synchronisation between processes by names in a segment, one class in each file."""

from __future__ import annotations

from .mutex import Mutex
from .semaphore import Semaphore

__all__ = ["Mutex", "Semaphore"]
