"""How an acquire waits; the cores of semaphores and mutexes call it when there is no permit.

A mutex whose holder died is inherited: whoever has waited a moment looks whether the process
that the owner tag names still lives, and if not takes the mutex over, by compare-and-swap on
the tag, so that exactly one does. Who holds it without a tag, a program in another language or
one that died between the permit and its tag, is waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns
from typing import Any

from .._core.named.holder import holder_dead
from .._core.status import OK, Status
from .._waiting import FOREVER, deadline_of, wait_until
from ..memory import Memory

FIRST_LOOK = 1_000_000
"""Nanoseconds of waiting before the first look whether the holder lives."""
LOOK_AGAIN = 100_000_000
"""Nanoseconds between two looks: each reads a file of /proc."""


class Waiting:
    """Waits for permits of one structure; the cores call it as their *late*."""

    def __init__(self, bell: Any, mem: Memory, title: str) -> None:
        self._bell = bell
        self._mem = mem
        self._title = title

    def __call__(self, core: Any, blocking: bool = True, timeout: float | None = -1) -> bool:
        """Acquire as `threading.Lock.acquire`; a *timeout* of None or -1 waits for ever."""
        deadline = lock_deadline(blocking, timeout)
        if core.try_acquire() is OK:
            return True
        return bool(blocking) and self.till(core, deadline)

    def till(self, core: Any, deadline: int) -> bool:
        """Acquire until a deadline, as from `deadline_of`; return whether it worked."""
        return self.wait(core, self._attempt(core), deadline)

    def wait(
        self, core: Any, attempt: Callable[[], Status], deadline: int, start: int | None = None
    ) -> bool:
        """Be one of those who wait until *attempt* works; return whether it did in time."""
        core.add_waiting(1)
        try:
            answer = wait_until(attempt, self._bell, self._mem, deadline, self._title, start)
            return answer is OK
        finally:
            core.add_waiting(-1)

    def _attempt(self, core: Any) -> Callable[[], Status]:
        attempt: Callable[[], Status] = core.try_acquire
        return attempt


class MutexWaiting(Waiting):
    """Waits for a mutex, and inherits it from a holder that died."""

    def _attempt(self, core: Any) -> Callable[[], Status]:
        next_look = monotonic_ns() + FIRST_LOOK

        def attempt() -> Status:
            nonlocal next_look
            status: Status = core.try_acquire()
            if status is OK or monotonic_ns() < next_look:
                return status
            next_look = monotonic_ns() + LOOK_AGAIN
            return OK if inherit(core) else status

        return attempt


def inherit(core: Any) -> bool:
    """Take a mutex from its holder if that died; return whether it is ours now."""
    tag = core.owner()
    return bool(tag and holder_dead(tag) and core.inherit(tag))


def lock_deadline(blocking: bool, timeout: float | None) -> int:
    """Return when an acquire with the arguments of `threading.Lock.acquire` is over."""
    if timeout is None or timeout == -1:
        return FOREVER if blocking else 0
    if not blocking:
        raise ValueError(f"timeout must not be given to a call that does not block: {timeout}")
    if timeout < 0:
        raise ValueError(f"timeout must be None, -1 or not negative: timeout={timeout}")
    return deadline_of(timeout)
