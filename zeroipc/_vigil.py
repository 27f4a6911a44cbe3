"""Watching over another process while waiting for it."""

from __future__ import annotations

import time

from ._core.named.holder import holder_dead

TICK = 100_000_000
"""Nanoseconds between two looks: each opens a file of /proc."""


class Vigil:
    """Looks ten times a second whether processes are gone, by their owner tags."""

    def __init__(self) -> None:
        self._next: dict[int, int] = {}

    def dead(self, tag: int) -> bool:
        """Return whether the process of *tag* is gone; False between two looks, and for 0."""
        now = time.monotonic_ns()
        if tag == 0 or now < self._next.get(tag, 0):
            return False
        if holder_dead(tag):
            return True
        self._next[tag] = now + TICK
        return False
