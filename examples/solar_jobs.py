"""What both shapes of parallel work share: the library they run on, the plan, the outcome.

The shapes are written for `multiprocessing` and `concurrent.futures` only and take the library as a
parameter: whatever has the same interface runs the same code.
"""

from __future__ import annotations

import importlib
import signal
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from solar_physics import Bodies, Floats, energy

Progress = Callable[[float], None]  # called with the share done, 0 to 1

MODULES = {
    "stdlib": ("multiprocessing", "concurrent.futures"),
    "zeroipc": ("zeroipc.mp", "zeroipc.mp"),
}


@dataclass(frozen=True)
class Library:
    """A module with multiprocessing's interface and one with concurrent.futures'."""

    name: str
    multiprocessing: ModuleType
    futures: ModuleType


def load_library(name: str) -> Library:
    """Import the modules of the library called *name*, "stdlib" or "zeroipc".

    Raises:
        ImportError: it is not installed.
    """
    processes, futures = MODULES[name]
    try:
        return Library(name, importlib.import_module(processes), importlib.import_module(futures))
    except ImportError as error:
        raise ImportError(f"each library must be installed: library={name} ({error})") from error


@dataclass(frozen=True)
class Plan:
    """What to integrate and on how many workers.

    Attributes:
        bodies: the real system, for the masses and the plane of the Earth's orbit.
        ensemble: initial states, shape (2, 3, bodies, members).
        step: days.
        steps: how many of them.
        workers: processes, at least 1 and at most the number of members.
        method: how processes start: "fork", "spawn" or "forkserver".
    """

    bodies: Bodies
    ensemble: Floats
    step: float
    steps: int
    workers: int
    method: str

    def split(self, parts: int) -> list[Floats]:
        """Return the ensemble as contiguous groups of members, at most *parts* of them."""
        parts = min(parts, self.ensemble.shape[-1])
        return [
            np.ascontiguousarray(group) for group in np.array_split(self.ensemble, parts, axis=-1)
        ]


@dataclass(frozen=True)
class Outcome:
    """What a run cost and what it found.

    Attributes:
        seconds: from starting the first worker to the last result.
        computing: processor seconds the workers spent integrating, per worker.
        watching: processor seconds the parent spent on its own part of the work.
        nbytes: of all arrays sent and received, as the parent counts them.
        messages: that carried them.
        fingerprint: equal for two runs if and, but for chance, only if their results are equal in
            every bit.
        drift: largest relative change of a member's energy.
        final: states at the end, shape (2, 3, bodies, members).
        times: days at which the rows of `spread` were taken.
        spread: root-mean-square distance of the members from their mean, au, shape (rows, bodies).
        angles: the Earth's after every step, the first row at the start, shape
            (steps + 1, members); empty for the lock-step shape.
    """

    seconds: float
    computing: float
    watching: float
    nbytes: int
    messages: int
    fingerprint: int
    drift: float
    final: Floats
    times: Floats
    spread: Floats
    angles: Floats


def ignore_interrupt() -> None:
    """Leave Ctrl-C to the parent, which ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def spread_of(positions: Floats) -> Floats:
    """Return the root-mean-square distance from the mean, au, shape (..., bodies).

    Args:
        positions: au, shape (..., 3, bodies, members).
    """
    offsets = positions - positions.mean(axis=-1, keepdims=True)
    return np.asarray(np.sqrt(np.sum(offsets**2, axis=-3).mean(axis=-1)))


def largest_drift(state: Floats, start: Floats, masses: Floats) -> float:
    """Return the largest relative change of a member's energy between two states."""
    return float(np.max(np.abs(energy(state, masses) / energy(start, masses) - 1.0)))
