"""joblib's `Parallel` on each library's backend: small calls, a shared array, arrays back."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks import limits
from benchmarks.clock import laps, median_and_tail
from benchmarks.rivals.base import Rival
from benchmarks.scenario import Counts, Sample, Scenario

JOBS = 2
TASKS = 8
MB = 1 << 20
SHARED = 32 * MB


def add_one(x: int) -> int:
    return x + 1


def ends(array: Any, i: int) -> float:
    return float(array[0] + array[-1] + i)


def filled(i: int) -> Any:
    return np.full(MB // 8, float(i))


def small(rival: Rival, count: int) -> Sample | None:
    """A call of TASKS small tasks, workers warm."""

    def call(parallel: Any, i: int) -> None:
        results = parallel(_delayed(add_one, i + k) for k in range(TASKS))
        if results != [i + k + 1 for k in range(TASKS)]:
            raise AssertionError(f"each result must belong to its task: {results=} {i=}")

    return calls(rival, count, call)


def shared(rival: Rival, count: int) -> Sample | None:
    """A call of TASKS tasks that all look at one array of 32 MB."""

    def call(parallel: Any, i: int) -> None:
        array = np.zeros(SHARED // 8)  # a new one: others would send what they know by its id
        array[0], array[-1] = i, 1.0
        results = parallel(_delayed(ends, array, k) for k in range(TASKS))
        if results != [float(i + 1 + k) for k in range(TASKS)]:
            raise AssertionError(f"tasks must see the array as it is: {results=} {i=}")

    return calls(rival, count, call)


def returned(rival: Rival, count: int) -> Sample | None:
    """A call of TASKS tasks that return an array of 1 MB each."""

    def call(parallel: Any, i: int) -> None:
        for k, array in enumerate(parallel(_delayed(filled, i + k) for k in range(TASKS))):
            if array.nbytes != MB or array[0] != i + k or array[-1] != i + k:
                raise AssertionError(f"the array must be the task's: {array[0]=} {i=} {k=}")

    return calls(rival, count, call)


def calls(rival: Rival, count: int, call: Callable[[Any, int], None]) -> Sample | None:
    """Time calls of one `Parallel`, which keeps its workers between them."""
    backend = rival.joblib_backend()
    if backend is None or find_spec("joblib") is None:
        return None
    import joblib

    with joblib.parallel_config(backend=backend, n_jobs=JOBS), joblib.Parallel() as parallel:
        call(parallel, 0)
        times = laps(count, lambda i: call(parallel, i))
    seconds, tail = median_and_tail(times)
    return Sample(seconds, (), tail)


def _delayed(fn: Any, *args: Any) -> Any:
    return fn, args, {}


SCENARIOS = (
    Scenario(
        "joblib-small",
        "a call of joblib's Parallel with 8 small tasks",
        small,
        Counts(100, 20, 3),
        limits.round_trip(),
    ),
    Scenario(
        "joblib-shared-32MB",
        "the same, all looking at one array of 32 MB",
        shared,
        Counts(20, 5, 2),
        limits.round_trip("free", SHARED, 1),
    ),
    Scenario(
        "joblib-returned-1MB",
        "the same, each returning an array of 1 MB",
        returned,
        Counts(40, 10, 2),
        limits.round_trip("free", MB, TASKS),
    ),
)
