"""A picture of the ratios: a bar per rival and scenario, a mark where the target is."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.rivals import BASELINE, RIVALS
from benchmarks.runner import Runs
from benchmarks.summary import line
from benchmarks.targets import TARGETS


def write(all_runs: Sequence[Runs], path: Path) -> bool:
    """Write the picture to *path*; False where matplotlib is not installed."""
    try:
        matplotlib: Any = import_module("matplotlib")
    except ModuleNotFoundError:
        return False
    matplotlib.use("agg")
    pyplot: Any = import_module("matplotlib.pyplot")
    all_runs = [runs for runs in all_runs if judged_by_ratio(runs)]
    names = [
        name for name in RIVALS if name != BASELINE and any(name in r.samples for r in all_runs)
    ]
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.6 * len(all_runs)), layout="constrained")
    for place, name in enumerate(names):
        draw_rival(axes, all_runs, name, 0.8 / len(names), place)
    draw_targets(axes, all_runs)
    axes.set_yticks(range(len(all_runs)), [runs.scenario.name for runs in all_runs])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("times faster than the standard library (median, least to most)")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return True


def judged_by_ratio(runs: Runs) -> bool:
    return any(
        target.scenario == runs.scenario.name and target.measure == "ratio" for target in TARGETS
    )


def draw_rival(axes: Any, all_runs: Sequence[Runs], name: str, height: float, place: int) -> None:
    """A bar in each scenario, the *place*-th of its row."""
    rows, spreads = [], []
    for number, runs in enumerate(all_runs):
        ratio = line(runs, name).ratio
        if ratio is not None:
            rows.append(number - 0.4 + (place + 0.5) * height)
            spreads.append(ratio)
    medians = [ratio.median for ratio in spreads]
    errors = [
        [ratio.median - ratio.least for ratio in spreads],
        [ratio.most - ratio.median for ratio in spreads],
    ]
    # from 1 in both directions: a library slower than the baseline points left
    widths = [value - 1 for value in medians]
    axes.barh(rows, widths, height, left=1, xerr=errors, label=name, error_kw={"linewidth": 0.6})


def draw_targets(axes: Any, all_runs: Sequence[Runs]) -> None:
    numbers = {runs.scenario.name: number for number, runs in enumerate(all_runs)}
    marks = [
        (target.at_least, numbers[target.scenario])
        for target in TARGETS
        if target.measure == "ratio" and target.scenario in numbers
    ]
    if marks:
        axes.scatter(*zip(*marks, strict=True), marker="|", s=250, color="black", label="target")
