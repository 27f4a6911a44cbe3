"""Which arena a process uses, and how others find it.

A process makes its home arena when it first needs one, unless it has one already: by a
fork, or by receiving a queue. All contexts share it.

An arena is a file in /dev/shm whose name is removed as soon as it is open, so nothing can
be left behind, however the program ends. Whoever is not forked from a process that has it
opens it through /proc/PID/fd, which the system allows the same user only.
"""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
import threading
from dataclasses import dataclass
from multiprocessing import util
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .._backend import transport as core
from .._core.layout import DATA_OFFSET
from .._segment import Segment
from ..errors import OwnerDiedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import DTypeLike, NDArray

PREFIX = "zeroipc-"
_SPACE_FACTOR = 8
"""Addresses per byte of the limit: blocks of one size class keep their addresses when their
memory goes to another class."""
_LIMIT_MIN = 32 << 20
_TINY = 256 << 20
"""Below this, /dev/shm is taken for a container's, and the arena is not put there."""


class Address(NamedTuple):
    """Where to find an arena: its token, its size, and processes that have it open."""

    token: int
    nbytes: int
    openings: tuple[tuple[int, int], ...]
    """(pid, file descriptor), the maker first."""


@dataclass(eq=False)
class Attachment:
    """An arena that this process has mapped."""

    arena: Any
    fd: int
    nbytes: int
    maker: tuple[int, int]

    def address(self) -> Address:
        """Return where others find the arena while its maker or this process lives."""
        openings = dict.fromkeys((self.maker, (os.getpid(), self.fd)))
        return Address(self.arena.token, self.nbytes, tuple(openings))


_attached: dict[int, Attachment] = {}
"""By token, in the order of attachment: the first is the home."""
_lock = threading.RLock()


def home() -> Attachment:
    """Return this process's home arena; makes it at first need.

    Raises:
        ShmFullError: the system has not enough shared memory for its tables.
    """
    with _lock:
        for attachment in _attached.values():
            return attachment
        return _remember(_create())


def attach(address: Address) -> Attachment:
    """Return the arena at *address*, mapping it if need be.

    Raises:
        OwnerDiedError: no process that had it open lives any more.
    """
    with _lock:
        if address.token in _attached:
            return _attached[address.token]
        for pid, number in address.openings:
            with contextlib.suppress(OSError):
                fd = os.open(f"/proc/{pid}/fd/{number}", os.O_RDWR | os.O_CLOEXEC)
                if _is_arena(fd, address):
                    arena = core.Arena(fd, address.nbytes)
                    if arena.token == address.token:
                        return _remember(
                            Attachment(arena, fd, address.nbytes, address.openings[0])
                        )
                os.close(fd)
        raise OwnerDiedError(
            "the arena of this queue is gone: every process known to have it has ended: "
            f"pids={[pid for pid, _ in address.openings]}"
        )


def arena_of(token: int) -> Attachment:
    """Return the attachment of an arena that this process has."""
    return _attached[token]


def _is_arena(fd: int, address: Address) -> bool:
    """Return whether the file is what it should be, before anything of it is read."""
    found = os.fstat(fd)
    return found.st_size == address.nbytes and found.st_uid == os.geteuid()


def _remember(attachment: Attachment) -> Attachment:
    if not _attached:
        _at_exit()
        util.register_after_fork(attachment, lambda _: _at_exit())
    _attached[attachment.arena.token] = attachment
    return attachment


def _create() -> Attachment:
    limit = memory_limit()
    nbytes = DATA_OFFSET + _address_space(limit)
    token = secrets.randbits(63)
    fd = _new_file(nbytes, f"{PREFIX}{os.getpid()}-{token:x}")
    arena = core.Arena(fd, nbytes, limit, token)
    return Attachment(arena, fd, nbytes, (os.getpid(), fd))


def _new_file(nbytes: int, name: str) -> int:
    """Return a descriptor of a new sparse file that only descriptors refer to."""
    if _shm_free() < _TINY:
        fd = os.memfd_create(name)
        os.ftruncate(fd, nbytes)
        return fd
    segment = Segment(name, create=True, size=nbytes, mode=0o600, reserve=False)
    segment.unlink()
    fd = os.dup(segment.fd)
    segment.close()
    return fd


# --- Sizes ------------------------------------------------------------------------------


def memory_limit() -> int:
    """Return the most bytes that a new arena may reserve.

    The smallest of half the machine's memory, half the control group's, and what /dev/shm
    can hold, unless that is tiny; at least 32 MB.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(Path(path).read_text()) // 2)
    if _shm_free() >= _TINY:
        limits.append(_shm_free())
    return max(min(limits), _LIMIT_MIN)


def _shm_free() -> int:
    try:
        found = os.statvfs("/dev/shm")
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def _address_space(limit: int) -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    wanted = _SPACE_FACTOR * limit
    return wanted if soft == resource.RLIM_INFINITY else min(wanted, soft // 4)


# --- Fork and exit ----------------------------------------------------------------------


def _before_fork() -> None:
    _lock.acquire()
    for attachment in _attached.values():
        attachment.arena.before_fork()


def _after_fork_in_parent() -> None:
    _lock.release()


def _after_fork_in_child() -> None:
    for attachment in _attached.values():
        attachment.arena.after_fork()
    _lock.release()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)


def _at_exit() -> None:
    # Below zero: after multiprocessing has joined this process's children. A forked child
    # leaves by os._exit and runs only these finalizers.
    util.Finalize(None, _leave, exitpriority=-100)


def _leave() -> None:
    for attachment in _attached.values():
        attachment.arena.deregister()


# --- Arrays that live in the arena ------------------------------------------------------


def empty(shape: int | Sequence[int], dtype: DTypeLike = float) -> NDArray[Any]:
    """Return a new array in shared memory; putting it into a queue moves it, without a copy.

    Args:
        shape: lengths of the dimensions.
        dtype: anything but objects.

    Returns:
        A writable ndarray of undefined content. After it was put into a queue it is
        read-only here and cannot be put again; while other arrays show its memory, putting
        it copies it.

    Raises:
        ShmFullError: the arena has no room for it.
        TypeError: the dtype holds Python objects.
    """
    import numpy as np

    kind = np.dtype(dtype)
    if kind.hasobject:
        raise TypeError(f"objects cannot live in shared memory: dtype={kind}")
    lengths = (shape,) if isinstance(shape, int) else tuple(shape)
    nbytes = int(np.prod(lengths, dtype=np.int64)) * kind.itemsize
    block = home().arena.allocate(nbytes)
    # NumPy makes views of the result views of this inner array, which shows whether any live.
    return np.ndarray(lengths, kind, block).view()


def asarray(values: Any, dtype: DTypeLike | None = None) -> NDArray[Any]:
    """Return a copy of *values* that lives in shared memory, as `empty` makes it.

    Raises:
        ShmFullError, TypeError: as `empty`.
    """
    import numpy as np

    source = np.asarray(values, dtype)
    copy = empty(source.shape, source.dtype)
    copy[...] = source
    return copy
