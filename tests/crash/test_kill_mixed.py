"""What one implementation was killed in, the other one survives; see README.md."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from tests.crash.driver import TUNABLES, kills, run, seed
from tests.support.arenas import NATIVE, PURE, File, core, fork_child, queue_of
from zeroipc._core import mutex
from zeroipc._core.blocks import block_free, patience
from zeroipc._core.layout import LOCK_PLAIN, NONE, ROLE_QUEUE, STATE_OPEN
from zeroipc._core.mqueue import queue_get, queue_put
from zeroipc._core.registry import task_done, tasks_await
from zeroipc._core.ring import Message, cursor_load
from zeroipc._core.slots import slots_reclaim
from zeroipc._core.status import OK, Status
from zeroipc._core.sweep import arena_deregister, arena_sweep
from zeroipc._core.transport import Arena

pytestmark = [pytest.mark.kill, pytest.mark.timeout(1800)]

KILLS = 200
"""Of each operation, evenly spread over its steps."""


# --- C dies, Python survives ------------------------------------------------------------------


def word(number: int, part: int) -> int:
    """Return what the driver writes into block *part* of an item."""
    return ((number + 1) * 0x9E3779B97F4A7C15 + part) % 2**64


def take(view: Any, slot: int) -> int | Status:
    """Return the number of the next item, whole, or why there is none."""
    message = Message(NONE)
    status = queue_get(view, slot, view.queues[slot].generation, [message], patience())
    if status is not OK:
        return status
    number = int.from_bytes(message.payload[:8], "little")
    for part, block in enumerate(message.blocks):
        offset = view.blocks[block].offset
        assert int.from_bytes(view.bytes[offset : offset + 8], "little") == word(number, part)
        block_free(view, block)
    return number


def drain(view: Any, slot: int) -> None:
    """Take all that was committed, and no more; then see that the queue works."""
    queue = view.queues[slot]
    head, tail = cursor_load(queue.head).item, cursor_load(queue.tail).item
    assert [take(view, slot) for _ in range(head, tail)] == list(range(head, tail))
    is_open = queue.state == STATE_OPEN
    assert take(view, slot) is (Status.EMPTY if is_open else Status.SHUT)
    if queue.tally != NONE:
        tasks_await(view, slot, queue.generation, patience())
        while task_done(view, slot, queue.generation, patience()) is OK:
            pass
    if is_open:
        message = Message()
        message.payload = (77).to_bytes(8, "little") * 70
        assert queue_put(view, slot, queue.generation, [message], patience()) is OK
        assert take(view, slot) == 77


def sweep(fd: int) -> Arena:
    """Attach, sweep, and reclaim queues."""
    arena = Arena(fd, os.fstat(fd).st_size)
    while arena_sweep(arena.view, patience()):
        pass
    slots_reclaim(arena.view, patience())
    return arena


def drain_all(arena: Arena) -> None:
    """Take out everything, and leave."""
    view = arena.view
    for slot in range(view.arena.queues_used):
        if view.queues[slot].used == ROLE_QUEUE:
            drain(view, slot)
    arena_deregister(view)


STEPPED = [
    *("put", "put: new blocks", "put: new chunk", "put: many", "put: loans", "get", "get: task"),
    *("get: leave a chunk", "alloc: trim first", "free", "free: loan", "shrink", "trim"),
    *("sweep", "sweep: died with locks", "register", "deregister", "create", "reclaim"),
    *("memory: create", "memory: reclaim", "lock: take", "lock: sweep", "event: set"),
    *("condition: enter, in a block", "condition: notify", "condition: sweep"),
]


@pytest.mark.parametrize("scenario", STEPPED)
def test_python_survives_what_c_was_killed_in(program: Path, scenario: str) -> None:
    if platform.machine() != "x86_64" or run(program, "steppable").returncode != 0:
        pytest.skip("no process can be stepped here: no x86-64, or ptrace is refused")
    (asked, ask), (answered, answer) = os.pipe(), os.pipe()
    driver = subprocess.Popen(
        [program, "step", str(seed()), str(kills(KILLS)), scenario, str(ask), str(answered)],
        pass_fds=(ask, answered),
        env={**os.environ, "GLIBC_TUNABLES": TUNABLES},
    )
    os.close(ask)
    os.close(answered)
    try:
        with os.fdopen(asked) as questions:
            for line in questions:
                fd = os.open(f"/proc/{driver.pid}/fd/{int(line)}", os.O_RDWR)
                arena = sweep(fd)
                os.write(answer, b"ok\n")
                if not questions.readline():  # the driver has found something
                    break
                drain_all(arena)
                del arena
                os.close(fd)
                os.write(answer, b"ok\n")
    finally:
        os.close(answer)  # the driver fails if it still waits
        assert driver.wait() == 0


# --- Python dies, C survives ------------------------------------------------------------------


def lock_of(backend: str, arena: Arena, handle: tuple[int, int] | None = None) -> Any:
    """Return a lock: the one that *handle* names, or a new one."""
    lock = core(backend).Lock()
    lock._attach(arena, *(handle or arena.create_lock(LOCK_PLAIN, 1, 1)))
    return lock


CORE = os.path.dirname(mutex.__file__)


class Steps:
    """Counts the instructions of the interpreter in the core, and kills after so many."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.done = 0

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(CORE):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            if self.done == self.left:
                os.kill(os.getpid(), signal.SIGKILL)
            self.done += 1
        return self.trace


class Scene:
    """An arena of a C process with a queue in it, and a Python process that dies there."""

    def __init__(self) -> None:
        self.file = File()
        self.arena = self.file.create(NATIVE)
        self.queue = queue_of(NATIVE, self.arena, maxsize=50)
        self.lock = lock_of(NATIVE, self.arena)
        for number in range(3):
            self.queue.put((number, np.full(2000, number)))

    def die(self, operation: str, left: int) -> tuple[bool, int]:
        """Run *operation* in a child that is killed after *left* steps.

        Returns:
            Whether it was killed, and how many steps it took if it was not.
        """
        reading, writing = os.pipe()

        def child() -> None:
            call = self.prepare(operation)
            steps = Steps(left)
            sys._getframe().f_trace_opcodes = True  # Python 3.12 traces only after this
            sys.settrace(steps.trace)
            call()
            sys.settrace(None)
            os.write(writing, str(steps.done).encode())

        _, status = os.waitpid(fork_child(child), 0)
        os.close(writing)
        with os.fdopen(reading) as answer:
            steps = answer.read()
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        assert killed or steps, f"{operation}: wait status {status}"
        return killed, int(steps or 0)

    def prepare(self, operation: str) -> Callable[[], Any]:
        """In the child: return what is to be done."""
        if operation == "register":
            return lambda: self.file.attach(PURE)
        arena = self.file.attach(PURE)
        queue = queue_of(PURE, arena, self.queue._handle[1:])
        if operation == "put":
            item = (3, np.full(2000, 3))
            return lambda: queue.put(item)
        if operation == "put_many":
            return lambda: queue.put_many([(3, b"x" * 5000), (4, b"x" * 5000)])
        if operation == "get":
            return queue.get  # type: ignore[no-any-return]
        if operation == "free":
            kept = [arena.allocate(5000), queue.get()]
            return kept.clear
        if operation == "sweep":

            def leave() -> None:
                other = self.file.attach(PURE)
                mine = queue_of(PURE, other, self.queue._handle[1:])
                kept = [other.allocate(5000), mine.get()]
                os.kill(os.getpid(), signal.SIGKILL if kept else 0)

            os.waitpid(fork_child(leave), 0)
            return arena.sweep  # type: ignore[no-any-return]
        if operation == "shrink":
            for _ in range(20):
                queue.put(b"s" * 2000)
            while queue.qsize():
                queue.get()
            return arena.shrink  # type: ignore[no-any-return]
        if operation == "lock":
            lock = lock_of(PURE, arena, self.lock._handle[1:])

            def use() -> None:
                with lock:
                    pass

            return use
        assert operation == "alloc"
        return lambda: arena.allocate(5000)

    def survive(self, operation: str) -> None:
        """Sweep, take out all that is there, and see that everything works and is back."""
        while self.arena.sweep():
            pass
        numbers = []
        while self.queue.qsize():
            number, payload = self.queue.get(timeout=20)
            assert (payload == number).all() if number < 3 or operation == "put" else payload
            numbers.append(number)
            del payload
        start = numbers[0] if numbers else 3
        assert numbers == list(range(start, start + len(numbers)))
        assert start <= 1 or operation == "shrink"
        assert numbers[-1:] >= [2] or operation == "shrink"
        for _ in range(2):
            self.queue.put((9, np.full(2000, 9)))
            assert self.queue.get(timeout=20)[1][0] == 9
        assert self.lock.acquire(False)
        self.lock.release()
        self.arena.shrink()
        stats = self.arena.stats()
        assert stats["participants"] == 1
        assert stats["blocks_live"] == 1, stats


@pytest.mark.parametrize(
    "operation", ["put", "put_many", "get", "alloc", "free", "sweep", "register", "shrink", "lock"]
)
def test_c_survives_what_python_was_killed_in(operation: str) -> None:
    scene = Scene()
    killed, steps = scene.die(operation, -1)
    assert not killed
    assert steps > 30
    scene.survive(operation)
    stride = max(1, steps // kills(KILLS))
    deaths = 0
    for left in range(seed() % stride, steps, stride):
        scene = Scene()
        deaths += scene.die(operation, left)[0]
        scene.survive(operation)
    print(f"{operation}: {deaths} deaths in {steps} steps")
    assert deaths > 25
