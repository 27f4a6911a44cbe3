"""emcee: a straight line through points with outliers, sampled with `pool=`.

    python examples/with_emcee.py [--steps 200]

The sampler asks for `pool.map` at every step: a cheap call for each of a few walkers, so what
counts is the cost of moving tasks.
"""

from __future__ import annotations

import argparse
import time

import emcee
import numpy as np

import zeroipc.mp as multiprocessing

SLOPE, OFFSET = 0.7, 2.0
random = np.random.default_rng(3)
X = np.sort(10 * random.random(200))
Y = SLOPE * X + OFFSET + random.normal(scale=0.3, size=X.size)
Y[::10] += random.normal(scale=5.0, size=X[::10].size)


def log_probability(parameters: np.ndarray) -> float:
    """Of slope, offset and log of the width; a point may be an outlier, one time in ten."""
    slope, offset, log_width = parameters
    if not (-5 < slope < 5 and -20 < offset < 20 and -5 < log_width < 2):
        return -np.inf
    squares = (Y - slope * X - offset) ** 2
    width = np.exp(log_width)
    good = 0.9 * np.exp(-0.5 * squares / width**2) / width
    bad = 0.1 * np.exp(-0.5 * squares / 25.0) / 5.0
    return float(np.log(good + bad).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    steps = parser.parse_args().steps
    walkers = random.normal([0.5, 1.0, 0.0], 0.1, size=(24, 3))
    start = time.perf_counter()
    with multiprocessing.Pool(2) as pool:
        sampler = emcee.EnsembleSampler(*walkers.shape, log_probability, pool=pool)
        sampler.run_mcmc(walkers, steps)
    seconds = time.perf_counter() - start
    chain = sampler.get_chain(discard=steps // 2, flat=True)
    for name, values, true in zip(("slope", "offset"), chain.T, (SLOPE, OFFSET), strict=False):
        print(f"{name:6} {values.mean():.3f} +- {values.std():.3f}, in truth {true}")
    print(f"{steps * len(walkers) / seconds:.0f} evaluations a second")


if __name__ == "__main__":
    main()
