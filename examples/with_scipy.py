"""scipy: a fit by differential evolution, `workers=pool.map`.

    python examples/with_scipy.py [--iterations 40]

The model is a decay chain, integrated for each candidate; the rates are found again from
noisy counts.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import differential_evolution

import zeroipc.mp as multiprocessing

RATES = (0.8, 0.25)
TIMES = np.linspace(0.0, 12.0, 40)


def counts(rates: tuple[float, float]) -> np.ndarray:
    """Return parent and daughter over TIMES, from 1000 parents."""
    first, second = rates

    def change(_: float, state: np.ndarray) -> list[float]:
        return [-first * state[0], first * state[0] - second * state[1]]

    return solve_ivp(change, (0.0, TIMES[-1]), [1000.0, 0.0], t_eval=TIMES, rtol=1e-6).y


MEASURED = counts(RATES) + np.random.default_rng(0).normal(scale=5.0, size=(2, TIMES.size))


def misfit(rates: np.ndarray) -> float:
    return float(((counts(tuple(rates)) - MEASURED) ** 2).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=40)
    options = parser.parse_args()
    start = time.perf_counter()
    with multiprocessing.Pool(2) as pool:
        found = differential_evolution(
            misfit, [(0.01, 2.0)] * 2, workers=pool.map, updating="deferred",
            maxiter=options.iterations, rng=np.random.default_rng(1),
        )  # fmt: skip
    print(f"rates {found.x[0]:.3f} and {found.x[1]:.3f}, in truth {RATES[0]} and {RATES[1]}")
    print(f"{found.nfev} integrations in {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
