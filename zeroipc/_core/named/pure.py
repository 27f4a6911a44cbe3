"""The named structures in pure Python. `zeroipc._named` is its twin in C.

Both may be at work in one segment at the same time. The same names, steps and messages are in
the C files beside these. What is here never blocks: "full" and "empty" are answers.
"""

from __future__ import annotations

from .bell import Bell
from .entries import Entries
from .pool import Pool
from .queue import Queue
from .ring import Ring
from .semaphore import Mutex, Semaphore
from .stack import Stack
from .word import Word

__all__ = ["Bell", "Entries", "Mutex", "Pool", "Queue", "Ring", "Semaphore", "Stack", "Word"]
