"""The type Condition of the pure backend: multiprocessing.Condition's calls, over waiters.py.

Its lock is the attribute `_lock`: a Lock of ours, or anything that has the calls of
multiprocessing's locks.
"""

from __future__ import annotations

from typing import Any

from .arena_type import Arena
from .blocks import patience
from .hold import Slot
from .layout import ROLE_LOCK
from .lock_type import Lock
from .mqueue import queue_locked
from .patience import deadline_of, is_late, park_at_exit
from .status import OK, Status
from .sweep import arena_tick
from .wait import lock_deadline
from .waiters import (
    Owed,
    Place,
    waiter_enter,
    waiter_settle,
    waiter_sleep,
    waiters_count,
    waiters_notify,
    wake_owed,
)

_EVERYBODY = 1 << 62


class Condition(Slot):
    """A condition of an arena."""

    _lock: Any

    def _attach(self, arena: Arena, slot: int, generation: int) -> None:
        """Hold the slot.

        Raises:
            ClosedError: it is gone already.
        """
        self._attach_as(ROLE_LOCK, arena, slot, generation)

    # --- The lock, whatever it is ---

    def __enter__(self) -> Any:
        return self._lock.__enter__()

    def __exit__(self, *args: Any) -> Any:
        return self._lock.__exit__(*args)

    def _check_owned(self, message: str) -> None:
        self._home()
        if not self._lock._semlock._is_mine():
            raise AssertionError(message)

    def _release_lock(self) -> int:
        if isinstance(self._lock, Lock):
            return self._lock._release_all()
        count: int = self._lock._semlock._count()
        for _ in range(count):
            self._lock.release()
        return count

    def _restore_lock(self, count: int) -> None:
        if isinstance(self._lock, Lock):
            self._lock._restore(count)
            return
        for _ in range(count):
            self._lock.acquire()

    # --- Wait and notify ---

    def wait(self, timeout: float | None = None) -> bool:
        """Give the lock back until notified; return whether that was in time.

        Raises:
            AssertionError: this thread has not the lock.
        """
        deadline = deadline_of(timeout)
        self._check_owned("must acquire() condition before using wait()")
        place = Place(self._come())
        try:
            count = self._release_lock()
            try:
                return self._await_notice(place, deadline)
            finally:
                self._restore_lock(count)
        except BaseException:
            self._pass_on(place)
            raise

    def _await_notice(self, place: Place, deadline: int) -> bool:
        """Return whether the place was notified before the *deadline*; it is given up."""
        view, over, first = self._view("wait"), False, True
        status = Status.EMPTY
        while status is Status.EMPTY and not over:
            until = lock_deadline(deadline)
            if waiter_sleep(view, self._slot, place.index, until, first) is Status.TIMEOUT:
                arena_tick(view)
            park_at_exit(view)
            first = False
            over = is_late(deadline)
            status = waiter_settle(view, self._slot, self._generation, place, over, patience())
        if status not in (OK, Status.EMPTY):
            raise self._error(status)
        return status is OK

    def _pass_on(self, place: Place) -> None:
        """After an exception: what this waiter was notified of goes to the next."""
        view = self._home().view
        if not place.left:
            waiter_settle(view, self._slot, self._generation, place, True, patience())
        if place.notified:
            waiters_notify(view, self._slot, self._generation, 1, None, patience())

    def notify(self, n: int = 1) -> None:
        """Wake those n who have waited longest.

        Raises:
            AssertionError: this thread has not the lock.
        """
        self._check_owned("lock is not owned")
        view, owed = self._view("notify"), self._owed()
        status = waiters_notify(view, self._slot, self._generation, max(n, 0), owed, patience())
        if status is not OK:
            raise self._error(status)

    def _owed(self) -> Owed | None:
        """Return where to note whom to wake when the lock is given back; None: wake at once."""
        arena, lock = self._home(), self._lock
        if not isinstance(lock, Lock) or lock._arena is not arena:
            return None
        owed = arena.owed
        if (owed.lock, owed.slot) != (lock._slot, self._slot):
            wake_owed(arena.view, owed)
        owed.lock, owed.slot = lock._slot, self._slot
        return owed

    def notify_all(self) -> None:
        """Wake everybody who waits.

        Raises:
            AssertionError: this thread has not the lock.
        """
        Condition.notify(self, _EVERYBODY)

    # --- A place without a wait: who has come to a barrier ---

    def _come(self) -> int:
        """Take a place among the waiters; return its number."""
        view = self._view("wait")
        status, place = waiter_enter(view, self._slot, self._generation, patience())
        if status is not OK:
            raise self._error(status)
        return place

    def _go(self, place: int) -> None:
        """Give a place up."""
        view = self._view("wait")
        if not 0 <= place < view.locks[self._slot].capacity:
            raise ValueError(f"there is no such place: {place}")
        left = Place(place)
        status = waiter_settle(view, self._slot, self._generation, left, True, patience())
        if status not in (OK, Status.EMPTY):
            raise self._error(status)

    def _waiting(self) -> int:
        """Return how many places are taken."""
        view, count = self._view("wait"), 0

        def work() -> Status:
            nonlocal count
            count = waiters_count(view, view.locks[self._slot])
            return OK

        queue_locked(view, self._slot, patience(), work)
        return count

    @property
    def _lost(self) -> int:
        """How many died while they waited."""
        return self._home().view.locks[self._slot].lost
