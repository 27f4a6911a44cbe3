"""What the runs say: a table, the checks, a plot."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import numpy as np
from solar_jobs import Outcome, Plan
from solar_physics import SIDEREAL_YEAR, Bodies, Floats, integrate

YEAR_TOLERANCE = 1e-4  # relative
ENERGY_TOLERANCE = 5e-9  # relative, at a step of half a day; grows with the step's fourth power
KM = 149_597_870.7  # per au

Results = dict[tuple[str, str], list[Outcome]]  # by shape and library

COLUMNS = (
    "shape", "library", "time s", "compute s", "parent s", "rest s",
    "messages", "MB moved", "MB/s", "ratio", "rest ratio",
)  # fmt: skip
LEGEND = """\
compute: processor time in the integrator, per worker.  parent: its own part, beside the workers
rest: time less compute: moving data, waiting, starting.  MB/s: MB moved per second of time
ratio: the first library's time over this one's; rest ratio: the same for the rest"""


def table(results: Results) -> str:
    """Return the medians as text."""
    lines = ["".join(f"{cell:>11}" for cell in COLUMNS)]
    first: dict[str, tuple[float, float]] = {}
    for (shape, library), runs in results.items():
        seconds = median(run.seconds for run in runs)
        computing = median(run.computing for run in runs)
        watching = median(run.watching for run in runs)
        rest = median(run.seconds - run.computing for run in runs)
        megabytes = runs[0].nbytes / 1e6
        first_seconds, first_rest = first.setdefault(shape, (seconds, rest))
        line = f"{shape:>11}{library:>11}"
        line += "".join(f"{value:11.2f}" for value in (seconds, computing, watching, rest))
        line += f"{runs[0].messages:11d}{megabytes:11.0f}{megabytes / seconds:11.0f}"
        line += f"{first_seconds / seconds:11.2f}{first_rest / rest:11.2f}"
        lines.append(line)
    return "\n".join([*lines, LEGEND])


def check_runs(runs: dict[str, list[Outcome]], step: float) -> list[str]:
    """Return a message for each run, by library, that differs from the first or loses energy."""
    broken = []
    expected = next(iter(runs.values()))[0].fingerprint
    limit = ENERGY_TOLERANCE * (step / 0.5) ** 4
    for library, outcomes in runs.items():
        for number, run in enumerate(outcomes, start=1):
            where = f"library={library}, run={number}"
            if run.fingerprint != expected:
                found = f"fingerprint={run.fingerprint:#x}, first={expected:#x}"
                broken.append(f"all runs must give the same bits: {found}, {where}")
            if not run.drift <= limit:
                rule = f"energy must be conserved to {limit:.1e}, relative"
                broken.append(f"{rule}: change={run.drift:.1e}, {where}")
    return broken


def check_final(final: Floats, plan: Plan, members: int = 4) -> list[str]:
    """Return a message if the first *members* of *final* are not what one process computes."""
    few = np.ascontiguousarray(plan.ensemble[..., :members])
    alone = integrate(few, plan.bodies.masses, plan.step, plan.steps)[-1]
    if alone.tobytes() == final[..., :members].tobytes():
        return []
    difference = np.max(np.abs(alone - final[..., :members]))
    return [f"workers must compute the bits that one process does: difference={difference:.1e}"]


def check_years(years: Floats) -> list[str]:
    """Return a message if a member's mean revolution, in days, is off."""
    worst = years[np.argmax(np.abs(years - SIDEREAL_YEAR))]
    if abs(worst / SIDEREAL_YEAR - 1.0) <= YEAR_TOLERANCE:
        return []
    rule = f"a year must be within {YEAR_TOLERANCE:.0e}, relative, of {SIDEREAL_YEAR} days"
    return [f"{rule}: year={worst:.6f}"]


def save_plot(file: Path, bodies: Bodies, outcome: Outcome, years: Floats, sigma: float) -> str:
    """Draw the ensemble's spread and its years; return a line that says where, or why not."""
    try:
        import matplotlib
    except ImportError as error:
        return f"no plot: matplotlib is not installed ({error})"
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(13, 5.2), width_ratios=(3, 2), layout="constrained"
    )
    perturbed = f"perturbed by {sigma:g} of distance and speed"
    figure.suptitle(f"{len(years)} solar systems from J2000.0, {perturbed}")
    colours = pyplot.get_cmap("turbo")(np.linspace(0.08, 0.95, len(bodies.names) - 1))
    for body, colour in enumerate(colours, start=1):
        label = bodies.names[body].replace("_barycenter", "").replace("_", "-").title()
        left.semilogy(
            outcome.times / 365.25, KM * outcome.spread[:, body], color=colour, label=label
        )
    left.set(
        title="Distance from the ensemble's mean",
        xlabel="years since J2000.0",
        ylabel="root mean square, km",
    )
    left.margins(x=0)
    left.grid(which="both", alpha=0.2)
    left.legend(ncols=2, loc="lower right")

    seconds = 86400.0 * (years - SIDEREAL_YEAR)
    right.hist(seconds, bins=max(5, min(40, len(years) // 9)), color="0.6")
    right.set_ylim(top=1.25 * right.get_ylim()[1])  # room for the legend
    right.yaxis.get_major_locator().set_params(integer=True)
    right.axvline(float(seconds[0]), color="tab:red", label="unperturbed")
    right.axvline(0.0, color="black", linestyle="--", label=f"sidereal year, {SIDEREAL_YEAR} days")
    right.set(title="Mean of ten revolutions of the Earth-Moon barycentre")
    right.set(xlabel="seconds more than a sidereal year", ylabel="members")
    right.legend()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
    return f"plot: {file}"
