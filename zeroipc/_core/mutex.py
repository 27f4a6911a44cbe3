"""The robust process-shared mutex: a holder that dies hands it on.

The kernel keeps a list of the robust mutexes that a thread holds and, when the thread dies,
gives each to a waiter with EOWNERDEAD. It covers a death at any instruction of lock and
unlock, which no lock made of plain words can.

Rules: the memory of a mutex is never unmapped while a thread may be inside lock or unlock
(glibc bug 14485), so arenas stay mapped; whoever gets REPAIR mends what the lock guards, in
steps that may be repeated, and then calls mutex_mended.

Python code can be interrupted while it holds a lock, which C cannot: by a signal handler or
a finalizer that uses a queue itself, and by an exception such as KeyboardInterrupt. `here`
tells a nested call from an abandoned hold; `under` leaves nothing locked and nothing torn.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

from ..errors import NestedCallError
from .status import OK, Status

MUTEX_NBYTES = 48 if platform.machine() == "aarch64" else 40 if sys.maxsize > 2**32 else 24
"""sizeof(pthread_mutex_t) of glibc."""

TICK_NS = 100_000_000
"""The longest sleep, in ns: how late a lost wake can be noticed."""

_PROCESS_SHARED = 1
_ROBUST = 1
_ERRORCHECK = 2

_with_gil = ctypes.PyDLL(None)
_without_gil = ctypes.CDLL(None)
_trylock = _with_gil.pthread_mutex_trylock
_unlock = _with_gil.pthread_mutex_unlock
_consistent = _with_gil.pthread_mutex_consistent
_clocklock = _without_gil.pthread_mutex_clocklock
for _call in (_trylock, _unlock, _consistent):
    _call.argtypes = [ctypes.c_void_p]


class Timespec(ctypes.Structure):
    """struct timespec."""

    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


def timespec(ns: int) -> Timespec:
    """Return *ns* nanoseconds as the system wants them."""
    return Timespec(*divmod(ns, 1_000_000_000))


_clocklock.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(Timespec)]


def mutex_init(mutex: int) -> None:
    """Make the mutex at the address *mutex*."""
    attributes = ctypes.create_string_buffer(64)
    _with_gil.pthread_mutexattr_init(attributes)
    _with_gil.pthread_mutexattr_setpshared(attributes, _PROCESS_SHARED)
    _with_gil.pthread_mutexattr_setrobust(attributes, _ROBUST)
    _with_gil.pthread_mutexattr_settype(attributes, _ERRORCHECK)
    _with_gil.pthread_mutex_init(ctypes.c_void_p(mutex), attributes)
    _with_gil.pthread_mutexattr_destroy(attributes)


def mutex_status(error: int) -> Status:
    """Return what an error number of pthread says.

    EDEADLK is an abandoned hold: this thread has the mutex, and no call of it is under way.
    What it guards may be torn, as after a death.
    """
    if error == 0:
        return OK
    if error in (errno.EOWNERDEAD, errno.EDEADLK):
        return Status.REPAIR
    return Status.BUSY if error in (errno.EBUSY, errno.ETIMEDOUT) else Status.DAMAGED


def mutex_try_lock(mutex: int) -> Status:
    """Take the mutex if it is free. OK, REPAIR or BUSY.

    No spin as in C: its holder may be a thread of ours that waits for the interpreter lock.
    """
    return mutex_status(_trylock(mutex))


def mutex_lock(mutex: int, deadline: int) -> Status:
    """Take the mutex, waiting until *deadline* (CLOCK_MONOTONIC ns)."""
    error = _trylock(mutex)
    while error in (errno.EBUSY, errno.ETIMEDOUT):
        now = time.monotonic_ns()
        if now >= deadline:
            break
        until = timespec(min(deadline, now + TICK_NS))  # signal handlers run in between
        error = _clocklock(mutex, time.CLOCK_MONOTONIC, until)
    return mutex_status(error)


# --- Nested calls ---------------------------------------------------------------------------


class _Here(threading.local):
    """What this thread is doing.

    Attributes:
        held: locks it holds or is taking; not 0 in a nested call.
        deferred: puts of nested calls, made once nothing is held.
        draining: whether it is making them.
    """

    held = 0
    draining = False

    def __init__(self) -> None:
        self.deferred: deque[Callable[[], None]] = deque()

    def forget(self) -> None:
        """After a fork: the locks and what was deferred are the parent's."""
        self.held = 0
        self.draining = False
        self.deferred.clear()


here = _Here()
os.register_at_fork(after_in_child=lambda: here.forget())


def check_outermost(what: str) -> None:
    """Refuse a call that takes locks and cannot be put off.

    Raises:
        NestedCallError: a signal handler or finalizer has interrupted this thread while it
            held a lock.
    """
    if here.held:
        raise NestedCallError(
            f"{what} in a signal handler or finalizer that interrupted a queue operation of "
            "this thread: only put is possible there"
        )


def drain() -> None:
    """Make the puts that nested calls left, in order; nothing is held."""
    if here.draining:
        return
    here.draining = True
    try:
        while here.deferred:
            here.deferred[0]()
            here.deferred.popleft()
    finally:
        here.draining = False


# --- Critical sections ------------------------------------------------------------------------


def under(
    mutex: int, deadline: int, repair: Callable[[], object], work: Callable[[], Status]
) -> Status:
    """Run *work* while holding the mutex; return its status, or BUSY without having run it.

    Args:
        mutex: address.
        deadline: until when to wait for it, CLOCK_MONOTONIC ns; 0: not at all.
        repair: mends what the mutex guards; runs first after its holder died, and last when
            *work* raises.
        work: what to do.

    The lock is taken and given back by C functions that are called from here directly: a
    signal handler runs before or after them, never in between. If a second exception comes
    while the first is dealt with, the hold stays abandoned until this thread locks again.
    """
    before = here.held
    here.held = before + 1
    try:
        status = mutex_lock(mutex, deadline) if deadline else mutex_try_lock(mutex)
        if status is Status.REPAIR:
            repair()
            _consistent(mutex)
            status = OK
        if status is OK:
            status = work()
            _unlock(mutex)
        return status
    except BaseException:
        _give_back(mutex, repair)
        raise
    finally:
        here.held = before
        if not before and here.deferred:
            drain()


def _give_back(mutex: int, repair: Callable[[], object]) -> None:
    """After an exception: if this thread has the mutex, mend and unlock it."""
    error = _trylock(mutex)
    if error in (errno.EDEADLK, errno.EOWNERDEAD):
        repair()
        _consistent(mutex)  # an error, which says nothing, when no holder had died
        _unlock(mutex)
    elif error == 0:  # it was free: the exception came before it was taken, or after
        _unlock(mutex)
