"""Locks, semaphores and events: words that change under the slot's mutex, held for a moment.

Callers   any thread of an attached process that holds the slot; a plain lock and a semaphore
          may be given back by another than took them
Progress  one lock Q per slot, held for a bounded time; who waits sleeps at most a tick
Crash     a lock is taken and given back by one store to `holder`, a semaphore by one to
          `value`; the sweep gives back the locks of the dead, and says so in `died`
Bytes     LOCK in layout.py
Source    SPECIFICATION.md, "Locks"; lock.h is the same in C

TAKE  1. lock Q. 2. if it is free: thread, count = 1. 3. holder = me. 4. unlock.
GIVE  1. lock Q. 2. died = 0. 3. holder = 0. 4. unlock; wake one.

A semaphore has no holder: what a dead process had taken of it stays taken, since nobody knows
whether it was to be given back. A robust mutex alone would not do: it cannot be given back by
another thread.
"""

from __future__ import annotations

from .arena import View
from .blocks import arena_locked
from .layout import (
    LOCK,
    LOCK_SEMAPHORE,
    NONE,
    ROLE_LOCK,
    WAITERS_INLINE,
)
from .mqueue import queue_locked
from .mutex import TICK_NS
from .participant import holding_set
from .records import SharedLock
from .slots import slot_take, slots_reclaim
from .status import OK, Status
from .sweep import arena_tick
from .wait import (
    EVERYBODY,
    now,
    this_cpu,
    wait_sleep,
    wait_spin,
    wait_wake,
    wake_announce,
    wake_decide,
    wake_retract,
)
from .waiters import lock_check

_SEQ = LOCK.seq

# --- Made ---------------------------------------------------------------------------------


def lock_fill(view: View, slot: int, kind: int, value: int, maxvalue: int) -> None:
    """Under A: fill a slot in; `used` last."""
    lock = view.locks[slot]
    lock.generation = (lock.generation + 1) & 0xFFFFFFFF
    lock.handled = 0
    start = lock.at + LOCK.kind.offset
    view.bytes[start : lock.at + LOCK.nbytes] = bytes(LOCK.nbytes - LOCK.kind.offset)
    lock.kind = kind
    lock.value = value
    lock.maxvalue = maxvalue
    lock.block = NONE
    lock.capacity = WAITERS_INLINE
    holding_set(view, slot)
    lock.used = ROLE_LOCK


def lock_create(
    view: View, kind: int, value: int, maxvalue: int, deadline: int
) -> tuple[Status, int, int]:
    """Make a lock of a *kind*, LOCK_..., that this process holds the slot of."""
    slot = generation = NONE

    def work() -> Status:
        nonlocal slot, generation
        status, slot = slot_take(view)
        if status is OK:
            lock_fill(view, slot, kind, value, maxvalue)
            generation = view.locks[slot].generation
        return status

    slots_reclaim(view, deadline)
    return arena_locked(view, deadline, work), slot, generation


# --- Locks and semaphores --------------------------------------------------------------------


class Taking:
    """Whether a take has come to its commit: so that an exception on the way can undo it."""

    __slots__ = ("took",)

    def __init__(self) -> None:
        self.took = False


def lock_is_free(lock: SharedLock) -> bool:
    """Return whether it could be taken; a hint without Q."""
    return lock.value != 0 if lock.kind == LOCK_SEMAPHORE else lock.holder == 0


def lock_is_mine(view: View, lock: SharedLock, thread: int) -> bool:
    """Return whether this very thread has it. Only it can change the answer."""
    return lock.holder == view.me and lock.thread == thread and view.me != 0


def take_locked(view: View, lock: SharedLock, thread: int, taking: Taking) -> bool:
    """Under Q: the words of TAKE; whether another sleeper is to be woken."""
    lock.cpu = this_cpu()
    if lock.kind == LOCK_SEMAPHORE:
        left = lock.value - 1
        lock.value = left
        taking.took = True
        return left != 0 and wake_decide(lock.free)
    lock.thread = thread
    lock.count = 1
    # [lock.holder] release; pairs with the acquire in lock_is_free and in every visit.
    lock.holder = view.me
    taking.took = True
    return False


def lock_take(
    view: View, slot: int, generation: int, thread: int, taking: Taking, deadline: int
) -> Status:
    """TAKE, without waiting. EMPTY: somebody has it."""
    lock = view.locks[slot]
    wake = False

    def work() -> Status:
        nonlocal wake
        status = lock_check(view, lock, generation)
        if status is OK and not lock_is_free(lock):
            return Status.EMPTY
        if status is OK:
            wake = take_locked(view, lock, thread, taking)
        return status

    status = queue_locked(view, slot, deadline, work)
    if wake:
        wait_wake(lock.address(_SEQ), 1)
    return status


def lock_give(view: View, slot: int, generation: int, deadline: int) -> Status:
    """GIVE. FULL: nobody has it, or the semaphore is at its highest."""
    lock = view.locks[slot]
    wake = False

    def work() -> Status:
        nonlocal wake
        status = lock_check(view, lock, generation)
        if status is not OK:
            return status
        if lock.kind == LOCK_SEMAPHORE:
            if lock.value >= lock.maxvalue:
                return Status.FULL
            lock.value = lock.value + 1
        else:
            if lock.holder == 0:
                return Status.FULL
            lock.died = 0
            lock.holder = 0
        wake = wake_decide(lock.free)
        return OK

    try:
        return queue_locked(view, slot, deadline, work)
    finally:
        if wake:
            wait_wake(lock.address(_SEQ), 1)


def lock_spin(lock: SharedLock) -> bool:
    """Spin while another CPU has it; whether it is worth trying."""
    return wait_spin(lambda: lock_is_free(lock), 0, lambda: lock.cpu) or lock_is_free(lock)


def lock_await(view: View, slot: int, deadline: int, first: bool) -> Status:
    """Wait until it may be free, at most until *deadline* and for a tick.

    *first*: spin before sleeping. OK: worth trying; TIMEOUT, INTERRUPTED, BUSY.
    """
    lock = view.locks[slot]
    seq = None

    def announce() -> Status:
        nonlocal seq
        if not lock_is_free(lock) and lock.used == ROLE_LOCK:
            seq = wake_announce(lock.free)
        return OK

    def retract() -> Status:
        wake_retract(lock.free)
        return OK

    if first and lock_spin(lock):
        return OK
    try:
        status = queue_locked(view, slot, deadline, announce)
        if seq is None:
            return status
        slept = wait_sleep(lock.address(_SEQ), seq, deadline)
    finally:
        if seq is not None:
            queue_locked(view, slot, now() + TICK_NS, retract)
    if slept is Status.TIMEOUT:
        arena_tick(view)
    return slept


# --- Events -----------------------------------------------------------------------------------


def event_set(view: View, slot: int, generation: int, value: int, deadline: int) -> Status:
    """Set it, and wake everybody; or clear it. `seq` counts how often it was set."""
    lock = view.locks[slot]
    wake = False

    def work() -> Status:
        nonlocal wake
        status = lock_check(view, lock, generation)
        if status is OK:
            new = value and not lock.value
            if value:  # who clears it is the one who waits
                lock.cpu = this_cpu()
            # [event.value] release; pairs with the acquire in event_is_set.
            lock.value = value
            if new:
                lock.seq = (lock.seq + 1) & 0xFFFFFFFF
                wake = lock.waiters != 0
        return status

    try:
        return queue_locked(view, slot, deadline, work)
    finally:
        if wake:
            wait_wake(lock.address(_SEQ), EVERYBODY)


def event_is_set(lock: SharedLock, seq: int) -> bool:
    """Return whether it is set, or was since *seq* was read."""
    return lock.value != 0 or lock.seq != seq


def event_await(view: View, slot: int, seq: int, deadline: int, first: bool) -> Status:
    """Wait until it was set after *seq* was read, at most until *deadline* and for a tick."""
    lock = view.locks[slot]
    waits = False

    def announce() -> Status:
        nonlocal waits
        if not event_is_set(lock, seq):
            lock.waiters = lock.waiters + 1
            waits = True
        return OK

    def retract() -> Status:
        lock.waiters = max(lock.waiters - 1, 0)
        return OK

    if first and wait_spin(lambda: lock.seq, seq, lambda: lock.cpu):
        return OK
    try:
        status = queue_locked(view, slot, deadline, announce)
        if not waits:
            return status
        slept = wait_sleep(lock.address(_SEQ), seq, deadline)
    finally:
        if waits:
            queue_locked(view, slot, now() + TICK_NS, retract)
    if slept is Status.TIMEOUT:
        arena_tick(view)
    return slept
