"""One shared-memory segment, without the surprises of `SharedMemory`.

Differences from `multiprocessing.shared_memory.SharedMemory`, on every Python version:

- attaching never registers with the resource tracker, which would unlink the segment of
  others at our exit; creating registers only when `tracked`;
- the pages are reserved at creation, so a full /dev/shm is an exception, not SIGBUS;
- `close` never raises BufferError: the mapping goes with its last view.
"""

from __future__ import annotations

import _posixshmem  # type: ignore[import-not-found]
import contextlib
import errno
import fcntl
import mmap
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from operator import index
from typing import Any

from .errors import (
    CapacityError,
    ClosedError,
    InvalidNameError,
    NameTooLongError,
    SegmentAccessError,
    SegmentExistsError,
    SegmentFormatError,
    SegmentNotFoundError,
    SegmentNotReadyError,
    ShmFullError,
)

NAME_MAX = 255
"""Most bytes of a name: the limit of the tmpfs that holds the segments."""

RESERVE_STEP = 16 << 20
"""Bytes reserved per system call: a signal makes the kernel undo and restart a call."""

_SIZE_MAX = 2**63 - 1
_REMEDY = "unlink segments that are not needed, or enlarge /dev/shm"


class Segment(SharedMemory):
    """A named piece of shared memory: `name` (no slash), `size`, `buf`, `fd`.

    Args:
        name: with or without a leading "/"; at most 255 bytes, no other slash.
        create: make it, exclusively; else attach to an existing one.
        size: bytes, for creation, at least 1.
        tracked: for creation: the resource tracker unlinks it when this program and its
            children are gone.
        mode: for creation; the umask is taken off.
        reserve: for creation: reserve all pages now; else the file is sparse, and pages
            must be reserved with `reserve` before they are touched.
        private: for attaching: refuse what is not owned by the effective user with
            mode 0600.

    Raises:
        SegmentNotFoundError, SegmentExistsError: there is none, or already one.
        SegmentNotReadyError: attaching to a segment of 0 bytes.
        SegmentAccessError: the system or *private* forbids it.
        SegmentFormatError: the name is not that of a regular file.
        ShmFullError: *size* bytes cannot be reserved or mapped; nothing is left behind.
        CapacityError: *size* is out of range.
        InvalidNameError, NameTooLongError: the name cannot be used.
    """

    # Here, so that close() and __del__ work on a half-made object.
    _name: str
    _fd = -1
    _size = 0
    _tracked = False
    _mmap: mmap.mmap | None = None
    _buf: memoryview | None = None

    def __init__(
        self,
        name: str,
        create: bool = False,
        size: int = 0,
        *,
        tracked: bool = False,
        mode: int = 0o600,
        reserve: bool = True,
        private: bool = False,
    ) -> None:
        self._name = "/" + bare_name(name)
        self._private = private
        if create:
            self._create(index(size), mode, reserve, tracked)
        else:
            self._attach()

    def _create(self, size: int, mode: int, reserve: bool, tracked: bool) -> None:
        if not 1 <= size <= _SIZE_MAX:
            raise CapacityError(f"size must be from 1 to {_SIZE_MAX}: size={size}")
        self._fd = _shm_open(self._name, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)
        try:
            if reserve:
                self._check_free(size)
                self.reserve(0, size)  # this also makes the file grow
            else:
                os.ftruncate(self._fd, size)
            self._map(size)
            if tracked:
                resource_tracker.register(self._name, "shared_memory")
                self._tracked = True
        except BaseException:
            self.close()
            with contextlib.suppress(FileNotFoundError):
                _posixshmem.shm_unlink(self._name)
            raise

    def _attach(self) -> None:
        self._fd = _shm_open(self._name, os.O_RDWR, 0)
        try:
            found = os.fstat(self._fd)
            if not stat.S_ISREG(found.st_mode):
                raise SegmentFormatError(f"not a regular file: segment {self.name!r}")
            if self._private:
                _check_private(self.name, found)
            if found.st_size == 0:
                raise SegmentNotReadyError(f"segment {self.name!r} is still empty")
            self._map(found.st_size)
        except BaseException:
            self.close()
            raise

    def _map(self, size: int) -> None:
        try:
            self._mmap = mmap.mmap(self._fd, size)
        except OSError as error:
            if error.errno != errno.ENOMEM:
                raise
            raise ShmFullError(
                f"no address space to map segment {self.name!r}: size={size}", size
            ) from error
        except ValueError as error:  # somebody made the file smaller after our fstat
            raise SegmentFormatError(f"segment {self.name!r} is shrinking: {error}") from error
        self._size = size
        self._buf = memoryview(self._mmap)

    def _check_free(self, nbytes: int) -> None:
        # Asked first, because filling the file system up to its end hurts others.
        free = _free_nbytes(self.fd)
        if nbytes > free:
            raise self._full(nbytes, free)

    def _full(self, asked: int, free: int) -> ShmFullError:
        return ShmFullError(
            f"not enough shared memory for segment {self.name!r}: "
            f"asked={asked} bytes, free={free} bytes; {_REMEDY}",
            asked,
            free,
        )

    def reserve(self, start: int, stop: int) -> None:
        """Reserve the pages of bytes *start* to *stop*; what is reserved stays as it is.

        Raises:
            ShmFullError: there are not enough free pages. Some may have been reserved.
        """
        free = _free_nbytes(self.fd)
        try:
            for offset in range(start, stop, RESERVE_STEP):
                allocate_pages(self.fd, offset, min(RESERVE_STEP, stop - offset))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG):
                raise
            raise self._full(stop - start, free) from error

    def reserve_holes(self) -> None:
        """Reserve what a creator left sparse, so that touching it cannot be SIGBUS.

        Raises:
            ShmFullError: there are not enough free pages.
        """
        missing = self.size - reserved_nbytes(self.fd)
        if missing > 0:
            self._check_free(missing)
            self.reserve(0, self.size)

    @property
    def buf(self) -> memoryview:
        """All the bytes, writable.

        Raises:
            ClosedError: the segment was closed here.
        """
        if self._buf is None:
            raise ClosedError(f"segment {self.name!r} is closed")
        return self._buf

    @property
    def fd(self) -> int:
        """The file descriptor, open until `close`.

        Raises:
            ClosedError: the segment was closed here.
        """
        if self._fd < 0:
            raise ClosedError(f"segment {self.name!r} is closed")
        return self._fd

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep out every other thread and process that asks for the same.

        A lock belongs to an open file, and a forked child shares its parent's open files.
        Opening anew each time gives each thread and process its own, fork or not. The
        kernel frees the lock of a process that dies.
        """
        fd = _reopen(self)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            # Explicitly: a child forked meanwhile holds a copy, which close would not free.
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def close(self) -> None:
        """Detach. Views that still live stay valid; the mapping goes with the last one.

        Closing twice is fine.
        """
        self._buf = None
        self._mmap = None
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def unlink(self) -> None:
        """Remove the name; handles that are attached keep working. Also after `close`.

        Raises:
            SegmentNotFoundError: the name was gone already.
        """
        if self._tracked:
            self._tracked = False
            # Registering twice is harmless, unregistering twice is not: after a fork, parent
            # and child share the tracker, and both may unlink.
            resource_tracker.register(self._name, "shared_memory")
            resource_tracker.unregister(self._name, "shared_memory")
        unlink(self._name)

    def __del__(self) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[..., Segment], tuple[Any, ...]]:
        return partial(type(self), private=self._private), (self.name,)


def bare_name(name: str) -> str:
    """Return *name* without its leading "/".

    Raises:
        InvalidNameError: it is empty, has an inner "/" or NUL, or is "." or "..".
        NameTooLongError: it has more than 255 bytes.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a str: name={name!r}")
    bare = name.removeprefix("/")
    if bare in ("", ".", "..") or "/" in bare or "\0" in bare:
        raise InvalidNameError(
            f"a segment's name must be one file name, after at most one '/': name={name!r}"
        )
    try:
        nbytes = len(os.fsencode(bare))
    except UnicodeEncodeError as error:
        raise InvalidNameError(f"name must be encodable: name={name!r}") from error
    if nbytes > NAME_MAX:
        raise NameTooLongError(
            f"a segment's name must have at most {NAME_MAX} bytes: name={name!r} has {nbytes}"
        )
    return bare


def unlink(name: str) -> None:
    """Remove a segment's name without attaching to it.

    Raises:
        SegmentNotFoundError: there is no such name.
        SegmentAccessError: the system forbids it.
    """
    with _translated(name):
        _posixshmem.shm_unlink("/" + bare_name(name))


def allocate_pages(fd: int, offset: int, nbytes: int) -> None:
    """Reserve pages of a file, making it grow as needed: the one place that does."""
    # macOS lacks the call, and has no /dev/shm that fills up: there the size suffices.
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, offset, nbytes)
    else:
        os.ftruncate(fd, max(offset + nbytes, os.fstat(fd).st_size))


def reserved_nbytes(fd: int) -> int:
    """Return the bytes of a file that have pages."""
    return os.fstat(fd).st_blocks * 512


def _free_nbytes(fd: int) -> int:
    """Return the bytes free in the file system of *fd*, or 2**63-1 where unlimited."""
    room = os.fstatvfs(fd)
    return room.f_bavail * room.f_frsize if room.f_blocks else _SIZE_MAX


def _shm_open(name: str, flags: int, mode: int) -> int:
    with _translated(name):
        return int(_posixshmem.shm_open(name, flags, mode=mode))


def _reopen(segment: Segment) -> int:
    """Open the segment's file once more, also when its name is gone or used anew."""
    try:
        return os.open(f"/proc/self/fd/{segment.fd}", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # no /proc here: by name
        return _shm_open("/" + segment.name, os.O_RDWR, 0)


@contextlib.contextmanager
def _translated(name: str) -> Iterator[None]:
    """Give the system's errors about a name their place in our family."""
    bare = name.removeprefix("/")
    try:
        yield
    except FileNotFoundError as error:
        raise SegmentNotFoundError(error.errno, "no such segment", bare) from None
    except FileExistsError as error:
        raise SegmentExistsError(error.errno, "segment exists", bare) from None
    except PermissionError as error:
        raise SegmentAccessError(error.errno, "no access to segment", bare) from None
    except OSError as error:
        # A directory (which shm_open calls EINVAL), a socket, a symbolic link.
        if error.errno not in (errno.EISDIR, errno.EINVAL, errno.ENXIO, errno.ELOOP):
            raise
        raise SegmentFormatError(f"not a regular file: segment {bare!r}") from None


def _check_private(name: str, found: os.stat_result) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != os.geteuid() or mode != 0o600:
        raise SegmentAccessError(
            errno.EACCES,
            f"segment must be owned by user {os.geteuid()} with mode 0o600: "
            f"owner={found.st_uid}, mode={mode:#o}",
            name,
        )
