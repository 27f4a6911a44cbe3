"""The type Event of the pure backend: multiprocessing.Event's calls, over lock.py.

A `set` or `clear` in a signal handler that has interrupted a call under a lock is made right after
that call.
"""

from __future__ import annotations

from functools import partial

from .arena_type import Arena
from .blocks import patience
from .hold import Slot
from .layout import ROLE_LOCK
from .lock import event_await, event_is_set, event_set
from .mutex import here
from .patience import deadline_of, is_late, park_at_exit
from .records import SharedLock
from .status import OK
from .wait import lock_deadline


class Event(Slot):
    """An event of an arena."""

    def _attach(self, arena: Arena, slot: int, generation: int) -> None:
        """Hold the slot.

        Raises:
            ClosedError: it is gone already.
        """
        self._attach_as(ROLE_LOCK, arena, slot, generation)

    def _words(self) -> SharedLock:
        return self._home().view.locks[self._slot]

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._words().value != 0

    def set(self) -> None:
        """Set it, and wake everybody who waits."""
        self._store(1)

    def clear(self) -> None:
        """Let it be not set."""
        self._store(0)

    def _store(self, value: int) -> None:
        if here.held:
            here.deferred.append(partial(self._store_now, value))
        elif self._words().value != value or not self._home().view.me:
            self._store_now(value)

    def _store_now(self, value: int) -> None:
        view = self._home().view
        status = event_set(view, self._slot, self._generation, value, patience())
        if status is not OK:
            raise self._error(status)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; return whether it was in time."""
        view, lock, deadline = self._view("wait"), self._words(), deadline_of(timeout)
        seq, first = lock.seq, True
        while not event_is_set(lock, seq) and not is_late(deadline):
            event_await(view, self._slot, seq, lock_deadline(deadline), first)
            park_at_exit(view)
            first = False
        return event_is_set(lock, seq)
