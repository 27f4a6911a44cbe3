"""A filled, warm loan: put, get in another process, one small answer back, at sizes far apart.

Filling is not timed. Loans are made and filled in bursts; a plain message wakes the other side
before each burst, so that no size is charged for the sleep that filling another one causes. Both
sides are on one CPU: where the kernel puts them changes a round trip by more than any size does.
"""

from __future__ import annotations

import os
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import limits
from benchmarks.peer import Cue, Peer, current_cpu, pin
from benchmarks.rivals.base import End, Get, LinkedEnd, Put, Rival
from benchmarks.scenario import Counts, Sample, Scenario

KB, MB = 1 << 10, 1 << 20
SMALLEST, LARGEST = 64 * KB, 256 * MB
SIZES = (SMALLEST, MB, 16 * MB, LARGEST)
TINY_SIZES = (SMALLEST, MB)
BURST = 3


def every_size(sizes: tuple[int, ...], rival: Rival, count: int) -> Sample | None:
    """The median at each size; the sample's time is that of the largest."""
    times: dict[str, float] = {}
    cpus: tuple[int, ...] = ()
    for nbytes in sizes:
        one = one_size(nbytes, rival, count)
        if one is None:
            return None
        seconds, cpus = one
        times[f"{nbytes // KB}KB_us"] = seconds * 1e6
    values = list(times.values())
    flatness = {"slowest_over_fastest": max(values) / min(values)}
    return Sample(values[-1] / 1e6, cpus, {**times, **flatness})


def one_size(nbytes: int, rival: Rival, count: int) -> tuple[float, tuple[int, int]] | None:
    """Median seconds of *count* bursts of BURST loans, without the first burst."""
    there, back = rival.queue(2 * BURST, nbytes), rival.queue(0, 256)
    if there is None or back is None or (lend := there.lender()) is None:
        return None
    pin(sorted(os.sched_getaffinity(0)), "same", 0)
    ours, theirs = LinkedEnd(there, back), LinkedEnd(back, there)
    with Peer(rival.method, answer, theirs) as peer:
        put, get = ours.open()
        peer.ready()
        peer.go()
        bursts = []
        for _ in range(count + 1):
            loans = [lend(nbytes // 8, "f8") for _ in range(BURST)]
            bursts.append(burst(put, get, loans))
        put(None)
        _, cpu = peer.result()
    return median(time for times in bursts[1:] for time in times), (current_cpu(), cpu)


def burst(put: Put, get: Get, loans: list[Any]) -> list[float]:
    for kind, loan in enumerate(loans):
        loan[:] = kind
    put("wake")
    get()
    times = []
    for kind, loan in enumerate(loans):
        start = perf_counter()
        put(loan)
        first, last = get()
        times.append(perf_counter() - start)
        if not first == last == kind:
            raise AssertionError(f"a loan must arrive as it was filled: {first=} expected={kind}")
    return times


def answer(cue: Cue, end: End) -> None:
    put, get = end.open()
    cue()
    while (item := get()) is not None:
        put((float(item[0]), float(item[-1])) if isinstance(item, np.ndarray) else item)
        del item


SCENARIOS = (
    Scenario(
        "loan",
        "put + get of a filled warm loan and a small answer, on one CPU, 64 KB to 256 MB",
        partial(every_size, SIZES),
        Counts(6, 2, 1),
        limits.round_trip("same"),
        timeout=120.0,
    ),
)
