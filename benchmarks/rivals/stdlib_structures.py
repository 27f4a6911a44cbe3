"""What multiprocessing has where zeroipc has named structures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.rivals.base import Step

KEYS = 1000


def operation(context: Any, kind: str) -> Step | None:
    make = OPERATIONS.get(kind)
    return None if make is None else make(context)


def _map(context: Any, change: bool) -> Step:
    manager = context.Manager()
    shared = manager.dict({key: float(key) for key in range(KEYS)})

    def get(i: int) -> None:
        assert manager is not None  # it ends when nobody holds it
        key = i % KEYS
        if shared[key] != key:
            raise AssertionError(f"the value must be that of the key: {key=}")

    def put(i: int) -> None:
        shared[i % KEYS] = i

    return put if change else get


def _add(context: Any) -> Step:
    value = context.Value("q", 0)

    def step(_: int) -> None:
        with value.get_lock():
            value.value += 1

    return step


def acquire_step(lock: Any) -> Step:
    def step(_: int) -> None:
        lock.acquire()
        lock.release()

    return step


def with_step(lock: Any) -> Step:
    def step(_: int) -> None:
        with lock:
            pass

    return step


def event_step(event: Any) -> Step:
    def step(i: int) -> None:
        event.set()
        if not event.is_set():
            raise AssertionError(f"an event must be set: i={i}")
        event.clear()

    return step


def _pipe(context: Any) -> Step:
    out, into = context.Pipe(duplex=False)

    def step(i: int) -> None:
        into.send(float(i))
        if out.recv() != i:
            raise AssertionError(f"the item must be that sent: i={i}")

    return step


OPERATIONS: dict[str, Callable[[Any], Step]] = {
    "map-get": lambda context: _map(context, change=False),
    "map-set": lambda context: _map(context, change=True),
    "add": _add,
    "lock": lambda context: acquire_step(context.Lock()),
    "with-lock": lambda context: with_step(context.Lock()),
    "semaphore": lambda context: acquire_step(context.Semaphore(1)),
    "event": lambda context: event_step(context.Event()),
    "queue": _pipe,
}


class EventTurns(NamedTuple):
    """A side that sets one event and waits for the other."""

    mine: Any
    other: Any

    def open(self) -> tuple[Callable[[], Any], Callable[[], Any]]:
        def wait() -> None:
            self.mine.wait()
            self.mine.clear()

        return self.other.set, wait


class ConditionTurns(NamedTuple):
    """A side of two that share a condition and the number of turns taken."""

    condition: Any
    turn: Any
    parity: int

    def open(self) -> tuple[Callable[[], Any], Callable[[], Any]]:
        def give() -> None:
            with self.condition:
                self.turn.value += 1
                self.condition.notify()

        def wait() -> None:
            with self.condition:
                self.condition.wait_for(lambda: self.turn.value % 2 == self.parity)

        return give, wait


def turns(context: Any, kind: str) -> tuple[Any, Any] | None:
    if kind == "event":
        one, other = context.Event(), context.Event()
        return EventTurns(one, other), EventTurns(other, one)
    if kind == "condition":
        condition, turn = context.Condition(), context.RawValue("q", 0)
        return ConditionTurns(condition, turn, 0), ConditionTurns(condition, turn, 1)
    return None
