"""`multiprocessing.Pool` of two workers: tiny tasks one by one and in chunks, large results."""

from __future__ import annotations

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


def filled(x: int) -> Any:
    return np.full(MB // 8, x, np.float64)


def map_one_by_one(rival: Rival, count: int) -> Sample | None:
    """map() with chunksize 1."""
    return _warm(rival, count, lambda pool: _map(pool, count, 1))


def map_in_chunks(rival: Rival, count: int) -> Sample | None:
    """map() with the default chunksize."""
    return _warm(rival, count, lambda pool: _map(pool, count, None))


def map_from_nothing(rival: Rival, count: int) -> Sample | None:
    """The same, with the start of the pool and its end."""
    context = rival.context()
    if context is None:
        return None
    _run(context, 1)  # what multiprocessing and the arena keep
    start = perf_counter()
    _run(context, count)
    return Sample((perf_counter() - start) / count)


def _run(context: Any, count: int) -> None:
    with context.Pool(WORKERS) as pool:
        _map(pool, count, None)


def large_results(rival: Rival, count: int) -> Sample | None:
    """imap_unordered() of tasks that return an array of 1 MB."""
    return _warm(rival, count, lambda pool: _imap(pool, count))


def apply(rival: Rival, count: int) -> Sample | None:
    """A tiny task by `apply`, one at a time."""
    context = rival.context()
    if context is None:
        return None
    with context.Pool(WORKERS) as pool:
        _map(pool, 100, 1)
        times = laps(count, lambda i: _check(pool.apply(add_one, (i,)), i + 1))
    seconds, tail = median_and_tail(times)
    return Sample(seconds, (), tail)


def _warm(rival: Rival, count: int, work: Any) -> Sample | None:
    context = rival.context()
    if context is None:
        return None
    with context.Pool(WORKERS) as pool:
        _map(pool, 100, 1)
        start = perf_counter()
        work(pool)
        return Sample((perf_counter() - start) / count)


def _map(pool: Any, count: int, chunksize: int | None) -> None:
    _check(pool.map(add_one, range(count), chunksize), list(range(1, count + 1)))


def _imap(pool: Any, count: int) -> None:
    seen = []
    for array in pool.imap_unordered(filled, range(count)):
        _check(array[0], array[-1])
        seen.append(int(array[0]))
    _check(sorted(seen), list(range(count)))


def _check(found: Any, expected: Any) -> None:
    if found != expected:
        raise AssertionError(f"each result must belong to its task: {found!r:.50} {expected!r:.50}")


SCENARIOS = (
    Scenario(
        "pool-map-one",
        "Pool.map of a tiny task, chunksize 1, time per task",
        map_one_by_one,
        Counts(8000, 2000, 50),
        limits.pickling((add_one, (1,))),
    ),
    Scenario(
        "pool-map",
        "Pool.map of a tiny task, default chunksize, time per task",
        map_in_chunks,
        Counts(200_000, 50_000, 50),
        limits.pickling(1),
    ),
    Scenario(
        "pool-map-start",
        "the same with the start and the end of the pool",
        map_from_nothing,
        Counts(50_000, 10_000, 50),
        limits.pickling(1),
    ),
    Scenario(
        "pool-imap-1MB",
        "Pool.imap_unordered of results of 1 MB, time per result",
        large_results,
        Counts(100, 40, 3),
        limits.copy(MB),
    ),
    Scenario(
        "pool-apply",
        "Pool.apply of a tiny task",
        apply,
        Counts(2000, 300, 10),
        limits.round_trip(),
    ),
)
