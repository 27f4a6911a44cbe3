"""dask: arrays and delayed calls on a pool of ours, the local scheduler's `pool`.

    python examples/with_dask.py [--side 2000]

Blocks cross between processes in shared memory, not through pipes.
"""

from __future__ import annotations

import argparse
import time

import dask
import dask.array as da
import numpy as np

import zeroipc.mp as multiprocessing


@dask.delayed
def roughness(heights: np.ndarray) -> float:
    """Mean step between neighbours: pure Python and NumPy, which threads would not speed up."""
    return float(np.abs(np.diff(heights, axis=0)).mean() + np.abs(np.diff(heights, axis=1)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=2000)
    side = parser.parse_args().side
    start = time.perf_counter()
    with (
        multiprocessing.ProcessPoolExecutor(2) as executor,
        dask.config.set(scheduler="processes", pool=executor),
    ):
        noise = da.random.default_rng(1).normal(size=(side, side), chunks=side // 4)
        terrain = da.cumsum(noise, axis=1)
        mean, deviation = dask.compute(terrain.mean(), terrain[:, -1].std())
        blocks = terrain.to_delayed().ravel()
        rough = dask.compute(*[roughness(block) for block in blocks])
    print(f"mean {mean:.2f}, deviation {deviation:.2f}, expected about {side**0.5:.2f}")
    print(f"roughness of {len(rough)} blocks: {min(rough):.2f} to {max(rough):.2f}")
    print(f"{time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
