"""MPI: a rank per machine, and in each rank a pool of ours for that machine's cores.

    mpiexec -n 2 python examples/with_mpi.py [--samples 400000]

MPI carries one number per rank; everything else stays on its machine. The pool starts
its workers by "spawn", since an MPI library does not survive a fork.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

import zeroipc.mp as multiprocessing

TASKS = 16


def hits(seed: int, samples: int) -> int:
    """Return how many of so many points of a square lie in its circle."""
    points = np.random.default_rng(seed).random((samples, 2))
    return int(((points**2).sum(axis=1) < 1.0).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=400_000, help="per task")
    samples = parser.parse_args().samples
    from mpi4py import MPI  # not at the top: workers import this file, and are no ranks

    ranks = MPI.COMM_WORLD
    seeds = range(ranks.rank * TASKS, (ranks.rank + 1) * TASKS)
    context = multiprocessing.get_context("spawn")
    with context.ProcessPoolExecutor(2) as executor:
        mine = sum(executor.map(hits, seeds, [samples] * TASKS))
    total = ranks.reduce(mine, MPI.SUM, root=0)
    if ranks.rank == 0:
        count = samples * TASKS * ranks.size
        estimate = 4 * total / count
        print(f"{ranks.size} ranks, {count} points: pi is about {estimate:.4f}")
        print(f"within four deviations: {abs(estimate - math.pi) < 6.6 / math.sqrt(count)}")


if __name__ == "__main__":
    main()
