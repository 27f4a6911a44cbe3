"""Permits: a semaphore has some, a mutex one and a tag that says who holds it.

Take:  1. count c > 0   2. count c -> c - 1          mutex: 3. owner = tag
Give:  1. count c, below max_count        mutex: 2. owner = 0   3. count c -> c + 1
Inherit a mutex: owner from the tag of a process that died to one's own; count stays 0.

A process that dies with the permit and the tag is inherited from, by exactly one. Between 2
and 3 it leaves a mutex that nobody is known to hold.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from typing import Any

from ...errors import ReleaseError
from ..status import OK, Status
from .bell import Bell
from .holder import own_tag
from .layout import SEMAPHORE
from .structure import Structure
from .words import signed32

_MOST = 2**31 - 1

Late = Callable[..., bool]
"""Called as ``late(core, *args, **keywords)`` with the arguments of an acquire that may wait."""


class Semaphore(Structure):
    """The permits at an *offset* of a segment. What has to wait is left to *late*."""

    def __init__(self, buf: memoryview, offset: int, bell: Bell | None, late: Late) -> None:
        super().__init__(buf, offset, SEMAPHORE.nbytes, bell)
        self._count = offset + SEMAPHORE.count.offset
        self._waiting = offset + SEMAPHORE.waiting.offset
        self._max_count = offset + SEMAPHORE.max_count.offset
        self._owner = offset + SEMAPHORE.owner.offset
        self._late = late

    def try_acquire(self) -> Status:
        """Take a permit: OK, or EMPTY."""
        return self._take()

    def acquire(self, *args: Any, **keywords: Any) -> bool:
        """Take a permit, waiting for one unless the arguments say otherwise."""
        if not args and not keywords and self.try_acquire() is OK:
            return True
        return self._late(self, *args, **keywords)

    __enter__ = acquire

    def release(self, n: int = 1, /) -> None:
        """Give *n* permits back.

        Raises:
            ReleaseError: there would be more than allowed.
        """
        permits = index(n)
        if not 1 <= permits <= _MOST:
            raise ValueError(f"n must be from 1 to {_MOST}: n={permits}")
        if self._give(permits) is not OK:
            raise ReleaseError(f"a semaphore must have at most {self._most()} permits")
        self._ring(0)

    def __exit__(self, *exception: object) -> None:
        self.release()

    def count(self) -> int:
        """Return how many permits there are, at some moment."""
        return signed32(self._words.load32(self._count))

    def add_waiting(self, change: int) -> None:
        """Count those who wait."""
        self._words.add32(self._waiting, change)

    def _most(self) -> int:
        stored = signed32(self._words.load32(self._max_count))
        return stored if stored > 0 else _MOST

    def _take(self) -> Status:
        words = self._words
        while True:
            count = signed32(words.load32(self._count))
            if count <= 0:
                return Status.EMPTY
            # [semaphore.permit] acquire: what was done before the permit was given is visible
            if words.cas32(self._count, count, count - 1):
                return OK

    def _give(self, permits: int) -> Status:
        words = self._words
        while True:
            count = signed32(words.load32(self._count))
            if count > self._most() - permits:
                return Status.FULL
            # [semaphore.permit] release; pairs with _take
            if words.cas32(self._count, count, count + permits):
                return OK


class Mutex(Semaphore):
    """A semaphore of one permit, and who holds it. What has to wait is left to *late*."""

    def __init__(self, buf: memoryview, offset: int, bell: Bell | None, late: Late) -> None:
        super().__init__(buf, offset, bell, late)
        self._recovered = False

    def try_acquire(self) -> Status:
        """Take the mutex: OK, or EMPTY."""
        status = self._take()
        if status is OK:
            self._words.store32(self._owner, own_tag())
            self._recovered = False
        return status

    def release(self) -> None:  # type: ignore[override]
        """Give the mutex back.

        Raises:
            ReleaseError: it is free.
        """
        words = self._words
        while True:
            count = signed32(words.load32(self._count))
            if count >= self._most():
                raise ReleaseError("a mutex must be locked to be released")
            # [mutex.owner] before the permit: the tag of the next holder stays
            words.store32(self._owner, 0)
            # [semaphore.permit] release; pairs with _take
            if words.cas32(self._count, count, count + 1):
                break
        self._ring(0)

    def owner(self) -> int:
        """Return the tag of the holder; 0 when the mutex is free, or its holder unknown."""
        return self._words.load32(self._owner)

    def inherit(self, heritage: int) -> bool:
        """Take the mutex from a holder that died, by its tag; return whether it worked."""
        # [mutex.owner] acquire: exactly one survivor, who sees what the dead had done
        inherited = self._words.cas32(self._owner, heritage, own_tag())
        self._recovered = self._recovered or inherited
        return inherited

    def recovered(self) -> bool:
        """Return whether the last acquire through this object took it from the dead."""
        return self._recovered
