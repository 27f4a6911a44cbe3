"""What a scenario is, and what one measurement of it gives.

A scenario is a function ``run(rival, count)`` with its declaration. It returns None when the rival
has no such thing (a pool asked of a message queue), and raises when received data is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks.rivals.base import Rival


@dataclass(frozen=True)
class Sample:
    """One measurement.

    seconds is the time of one operation; cpus says where each side was when it ended; extra holds
    further numbers under names that ``targets.py`` and the report use.
    """

    seconds: float
    cpus: tuple[int, ...] = ()
    extra: Mapping[str, float] = field(default_factory=dict)


class Limit(NamedTuple):
    """The physical floor of a scenario: its name, and a function that measures it in seconds."""

    name: str
    measure: Callable[[], float]


class Counts(NamedTuple):
    """How many operations a measurement makes: normally, with --quick, and in the smoke test."""

    full: int
    quick: int
    tiny: int


@dataclass(frozen=True)
class Scenario:
    """One row of the report; timeout is in seconds and per measurement."""

    name: str
    what: str
    run: Callable[[Rival, int], Sample | None]
    counts: Counts
    limit: Limit
    timeout: float = 60.0
    most_rounds: int | None = None  # scenarios that take long by nature run fewer rounds
