"""Named structures beside what multiprocessing has for the same purpose."""

from __future__ import annotations

from functools import partial
from statistics import median
from time import perf_counter

from benchmarks import limits
from benchmarks.clock import laps, median_and_tail
from benchmarks.peer import Cue, Peer, current_cpu
from benchmarks.rivals.base import Rival, Step, Turns
from benchmarks.scenario import Counts, Sample, Scenario
from benchmarks.scenarios.streams import KINDS, WARM, produce, receive

DEPTH = 1024
FLOATS = [i + 0.25 for i in range(KINDS)]


def floats(rival: Rival, count: int) -> Sample | None:
    """One producer of float64, one consumer, in order."""
    link = rival.floats(DEPTH)
    if link is None:
        return None
    with Peer(rival.method, produce, link, FLOATS, (WARM, count)) as producer:
        get = link.reader()
        for number in (WARM, count):
            producer.ready()
            start = perf_counter()
            producer.go()
            receive(get, FLOATS, number)
            seconds = perf_counter() - start
        cpus = current_cpu(), producer.ready()
        producer.go()
        producer.result()
        return Sample(seconds / count, cpus)


def operation(kind: str, rival: Rival, count: int) -> Sample | None:
    """One process repeats an operation that nobody contends for.

    `own_ns` is the time without the loop and the call of the step.
    """
    step = rival.operation(kind)
    if step is None:
        return None
    for i in range(20):
        step(i)
    seconds = repeated(step, count)
    return Sample(seconds, extra={"own_ns": (seconds - repeated(nothing, count)) * 1e9})


def repeated(step: Step, count: int) -> float:
    """The seconds of one of *count* calls."""
    start = perf_counter()
    for i in range(count):
        step(i)
    return (perf_counter() - start) / count


def nothing(_: int) -> None:
    """Do what every step does beside its operation: be called."""


def turns(kind: str, rival: Rival, count: int) -> Sample | None:
    """Two processes take turns: the time of one round."""
    sides = rival.turns(kind)
    if sides is None:
        return None
    with Peer(rival.method, answer, sides[1], count) as peer:
        give, wait = sides[0].open()
        peer.ready()
        peer.go()

        def step(_: int) -> None:
            give()
            wait()

        times = laps(count, step)
        where = current_cpu(), peer.result()[1]
    seconds, tail = median_and_tail(times)
    return Sample(seconds, where, tail)


def answer(cue: Cue, side: Turns, count: int) -> None:
    give, wait = side.open()
    cue()
    for _ in range(count):
        wait()
        give()


def discovery(rival: Rival, count: int) -> Sample | None:
    """Find the last of so many names, and add one more, with 10, 100 and 1,000 in the table.

    `growth` is how much longer a search takes for ten times the names, over ten: 1 is linear.
    """
    found: dict[int, float] = {}
    extra: dict[str, float] = {}
    for names in (10, 100, 1000):
        steps = rival.names(names)
        if steps is None:
            return None
        find, add = steps
        found[names] = median(laps(count, find))
        extra[f"find_{names}_us"] = found[names] * 1e6
        extra[f"add_{names}_us"] = median(laps(min(count, 200), add)) * 1e6
    extra["growth"] = found[1000] / found[100] / 10
    return Sample(found[100], extra=extra)


OPERATIONS = {
    "map-get": "look up one of 1,000 keys; the standard library with a Manager's dict",
    "map-set": "set the value of one of 1,000 keys; the standard library with a Manager's dict",
    "add": "add 1 to a shared number; the standard library with a Value and its lock",
    "lock": "acquire and release a free lock",
    "with-lock": "the same, by `with`",
    "semaphore": "acquire and release a free semaphore",
    "event": "set, ask and clear an event",
    "queue": "put a float64 into an empty queue and get it; the standard library with a Pipe",
}

SCENARIOS = (
    Scenario(
        "named-floats",
        f"float64, one producer, one consumer, at most {DEPTH} waiting",
        floats,
        Counts(100_000, 20_000, 200),
        limits.pickling(0.5),
    ),
    *(
        Scenario(
            f"named-{kind}",
            what,
            partial(operation, kind),
            Counts(20_000, 4_000, 20),
            limits.call(),
        )
        for kind, what in OPERATIONS.items()
    ),
    Scenario(
        "named-find",
        "find the last of 100 names in a segment",
        discovery,
        Counts(200, 50, 5),
        limits.call(),
    ),
    *(
        Scenario(
            f"named-{kind}-turns",
            f"two processes take turns by {what}",
            partial(turns, kind),
            Counts(3000, 800, 20),
            limits.round_trip(),
        )
        for kind, what in (("event", "two events"), ("condition", "a condition"))
    ),
)
