"""Everything that can be done with atomics and synchronisation, without ever waiting long."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from zeroipc import Atomic, Memory, Mutex, Semaphore, ZeroIPCError


def exercise_atomic(mem: Memory, name: str, dtype: object) -> None:
    number = Atomic.open(mem, name, dtype)  # type: ignore[arg-type]
    with suppress(ZeroIPCError):
        number.wait(number.value, 0)
    number += 1
    number.exchange(3)
    repr(number)


def exercise_permits(mem: Memory, name: str, dtype: object) -> None:
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


SYNC_EXERCISES: tuple[Callable[[Memory, str, object], None], ...] = (
    exercise_atomic,
    exercise_permits,
)
