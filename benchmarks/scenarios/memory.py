"""Shared memory reserved while 10 GB move as arrays of 16 MB, and after they have.

Reserved is the sum of the blocks of all files in /dev/shm that were not there before, so nothing
else should use it meanwhile, and of those this process has open whose name is already gone or that
never had one (memfd). In flight are the arrays that the producer has begun to put and the consumer
has not yet dropped.
"""

from __future__ import annotations

import os
import time
from multiprocessing import get_context
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import limits
from benchmarks.peer import Cue, Peer, current_cpu
from benchmarks.rivals.base import Link, Rival
from benchmarks.scenario import Counts, Sample, Scenario

MB = 1 << 20
NBYTES = 16 * MB
DEPTH = 4
SETTLE = 2.0  # seconds
SHM = "/dev/shm"
BLOCK = 512  # bytes, the unit of st_blocks


def footprint(rival: Rival, count: int) -> Sample | None:
    before = frozenset(os.listdir(SHM))
    link = rival.queue(DEPTH, NBYTES)
    if link is None:
        return None
    dropped: Any = get_context(rival.method).RawValue("q", 0)
    with Peer(rival.method, produce, link, count, dropped, before) as producer:
        get = link.reader()
        producer.ready()
        start = perf_counter()
        producer.go()
        for i in range(count):
            array = get()
            if not array[0] == array[-1] == i % 2 or array.nbytes != NBYTES:
                raise AssertionError(f"arrays must arrive in order: first={array[0]} number={i}")
            del array
            dropped.value = i + 1
        seconds = perf_counter() - start
        time.sleep(SETTLE)
        settled = reserved(before)
        cpus = current_cpu(), producer.ready()
        producer.go()
        (most_reserved, most_in_flight), _ = producer.result()
    extra = {
        "peak_reserved_mb": most_reserved / MB,
        "peak_in_flight_mb": most_in_flight / MB,
        "above_allowance_mb": (most_reserved - 1.25 * most_in_flight) / MB,
        "settled_mb": settled / MB,
    }
    return Sample(seconds / count, cpus, extra)


def produce(
    cue: Cue, link: Link, count: int, dropped: Any, before: frozenset[str]
) -> tuple[int, int]:
    """Give the most bytes reserved, and the most in flight, seen at any put."""
    put = link.writer()
    arrays = [np.full(NBYTES // 8, float(kind)) for kind in (0, 1)]
    most_reserved = most_in_flight = 0
    cue()
    for i in range(count):
        most_in_flight = max(most_in_flight, i + 1 - dropped.value)
        put(arrays[i % 2])
        most_reserved = max(most_reserved, reserved(before))
    cue()
    return most_reserved, most_in_flight * NBYTES


def reserved(before: frozenset[str]) -> int:
    """Bytes of memory behind the files of /dev/shm that are not in *before*, or are open here."""
    paths = [os.path.join(SHM, name) for name in os.listdir(SHM) if name not in before]
    paths += [path for path in open_files() if names_memory(path)]
    sizes: dict[tuple[int, int], int] = {}
    for path in paths:
        try:
            status = os.stat(path)
        except FileNotFoundError:  # gone since it was listed
            continue
        sizes[status.st_dev, status.st_ino] = status.st_blocks * BLOCK
    return sum(sizes.values())


def open_files() -> list[str]:
    return [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]


def names_memory(path: str) -> bool:
    try:
        return os.readlink(path).startswith((SHM, "/memfd:"))
    except FileNotFoundError:
        return False


SCENARIOS = (
    Scenario(
        "memory",
        "10 GB as arrays of 16 MB (0.5 GB with --quick): time per array, /dev/shm reserved",
        footprint,
        Counts(640, 32, 3),
        limits.copy(NBYTES),
        timeout=240.0,
        most_rounds=1,
    ),
)
