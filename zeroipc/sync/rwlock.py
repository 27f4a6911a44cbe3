"""A read-write lock in a named segment: many read, or one writes.

Callers   any number, in any process, thread and language; who locked it need not unlock it
Progress  the try_ forms never wait, the others sleep; a writer who waits keeps new readers out
Crash     what one of our writers leaves is taken over by the next who waits; see below
Bytes     RWLOCK, two SEMAPHORE and a marker, see _core/named/layout.py
Source    SPECIFICATION.md, "Read-write lock"

Read:   1. lock rmtx   2. while writer_active: unlock, wait, lock   3. readers + 1   4. unlock rmtx
Done:   readers - 1
Write:  1. lock wmtx   2. lock rmtx, writer_active = 1, unlock   3. wait until readers is 0
Done:   writer_active = 0, unlock wmtx

    death of                    then
    a writer of ours            the next inherits wmtx by its owner tag: `recovered`
    one that has locked rmtx    the same, with rmtx
    a reader                    its count stays, and writers wait: time-outs, or repair()
    a writer in C++             nobody can tell: time-outs, or repair()
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic_ns

from .. import _backend
from .._core.named.layout import RWLOCK, SEMAPHORE
from .._core.status import OK, Status
from ..errors import ReleaseError, WaitTimeoutError
from ..memory import Memory
from ..table import Entry, Part
from ._acquire import FIRST_LOOK, LOOK_AGAIN, lock_deadline
from ._parts import Named, check_size, permits, zeros
from .mutex import Mutex


class RWLock(Named):
    """A lock for many readers or one writer: `with lock.read():`, `with lock.write():`.

    `acquire_read` and `acquire_write` take the arguments of `threading.Lock.acquire` and answer
    whether they got the lock; `release_read` and `release_write` raise ReleaseError when it is
    not so locked. Not reentrant, and a reader cannot become a writer.

    Args:
        mem: the segment.
        name: of the lock in the segment, 1 to 25 bytes. It is created if it is missing.

    Raises:
        SegmentFormatError: what is stored is not a read-write lock.
        SegmentFullError, TableFullError, NameTooLongError: it cannot be created.

    >>> with Memory("/example", 4096) as mem:
    ...     lock = RWLock(mem, "lock")
    ...     with lock.read():
    ...         lock.try_read(), lock.try_write()
    ...     mem.unlink()
    (True, False)
    """

    @staticmethod
    def _parts(name: str) -> list[Part]:
        return [
            zeros(f"{name}_state", RWLOCK.nbytes),
            permits(f"{name}_rmtx", 1, 1),
            permits(f"{name}_wmtx", 1, 1),
            zeros(name, 1),  # says that all parts are there
        ]

    def _attach(self, mem: Memory, entries: Sequence[Entry]) -> None:
        state, rmtx, wmtx, marker = entries
        sizes = (RWLOCK.nbytes, SEMAPHORE.nbytes, SEMAPHORE.nbytes, 1)
        for entry, nbytes in zip(entries, sizes, strict=True):
            check_size("read-write lock", entry, nbytes)
        self._hold(mem, marker.name)
        self._rmtx = Mutex.open(mem, rmtx.name)
        self._wmtx = Mutex.open(mem, wmtx.name)
        readers_at = state.offset + RWLOCK.readers.offset
        writer_at = state.offset + RWLOCK.writer_active.offset
        self._readers_left = self._bell(readers_at)
        self._writer_left = self._bell(writer_at)
        self._core = _backend.named.Word(self._buf, readers_at, "i", self._readers_left)
        self._writer = _backend.named.Word(self._buf, writer_at, "i", self._writer_left)
        self._recovered = False

    # --- reading ---

    def acquire_read(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        """Lock for reading; return whether it worked."""
        deadline = lock_deadline(blocking, timeout)
        self._recovered = False
        if self.try_read():
            return True
        while blocking and self._rmtx._acquire_till(deadline):
            if self._enter_read():
                return True
            if not self._wait_for_writer(deadline):
                break
        return False

    def try_read(self) -> bool:
        """Lock for reading if no writer is there now; return whether it worked."""
        return self._rmtx.try_acquire() and self._enter_read()

    def release_read(self) -> None:
        """End reading.

        Raises:
            ReleaseError: nobody reads.
        """
        while (readers := self._core.load()) > 0:
            # [rwlock.readers] release; pairs with _no_reader
            if self._core.compare_exchange(readers, readers - 1):
                return
        raise ReleaseError("a lock must be locked for reading to be released")

    def _enter_read(self) -> bool:
        """Count this reader unless a writer is there; rmtx is ours, and released."""
        try:
            # [rwlock.writer] acquire: what the last writer wrote is visible
            if self._writer.load():
                return False
            self._core.fetch_add(1)
            return True
        finally:
            self._rmtx.release()

    def _wait_for_writer(self, deadline: int) -> bool:
        """Wait until no writer is there, or it has died; return whether that was in time."""
        next_look = monotonic_ns() + FIRST_LOOK

        def attempt() -> Status:
            nonlocal next_look
            if not self._writer.load():
                return OK
            if monotonic_ns() < next_look:
                return Status.EMPTY
            next_look = monotonic_ns() + LOOK_AGAIN
            return OK if self._bury_writer() else Status.EMPTY

        return self._wait_till(attempt, self._writer_left, deadline) is OK

    def _bury_writer(self) -> bool:
        """Unlock for a writer that has died; return whether there was one."""
        if not self._wmtx.inherit():
            return False
        self._recovered = True
        self._leave_write()
        return True

    # --- writing ---

    def acquire_write(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        """Lock for writing; return whether it worked."""
        deadline = lock_deadline(blocking, timeout)
        self._recovered = False
        if self.try_write():
            return True
        if not blocking or not self._wmtx._acquire_till(deadline):
            return False
        self._recovered = self._wmtx.recovered
        entered = False
        try:
            entered = self._enter_write(deadline)
        finally:
            if not entered:
                self._leave_write()
        return entered

    def try_write(self) -> bool:
        """Lock for writing if nobody is there now; return whether it worked."""
        if not self._wmtx.try_acquire():
            return False
        entered = False
        try:
            if self._rmtx.try_acquire():
                entered = self._no_reader() is OK
                if entered:
                    self._writer.store(1)
                self._rmtx.release()
        finally:
            if not entered:
                self._wmtx.release()
        return entered

    def release_write(self) -> None:
        """End writing.

        Raises:
            ReleaseError: nobody writes.
        """
        if not self._writer.load():
            raise ReleaseError("a lock must be locked for writing to be released")
        self._leave_write()

    def _enter_write(self, deadline: int) -> bool:
        """Keep new readers out and wait until the others have left; wmtx is ours."""
        if not self._rmtx._acquire_till(deadline):
            return False
        self._writer.store(1)
        self._rmtx.release()
        return self._wait_till(self._no_reader, self._readers_left, deadline) is OK

    def _no_reader(self) -> Status:
        # [rwlock.readers] acquire: all that readers did is over
        return OK if self._core.load() <= 0 else Status.EMPTY

    def _leave_write(self) -> None:
        # [rwlock.writer] release; pairs with _enter_read. Before wmtx: the next writer's stays
        self._writer.store(0)
        self._wmtx.release()

    # --- both ---

    @contextmanager
    def read(self, timeout: float | None = None) -> Iterator[None]:
        """Lock for reading, for the length of a `with`.

        Raises:
            WaitTimeoutError: it was not possible within *timeout* seconds.
        """
        if not self.acquire_read(timeout=timeout):
            raise WaitTimeoutError(f"{self._title} was locked for writing for {timeout} seconds")
        try:
            yield
        finally:
            self.release_read()

    @contextmanager
    def write(self, timeout: float | None = None) -> Iterator[None]:
        """Lock for writing, for the length of a `with`.

        Raises:
            WaitTimeoutError: it was not possible within *timeout* seconds.
        """
        if not self.acquire_write(timeout=timeout):
            raise WaitTimeoutError(f"{self._title} was locked for {timeout} seconds")
        try:
            yield
        finally:
            self.release_write()

    @property
    def recovered(self) -> bool:
        """Whether the last acquire through this handle found that a writer had died."""
        return self._recovered

    @property
    def readers(self) -> int:
        """How many read, at some moment."""
        return max(int(self._core.load()), 0)

    @property
    def writing(self) -> bool:
        """Whether somebody writes, or waits for readers to leave, at some moment."""
        return bool(self._writer.load())

    def repair(self) -> None:
        """Unlock the lock, whoever seems to hold it; for when nobody else uses it."""
        self._core.store(0)
        self._writer.store(0)
        self._rmtx.repair()
        self._wmtx.repair()

    def close(self) -> None:
        """Let go of the lock, which stays; closing twice is fine."""
        super().close()
        self._rmtx.close()
        self._wmtx.close()

    def _facts(self) -> str:
        return f"readers={self.readers}, writing={self.writing}"
