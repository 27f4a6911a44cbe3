"""Named structures, in a segment that is gone when the measurement ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing.util import Finalize
from typing import Any, NamedTuple

import numpy as np

from benchmarks.rivals.base import Get, Lend, Put, Step
from benchmarks.rivals.stdlib_structures import (
    KEYS,
    ConditionTurns,
    EventTurns,
    acquire_step,
    event_step,
    with_step,
)

NBYTES = 1 << 20


def segment() -> Any:
    from zeroipc import Memory

    mem = Memory.create(f"zi-bench-{os.getpid()}", NBYTES)
    Finalize(None, mem.unlink, exitpriority=0)
    return mem


class FloatLink(NamedTuple):
    """A link over a named queue of float64."""

    queue: Any

    def writer(self) -> Put:
        put: Put = self.queue.push
        return put

    def reader(self) -> Get:
        get: Get = self.queue.pop
        return get

    def lender(self) -> Lend | None:
        return None


def floats(depth: int) -> FloatLink:
    from zeroipc import Queue

    return FloatLink(Queue(segment(), "floats", depth, np.float64))


def operation(kind: str) -> Step | None:
    make = OPERATIONS.get(kind)
    return None if make is None else make(segment())


def _map(mem: Any, change: bool) -> Step:
    from zeroipc import Map

    shared = Map(mem, "map", 2 * KEYS, np.int64, np.float64)
    shared.update({key: float(key) for key in range(KEYS)})

    def get(i: int) -> None:
        key = i % KEYS
        if shared[key] != key:
            raise AssertionError(f"the value must be that of the key: {key=}")

    def put(i: int) -> None:
        shared[i % KEYS] = i

    return put if change else get


def _add(mem: Any) -> Step:
    from zeroipc import Atomic

    word = Atomic(mem, "word", np.int64)

    def step(_: int) -> None:
        word.fetch_add(1)

    return step


def _queue(mem: Any) -> Step:
    from zeroipc import Queue

    queue = Queue(mem, "queue", 8, np.float64)

    def step(i: int) -> None:
        queue.push(i)
        if queue.pop() != i:
            raise AssertionError(f"the item must be that sent: i={i}")

    return step


def _named(name: str, *args: Any) -> Callable[[Any], Any]:
    def make(mem: Any) -> Any:
        import zeroipc

        return getattr(zeroipc, name)(mem, name, *args)

    return make


OPERATIONS: dict[str, Callable[[Any], Step]] = {
    "map-get": lambda mem: _map(mem, change=False),
    "map-set": lambda mem: _map(mem, change=True),
    "add": _add,
    "lock": lambda mem: acquire_step(_named("Mutex")(mem)),
    "with-lock": lambda mem: with_step(_named("Mutex")(mem)),
    "semaphore": lambda mem: acquire_step(_named("Semaphore", 1)(mem)),
    "event": lambda mem: event_step(_named("Event")(mem)),
    "queue": _queue,
}


def names(count: int) -> tuple[Step, Step]:
    from zeroipc import Memory

    mem = Memory.create(f"zi-bench-{os.getpid()}-{count}", NBYTES, max_entries=count + 200)
    Finalize(None, mem.unlink, exitpriority=0)
    for number in range(count):
        mem.add(f"name {number}", 8, len)

    def find(_: int) -> None:
        if mem.find(f"name {count - 1}") is None:
            raise AssertionError(f"the name must be found: {count=}")

    def add(i: int) -> None:
        mem.add(f"more {i}", 8, len)

    return find, add


def turns(kind: str) -> tuple[Any, Any] | None:
    import zeroipc

    mem = segment()
    if kind == "event":
        one, other = (zeroipc.Event(mem, name) for name in ("one", "other"))
        return EventTurns(one, other), EventTurns(other, one)
    if kind == "condition":
        condition, turn = zeroipc.Monitor(mem, "monitor"), zeroipc.Atomic(mem, "turn", np.int64)
        return ConditionTurns(condition, turn, 0), ConditionTurns(condition, turn, 1)
    return None
