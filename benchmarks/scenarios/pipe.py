"""Pipes: round trips between the two ends, and arrays streamed one way."""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import limits
from benchmarks.clock import laps, median_and_tail
from benchmarks.peer import Cue, Peer, current_cpu
from benchmarks.rivals.base import Rival
from benchmarks.scenario import Counts, Sample, Scenario

KB, MB = 1 << 10, 1 << 20
WARM = 20
SMALL = ("step", 3, 0.5)


def round_trips(message: Any, rival: Rival, count: int) -> Sample | None:
    """Send a message, get it back."""
    context = rival.context()
    if context is None:
        return None
    here, there = context.Pipe()

    def step(i: int) -> None:
        here.send(message)
        check(here.recv(), message)

    with Peer(rival.method, echo, there, WARM + count) as peer:
        peer.ready()
        peer.go()
        times = laps(WARM + count, step)[WARM:]
        where = current_cpu(), peer.ready()
        peer.go()
        peer.result()
    seconds, tail = median_and_tail(times)
    return Sample(seconds, where, tail)


def echo(cue: Cue, conn: Any, count: int) -> None:
    cue()
    for _ in range(count):
        conn.send(conn.recv())
    cue()  # keeps the sending end open until the last answer has arrived


def stream(message: Any, rival: Rival, count: int) -> Sample | None:
    """One process sends, the other receives."""
    context = rival.context()
    if context is None:
        return None
    receiver, sender = context.Pipe(False)
    with Peer(rival.method, send, sender, message, (WARM, count)) as peer:
        for number in (WARM, count):
            peer.ready()
            start = perf_counter()
            peer.go()
            for _ in range(number):
                check(receiver.recv(), message)
            seconds = perf_counter() - start
        cpus = current_cpu(), peer.ready()
        peer.go()
        peer.result()
    return Sample(seconds / count, cpus)


def send(cue: Cue, conn: Any, message: Any, phases: tuple[int, ...]) -> None:
    for number in phases:
        cue()
        for _ in range(number):
            conn.send(message)
    cue()


def check(received: Any, sent: Any) -> None:
    """Raise unless a message arrived as it was sent; of an array, its size and its ends."""
    if isinstance(sent, np.ndarray):
        same = received.size == sent.size and received[0] == sent[0] and received[-1] == sent[-1]
    else:
        same = received == sent
    if not same:
        raise AssertionError(f"messages must arrive as they were sent: {received!r}")


def array(nbytes: int) -> Any:
    return np.arange(nbytes // 8, dtype=np.float64)


SCENARIOS = (
    Scenario(
        "pipe",
        "Pipe: ping-pong of a small tuple",
        partial(round_trips, SMALL),
        Counts(3000, 800, 20),
        limits.round_trip("free"),
    ),
    Scenario(
        "pipe-16KB",
        "Pipe: ping-pong of a 16 KB array",
        partial(round_trips, array(16 * KB)),
        Counts(1000, 300, 10),
        limits.round_trip("free", 16 * KB, 2),
    ),
    Scenario(
        "pipe-1MB",
        "Pipe: ping-pong of a 1 MB array",
        partial(round_trips, array(MB)),
        Counts(200, 40, 5),
        limits.round_trip("free", MB, 2),
    ),
    Scenario(
        "pipe-1MB-stream",
        "Pipe: arrays of 1 MB one way",
        partial(stream, array(MB)),
        Counts(300, 60, 5),
        limits.copy(MB),
    ),
)
