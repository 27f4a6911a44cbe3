"""From samples to numbers: spreads, ratios paired by round, targets reached or not."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from benchmarks.rivals import BASELINE, SUBJECT
from benchmarks.runner import LIMIT, Runs
from benchmarks.scenario import Sample
from benchmarks.targets import TARGETS, Target


class Spread(NamedTuple):
    """Median, least and most of a number over the rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Spread | None:
        return cls(median(values), min(values), max(values)) if values else None


class Verdict(NamedTuple):
    """A target, the value measured (None: not measured), and whether it is reached."""

    target: Target
    value: float | None
    reached: bool | None


@dataclass(frozen=True)
class Line:
    """What one rival did in one scenario; ratio is the standard library's time over its own."""

    name: str
    failure: str | None
    seconds: Spread | None
    ratio: Spread | None
    distance: Spread | None
    extra: dict[str, float]
    cpus: list[tuple[int, ...]]


def lines(runs: Runs) -> list[Line]:
    """One line for each rival of *runs* and one for the limit."""
    return [line(runs, name) for name in runs.samples | runs.failures]


def line(runs: Runs, name: str) -> Line:
    mine = runs.samples.get(name, {})
    return Line(
        name,
        runs.failures.get(name),
        Spread.of([sample.seconds for sample in mine.values()]),
        Spread.of(paired(runs.samples.get(BASELINE, {}), mine)),
        Spread.of(paired(mine, runs.samples.get(LIMIT, {}))),
        extra_medians(list(mine.values())),
        [sample.cpus for sample in mine.values()],
    )


def paired(over: dict[int, Sample], under: dict[int, Sample]) -> list[float]:
    """Ratios of the times of the same round."""
    return [over[i].seconds / under[i].seconds for i in sorted(over.keys() & under.keys())]


def extra_medians(samples: list[Sample]) -> dict[str, float]:
    names = samples[0].extra if samples else {}
    return {name: median(sample.extra[name] for sample in samples) for name in names}


def verdicts(runs: Runs) -> list[Verdict]:
    """The targets of the scenario of *runs*, judged by zeroipc's medians."""
    return [judge(target, runs) for target in TARGETS if target.scenario == runs.scenario.name]


def judge(target: Target, runs: Runs) -> Verdict:
    value = None if SUBJECT in runs.failures else subject_value(target.measure, runs)
    return Verdict(target, value, None if value is None else target.reached(value))


def subject_value(measure: str, runs: Runs) -> float | None:
    mine, base = runs.samples.get(SUBJECT, {}), runs.samples.get(BASELINE, {})
    found = line(runs, SUBJECT)
    if measure == "ratio":
        return found.ratio and found.ratio.median
    if measure == "distance":
        return found.distance and found.distance.median
    if measure == "later_ms":
        both = sorted(mine.keys() & base.keys())
        later = Spread.of([1e3 * (mine[i].seconds - base[i].seconds) for i in both])
        return later and later.median
    return found.extra.get(measure)
