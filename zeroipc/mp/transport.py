"""Which arena a process uses, and how others find it.

A process makes its home arena when it first needs one, unless it has one already: by a
fork, or by receiving a queue. All contexts share it.

An arena is a file in /dev/shm whose name is removed as soon as it is open, so nothing can
be left behind, however the program ends. Whoever is not forked from a process that has it
opens it through /proc/PID/fd, which the system allows the same user only.

A process may have several arenas, when it receives queues of programs that are strangers to
one another. A message lives in the arena of the queue it is put into, so an array is copied
there whatever arena it is in. A queue that goes through a queue of another arena is kept by
the process that sends it for as long as that process lives.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
import threading
from multiprocessing import reduction, util
from typing import TYPE_CHECKING, Any

from .._backend import transport as core
from .._rlock import RLock
from ..errors import OwnerDiedError, SegmentAccessError, ShmFullError
from .arena_file import PREFIX, address_space, memory_limit, new_file, remove_strays

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray


class Address:
    """Where to find an arena.

    No NamedTuple, whose making compiles code: that takes longer than making an arena.

    Args:
        token, nbytes: the arena's.
        openings: (pid, file descriptor) of processes that have it open, the maker's first.

    Attributes:
        passed: the descriptor that a child being started is given.
    """

    passed: Any = None

    def __init__(self, token: int, nbytes: int, openings: tuple[tuple[int, int], ...]) -> None:
        self.token = token
        self.nbytes = nbytes
        self.openings = openings


class Attachment:
    """An arena that this process has mapped.

    Attributes:
        arena: of the backend.
        fd: of its file.
        nbytes: of its file.
        maker: (pid, descriptor) of the process that made it.
    """

    def __init__(self, arena: Any, fd: int, nbytes: int, maker: tuple[int, int]) -> None:
        self.arena = arena
        self.fd = fd
        self.nbytes = nbytes
        self.maker = maker

    def address(self, popen: Any = None) -> Address:
        """Return where others find the arena while its maker or this process lives.

        Args:
            popen: of the child that is to find it and is being started. It inherits the
                descriptor: a process that has given up privileges hides its own.
        """
        openings = dict.fromkeys((self.maker, (os.getpid(), self.fd)))
        address = Address(self.arena.token, self.nbytes, tuple(openings))
        if popen is not None:
            with contextlib.suppress(OSError):  # the program has closed it
                if _is_arena(os.fstat(self.fd), address):
                    address.passed = self._pass_to(popen)
        return address

    def _pass_to(self, popen: Any) -> Any:
        """Give a child the descriptor, once."""
        passed = popen.__dict__.setdefault("_zeroipc_passed", {})
        if self.arena.token not in passed:
            passed[self.arena.token] = reduction.DupFd(self.fd)
        return passed[self.arena.token]


_attached: dict[int, Attachment] = {}
"""By token, in the order of attachment: the first is the home."""
_lock = RLock()


def home() -> Attachment:
    """Return this process's home arena; makes it at first need.

    Raises:
        SegmentAccessError: there is no /proc.
        ShmFullError: the system has not enough shared memory for its tables.
    """
    with _lock:
        for attachment in _attached.values():
            return attachment
        _need_proc()
        return _remember(_create())


def attach(address: Address) -> Attachment:
    """Return the arena at *address*, mapping it if need be.

    Raises:
        OwnerDiedError: no process that had it open lives any more.
    """
    with _lock:
        if address.token in _attached:
            return _attached[address.token]
        _need_proc()
        if address.passed is not None:
            fd = address.passed.detach()
            os.set_inheritable(fd, False)
            found = _attach_by(fd, address, address.openings[0])
            if found is not None:
                return _remember(found)
        for opening in itertools.chain(address.openings, _openings_of(address.token)):
            with contextlib.suppress(OSError):
                found = _attach_through(opening, address)
                if found is not None:
                    return _remember(found)
        raise OwnerDiedError(
            "the arena of this queue is gone: every process that had it has ended, or has closed "
            "or hides its descriptors (as after setuid): "
            f"pids={[pid for pid, _ in address.openings]}"
        )


def _need_proc() -> None:
    """Raise unless /proc is there, and shows this process."""
    if not os.path.exists("/proc/self/stat"):
        raise SegmentAccessError(
            "zeroipc.mp needs /proc, to see which processes live and to find their shared memory: "
            "/proc/self/stat is missing; mount it"
        )


def no_fork() -> contextlib.AbstractContextManager[Any]:
    """Return the lock that whoever must not be interrupted by a fork of this process holds."""
    return _lock


def arena_of(token: int) -> Attachment:
    """Return the attachment of an arena that this process has."""
    return _attached[token]


def _attach_through(opening: tuple[int, int], address: Address) -> Attachment | None:
    """Map the arena that a process has open; None if that is not it."""
    path = "/proc/{}/fd/{}".format(*opening)
    if not _is_arena(os.stat(path), address):  # opening it might do something by itself
        return None
    return _attach_by(os.open(path, os.O_RDWR | os.O_CLOEXEC), address, opening)


def _attach_by(fd: int, address: Address, opening: tuple[int, int]) -> Attachment | None:
    """Map the arena by a descriptor, which is closed if it is of something else."""
    try:
        if _is_arena(os.fstat(fd), address):
            arena = _map(fd, address.nbytes)
            if arena.token == address.token:
                attachment = Attachment(arena, fd, address.nbytes, opening)
                fd = -1
                return attachment
    finally:
        if fd >= 0:
            os.close(fd)
    return None


def _is_arena(found: os.stat_result, address: Address) -> bool:
    """Return whether the file is what it should be, before anything of it is read."""
    return (
        stat.S_ISREG(found.st_mode)
        and stat.S_IMODE(found.st_mode) == 0o600
        and found.st_uid == os.geteuid()
        and found.st_size == address.nbytes
    )


def _openings_of(token: int) -> Iterator[tuple[int, int]]:
    """Find the processes of this user that have an arena open, whoever told us of it."""
    suffix = f"-{token:x} (deleted)"
    for process in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"/proc/{process}/fd") if process.isdecimal() else ():
                if os.readlink(f"/proc/{process}/fd/{fd}").endswith(suffix):
                    yield int(process), int(fd)


def lives(address: Address) -> bool:
    """Return whether any process still has the arena at *address*."""
    if address.token in _attached:
        return True
    for pid, fd in itertools.chain(address.openings, _openings_of(address.token)):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/fd/{fd}").endswith(f"-{address.token:x} (deleted)"):
                return True
    return False


_sent_abroad: dict[tuple[int, int, int], Any] = {}


def keep_abroad(queue: Any) -> None:
    """Keep a queue that was sent through another arena, once, until this process ends."""
    arena, slot, generation = queue._handle
    _sent_abroad[arena.token, slot, generation] = queue


def _remember(attachment: Attachment) -> Attachment:
    _attached[attachment.arena.token] = attachment
    return attachment


def _create() -> Attachment:
    remove_strays()
    limit = memory_limit()
    space = address_space(limit)
    nbytes = core.DATA_OFFSET + space
    token = int.from_bytes(os.urandom(8), "little") >> 1
    fd = new_file(nbytes, f"{PREFIX}{os.getpid()}-{token:x}")
    try:
        arena = _map(fd, nbytes, min(limit, space), token)
    except BaseException:
        os.close(fd)
        raise
    return Attachment(arena, fd, nbytes, (os.getpid(), fd))


def _map(fd: int, nbytes: int, limit: int = 0, token: int = 0) -> Any:
    """Return the arena of a file; see `core.Arena`.

    Raises:
        ShmFullError: the process may not have so much address space.
    """
    try:
        return core.Arena(fd, nbytes, limit, token)
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        raise ShmFullError(
            f"no address space to map {nbytes} bytes of shared memory: raise RLIMIT_AS "
            "(ulimit -v), or make the first queue before loading large libraries",
            nbytes,
        ) from error


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
    if threading.active_count() > 1:
        return  # a thread may still be using its arrays: what we have goes back when it cannot
    for attachment in _attached.values():
        attachment.arena.deregister()


# From the start, so that it is there before a program looks at what is registered.
_at_exit()
util.register_after_fork(_leave, lambda _: _at_exit())


# --- Arrays that live in the arena ------------------------------------------------------


def empty(shape: int | Sequence[int], dtype: DTypeLike = float) -> NDArray[Any]:
    """Return a new array in shared memory; sending it moves it, without a copy.

    It moves alone or inside other objects, up to 15 in one message; more are copied.

    Args:
        shape: lengths of the dimensions.
        dtype: anything but objects.

    Returns:
        A writable ndarray of undefined content. After it was put into a queue, or was an
        argument or result of a task, it is read-only here and cannot be sent again; while
        other arrays show its memory, sending it copies it. What shows it and is no array (a
        memoryview, a tensor) cannot be seen: do not write through it after that.

    Raises:
        ShmFullError: the arena has no room for it.
        TypeError: the dtype holds Python objects.
    """
    import numpy as np

    kind = np.dtype(dtype)
    if kind.hasobject:
        raise TypeError(f"objects cannot live in shared memory: dtype={kind}")
    lengths = tuple(shape) if np.iterable(shape) else (shape,)
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
