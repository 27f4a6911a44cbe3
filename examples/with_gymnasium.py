"""gymnasium: a policy searched in environments that run in processes.

    python examples/with_gymnasium.py [--rounds 8] [--environments 4]

AsyncVectorEnv takes the name of a start method and asks `multiprocessing` for its context:
`zeroipc.mp.install()`, before it does, gives it ours.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import zeroipc.mp

zeroipc.mp.install()

from gymnasium.envs.classic_control import CartPoleEnv  # noqa: E402
from gymnasium.vector import AsyncVectorEnv  # noqa: E402

LONGEST = 200


def balanced(environments: AsyncVectorEnv, policies: np.ndarray, seed: int) -> np.ndarray:
    """Return for how many steps each policy kept its pole up, at most LONGEST."""
    states, _ = environments.reset(seed=seed)
    steps, up = np.zeros(len(policies)), np.ones(len(policies), bool)
    for _ in range(LONGEST):
        actions = ((states * policies).sum(axis=1) > 0).astype(int)
        states, _, fallen, _, _ = environments.step(actions)
        up &= ~fallen
        steps += up
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--environments", type=int, default=4)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    best, longest = np.zeros(4), 0.0
    start = time.perf_counter()
    environments = AsyncVectorEnv([CartPoleEnv] * options.environments, context="fork")
    try:
        for number in range(options.rounds):
            policies = best + random.normal(size=(options.environments, 4))
            steps = balanced(environments, policies, seed=number)
            if steps.max() > longest:
                best, longest = policies[steps.argmax()], steps.max()
    finally:
        environments.close()
    seconds = time.perf_counter() - start
    print(f"the best of {options.rounds * options.environments} policies: {longest:.0f} steps")
    print(f"{options.rounds * LONGEST * options.environments / seconds:.0f} steps a second")


if __name__ == "__main__":
    main()
