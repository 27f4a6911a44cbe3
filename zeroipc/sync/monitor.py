"""A monitor in a named segment: a mutex, and a condition to wait for while others hold it.

Callers   any number, in any process, thread and language
Progress  notify never waits; acquire, wait and wait_for sleep
Crash     the mutex of a holder that died is taken over, see mutex.py. One that dies while it
          waits leaves `count` too high, which wakes others for nothing now and then
Bytes     two SEMAPHORE, MONITOR_COUNT and a marker, see _core/named/layout.py
Source    SPECIFICATION.md, "Monitor"; threading.Condition

Wait:    count + 1; unlock; take a permit of cond; lock; count - 1
Notify:  a permit for each who is to wake, if so many wait and have none yet

Permits have no names: one who notifies and then waits may take what it gave another. So ours
count the permits they give, in a word that others do not use, and leave those that were there
before they came to those who were there before, until more are given, or a few milliseconds
have passed. Who is woken for nothing passes the permit on, once. And all look at their predicate
every few milliseconds, whatever they hear.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from operator import index
from typing import TypeVar

from .. import _backend
from .._core.named.layout import MONITOR_COUNT, SEMAPHORE
from .._core.status import Status
from .._waiting import LATE, NAP, NAP_LATE, deadline_of
from ..memory import Memory
from ..table import Entry, Part
from ._lock import Lock
from ._parts import Named, check_size, permits, reset_permits, zeros
from .mutex import Mutex
from .semaphore import COUNT_MAX, Semaphore

T = TypeVar("T")

GIVE_WAY = 2_000_000
"""Nanoseconds that others have to take the permits that are theirs."""


class Monitor(Named, Lock):
    """A mutex with a condition; its use is that of `threading.Condition`.

    `acquire`, `release` and `with` are those of a `Mutex`. `wait` may return for nothing: wait for
    a predicate, in a loop or with `wait_for`.

    Args:
        mem: the segment.
        name: of the monitor in the segment, 1 to 25 bytes. It is created if it is missing.

    Raises:
        SegmentFormatError: what is stored is not a monitor.
        SegmentFullError, TableFullError, NameTooLongError: it cannot be created.

    >>> with Memory("/example", 4096) as mem:
    ...     changed = Monitor(mem, "changed")
    ...     with changed:
    ...         changed.wait_for(lambda: True)
    ...         changed.notify_all()
    ...     mem.unlink()
    True
    """

    release: Callable[[], None]

    @staticmethod
    def _parts(name: str) -> list[Part]:
        return [
            permits(f"{name}_mtx", 1, 1),
            permits(f"{name}_cond", 0, 0),
            zeros(f"{name}_count", MONITOR_COUNT.nbytes),
            zeros(name, 1),  # says that all parts are there
        ]

    def _attach(self, mem: Memory, entries: Sequence[Entry]) -> None:
        sizes = (SEMAPHORE.nbytes, SEMAPHORE.nbytes, MONITOR_COUNT.nbytes, 1)
        for entry, nbytes in zip(entries, sizes, strict=True):
            check_size("monitor", entry, nbytes)
        mutex, cond, count, marker = entries
        self._hold(mem, marker.name)
        self._cond_entry = cond
        self._mutex = Mutex.open(mem, mutex.name)
        self._cond = Semaphore.open(mem, cond.name)
        self._count = _backend.named.Word(self._buf, count.offset, "I", None)
        given_at = cond.offset + SEMAPHORE.owner.offset
        self._given = _backend.named.Word(self._buf, given_at, "I", None)
        self._waiting = self._mutex._waiting
        self._core = self._mutex._core
        self._began = self._ended = 0
        self._expose()

    def wait(self, timeout: float | None = None) -> bool:
        """Let others have the mutex until notified; return False when the time is over.

        Also returns, at times, when nobody has notified, at the latest after 50 ms: a notification
        can be lost to another who waits.

        Raises:
            ReleaseError: nobody holds the mutex.
        """
        now, deadline = time.monotonic_ns(), deadline_of(timeout)
        if now - self._ended > NAP_LATE:  # else this is one in a loop of waits
            self._began = now
        notified = self._sleep(min(deadline, now + NAP_LATE), self._began)
        self._ended = 0 if notified else time.monotonic_ns()
        return notified or time.monotonic_ns() < deadline

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Wait until *predicate*, called with the mutex held, is true; return its last answer.

        That is false when it was not true within *timeout* seconds. Raises as `wait`.
        """
        start, deadline = time.monotonic_ns(), deadline_of(timeout)
        answer, passed_on = predicate(), False
        while not answer and (now := time.monotonic_ns()) < deadline:
            nap = NAP if now - start < LATE else NAP_LATE
            notified = self._sleep(min(deadline, now + nap), start)
            answer = predicate()
            if notified and not answer:
                passed_on = not passed_on and self._give(1) > 0
        return answer

    def notify(self, n: int = 1) -> None:
        """Wake *n* of those who wait, or all if there are fewer."""
        if n < 1:
            raise ValueError(f"n must be at least 1: n={n}")
        if self._count.load():
            self._give(index(n))

    def notify_all(self) -> None:
        """Wake all who wait."""
        if self._count.load():
            self._give(COUNT_MAX)

    def _give(self, n: int) -> int:
        """Give up to *n* permits, no more than there are waiters without; return how many."""
        present = max(self._cond.count, 0)
        given = min(n, self.waiting - present, COUNT_MAX - present)
        if given > 0:
            # [monitor.given] before the permits: who waits since then may take one
            self._given.fetch_add(given)
            self._cond.release(given)
        return given

    def _sleep(self, deadline: int, start: int) -> bool:
        """Unlock, wait for a permit, lock again; return whether there was one in time."""
        self._count.fetch_add(1)
        try:
            attempt = self._taking()
            self._core.release()
            try:
                return self._cond._waiting.wait(self._cond._core, attempt, deadline, start)
            finally:
                self.acquire()
        finally:
            self._count.fetch_sub(1)

    def _taking(self) -> Callable[[], Status]:
        """Return how to take a permit, but not at once one that was there before."""
        take: Callable[[], Status] = self._cond._core.try_acquire
        given = self._given.load()
        end = time.monotonic_ns() + GIVE_WAY if self._cond.count > 0 and self.waiting > 1 else 0

        def attempt() -> Status:
            # [monitor.given] while nothing is given, the permits are for those who were there
            if self._given.load() == given and time.monotonic_ns() < end:
                return Status.EMPTY
            return take()

        return attempt if end else take

    @property
    def waiting(self) -> int:
        """How many wait for the condition, at some moment."""
        return int(self._count.load())

    @property
    def recovered(self) -> bool:
        """Whether the last acquire through this handle took the mutex from a dead process."""
        return self._mutex.recovered

    def locked(self) -> bool:
        """Return whether somebody holds the mutex, at some moment."""
        return bool(self._core.count() <= 0)

    def repair(self) -> None:
        """Unlock the mutex and forget who waits; for when nobody else uses the monitor."""
        self._count.store(0)
        reset_permits(self._mem.view(self._cond_entry), 0)
        self._mutex.repair()

    def close(self) -> None:
        """Let go of the monitor, which stays; closing twice is fine."""
        super().close()
        self._count = self._core

    def _facts(self) -> str:
        return f"{'locked' if self.locked() else 'free'}, waiting={self.waiting}"
