"""Ping-pong over a request queue and an answer queue: the time of one round trip."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np

from benchmarks import limits
from benchmarks.clock import laps, median_and_tail
from benchmarks.peer import Cue, Peer, current_cpu, pin
from benchmarks.rivals.base import End, Rival
from benchmarks.scenario import Counts, Sample, Scenario

MB = 1 << 20
WARM = 20


def small_tuple(placement: str, rival: Rival, count: int) -> Sample | None:
    """Send ("step", i, 0.5), get it back; *placement* as ``peer.pin`` says."""

    def step(put: Any, get: Any, i: int) -> None:
        message = ("step", i, 0.5)
        put(message)
        back = get()
        if back != message:
            raise AssertionError(f"the answer must be the request: {back=} {message=}")

    return round_trips(placement, 256, step, rival, count)


def array(rival: Rival, count: int) -> Sample | None:
    """Send an array of 1 MB, get another one back with its ends stamped."""
    sent = np.zeros(MB // 8)

    def step(put: Any, get: Any, i: int) -> None:
        sent[0] = sent[-1] = i
        put(sent)
        back = get()
        if not back[0] == back[-1] == i or back.nbytes != MB:
            raise AssertionError(f"the answer must be the request: {back[0]=} {i=}")

    return round_trips("free", MB, step, rival, count)


def round_trips(placement: str, nbytes: int, step: Any, rival: Rival, count: int) -> Sample | None:
    cpus = sorted(os.sched_getaffinity(0))
    pin(cpus, placement, 0)
    ends = rival.two_queues(nbytes)
    if ends is None:
        return None
    with Peer(rival.method, echo, ends[1], WARM + count, cpus, placement) as peer:
        put, get = ends[0].open()
        peer.ready()
        peer.go()
        times = laps(WARM + count, partial(step, put, get))[WARM:]
        where = current_cpu(), peer.ready()
        peer.go()
        peer.result()
    seconds, tail = median_and_tail(times)
    return Sample(seconds, where, tail)


def echo(cue: Cue, end: End, count: int, cpus: list[int], placement: str) -> None:
    pin(cpus, placement, 1)
    put, get = end.open()
    cue()
    for _ in range(count):
        put(get())
    cue()  # keeps the sending end open until the last answer has arrived


def _small(name: str, where: str, placement: str) -> Scenario:
    return Scenario(
        name,
        f"ping-pong of a small tuple, {where}",
        partial(small_tuple, placement),
        Counts(3000, 800, 20),
        limits.round_trip(placement),
    )


SCENARIOS = (
    _small("pingpong", "placed by the kernel", "free"),
    _small("pingpong-two-cpus", "each side pinned to its own CPU", "apart"),
    _small("pingpong-one-cpu", "both sides pinned to one CPU", "same"),
    Scenario(
        "pingpong-1MB",
        "ping-pong of a 1 MB array",
        array,
        Counts(200, 40, 5),
        limits.round_trip("free", MB, 2),
    ),
)
