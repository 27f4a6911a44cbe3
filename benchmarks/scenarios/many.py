"""Many small tasks handed in at once, each with its future, where a pool has a call for that."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from time import perf_counter
from typing import Any

from benchmarks import limits
from benchmarks.rivals.base import Rival
from benchmarks.scenario import Counts, Sample, Scenario
from benchmarks.scenarios.tasks import WORKERS, add_one, warm_up


def handed_in_at_once(rival: Rival, count: int) -> Sample | None:
    """`submit_many`, or as many `submit`; the extra number compares the two."""
    pool = rival.pool(WORKERS)
    if pool is None:
        return None
    with pool:
        warm_up(pool)
        one_by_one = _seconds(pool, count, False)
        at_once = _seconds(pool, count, True) if hasattr(pool, "submit_many") else one_by_one
    return Sample(at_once / count, extra={"over_submit": one_by_one / at_once})


def _seconds(pool: Any, count: int, at_once: bool) -> float:
    start = perf_counter()
    futures = pool.submit_many(add_one, range(count)) if at_once else _submit_each(pool, count)
    results = [future.result() for future in futures]
    seconds = perf_counter() - start
    if results != list(range(1, count + 1)):
        raise AssertionError(f"each result must belong to its task: count={count}")
    return seconds


def _submit_each(pool: Executor, count: int) -> list[Future[int]]:
    return [pool.submit(add_one, i) for i in range(count)]


SCENARIOS = (
    Scenario(
        "submit-many",
        "2,000 small tasks handed in at once, time per task",
        handed_in_at_once,
        Counts(2000, 2000, 50),
        limits.pickling((add_one, (1,))),
    ),
)
