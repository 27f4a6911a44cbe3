"""Simulation workers in lock step: the parent sends each an action and awaits all their frames."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks import limits
from benchmarks.clock import laps, median_and_tail
from benchmarks.peer import Cue, Peer, current_cpu
from benchmarks.rivals.base import End, Get, Put, Rival
from benchmarks.scenario import Counts, Sample, Scenario

WORKERS = 2
FRAME = (480, 640, 3)  # uint8: 0.92 MB, each worker's answer in each step
NBYTES = 480 * 640 * 3
WARM = 3


def steps(rival: Rival, count: int) -> Sample | None:
    """The median time of a step of all workers."""
    pairs = [rival.pipe(NBYTES) for _ in range(WORKERS)]
    if pairs[0] is None:
        return None
    ends = [pair for pair in pairs if pair is not None]
    workers = [Peer(rival.method, simulate, theirs) for _, theirs in ends]
    try:
        lines = [ours.open() for ours, _ in ends]
        for worker in workers:
            worker.ready()
            worker.go()
        times = laps(WARM + count, partial(one_step, lines))[WARM:]
        cpus = [current_cpu()]
        for worker, (put, _) in zip(workers, lines, strict=True):
            put(None)
            cpus.append(worker.result()[1])
    finally:
        for worker in workers:
            worker.__exit__(None, None, None)
    seconds, tail = median_and_tail(times)
    return Sample(seconds, tuple(cpus), tail)


def one_step(lines: list[tuple[Put, Get]], i: int) -> None:
    for put, _ in lines:
        put(i)
    for _, get in lines:
        check(get(), i)


def check(frame: Any, i: int) -> None:
    ends = int(frame[0, 0, 0]), int(frame[-1, -1, -1])
    if frame.shape != FRAME or ends != (i % 256, i % 256):
        raise AssertionError(f"a frame must be that of its step: {ends=} step={i}")


def simulate(cue: Cue, end: End) -> None:
    put, get = end.open()
    frame = np.zeros(FRAME, np.uint8)
    cue()
    while (action := get()) is not None:
        frame[0, 0, 0] = frame[-1, -1, -1] = action % 256
        put(frame)


SCENARIOS = (
    Scenario(
        "lockstep",
        f"{WORKERS} workers in lock step, a 0.92 MB frame from each in every step, "
        "the standard library over Pipe",
        steps,
        Counts(150, 30, 3),
        limits.round_trip("free", NBYTES, WORKERS),
    ),
)
