"""The one waiting policy: spin while that can pay, then sleep, never for longer than a tick.

Sleepers watch a futex word that wakers change. A waker may die between publishing and
waking, so a wake is a hint and every sleep ends by itself.

Spinning pays only while the other side runs on another CPU: it stores the number of its CPU
beside what it publishes, and who would spin compares it with its own. A spin that lasts lets
others have this CPU: the other side, if it has moved here, or a third process that the other side
waits for too. Not sooner: who would come is one that is to be woken again.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import time
from collections.abc import Callable

from ..errors import BackendError
from .mutex import TICK_NS, Timespec, timespec
from .records import Wake
from .status import OK, Status

SPIN_NS = 50_000
"""About one sleep and wake on another CPU: the break-even. Not longer when sleeps are short,
as in C: a Python that spins keeps its other threads from running."""
SPIN_ALONE_NS = 15_000
"""How long a spin keeps others from this CPU."""
FOREVER = 2**64 - 1

_SYS_FUTEX = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "ppc64le": 221, "s390x": 238}
_WAIT = 0
_WAKE = 1
_WAIT_BITSET = 9
_WAKE_BITSET = 10
EVERYBODY = 2**31 - 1

_FUTEX = _SYS_FUTEX.get(platform.machine(), 0)
if not _FUTEX:
    raise BackendError(
        f"the pure backend does not know how to sleep on this machine: {platform.machine()}; "
        "build the C extension"
    )
_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [
    *(ctypes.c_long, ctypes.c_void_p, ctypes.c_long, ctypes.c_long),
    *(ctypes.POINTER(Timespec), ctypes.c_void_p, ctypes.c_long),
]
this_cpu: Callable[[], int] = ctypes.PyDLL(None).sched_getcpu
"""Return the number of the CPU that this thread runs on."""

now = time.monotonic_ns


def lock_deadline(deadline: int) -> int:
    """Return how long to wait for a lock.

    A tick, so that a call without patience still succeeds against the short critical sections
    of others, and one with patience looks for signals.
    """
    tick = now() + TICK_NS
    return tick if deadline == 0 else min(deadline, tick)


def wait_spin(load: Callable[[], int], seen: int, peer_cpu: Callable[[], int]) -> bool:
    """Watch a word until it differs from *seen*; return whether it did.

    Gives up after SPIN_NS, or at once when the one who changes it was last seen on this CPU
    and so cannot be running now.
    """
    begun = now()
    while peer_cpu() != this_cpu():
        for _ in range(16):
            if load() != seen:
                return True
        spun = now() - begun
        if spun >= SPIN_NS:
            break
        if spun > SPIN_ALONE_NS:
            os.sched_yield()
    return False


def wait_sleep(address: int, seen: int, deadline: int) -> Status:
    """Sleep while the futex word is *seen*, at most until *deadline* and at most for a tick.

    OK: woken, or the word had changed; TIMEOUT; INTERRUPTED by a signal, whose handler runs
    before this returns.
    """
    span = deadline - now()
    if span <= 0:
        return Status.TIMEOUT
    timeout = timespec(min(span, TICK_NS))
    if _syscall(_FUTEX, address, _WAIT, seen, timeout, None, 0) == 0:
        return OK
    error = ctypes.get_errno()
    if error == errno.EINTR:
        return Status.INTERRUPTED
    return Status.TIMEOUT if error == errno.ETIMEDOUT else OK


def wait_wake(address: int, sleepers: int) -> None:
    """Wake so many who sleep on the word."""
    _syscall(_FUTEX, address, _WAKE, sleepers, None, None, 0)


def wait_sleep_as(address: int, seen: int, bits: int, deadline: int) -> Status:
    """As wait_sleep, for sleepers on one word that are told apart by *bits*."""
    end = now() + TICK_NS
    if end - TICK_NS >= deadline:
        return Status.TIMEOUT
    until = timespec(min(end, deadline))
    if _syscall(_FUTEX, address, _WAIT_BITSET, seen, until, None, bits) == 0:
        return OK
    error = ctypes.get_errno()
    if error == errno.EINTR:
        return Status.INTERRUPTED
    return Status.TIMEOUT if error == errno.ETIMEDOUT else OK


def wait_wake_some(address: int, bits: int) -> None:
    """Wake those who sleep on the word with any of *bits*."""
    _syscall(_FUTEX, address, _WAKE_BITSET, EVERYBODY, None, None, bits)


# --- Wake words: sequence, sleepers, pending --------------------------------------------------
#
# Changed under the lock of their queue only. `pending` says that a sleeper was woken and has
# not run yet, so that a burst of messages costs one system call. A sleeper that died leaves
# `waiters` too high; that costs a system call now and then, and is never corrected downward,
# because too low a count would lose a wake.


def wake_announce(wake: Wake) -> int:
    """Under the lock: note a sleeper, and return the word to sleep on."""
    wake.words[wake.waiters_at] += 1
    wake.words[wake.pending_at] = 0
    return wake.words[wake.seq_at]


def wake_retract(wake: Wake) -> None:
    """Under the lock, after sleeping."""
    if wake.words[wake.waiters_at] != 0:
        wake.words[wake.waiters_at] -= 1
    wake.words[wake.pending_at] = 0


def wake_decide(wake: Wake) -> bool:
    """Under the lock: decide whether to wake. The call itself comes after the unlock."""
    if wake.words[wake.waiters_at] == 0 or wake.words[wake.pending_at]:
        return False
    wake.words[wake.pending_at] = 1
    wake_bump(wake)
    return True


def wake_bump(wake: Wake) -> None:
    """Under the lock: change the word that sleepers watch."""
    wake.words[wake.seq_at] = (wake.words[wake.seq_at] + 1) & 0xFFFFFFFF
