"""Process pools of two workers: latency, throughput, arrays in and out."""

from __future__ import annotations

from concurrent.futures import Executor
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import limits
from benchmarks.clock import laps, median_and_tail
from benchmarks.rivals.base import Rival
from benchmarks.scenario import Counts, Sample, Scenario

WORKERS = 2
MB = 1 << 20


def add_one(x: int) -> int:
    return x + 1


def stamp(array: Any) -> Any:
    """Hardly any work, so that moving the array is what is timed."""
    array[0] += 1
    return array


def latency(rival: Rival, count: int) -> Sample | None:
    """submit().result(), one at a time."""
    return one_at_a_time(rival, count, _add_one_task)


def array_in_and_out(rival: Rival, count: int) -> Sample | None:
    """submit().result() of a task that takes an array of 1 MB and returns it."""
    array = np.zeros(MB // 8)

    def task(pool: Executor, i: int) -> None:
        array[0] = array[-1] = i
        back = pool.submit(stamp, array).result()
        if back[0] != i + 1 or back[-1] != i or back.nbytes != MB:
            raise AssertionError(f"the result must belong to the task: {back[0]=} {i=}")

    return one_at_a_time(rival, count, task)


def one_at_a_time(rival: Rival, count: int, task: Any) -> Sample | None:
    pool = rival.pool(WORKERS)
    if pool is None:
        return None
    with pool:
        warm_up(pool)
        times = laps(count, lambda i: task(pool, i))
    seconds, tail = median_and_tail(times)
    return Sample(seconds, (), tail)


def _add_one_task(pool: Executor, i: int) -> None:
    result = pool.submit(add_one, i).result()
    if result != i + 1:
        raise AssertionError(f"the result must belong to the task: {result=} {i=}")


def in_flight(rival: Rival, count: int) -> Sample | None:
    """All *count* submitted before the first result is read."""
    pool = rival.pool(WORKERS)
    if pool is None:
        return None
    with pool:
        warm_up(pool)
        start = perf_counter()
        futures = [pool.submit(add_one, i) for i in range(count)]
        results = [future.result() for future in futures]
        seconds = perf_counter() - start
    if results != list(range(1, count + 1)):
        raise AssertionError(f"each result must belong to its task: count={count}")
    return Sample(seconds / count)


def warm_up(pool: Executor) -> None:
    """Enough tasks at a time that every worker has started and run one."""
    for future in [pool.submit(add_one, i) for i in range(100)]:
        future.result()


SCENARIOS = (
    Scenario(
        "submit-result",
        "submit().result() of a small task",
        latency,
        Counts(2000, 300, 10),
        limits.round_trip(),
    ),
    Scenario(
        "tasks-2000",
        "2,000 small tasks in flight, time per task",
        in_flight,
        Counts(2000, 2000, 50),
        limits.pickling((add_one, (1,))),
    ),
    Scenario(
        "task-1MB",
        "a task with a 1 MB array in and out",
        array_in_and_out,
        Counts(100, 30, 3),
        limits.round_trip("free", MB, 2),
    ),
)
