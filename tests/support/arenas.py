"""Arenas in anonymous files, with the C core or its Python twin at work in them."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

from zeroipc._core.layout import DATA_OFFSET, NOTE_NOTHING

NATIVE, PURE = "native", "pure"
BACKENDS = (NATIVE, PURE)
PAIRS = [(sender, receiver) for sender in BACKENDS for receiver in BACKENDS]
PATIENCE = 60
"""Seconds after which a child that hangs is killed."""

_MODULES = {NATIVE: "zeroipc._native", PURE: "zeroipc._core.transport"}


def core(backend: str) -> Any:
    """Return the module of a backend; skip the test, or fail it, where there is no extension."""
    try:
        return import_module(_MODULES[backend])
    except ImportError as error:
        if os.environ.get("ZEROIPC_REQUIRE_NATIVE") == "1":
            pytest.fail(f"ZEROIPC_REQUIRE_NATIVE=1 and there is no extension: {error}")
        pytest.skip(f"there is no extension: {error}")


class File:
    """The file of an arena; gone with its last descriptor."""

    def __init__(self, nbytes: int = 256 << 20) -> None:
        self.nbytes = DATA_OFFSET + nbytes
        self.fd = os.memfd_create("zeroipc-test")
        os.ftruncate(self.fd, self.nbytes)

    def __del__(self) -> None:
        os.close(self.fd)

    def create(self, backend: str, limit: int = 64 << 20, token: int = 7) -> Any:
        """Return a new arena in the file."""
        return core(backend).Arena(self.fd, self.nbytes, limit, token)

    def attach(self, backend: str) -> Any:
        """Return the arena of the file, for another participant."""
        return core(backend).Arena(self.fd, self.nbytes)


def queue_of(backend: str, arena: Any, handle: tuple[int, int] | None = None, **make: Any) -> Any:
    """Return a queue: the one that *handle* names, or a new one.

    Args:
        backend: of *arena*.
        arena: holds it.
        handle: slot and generation.
        make: maxsize, noting, named of a new one.
    """
    if handle is None:
        handle = arena.create_queue(
            make.get("maxsize", 0), make.get("noting", NOTE_NOTHING), make.get("named", False)
        )
    queue = core(backend).MessageQueue()
    queue._attach(arena, *handle)
    return queue


class Line:
    """Two queues' ends of one queue: what one puts, the other gets."""

    def __init__(self, sender: str, receiver: str) -> None:
        core(sender), core(receiver)
        self.sender, self.receiver = sender, receiver
        self.file = File()
        self.arena = self.file.create(sender)
        self.other = self.file.attach(receiver)
        self.out = queue_of(sender, self.arena)
        self.into = queue_of(receiver, self.other, self.out._handle[1:])

    def send(self, obj: Any) -> Any:
        """Return *obj* as it arrives."""
        self.out.put(obj)
        return self.into.get(timeout=10)

    def live(self) -> int:
        """Return how many blocks are not free."""
        return int(self.arena.stats()["blocks_live"])


def fork_child(work: Callable[[], None]) -> int:
    """Run *work* in a forked child, which exits with 0 unless it raises; return its pid.

    The child must make an `Arena` of its own: those of this process are not told of the fork.
    """
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.alarm(PATIENCE)
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def ended_well(pid: int) -> bool:
    """Wait for a child; return whether it exited with 0."""
    return os.waitpid(pid, 0)[1] == 0
