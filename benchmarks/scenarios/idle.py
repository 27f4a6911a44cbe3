"""What a process costs while it is blocked in get() and nothing arrives."""

from __future__ import annotations

import time

from benchmarks import limits
from benchmarks.peer import Cue, Peer, current_cpu
from benchmarks.rivals.base import Link, Rival
from benchmarks.scenario import Counts, Sample, Scenario

TENTH = 0.1  # seconds; counts are tenths of a second


def blocked(rival: Rival, count: int) -> Sample | None:
    """CPU seconds (all threads, user and system) of a wait of *count* tenths of a second."""
    link = rival.queue(0, 256)
    if link is None:
        return None
    with Peer(rival.method, wait, link) as peer:
        put = link.writer()
        peer.ready()
        peer.go()
        time.sleep(count * TENTH)
        put("end")
        (cpu_seconds, wall_seconds), cpu = peer.result()
    percent = {"core_percent": 100 * cpu_seconds / wall_seconds}
    return Sample(cpu_seconds, (current_cpu(), cpu), percent)


def wait(cue: Cue, link: Link) -> tuple[float, float]:
    get = link.reader()
    cue()
    cpu, wall = time.process_time(), time.perf_counter()
    item = get()
    if item != "end":
        raise AssertionError(f"the item must be the one sent: item={item!r}")
    return time.process_time() - cpu, time.perf_counter() - wall


SCENARIOS = (
    Scenario(
        "idle",
        "CPU time of a process blocked in get() for 10 s (0.5 s with --quick)",
        blocked,
        Counts(100, 5, 1),
        limits.blocked_read(0.5),
        most_rounds=3,
    ),
)
