"""`RawValue`, `RawArray` and `Value`: the time to make one, many of which are kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

from benchmarks import limits
from benchmarks.rivals.base import Rival
from benchmarks.scenario import Counts, Sample, Scenario

Make = Callable[[Any, int], Any]


def making(make: Make, rival: Rival, count: int) -> Sample | None:
    """Make so many, each of its own, and look at all of them."""
    context = rival.context()
    if context is None:
        return None
    make(context, 0)
    start = perf_counter()
    made = [make(context, i) for i in range(count)]
    seconds = perf_counter() - start
    for i, one in enumerate(made):
        if first(one) != i:
            raise AssertionError(f"a value must be its own: {first(one)=} {i=}")
    return Sample(seconds / count)


def first(made: Any) -> Any:
    return made.value if hasattr(made, "value") else made[0]


def raw_array(context: Any, i: int) -> Any:
    made = context.RawArray("d", 100)
    made[0] = i
    return made


SCENARIOS = tuple(
    Scenario(name, what, partial(making, make), Counts(20_000, 4_000, 50), limits.call())
    for name, what, make in (
        ("raw-value", "make a RawValue", lambda context, i: context.RawValue("q", i)),
        ("raw-array", "make a RawArray of 100 float64", raw_array),
        ("value", "make a Value with a lock", lambda context, i: context.Value("q", i)),
    )
)
