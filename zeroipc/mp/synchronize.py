"""`multiprocessing.synchronize` on shared memory: locks that survive their holder.

The interface is the standard library's, private attributes included. What is better:

- when a process dies that holds a Lock or RLock, whoever waits gets it within a tenth of a second;
  `owner_died` tells it so, for as long as it has the lock, since what the lock guards may be
  half-changed;
- a Condition loses no notify to a waiter that died, and an Event no waiter to a setter that died;
- a Barrier breaks when a party dies in `wait`;
- each of them can be put into a queue, and goes to children of any start method.

A Semaphore has no holder: one process often takes what another gives, so what a dead one had taken
stays taken, as in the standard library.
"""

from __future__ import annotations

import errno
import operator
import threading
import time
from collections.abc import Callable
from multiprocessing import context
from multiprocessing import synchronize as standard
from typing import Any

from .._backend import transport as core
from . import transport
from .handed import Handed
from .standard import names_of

RECURSIVE_MUTEX = 0
SEMAPHORE = 1
SEM_VALUE_MAX: int = standard.SEM_VALUE_MAX  # type: ignore[attr-defined]
TICK = 0.1
"""Seconds until the death of a party of a barrier is noticed by those who wait."""

__all__ = ["BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"]

__getattr__ = names_of(__name__)


class SemLock(Handed, core.Lock, standard.SemLock):  # type: ignore[misc, name-defined]
    """What locks and semaphores have in common; `_semlock` of the standard library's, too.

    `acquire`, `release` and `with` are the core's.
    """

    def _create(self, kind: int, value: int, maxvalue: int) -> None:
        arena = transport.home().arena
        self._attach(arena, *arena.create_lock(kind, value, maxvalue))

    def __init__(self, kind: int, value: int, maxvalue: int, *, ctx: Any = None) -> None:
        recursive = kind == RECURSIVE_MUTEX
        self._create(core.LOCK_RECURSIVE if recursive else core.LOCK_SEMAPHORE, value, maxvalue)

    @property
    def _semlock(self) -> SemLock:
        return self

    @property
    def kind(self) -> int:
        """RECURSIVE_MUTEX or SEMAPHORE."""
        return RECURSIVE_MUTEX if self._kind == core.LOCK_RECURSIVE else SEMAPHORE

    @property
    def handle(self) -> int:
        """A number that no other lock of this process has at the same time."""
        return int(self._handle[1])

    name = None
    """It has none: nothing of it is left when its last user is gone."""
    SEM_VALUE_MAX = SEM_VALUE_MAX

    def locked(self) -> bool:
        """Return whether it cannot be acquired now."""
        return bool(self._is_zero())


class Lock(SemLock, standard.Lock):
    """A lock; whoever has it may release it, in any thread and process.

    Attributes:
        owner_died: whether this process has the lock and got it because its holder had died;
            until it is released.
    """

    def __init__(self, *, ctx: Any = None) -> None:
        self._create(core.LOCK_PLAIN, 1, 1)


class RLock(SemLock, standard.RLock):
    """A lock that its thread may acquire again; `owner_died` as of Lock."""

    def __init__(self, *, ctx: Any = None) -> None:
        self._create(core.LOCK_RECURSIVE, 1, 1)


class Semaphore(SemLock, standard.Semaphore):
    """A count that `acquire` lowers, waiting while it is zero, and `release` raises.

    Args:
        value: at first.

    Raises:
        OSError: it is negative.
        OverflowError: it is above SEM_VALUE_MAX.
    """

    def __init__(self, value: int = 1, *, ctx: Any = None) -> None:
        self._create(core.LOCK_SEMAPHORE, _checked(value), SEM_VALUE_MAX)


class BoundedSemaphore(Semaphore, standard.BoundedSemaphore):
    """A Semaphore that cannot be raised above its first value: `release` then raises ValueError."""

    def __init__(self, value: int = 1, *, ctx: Any = None) -> None:
        self._create(core.LOCK_SEMAPHORE, _checked(value), value)


def _checked(value: int) -> int:
    value = operator.index(value)
    if value < 0:
        raise OSError(errno.EINVAL, f"value must not be negative: value={value}")
    if value > SEM_VALUE_MAX:
        raise OverflowError(f"value must be at most {SEM_VALUE_MAX}: value={value}")
    return value


class Event(Handed, core.Event, standard.Event):  # type: ignore[misc, name-defined]
    """A flag to wait for. A `wait` that saw a `set` returns True, even if `clear` came since."""

    def __init__(self, *, ctx: Any = None) -> None:
        arena = transport.home().arena
        self._attach(arena, *arena.create_lock(core.LOCK_EVENT, 0, 1))

    def __repr__(self) -> str:
        set_status = "set" if self.is_set() else "unset"
        return f"<{type(self).__qualname__} at {id(self):#x} {set_status}>"


# --- Conditions -----------------------------------------------------------------------------


class _Waiters(Handed, core.Condition):  # type: ignore[misc, name-defined]
    """Places for those who wait."""

    def _create(self) -> None:
        arena = transport.home().arena
        self._attach(arena, *arena.create_lock(core.LOCK_CONDITION, 0, 0))


class Condition(_Waiters, standard.Condition):
    """A condition: `wait` gives the lock back until `notify` picks it.

    `notify` wakes those who have waited longest, and nobody who comes later. What a waiter was
    notified of and could not act on, because it died or a signal handler raised, goes to the
    next.

    Args:
        lock: of this module, or anything like it; None for an RLock of its own.
        ctx: makes that RLock.
    """

    def __init__(self, lock: Any = None, *, ctx: Any = None) -> None:
        self._lock = lock or (RLock() if ctx is None else ctx.RLock())
        self._create()
        self._make_methods()

    def __getstate__(self) -> Any:
        return super().__getstate__(), self._lock

    def __setstate__(self, state: Any) -> None:
        places, self._lock = state
        super().__setstate__(places)
        self._make_methods()

    @property
    def _sleeping_count(self) -> _Count:
        return _Count(self._waiting())

    @property
    def _woken_count(self) -> _Count:
        return _Count(0)

    @property
    def _wait_semaphore(self) -> _Count:
        return _Count(0)


class _Count:
    """What the standard library has a semaphore for: how many of something there are."""

    def __init__(self, value: int) -> None:
        self._value = value

    def get_value(self) -> int:
        return self._value

    _get_value = get_value

    @property
    def _semlock(self) -> _Count:
        return self


# --- Barriers ---------------------------------------------------------------------------------


class _State(Handed, core.Memory):  # type: ignore[misc, name-defined]
    """A few integers that processes share."""

    def __init__(self, count: int) -> None:
        arena = transport.home().arena
        self._attach(arena, *arena.create_memory(4 * count))

    def integers(self) -> memoryview:
        """Return them."""
        return self.buffer.cast("i")  # type: ignore[no-any-return]


class Barrier(standard.Barrier):
    """A point that all *parties* have to reach before any of them goes on.

    A party that dies in `wait` breaks the barrier, as `abort` does: those who wait, within a
    tenth of a second, and those who come later get BrokenBarrierError, until `reset`. Who dies
    elsewhere just does not come: give a *timeout*.

    Args:
        parties: how many.
        action: called by the last who comes, before all go on.
        timeout: of `wait`, in seconds.
    """

    _break: Callable[[], None]
    _exit: Callable[[], None]
    _release: Callable[[], None]

    def __init__(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
        *,
        ctx: Any = None,
    ) -> None:
        ctx = ctx or context._default_context.get_context()
        places = _Waiters()
        places._create()
        self.__setstate__((parties, action, timeout, ctx.Condition(), places, _State(2)))

    def __getstate__(self) -> Any:
        return (
            *(self._parties, self._action, self._timeout),
            *(self._cond, self._places, self._words),
        )

    def __setstate__(self, state: Any) -> None:
        self._parties, self._action, self._timeout = state[:3]
        self._cond, self._places, self._words = state[3:]
        self._array = self._words.integers()

    @property
    def _state(self) -> int:
        """0 filling, 1 draining, -1 resetting, -2 broken."""
        return int(self._array[0])

    @_state.setter
    def _state(self, value: int) -> None:
        self._array[0] = value

    @property
    def _count(self) -> int:
        """How many are in `wait`."""
        return int(self._places._waiting())

    def wait(self, timeout: float | None = None) -> int:
        """Wait until all parties have come; return a number from 0 to parties - 1.

        Raises:
            BrokenBarrierError: it is broken, or was reset meanwhile, or the time is over.
        """
        with self._cond:
            self._enter()
            place = self._places._come()
            try:
                index = self._count - 1
                if index + 1 == self._parties:
                    self._release()
                else:
                    self._wait(self._timeout if timeout is None else timeout)
                return index
            finally:
                self._places._go(place)
                self._exit()

    def _enter(self) -> None:
        """Wait until those who came before have left; with the lock."""
        while self._state in (-1, 1):
            self._exit()  # for the dead who did not
            if self._state != 0:
                self._cond.wait(TICK)
        self._mourn()
        if self._state < 0:
            raise threading.BrokenBarrierError
        assert self._state == 0

    def _wait(self, timeout: float | None) -> None:
        """Wait until the barrier opens, with the lock."""
        end = None if timeout is None else time.monotonic() + timeout
        while self._state == 0:
            left = TICK if end is None else min(TICK, end - time.monotonic())
            if left <= 0:
                self._break()
            elif not self._cond.wait(left):
                self._mourn()
        if self._state < 0:
            raise threading.BrokenBarrierError
        assert self._state == 1

    def _mourn(self) -> None:
        """Break the barrier if a party has died in it since it was made or reset."""
        if self._state == 0 and self._array[1] != self._places._lost:
            self._break()

    def reset(self) -> None:
        """Let it be empty; whoever waits gets BrokenBarrierError."""
        with self._cond:
            self._array[1] = self._places._lost
            super().reset()

    @property
    def broken(self) -> bool:
        """Whether it is broken."""
        with self._cond:
            self._mourn()
        return self._state == -2
