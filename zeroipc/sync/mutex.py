"""A mutex in a named segment: at most one holds it.

Callers   any number, in any process, thread and language; who locked it need not unlock it
Progress  try_acquire and release never wait; acquire sleeps until the mutex is free
Crash     the mutex of one of our processes that dies is taken over by the next who waits for
          it; see below
Bytes     SEMAPHORE with count 1 and max_count 1, see _core/named/layout.py
Source    SPECIFICATION.md, "Mutex"; threading.Lock; pthread_mutexattr_setrobust

The format has no owner. Our processes leave a tag in a word that others do not use: after they
took the mutex, until just before they give it back.

    death of a holder                   then
    with its tag in place               the first who waits inherits the mutex: `recovered`
    between the permit and the tag,     held by nobody known, as if by a program in another
    a few instructions on either side   language: others wait, until somebody calls repair()
    in another language                 the same

Processes that share a mutex must see each other in /proc: one PID namespace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .. import _backend
from .._core.named.layout import SEMAPHORE
from ..errors import SegmentFormatError
from ..memory import Memory
from ..table import Entry, Part
from ._acquire import MutexWaiting, inherit
from ._lock import Lock
from ._parts import Named, check_size, loads, permits, reset_permits


class Mutex(Named, Lock):
    """A lock that any process finds by name; its use is that of `threading.Lock`.

    `acquire(blocking=True, timeout=-1)` answers whether it got the mutex, `release()` raises
    ReleaseError when the mutex is free, `with` does both. Any thread may release it. Not
    reentrant: a thread that acquires it twice waits for itself.

    When `recovered` is true after an acquire, the holder before died, and what the mutex
    protects may be half done.

    Args:
        mem: the segment.
        name: of the mutex in the segment, 1 to 31 bytes. It is created if it is missing.

    Raises:
        SegmentFormatError: what is stored is not a mutex.
        SegmentFullError, TableFullError, NameTooLongError: it cannot be created.

    >>> with Memory("/example", 4096) as mem:
    ...     lock = Mutex(mem, "lock")
    ...     with lock:
    ...         lock.locked(), lock.try_acquire()
    ...     lock.locked()
    ...     mem.unlink()
    (True, False)
    False
    """

    release: Callable[[], None]

    @staticmethod
    def _parts(name: str) -> list[Part]:
        return [permits(name, 1, 1)]

    def _attach(self, mem: Memory, entries: Sequence[Entry]) -> None:
        (entry,) = entries
        check_size("mutex", entry, SEMAPHORE.nbytes)
        count, most = loads(mem.view(entry), SEMAPHORE.count, SEMAPHORE.max_count)
        if most != 1 or count not in (0, 1):
            raise SegmentFormatError(
                f"not a mutex: it must have at most one permit: "
                f"count={count}, max_count={most}, {entry}"
            )
        self._hold(mem, entry.name)
        self._entry = entry
        bell = self._bell(entry.offset + SEMAPHORE.count.offset)
        self._waiting = MutexWaiting(bell, mem, self._title)
        self._core = _backend.named.Mutex(self._buf, entry.offset, bell, self._waiting)
        self._expose()

    def inherit(self) -> bool:
        """Take the mutex if one of our processes holds it that has died; return whether."""
        return inherit(self._core)

    @property
    def recovered(self) -> bool:
        """Whether the last acquire through this handle took the mutex from a dead process."""
        return bool(self._core.recovered())

    def locked(self) -> bool:
        """Return whether somebody holds the mutex, at some moment."""
        return bool(self._core.count() <= 0)

    def repair(self) -> None:
        """Free the mutex, whoever seems to hold it; for when nobody else uses it."""
        reset_permits(self._mem.view(self._entry), 1)

    def _facts(self) -> str:
        return "locked" if self.locked() else "free"
