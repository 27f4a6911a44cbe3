"""Ray: an actor per machine that has a pool of ours for that machine's cores.

    python examples/with_ray.py [--count 200000]

Ray places the actors, on one machine or many; inside one, small tasks cost microseconds, not
Ray's milliseconds.
"""

from __future__ import annotations

import argparse
from typing import Any

import ray


def primes_between(first: int, last: int) -> int:
    """Return how many primes there are from *first* to before *last*."""
    return sum(
        all(number % divisor for divisor in range(2, int(number**0.5) + 1))
        for number in range(max(first, 2), last)
    )


@ray.remote(num_cpus=1)
class Machine:
    """The processes of one machine."""

    def __init__(self, workers: int) -> None:
        import zeroipc.mp as multiprocessing

        context = multiprocessing.get_context("spawn")  # Ray's processes are full of threads
        self.executor: Any = multiprocessing.ProcessPoolExecutor(workers, mp_context=context)

    def count(self, first: int, last: int, step: int = 500) -> int:
        starts = range(first, last, step)
        ends = [min(start + step, last) for start in starts]
        return sum(self.executor.map(primes_between, starts, ends))

    def stop(self) -> None:
        self.executor.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200_000)
    count = parser.parse_args().count
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        machines = [Machine.remote(2) for _ in range(2)]  # type: ignore[attr-defined]
        middle = count // 2
        parts = [machines[0].count.remote(0, middle), machines[1].count.remote(middle, count)]
        print(f"{sum(ray.get(parts))} primes below {count}")
        ray.get([machine.stop.remote() for machine in machines])
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
