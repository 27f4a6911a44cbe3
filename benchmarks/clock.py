"""Timing one operation after the other."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import median
from time import perf_counter


def laps(count: int, step: Callable[[int], None]) -> list[float]:
    """Call ``step(0)`` to ``step(count - 1)``; give the seconds of each."""
    times = []
    for i in range(count):
        start = perf_counter()
        step(i)
        times.append(perf_counter() - start)
    return times


def median_and_tail(times: list[float]) -> tuple[float, dict[str, float]]:
    """Give the median in seconds, and the 99th percentile in microseconds as an extra number."""
    tail = sorted(times)[math.ceil(0.99 * len(times)) - 1]
    return median(times), {"p99_us": tail * 1e6}
