"""The type Lock of the pure backend: a lock, a recursive lock or a semaphore, over lock.py.

The calls are those of multiprocessing's SemLock. Whose a lock is stands in the arena; how often
this process took a semaphore, which has no holder, is counted here.

A release in a signal handler that has interrupted a call under a lock is made right after that
call.
"""

from __future__ import annotations

from threading import get_ident
from typing import Any

from .arena_type import Arena
from .blocks import patience
from .hold import Slot
from .layout import LOCK_PLAIN, LOCK_RECURSIVE, LOCK_SEMAPHORE, ROLE_LOCK
from .lock import Taking, lock_await, lock_give, lock_is_free, lock_is_mine, lock_take
from .mutex import TICK_NS, here
from .patience import deadline_of, is_late, park_at_exit
from .records import SharedLock
from .status import OK, Status
from .sweep import arena_tick
from .wait import lock_deadline, now
from .waiters import wake_owed


class Lock(Slot):
    """A lock, a recursive lock or a semaphore of an arena."""

    _kind = LOCK_PLAIN
    _counter = _taken = _thread = 0

    def _attach(self, arena: Arena, slot: int, generation: int) -> None:
        """Hold the slot.

        Raises:
            ClosedError: it is gone already.
        """
        self._attach_as(ROLE_LOCK, arena, slot, generation)
        self._kind = arena.view.locks[slot].kind

    def _words(self) -> SharedLock:
        return self._home().view.locks[self._slot]

    # --- How often it was taken here ---

    def _count_taken(self, more: int) -> None:
        """A forked child starts anew."""
        me = self._home().view.me
        if self._counter != me:
            self._counter, self._taken = me, 0
        self._taken += more
        if more > 0:
            self._thread = get_ident()

    def _count(self) -> int:
        """Return how often this process has it."""
        me, lock = self._home().view.me, self._words()
        if self._kind == LOCK_SEMAPHORE:
            return self._taken if self._counter == me else 0
        if lock.holder != me:
            return 0
        return lock.count if self._kind == LOCK_RECURSIVE else 1

    def _is_mine(self) -> bool:
        """Return whether this thread has it."""
        if self._kind == LOCK_SEMAPHORE:
            return self._count() > 0 and self._thread == get_ident()
        return lock_is_mine(self._home().view, self._words(), get_ident())

    # --- Acquire and release ---

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take it; return whether it came free in time."""
        deadline = deadline_of(timeout) if block else 0
        taking = Taking()
        try:
            return self._acquire_by(deadline, taking)
        except BaseException:
            if taking.took:  # a signal handler has raised on the way back
                self._give()
            raise

    def _acquire_by(self, deadline: int, taking: Taking) -> bool:
        view, lock, thread = self._view("acquire"), self._words(), get_ident()
        if self._kind == LOCK_RECURSIVE and lock_is_mine(view, lock, thread):
            lock.count = lock.count + 1  # nobody else writes it meanwhile
            return True
        status = lock_take(view, self._slot, self._generation, thread, taking, 0)
        if status in (Status.EMPTY, Status.BUSY):
            status = self._take_patiently(status, deadline, taking)
        if status in (Status.EMPTY, Status.BUSY):
            return False
        if status is not OK:
            raise self._error(status)
        if self._kind == LOCK_SEMAPHORE:
            self._count_taken(1)
        return True

    def _take_patiently(self, status: Status, deadline: int, taking: Taking) -> Status:
        view, first = self._home().view, True
        if status is Status.EMPTY and is_late(deadline):
            return self._try_after_sweep(status, taking)
        while status in (Status.EMPTY, Status.BUSY):
            if is_late(deadline) and (status is Status.EMPTY or not first):
                break
            until, waited = lock_deadline(deadline), OK
            if status is not Status.BUSY:
                waited = lock_await(view, self._slot, until, first)
            if waited is not Status.INTERRUPTED:
                place = (view, self._slot, self._generation)
                status = lock_take(*place, get_ident(), taking, until)
            park_at_exit(view)
            first = False
        return status

    def _try_after_sweep(self, status: Status, taking: Taking) -> Status:
        """Sweep if that is due: whoever only ever tries learns of a death too."""
        view = self._home().view
        if self._words().holder == 0 or now() < view.arena.last_sweep + TICK_NS:
            return status
        arena_tick(view)
        place = (view, self._slot, self._generation)
        return lock_take(*place, get_ident(), taking, lock_deadline(0))

    def release(self) -> None:
        """Give it back, whoever took it.

        Raises:
            AssertionError: it is a recursive lock that another thread has, or nobody.
            ValueError: nobody has it, or the semaphore is at its highest.
        """
        lock = self._words()
        if self._kind == LOCK_RECURSIVE:
            if not self._is_mine():
                raise AssertionError("attempt to release recursive lock not owned by thread")
            if lock.count > 1:
                lock.count = lock.count - 1
                return
        if here.held and self._can_give():
            here.deferred.append(self._give)
        else:
            self._give()

    def _can_give(self) -> bool:
        lock = self._words()
        if self._kind == LOCK_SEMAPHORE:
            return lock.value < lock.maxvalue
        return lock.holder != 0

    def _give(self) -> None:
        """Give it back once.

        Raises:
            ValueError: it cannot be.
        """
        view = self._home().view
        status = lock_give(view, self._slot, self._generation, patience())
        owed = self._home().owed
        if owed.bits and owed.lock == self._slot:
            wake_owed(view, owed)
        if status is Status.FULL:
            raise ValueError("semaphore or lock released too many times")
        if status is not OK:
            raise self._error(status)
        if self._kind == LOCK_SEMAPHORE:
            self._count_taken(-1)

    def _release_all(self) -> int:
        """Give it back as often as it was taken, for a wait; return how often."""
        count = self._count()
        for _ in range(count if self._kind == LOCK_SEMAPHORE else 1):
            self._give()
        return count

    def _restore(self, count: int) -> None:
        """Take it again after a wait.

        What a first signal handler raises comes afterwards, a second one gives up.
        """
        times = count if self._kind == LOCK_SEMAPHORE else 1
        raised: BaseException | None = None
        while times > 0:
            try:
                times -= Lock.acquire(self)
            except BaseException as error:
                if raised is not None:
                    raise
                raised = error
        if self._kind == LOCK_RECURSIVE:
            self._words().count = count
        if raised is not None:
            raise raised

    def __enter__(self) -> bool:
        return Lock.acquire(self)

    def __exit__(self, *args: Any) -> None:
        Lock.release(self)

    # --- Queries ---

    def _get_value(self) -> int:
        """Return how often it can be taken."""
        lock = self._words()
        return lock.value if self._kind == LOCK_SEMAPHORE else int(lock.holder == 0)

    def _is_zero(self) -> bool:
        """Return whether it cannot be taken."""
        return not lock_is_free(self._words())

    @property
    def maxvalue(self) -> int:
        """The highest value of a semaphore."""
        return self._words().maxvalue

    @property
    def owner_died(self) -> bool:
        """Whether this process has it, and got it because its holder before had died with it."""
        lock = self._words()
        return bool(lock.died) and lock.holder == self._home().view.me
