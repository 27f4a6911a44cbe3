"""Queues that unrelated processes of one user find by name.

An arena has no name, so a named queue has a record: a small file /dev/shm/zeroipc-UID-q-NAME
that says which arena and which queue in it.

Callers   any process of the user; others may not even read the record
Progress  making, finding and removing hold the record's file lock for a moment
Crash     the lock goes with its holder; a record that is half-written, or whose queue is
          gone, counts as none and is replaced; strays go when a program next uses a name
Bytes     JSON, never a pickle

The record goes when the last process that has the queue drops it or ends in good order.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from multiprocessing import util
from pathlib import Path
from typing import Any

from ..errors import (
    CapacityError,
    ClosedError,
    InvalidNameError,
    NameTooLongError,
    OwnerDiedError,
    SegmentAccessError,
    WaitTimeoutError,
)
from . import arena_file, transport

FOLDER = Path("/dev/shm")
_NAME_MAX = 255
PATIENCE = 60.0
"""Seconds to wait for a record that another process has locked, which it does for a moment."""
_PAUSE = 0.005


def open_or_create(queue: Any, name: str, maxsize: int) -> None:
    """Make *queue* the one called *name*: attach it, or create and record it.

    Raises:
        CapacityError: there is one with another maxsize, and *maxsize* is not 0.
        InvalidNameError, NameTooLongError: the name cannot be one of a file.
        SegmentAccessError: the record is not this user's alone.
        TypeError: there is one of another class, or the name is no string.
        WaitTimeoutError: a process that is stopped has the record's lock.
    """
    path = FOLDER / record_name(name)
    remove_strays()
    with locked(path, PATIENCE) as fd:
        record = read(fd)
        if not _attach(queue, record):
            try:
                queue._create(maxsize, queue._noting, named=True)
            except BaseException:
                path.unlink()
                raise
            record = {"class": type(queue).__name__}
        elif 0 < maxsize != queue._maxsize:
            raise CapacityError(
                f"maxsize must be that of the queue or 0: name={name!r}, "
                f"maxsize={maxsize}, the queue's={queue._maxsize}"
            )
        write(fd, queue, record)
    _remove_with(queue, path)


def record_name(name: str, kind: str = "q") -> str:
    """Return the file name of the record of the queue, or what *kind* stands for, called *name*."""
    if not isinstance(name, str):
        raise TypeError(f"a name must be a str: name={name!r}")
    whole = f"{arena_file.PREFIX}{os.geteuid()}-{kind}-{name}"
    if not name or "/" in name or "\0" in name:
        raise InvalidNameError(f"a name must not be empty or hold '/' or NUL: name={name!r}")
    if len(os.fsencode(whole)) > _NAME_MAX:
        rest = _NAME_MAX - len(whole) + len(name)
        raise NameTooLongError(f"a name has at most {rest} bytes: name={name!r}")
    return whole


# --- The record and its lock --------------------------------------------------------------


@contextlib.contextmanager
def locked(path: Path, patience: float) -> Iterator[int]:
    """Open the record at *path*, made if need be, and hold its lock.

    Raises:
        WaitTimeoutError: another process held it for all of *patience* seconds.
    """
    deadline = time.monotonic() + patience
    while True:
        # No fork while it is held: a child would inherit the lock, and keep it.
        with transport.no_fork():
            fd = _open(path)
            try:
                if _try_lock(fd, path):
                    yield fd
                    return
            finally:
                os.close(fd)
        if time.monotonic() >= deadline:
            raise WaitTimeoutError(
                f"another process holds the record for {patience} seconds: {path}"
            )
        time.sleep(_PAUSE)


def _try_lock(fd: int, path: Path) -> bool:
    """Take the lock; false: another process has it, or removed the record meanwhile."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return _is_at(fd, path)


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.ELOOP, errno.ENXIO):
            raise
        raise SegmentAccessError(f"a record must be a regular file: {path}") from error
    found = os.fstat(fd)
    private = stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o600
    if private and found.st_uid == os.geteuid():
        return fd
    os.close(fd)
    raise SegmentAccessError(
        f"a record must be the user's own, with mode 0600: {path}, "
        f"uid={found.st_uid}, mode={stat.S_IMODE(found.st_mode):o}"
    )


def _is_at(fd: int, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(fd), path.stat())
    return False


def read(fd: int) -> dict[str, Any]:
    """Return the record, or nothing if it is none."""
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        record: dict[str, Any] = json.loads(os.pread(fd, 1 << 16, 0))
        openings = tuple((int(pid), int(number)) for pid, number in record["openings"])
        address = transport.Address(int(record["token"]), int(record["nbytes"]), openings)
        queue = (int(record["slot"]), int(record["generation"]))
        if not all(0 <= number < 1 << 32 for number in queue):
            return {}
        more = record.get("more", {})
        return {"class": str(record["class"]), "address": address, "queue": queue, "more": more}
    return {}


def write(fd: int, queue: Any, record: dict[str, Any]) -> None:
    """Write the record of *queue*: its "class", and "more" if there is more to say."""
    arena, slot, generation = queue._handle
    address = vars(transport.arena_of(arena.token).address())
    own = {"class": record["class"], "more": record.get("more", {})}
    text = json.dumps({**own, "slot": slot, "generation": generation, **address})
    os.ftruncate(fd, 0)
    os.pwrite(fd, text.encode(), 0)


def _attach(queue: Any, record: dict[str, Any]) -> bool:
    """Attach *queue* to the one of the record; return whether that still exists."""
    if not record:
        return False
    try:
        queue.__setstate__((record["address"], *record["queue"]))
    except (ClosedError, OwnerDiedError):
        return False
    if record["class"] != type(queue).__name__:
        raise TypeError(f"the queue is a {record['class']}, not a {type(queue).__name__}")
    return True


# --- Removal ------------------------------------------------------------------------------


def _remove_with(queue: Any, path: Path) -> None:
    """Have the record removed with the last holder of *queue*."""
    arena, slot, generation = queue._handle
    util.Finalize(queue, _remove, (arena, slot, generation, path), exitpriority=-50)
    util.register_after_fork(queue, lambda queue: _remove_with(queue, path))


def _remove(arena: Any, slot: int, generation: int, path: Path) -> None:
    """Remove the record, unless others have the queue or the record is of another one."""
    # Someone who is looking at it right now will take it over or leave it as a stray.
    with contextlib.suppress(OSError), locked(path, 0) as fd:
        record = read(fd)
        ours = record and record["address"].token == arena.token
        if not ours or record["queue"] != (slot, generation):
            if not record:
                path.unlink()
        elif arena.held(slot) <= 1 and not arena.holders(slot):
            path.unlink()


def remove_strays() -> None:
    """Remove the records whose arena is gone: all who had it were killed."""
    for path in FOLDER.glob(f"{arena_file.PREFIX}{os.geteuid()}-[qf]-*"):
        with contextlib.suppress(OSError, SegmentAccessError), locked(path, 0) as fd:
            record = read(fd)
            if not record or not transport.lives(record["address"]):
                path.unlink()
