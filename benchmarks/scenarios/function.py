"""Calls of a function that one other process serves: a manager's proxy, and a `Function`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import limits
from benchmarks.clock import laps, median_and_tail
from benchmarks.rivals.base import Rival
from benchmarks.scenario import Counts, Sample, Scenario
from benchmarks.scenarios.tasks import MB, add_one, stamp

Step = Callable[[Any, int], None]


def small_call(rival: Rival, count: int) -> Sample | None:
    """A number in, a number out."""

    def step(call: Any, i: int) -> None:
        result = call(i)
        if result != i + 1:
            raise AssertionError(f"the result must belong to the call: {result=} {i=}")

    return calls(rival, count, add_one, step)


def array_call(rival: Rival, count: int) -> Sample | None:
    """An array of 1 MB in, and out again."""
    array = np.zeros(MB // 8)

    def step(call: Any, i: int) -> None:
        array[0] = array[-1] = i
        back = call(array)
        if back[0] != i + 1 or back[-1] != i or back.nbytes != MB:
            raise AssertionError(f"the result must belong to the call: {back[0]=} {i=}")

    return calls(rival, count, stamp, step)


def calls(rival: Rival, count: int, fn: Any, step: Step) -> Sample | None:
    """Time calls of *fn*, one at a time, after enough of them to warm up."""
    served = rival.served(fn)
    if served is None:
        return None
    call, end = served
    try:
        laps(max(10, count // 20), lambda i: step(call, i))
        times = laps(count, lambda i: step(call, i))
    finally:
        end()
    seconds, tail = median_and_tail(times)
    return Sample(seconds, (), tail)


SCENARIOS = (
    Scenario(
        "function-call",
        "a call in another process, a manager's proxy for the standard library",
        small_call,
        Counts(3000, 500, 10),
        limits.round_trip(),
    ),
    Scenario(
        "function-1MB",
        "a call in another process with a 1 MB array in and out",
        array_call,
        Counts(100, 30, 3),
        limits.round_trip("free", MB, 2),
    ),
)
