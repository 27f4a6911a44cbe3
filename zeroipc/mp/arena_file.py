"""The file of an arena: how large it may be, where it is, and what dead makers left of theirs."""

from __future__ import annotations

import contextlib
import os
import resource
import stat

from .._backend import transport as core
from ..errors import ShmFullError

PREFIX = "zeroipc-"
_SHM = "/dev/shm"
_SPACE_FACTOR = 8
"""Addresses per byte of the limit: blocks of one size class keep their addresses when their
memory goes to another class."""
_LIMIT_MIN = 32 << 20
_TINY = 256 << 20
"""Below this, /dev/shm is taken for a container's, and the arena is not put there."""
_HEX = frozenset("0123456789abcdef")


def memory_limit() -> int:
    """Return the most bytes that a new arena may reserve.

    The smallest of half the machine's memory, half the control group's, and what /dev/shm
    can hold, unless that is tiny; at least 32 MB.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError), open(path, "rb", 0) as file:
            limits.append(int(file.read()) // 2)
    if _shm_free() >= _TINY:
        limits.append(_shm_free())
    return max(min(limits), _LIMIT_MIN)


def _shm_free() -> int:
    try:
        found = os.statvfs(_SHM)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def address_space(limit: int) -> int:
    """Return how many bytes of blocks the file has, sparse, under this process's own limits.

    Raises:
        ShmFullError: RLIMIT_FSIZE leaves no room for the smallest arena.
    """
    wanted = _SPACE_FACTOR * limit
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        wanted = min(wanted, soft // 4)
    largest, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if largest != resource.RLIM_INFINITY:
        wanted = min(wanted, largest - largest % resource.getpagesize() - core.DATA_OFFSET)
        if wanted < _LIMIT_MIN:
            raise ShmFullError(
                f"files may have {largest} bytes (ulimit -f), and an arena needs "
                f"{core.DATA_OFFSET + _LIMIT_MIN}"
            )
    return wanted


def new_file(nbytes: int, name: str) -> int:
    """Return a descriptor of a new sparse file that only descriptors refer to."""
    if _shm_free() < _TINY:
        fd = os.memfd_create(name)
        os.fchmod(fd, 0o600)
        os.ftruncate(fd, nbytes)
        return fd
    # What SharedMemory does, without loading it: its imports take longer than a fork.
    path = f"{_SHM}/{name}"
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    with contextlib.suppress(FileNotFoundError):  # taken for a stray in another PID namespace
        os.unlink(path)
    os.ftruncate(fd, nbytes)
    return fd


def remove_strays() -> None:
    """Remove the names of arenas whose maker was killed before it could do so itself.

    They are still empty then.
    """
    with contextlib.suppress(OSError):
        for name in os.listdir(_SHM):
            pid, _, token = name.removeprefix(PREFIX).partition("-")
            ours = name.startswith(PREFIX) and pid.isdecimal() and set(token) <= _HEX
            if ours and token and not _exists(int(pid)):
                _remove_stray(f"{_SHM}/{name}")


def _remove_stray(path: str) -> None:
    with contextlib.suppress(OSError):
        found = os.lstat(path)
        mine = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
        if mine and found.st_size == 0:
            os.unlink(path)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it is somebody else's
    return True
