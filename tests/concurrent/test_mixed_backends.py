"""Processes of both backends at one queue, and processes of one killed among the other's."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import random
import signal
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from queue import Empty
from types import FrameType
from typing import Any

import numpy as np
import pytest

from tests.support.arenas import (
    BACKENDS,
    NATIVE,
    PATIENCE,
    PURE,
    File,
    core,
    ended_well,
    fork_child,
    queue_of,
)
from zeroipc._core import mutex
from zeroipc._core.layout import NOTE_TASKS

CORE = os.path.dirname(mutex.__file__)
OTHER = {NATIVE: PURE, PURE: NATIVE}


def sized(number: int) -> Any:
    """Return an item that says its number: small, in the ring, in a block, or in several."""
    kind = number % 4
    if kind == 0:
        return number
    if kind == 1:
        return number, b"r" * (number * 7 % 9000)
    if kind == 2:
        return np.full(3000, number)
    return {"n": number, "a": np.full(2500, number), "b": bytearray(b"b" * 5000)}


def number_of(item: Any) -> int:
    """Return the number of an item, every byte of which is as it was put."""
    if isinstance(item, int):
        return item
    if isinstance(item, tuple):
        number = item[0]
    else:
        number = int(item["n"] if isinstance(item, dict) else item[0])
    wanted = sized(number)
    if isinstance(item, np.ndarray):
        assert np.array_equal(item, wanted)
    elif isinstance(item, dict):
        assert np.array_equal(item["a"], wanted["a"])
        assert item["b"] == wanted["b"]
    else:
        assert item == wanted
    return int(number)


# --- Both at work -----------------------------------------------------------------------------


@pytest.mark.parametrize("maxsize", [0, 4])
@pytest.mark.parametrize("producers", [(NATIVE,), (PURE,), (NATIVE, PURE)], ids="-".join)
def test_producers_and_consumers(producers: tuple[str, ...], maxsize: int) -> None:
    consumers = [OTHER[name] for name in producers]
    count = 300
    core(NATIVE)
    file = File()
    arena = file.create(NATIVE)
    queue, results = queue_of(NATIVE, arena, maxsize=maxsize), queue_of(NATIVE, arena)
    handles = queue._handle[1:], results._handle[1:]

    def produce(name: str, producer: int) -> None:
        mine = queue_of(name, file.attach(name), handles[0])
        for step in range(count):
            mine.put((producer, step, sized(step)))

    def consume(name: str) -> None:
        own = file.attach(name)
        mine, out = queue_of(name, own, handles[0]), queue_of(name, own, handles[1])
        last: dict[int, int] = {}
        seen: list[tuple[int, int]] = []
        while True:
            item = mine.get()
            if item is None:
                break
            producer, step, payload = item
            assert last.get(producer, -1) < step  # in the producer's order
            assert number_of(payload) == step
            last[producer] = step
            seen.append((producer, step))
        out.put(seen)

    pids = [fork_child(partial(produce, name, i)) for i, name in enumerate(producers)]
    readers = [fork_child(partial(consume, name)) for name in consumers]
    assert all(map(ended_well, pids))
    for _ in readers:
        queue.put(None)
    assert all(map(ended_well, readers))
    seen = [pair for _ in readers for pair in results.get()]
    assert sorted(seen) == [(i, step) for i in range(len(producers)) for step in range(count)]
    arena.sweep()
    arena.shrink()
    assert arena.stats()["blocks_live"] == 2


# --- Killed at random ---------------------------------------------------------------------------


class Books:
    """Counters outside the arena that children share with this process."""

    def __init__(self, nelem: int) -> None:
        self.words = memoryview(mmap.mmap(-1, 8 * nelem)).cast("q")


@pytest.mark.kill
@pytest.mark.parametrize("victim", BACKENDS)
def test_killed_at_random_among_the_others(victim: str) -> None:
    """Two survivors echo; victims put, get and allocate until they are killed.

    A victim notes the number of each item before it puts it and after it has got it, so that
    what is missing at the end can be told from what is lost.
    """
    survivor = OTHER[victim]
    core(NATIVE)
    file = File()
    arena = file.create(survivor)
    queue = queue_of(survivor, arena)
    handle = queue._handle[1:]
    kills, rng = 300, random.Random(1)
    books = Books(2 * kills)  # of each victim: items begun, items got

    def be_a_victim(index: int) -> None:
        mine = queue_of(victim, file.attach(victim), handle)
        while True:
            books.words[2 * index] += 1
            mine.put((index, sized(books.words[2 * index])))
            with contextlib.suppress(Empty):
                mine.get_nowait()
                books.words[2 * index + 1] += 1

    delivered = 0
    seen: set[tuple[int, int]] = set()

    def take(limit: int) -> None:
        nonlocal delivered
        with contextlib.suppress(Empty):
            for index, item in queue.get_many(limit, False):
                pair = (index, number_of(item))
                assert pair not in seen  # never twice
                seen.add(pair)
                delivered += 1

    for index in range(kills):
        pid = fork_child(partial(be_a_victim, index))
        enough = 1 + rng.randrange(40)
        while books.words[2 * index] < enough:
            take(1)  # the survivor goes on
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        queue.put((index, sized(0)))  # and is never locked out
        take(5)
    arena.sweep()
    while queue.qsize():
        take(50)
    begun = sum(books.words[2 * index] for index in range(kills))
    got = sum(books.words[2 * index + 1] for index in range(kills))
    # Each victim can have died with one item not put yet, and one just got.
    assert begun + kills - 2 * kills <= delivered + got <= begun + kills
    arena.shrink()
    assert arena.stats()["blocks_live"] == 1
    assert arena.stats()["participants"] == 1


# --- Killed at each instruction of the interpreter ------------------------------------------------


class Killer:
    """Kills this process before its n-th instruction in the core."""

    def __init__(self, left: int) -> None:
        self.left = left

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(CORE):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            self.left -= 1
            if self.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.trace


ARRAY = np.arange(3000)
BIG = np.arange(30_000)


OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "put": lambda arena, queue: queue.put(b"p" * 100),
    "put a block": lambda arena, queue: queue.put({"a": ARRAY, "b": 1}),
    "put into another chunk": lambda arena, queue: queue.put(b"c" * 9000),
    "get": lambda arena, queue: queue.get(),
    "get many": lambda arena, queue: queue.get_many(3),
    "allocate and free": lambda arena, queue: arena.allocate(20_000),
    "create": lambda arena, queue: queue_of(PURE, arena),
    "sweep": lambda arena, queue: arena.sweep(),
    "trim": lambda arena, queue: (arena.shrink(), arena.trim(0)),
    "task": lambda arena, queue: queue._task_done(),
    "leave": lambda arena, queue: arena.deregister(),
}


class Stage:
    """An arena with a joinable queue of five items, seen by a survivor: native if there is one."""

    def __init__(self) -> None:
        self.backend = NATIVE if find_spec("zeroipc._native") else PURE
        self.file = File(64 << 20)
        self.arena = self.file.create(self.backend, 32 << 20)
        self.queue = queue_of(self.backend, self.arena, noting=NOTE_TASKS)
        for number in range(5):
            self.queue.put((number, ARRAY + number))
        self.handle = self.queue._handle[1:]

    def run(self, what: str, kill_at: int) -> bool:
        """Run an operation in a child that dies at that instruction; return whether it did."""

        def child() -> None:
            arena = self.file.attach(PURE)
            queue = queue_of(PURE, arena, self.handle)
            if what == "task":
                queue.get()
            if what == "sweep":
                self.leave_a_death()
            if what == "trim":
                arena.allocate(100_000)
            sys._getframe().f_trace_opcodes = True  # 3.12 traces instructions only after this
            sys.settrace(Killer(kill_at).trace)
            OPERATIONS[what](arena, queue)
            sys.settrace(None)

        pid = fork_child(child)
        code = os.waitpid(pid, 0)[1]
        assert code in (0, signal.SIGKILL), f"{what}: wait status {code} at {kill_at}"
        return code != 0

    def leave_a_death(self) -> None:
        """Have a participant die that owns blocks, one of them with an item just put."""

        def child() -> None:
            arena = self.file.attach(PURE)
            queue = queue_of(PURE, arena, self.handle)
            kept = [arena.allocate(5000), queue.get()]
            queue.put((9, BIG))
            os.kill(os.getpid(), signal.SIGKILL)
            del kept

        pid = fork_child(child)
        os.waitpid(pid, 0)

    def check(self, what: str) -> None:
        """Find everything in order: what was queued, in order, and every block back."""
        self.arena.sweep()
        with contextlib.suppress(Exception):  # tasks of the dead are told once
            self.queue._join_tasks(0)
        self.queue.put((5, ARRAY))
        found = []
        while self.queue.qsize():
            found.append(self.queue.get(timeout=PATIENCE))
            self.queue._task_done()
        tuples = [item for item in found if isinstance(item, tuple)]
        numbers = [item[0] for item in tuples]
        assert numbers[-1] == 5
        assert numbers[0] <= 3
        first = numbers[0]
        assert [n for n in numbers if n != 9] == list(range(first, 6))
        wanted = [BIG if number == 9 else ARRAY + number % 5 for number in numbers]
        assert all(np.array_equal(item[1], one) for item, one in zip(tuples, wanted, strict=True))
        extra = len(found) - len(tuples)
        assert extra <= what.startswith("put")
        del found, tuples
        assert self.queue._join_tasks(PATIENCE)
        self.arena.shrink()
        queue_of(self.backend, self.arena)  # reclaims what the dead one made
        stats = self.arena.stats()
        assert stats["participants"] == 1
        assert stats["blocks_live"] <= 2 + 1  # chunk and tally, and the chunk of the new queue


def instructions(what: str) -> int:
    """Return how many instructions the operation runs in the core, about."""
    low, high = 0, 1
    while Stage().run(what, high):
        low, high = high, 2 * high
    while high - low > 1 + low // 50:
        middle = (low + high) // 2
        low, high = (middle, high) if Stage().run(what, middle) else (low, middle)
    return high


@pytest.mark.kill
@pytest.mark.parametrize("what", OPERATIONS)
def test_killed_at_each_instruction(what: str) -> None:
    """At every instruction with ZEROIPC_KILLS set, else at a sample of them."""
    total = instructions(what)
    every = "ZEROIPC_KILLS" in os.environ
    points = range(total) if every else random.Random(what).sample(range(total), min(total, 150))
    killed = 0
    for point in points:
        stage = Stage()
        killed += stage.run(what, point)
        stage.check(what)
    assert killed > 0.8 * len(points)


def test_ctypes_finds_what_it_needs() -> None:
    libc = ctypes.CDLL(None)
    for name in ("pthread_mutex_clocklock", "pthread_mutex_consistent", "sched_getcpu", "syscall"):
        assert getattr(libc, name)
