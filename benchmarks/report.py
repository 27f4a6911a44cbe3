"""What a reader sees: a table per scenario, then the targets, and the same as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from benchmarks import machine
from benchmarks.rivals import BASELINE
from benchmarks.runner import LIMIT, Runs
from benchmarks.summary import Line, Spread, Verdict, lines, verdicts

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (0.0, "ns"))


def duration(seconds: float) -> str:
    """*seconds* with three digits and the unit that suits it."""
    for least, unit in UNITS:
        if seconds >= least:
            return f"{seconds / (least or 1e-9):.3g} {unit}"
    raise ValueError(f"a duration must not be negative: seconds={seconds}")


def header() -> str:
    facts = machine.facts()
    packages: Any = facts.pop("packages")
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    return f"{', '.join(f'{key} {value}' for key, value in facts.items())}\n{versions}"


def scenario_table(runs: Runs) -> str:
    """The scenario, then a line each: time, least time, ratio, distance, extras, CPUs."""
    rows = [f"\n{runs.scenario.name}: {runs.scenario.what}"]
    rows.append(
        f"  {'':12}{'median':>10}{'least':>10}   {'ratio to stdlib':22}"
        f"{'x ' + runs.scenario.limit.name:>30}"
    )
    rows += [row(line) for line in lines(runs)]
    rows += [f"  {verdict_row(verdict)}" for verdict in verdicts(runs)]
    return "\n".join(rows)


def row(line: Line) -> str:
    if line.failure or line.seconds is None:
        return f"  {line.name:12}{line.failure}"
    ratio = "" if line.name in (BASELINE, LIMIT) else spread(line.ratio)
    distance = "" if line.name == LIMIT else spread(line.distance)
    extra = "  ".join(f"{name}={value:.4g}" for name, value in line.extra.items())
    return (
        f"  {line.name:12}{duration(line.seconds.median):>10}{duration(line.seconds.least):>10}"
        f"   {ratio:22}{distance:>30}  {extra}  {placements(line.cpus)}"
    ).rstrip()


def spread(numbers: Spread | None) -> str:
    if numbers is None:
        return "-"
    return f"{numbers.median:.3g} [{numbers.least:.3g} - {numbers.most:.3g}]"


def placements(cpus: list[tuple[int, ...]]) -> str:
    """On how many of the rounds all sides ended on one CPU; nothing where that was not asked."""
    known = [sides for sides in cpus if len(sides) > 1]
    if not known:
        return ""
    together = sum(len(set(sides)) == 1 for sides in known)
    return f"one CPU {together}/{len(known)}"


def verdict_row(verdict: Verdict) -> str:
    peer = verdict.target.best_peer
    best = "" if peer is None else f" (best peer {peer:g})"
    if verdict.value is None:
        return f"target {verdict.target}{best}: not measured"
    word = "reached" if verdict.reached else "NOT REACHED"
    return f"target {verdict.target}{best}: {verdict.value:.3g}, {word}"


def targets_table(all_runs: Iterable[Runs]) -> str:
    found = [verdict for runs in all_runs for verdict in verdicts(runs)]
    rows = [f"  {verdict.target.scenario:20}{verdict_row(verdict)}" for verdict in found]
    reached = sum(verdict.reached is True for verdict in found)
    return "\n".join(["\nTargets", *rows, f"{reached} of {len(found)} reached"])


def as_json(all_runs: Iterable[Runs], settings: dict[str, Any]) -> dict[str, Any]:
    """Everything: machine, settings, every sample and what was made of them."""
    return {
        "machine": machine.facts(),
        "settings": settings,
        "scenarios": [scenario_json(runs) for runs in all_runs],
    }


def scenario_json(runs: Runs) -> dict[str, Any]:
    return {
        "name": runs.scenario.name,
        "what": runs.scenario.what,
        "limit": runs.scenario.limit.name,
        "summary": [asdict(line) for line in lines(runs)],
        "targets": [
            {**verdict.target._asdict(), "value": verdict.value, "reached": verdict.reached}
            for verdict in verdicts(runs)
        ],
        "samples": {
            name: {number: asdict(sample) for number, sample in rounds.items()}
            for name, rounds in runs.samples.items()
        },
    }
