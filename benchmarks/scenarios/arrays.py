"""Arrays, streamed through a queue of bounded depth, the same depth for every library."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import limits
from benchmarks.peer import Cue, Peer, current_cpu
from benchmarks.rivals.base import Get, Link, Rival
from benchmarks.scenario import Counts, Sample, Scenario

Array = np.ndarray[Any, Any]
Check = Callable[[Array, int], None]

DEPTH = 4
KINDS = 3  # distinct arrays sent in turn; never changed, since some libraries read them late
KB, MB = 1 << 10, 1 << 20


def stream(nbytes: int, check: Check, rival: Rival, count: int) -> Sample | None:
    """One producer of float64 arrays, one consumer that calls *check* on each."""
    link = rival.queue(DEPTH, nbytes)
    if link is None:
        return None
    warm = 3 * DEPTH
    with Peer(rival.method, produce, link, nbytes, (warm, count)) as producer:
        get = link.reader()
        for number, look in ((warm, check_all), (count, check)):
            producer.ready()
            start = perf_counter()
            producer.go()
            receive(get, nbytes, number, look)
            seconds = perf_counter() - start
        cpus = current_cpu(), producer.ready()
        producer.go()
        producer.result()
        return Sample(seconds / count, cpus)


def produce(cue: Cue, link: Link, nbytes: int, phases: tuple[int, ...]) -> None:
    put = link.writer()
    arrays = [np.full(nbytes // 8, float(kind)) for kind in range(KINDS)]
    for number in phases:
        cue()
        for i in range(number):
            put(arrays[i % KINDS])
    cue()  # keeps the sending end open until everything has arrived


def receive(get: Get, nbytes: int, number: int, check: Check) -> None:
    for i in range(number):
        array = get()
        if array.nbytes != nbytes:
            raise AssertionError(f"arrays must keep their size: sent={nbytes} got={array.nbytes}")
        check(array, i % KINDS)
        del array  # before the next get, as a program does that handles one at a time


def check_ends(array: Array, kind: int) -> None:
    if not array[0] == array[-1] == kind:
        raise AssertionError(f"arrays must arrive in order: first={array[0]} expected={kind}")


def check_all(array: Array, kind: int) -> None:
    if array.dtype != np.float64 or not (array == kind).all():
        raise AssertionError(f"arrays must arrive as they were sent: expected all {kind}")


def check_sum(array: Array, kind: int) -> None:
    total = array.sum()
    if total != kind * array.size:
        raise AssertionError(f"sum must be {kind * array.size}: sum={total}")


SCENARIOS = (
    Scenario(
        "array-64KB",
        f"array of 64 KB, streamed, depth {DEPTH}",
        partial(stream, 64 * KB, check_ends),
        Counts(3000, 600, 10),
        limits.copy(64 * KB),
    ),
    Scenario(
        "array-1MB",
        f"array of 1 MB, streamed, depth {DEPTH}",
        partial(stream, MB, check_ends),
        Counts(300, 60, 5),
        limits.copy(MB),
    ),
    Scenario(
        "array-16MB-sum",
        f"array of 16 MB, depth {DEPTH}, the consumer sums it",
        partial(stream, 16 * MB, check_sum),
        Counts(24, 6, 2),
        limits.copy_and_sum(16 * MB),
    ),
)
