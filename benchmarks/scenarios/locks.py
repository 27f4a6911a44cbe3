"""Locks of `multiprocessing`: one process alone with them, and two that take turns."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

from benchmarks import limits
from benchmarks.clock import laps, median_and_tail
from benchmarks.peer import Cue, Peer, current_cpu
from benchmarks.rivals.base import Rival
from benchmarks.scenario import Counts, Sample, Scenario

Prepare = Callable[[Any], Callable[[int], None]]
WARM = 20


# --- Alone ------------------------------------------------------------------------------------


def alone(prepare: Prepare, rival: Rival, count: int) -> Sample | None:
    """The time of one turn of a loop over what *prepare* makes of a context."""
    context = rival.context()
    if context is None:
        return None
    run = prepare(context)
    run(WARM)
    start = perf_counter()
    run(count)
    return Sample((perf_counter() - start) / count)


def acquiring(name: str, context: Any) -> Callable[[int], None]:
    lock = getattr(context, name)()

    def run(count: int) -> None:
        for _ in range(count):
            lock.acquire()
            lock.release()

    return run


def entering(name: str, context: Any) -> Callable[[int], None]:
    lock = getattr(context, name)()

    def run(count: int) -> None:
        for _ in range(count):
            with lock:
                pass

    return run


def setting(context: Any) -> Callable[[int], None]:
    event = context.Event()

    def run(count: int) -> None:
        for _ in range(count):
            event.set()
            event.wait()
            event.clear()
        if event.is_set():
            raise AssertionError("an event that was cleared must not be set")

    return run


def making(context: Any) -> Callable[[int], None]:
    def run(count: int) -> None:
        locks = [context.Lock() for _ in range(count)]
        if not all(lock.acquire(False) for lock in locks):
            raise AssertionError("a new lock must be free")

    return run


# --- In turns ----------------------------------------------------------------------------------


class Events:
    """A turn is an event that is set."""

    def __init__(self, context: Any) -> None:
        self.mine, self.yours = context.Event(), context.Event()

    def give(self, side: int) -> None:
        (self.mine, self.yours)[side].set()

    def wait(self, side: int) -> None:
        event = (self.yours, self.mine)[side]
        if not event.wait(30):
            raise AssertionError("a turn must come within 30 seconds")
        event.clear()


class Conditions:
    """A turn is a number that a condition guards."""

    def __init__(self, context: Any) -> None:
        self.condition, self.turn = context.Condition(), context.RawValue("q", 0)

    def give(self, side: int) -> None:
        with self.condition:
            self.turn.value = 1 - side
            self.condition.notify()

    def wait(self, side: int) -> None:
        with self.condition:
            if not self.condition.wait_for(lambda: self.turn.value == side, 30):
                raise AssertionError("a turn must come within 30 seconds")


def turns(kind: Callable[[Any], Any], rival: Rival, count: int) -> Sample | None:
    """Two processes take turns: the time of one round."""
    context = rival.context()
    if context is None:
        return None
    table = kind(context)
    with Peer(rival.method, answer, table, WARM + count) as peer:
        peer.ready()
        peer.go()

        def step(_: int) -> None:
            table.give(0)
            table.wait(0)

        times = laps(WARM + count, step)[WARM:]
        where = current_cpu(), peer.result()[1]
    seconds, tail = median_and_tail(times)
    return Sample(seconds, where, tail)


def answer(cue: Cue, table: Any, count: int) -> None:
    cue()
    for _ in range(count):
        table.wait(1)
        table.give(1)


MANY, TURNS = Counts(200_000, 40_000, 100), Counts(2000, 400, 20)
SCENARIOS = (
    *(
        Scenario(name, what, partial(alone, prepare), MANY, limits.call())
        for name, what, prepare in (
            ("lock", "acquire and release a Lock", partial(acquiring, "Lock")),
            ("with-lock", "`with` a Lock", partial(entering, "Lock")),
            ("rlock", "acquire and release an RLock", partial(acquiring, "RLock")),
            ("semaphore", "acquire and release a Semaphore", partial(acquiring, "Semaphore")),
            ("event", "set, wait for and clear an Event", setting),
        )
    ),
    Scenario(
        "lock-make",
        "make a Lock",
        partial(alone, making),
        Counts(2000, 500, 20),
        limits.call(),
    ),
    *(
        Scenario(name, what, partial(turns, kind), TURNS, limits.round_trip())
        for name, what, kind in (
            ("event-turns", "two processes take turns by Events", Events),
            ("condition-turns", "two processes take turns by a Condition", Conditions),
        )
    ),
)
