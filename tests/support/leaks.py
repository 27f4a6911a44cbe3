"""What a test may leave behind in the system: segments and child processes."""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import TypeVar

SHM = Path("/dev/shm")

PREFIX = f"zi-test-{os.getpid()}-"
"""Begins the name of every segment that a test of this process makes. With the process
id, because pytest-xdist runs other tests at the same time."""


PATIENCE = 10.0
"""Seconds that a thread or process has to end, and a descriptor to be closed: under load it
takes its time, and only what stays is a leak."""

T = TypeVar("T")


def left(look: Callable[[], set[T]], before: set[T]) -> set[T]:
    """Return what *look* finds beyond *before*, and still does after a while."""
    deadline = time.monotonic() + PATIENCE
    while (new := look() - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    return new


def threads() -> set[threading.Thread]:
    """Return this process's threads."""
    return set(threading.enumerate())


def segments() -> set[str]:
    """Return the names of the segments that tests of this process have made."""
    return {path.name for path in SHM.glob(f"{PREFIX}*")}


def descriptors() -> set[tuple[int, str]]:
    """Return this process's open descriptors, each with what it is open on.

    As a set: what an earlier test left open may close at any moment, so that only what is
    new afterwards is a leak.
    """
    gc.collect()
    found: set[tuple[int, str]] = set()
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # of the listing itself
            found.add((int(fd), os.readlink(f"/proc/self/fd/{fd}")))
    return found


def children() -> set[int]:
    """Return the ids of this process's children that are running or not waited for."""
    multiprocessing.active_children()  # waits for those that have ended
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has just ended
            found.update(map(int, (task / "children").read_text().split()))
    return found - _servants()


def _servants() -> set[int | None]:
    """Return the processes that multiprocessing keeps for itself until we exit."""
    return {
        getattr(resource_tracker._resource_tracker, "_pid", None),
        getattr(forkserver._forkserver, "_forkserver_pid", None),
    }
