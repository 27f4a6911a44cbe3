"""Everything that can be done with atomics and synchronisation, without ever waiting long."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np

from zeroipc import (
    Atomic,
    Barrier,
    Event,
    Latch,
    Memory,
    Monitor,
    Mutex,
    Once,
    RWLock,
    Semaphore,
    Signal,
    ZeroIPCError,
)


def exercise_atomic(mem: Memory, name: str, dtype: object) -> None:
    number = Atomic.open(mem, name, dtype)  # type: ignore[arg-type]
    with suppress(ZeroIPCError):
        number.wait(number.value, 0)
    number += 1
    number.exchange(3)
    repr(number)


def exercise_permits(mem: Memory, name: str) -> None:
    for kind in (Semaphore, Mutex):
        with suppress(ZeroIPCError):
            lock = kind.open(mem, name)
            lock.acquire(timeout=0)
            lock.acquire(timeout=0)
            lock.release()
            lock.locked()
            repr(lock)
            if isinstance(lock, Mutex):
                lock.repair()
                assert lock.try_acquire()


def exercise_kinds(mem: Memory, name: str, dtype: object) -> None:
    if dtype is not np.int32:  # none of these has one
        return
    for use in KINDS:
        with suppress(ZeroIPCError):
            use(mem, name)


def exercise_latch(mem: Memory, name: str) -> None:
    latch = Latch.open(mem, name)
    with suppress(ZeroIPCError):
        latch.wait(0)
    latch.count_down()
    latch.reset()
    repr(latch)


def exercise_barrier(mem: Memory, name: str) -> None:
    gate = Barrier.open(mem, name)
    repr(gate)
    with suppress(ZeroIPCError):
        gate.wait(0)
    gate.repair()
    with suppress(ZeroIPCError):
        gate.wait(0)
    assert gate.n_waiting == 0


def exercise_once(mem: Memory, name: str) -> None:
    once = Once.open(mem, name)
    with suppress(ZeroIPCError):
        once.call(lambda: None, 0)
    once.repair()
    once.reset()
    assert once.call(lambda: None)
    repr(once)


def exercise_event(mem: Memory, name: str) -> None:
    event = Event.open(mem, name)
    event.wait(0)
    event.repair()
    event.clear()
    with suppress(ZeroIPCError):
        event.set()
    event.wait(0)
    repr(event)


def exercise_rwlock(mem: Memory, name: str) -> None:
    lock = RWLock.open(mem, name)
    for locked, unlock in (
        (lock.acquire_read(timeout=0), lock.release_read),
        (lock.acquire_write(timeout=0), lock.release_write),
    ):
        if locked:
            unlock()
    repr(lock)
    lock.repair()
    assert lock.try_write()


def exercise_monitor(mem: Memory, name: str) -> None:
    monitor = Monitor.open(mem, name)
    with suppress(ZeroIPCError):
        monitor.notify()
        monitor.notify_all()
    repr(monitor)
    monitor.repair()
    with monitor:
        monitor.wait(0)


def exercise_signal(mem: Memory, name: str, dtype: object) -> None:
    level = Signal.open(mem, name, dtype)  # type: ignore[arg-type]
    level.repair()
    level.set(np.zeros((), level.dtype)[()])
    level.update(lambda value: value)
    level.wait(level.version - 1, 0)
    repr(level)


KINDS = (
    exercise_permits,
    exercise_latch,
    exercise_barrier,
    exercise_once,
    exercise_event,
    exercise_rwlock,
    exercise_monitor,
)
SYNC_EXERCISES: tuple[Callable[[Memory, str, object], None], ...] = (
    exercise_atomic,
    exercise_kinds,
    exercise_signal,
)
