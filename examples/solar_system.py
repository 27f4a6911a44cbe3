"""An ensemble of perturbed solar systems, integrated in parallel by worker processes.

The same code runs on the standard library and on zeroipc, in turns; the table shows medians.

    python examples/solar_system.py                   both, under a minute on two cores
    python examples/solar_system.py --quick
    python examples/solar_system.py --libraries stdlib --members 1024 --method spawn

Exit status: 0 if every check holds, else 1.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from solar_jobs import MODULES, Library, Outcome, Plan, Progress, load_library
from solar_lockstep import run_lockstep
from solar_physics import SIDEREAL_YEAR, Bodies, mean_year, perturb, read_bodies
from solar_pool import run_pool
from solar_report import Results, check_final, check_runs, check_years, save_plot, table

DATA = Path(__file__).parent / "data" / "solar_system_j2000.csv"
POSITION_NBYTES = 9 * 3 * 8  # of one member: what it adds to a message of the lock-step shape
TASK_NBYTES = 4_000_000  # about what a task of the pool returns

Shape = Callable[[Library, Progress], Outcome]


METHODS = multiprocessing.get_all_start_methods()
OPTIONS: tuple[tuple[str, type, object, str], ...] = (
    ("--members", int, 192, "solar systems in the pool's ensemble"),
    ("--years", float, 10.02, "that the pool integrates; ten revolutions must fit"),
    ("--steps", int, 100, "time steps of the lock-step workers, three exchanges each"),
    ("--exchange-mb", float, 0.9, "MB in each message of the lock-step workers"),
    ("--step-days", float, 0.5, "time step"),
    ("--sigma", float, 1e-6, "perturbation, relative to distance and speed"),
    ("--seed", int, 2000, "of the perturbations"),
    ("--workers", int, 2, "processes"),
    ("--repeats", int, 3, "runs of each shape on each library"),
    ("--libraries", str, "stdlib,zeroipc", "to compare; ratios are to the first"),
    ("--method", str, METHODS[0], f"how processes start: {', '.join(METHODS)}"),
    ("--plot", Path, Path("solar_system.png"), "file for the ensemble's spread"),
)
QUICK = {"members": 16, "steps": 10, "exchange_mb": 0.1, "repeats": 1}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; end the program where a value breaks its rule."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for flag, kind, default, text in OPTIONS:
        parser.add_argument(flag, type=kind, default=default, help=f"{text} (%(default)s)")
    parser.add_argument("--quick", action="store_true", help=f"other defaults: {QUICK}")
    if "--quick" in arguments:
        parser.set_defaults(**QUICK)
    options = parser.parse_args(arguments)
    for name in ("years", "steps", "exchange_mb", "step_days", "workers", "repeats"):
        value = getattr(options, name)
        if not value > 0:
            parser.error(f"--{name.replace('_', '-')} must be positive: {name}={value}")
    if options.members < options.workers:
        rule = "--members must be at least --workers"
        parser.error(f"{rule}: members={options.members}, workers={options.workers}")
    if options.method not in METHODS:
        parser.error(f"--method must be among {', '.join(METHODS)}: method={options.method}")
    options.libraries = list(dict.fromkeys(options.libraries.split(",")))
    for name in options.libraries:
        if name not in MODULES:
            parser.error(f"--libraries must be among {', '.join(MODULES)}: library={name}")
    return options


def shapes_of(
    options: argparse.Namespace, bodies: Bodies
) -> tuple[dict[str, Shape], dict[str, Plan]]:
    """Return the two shapes, ready to run, and their plans."""
    crowd = options.workers * max(1, round(options.exchange_mb * 1e6 / POSITION_NBYTES))

    def plan(members: int, steps: int) -> Plan:
        ensemble = perturb(bodies, members, options.sigma, options.seed)
        return Plan(bodies, ensemble, options.step_days, steps, options.workers, options.method)

    pool = plan(options.members, math.ceil(options.years * 365.25 / options.step_days))
    lockstep = plan(crowd, options.steps)
    group_nbytes = pool.split(2 * pool.workers)[0].nbytes
    segment = max(1, min(pool.steps, round(TASK_NBYTES / group_nbytes)))
    shapes: dict[str, Shape] = {
        "pool": lambda library, progress: run_pool(library, pool, segment, progress),
        "lock-step": lambda library, progress: run_lockstep(library, lockstep, progress),
    }
    return shapes, {"pool": pool, "lock-step": lockstep}


def progress_line(label: str) -> Progress:
    """Return a function that shows the share done on one line; silent without a terminal."""
    shown = -1

    def show(share: float) -> None:
        nonlocal shown
        percent = int(100 * share)
        if percent > shown and sys.stderr.isatty():
            shown = percent
            bar = "#" * (percent // 4)
            print(f"\r{label:<26}[{bar:<25}] {percent:3d} %", end="", file=sys.stderr, flush=True)

    return show


def run_all(shapes: dict[str, Shape], libraries: list[Library], repeats: int) -> Results:
    """Run every shape on every library, the libraries taking turns in who is first."""
    results: Results = {}
    for shape, run in shapes.items():
        for repeat in range(repeats):
            for library in libraries if repeat % 2 == 0 else reversed(libraries):
                label = f"{shape} {library.name} {repeat + 1}/{repeats}"
                outcome = run(library, progress_line(label))
                results.setdefault((shape, library.name), []).append(outcome)
                start = "\r" if sys.stderr.isatty() else ""
                print(
                    f"{start}{label:<26}{outcome.seconds:6.2f} s{'':<30}",
                    file=sys.stderr,
                    flush=True,
                )
    return results


def report(results: Results, plans: dict[str, Plan], plot: Path, sigma: float) -> list[str]:
    """Print the table and the physics, draw the plot; return a message for each broken rule."""
    print(table(results))
    broken = []
    firsts: dict[str, Outcome] = {}
    for shape, plan in plans.items():
        runs = {library: found for (name, library), found in results.items() if name == shape}
        firsts[shape] = next(iter(runs.values()))[0]
        broken += [f"{shape}: {message}" for message in check_runs(runs, plan.step)]
        broken += [f"{shape}: {message}" for message in check_final(firsts[shape].final, plan)]
    drift = max(run.drift for runs in results.values() for run in runs)
    print(f"energy: largest relative change {drift:.1e}")
    pool = plans["pool"]
    try:
        times = np.arange(pool.steps + 1, dtype=np.float64) * pool.step
        years = mean_year(firsts["pool"].angles, times)
    except ValueError as error:
        return [*broken, str(error)]
    print(f"year: {years[0]:.6f} days unperturbed, {years.mean():.6f} in the ensemble's mean")
    print(f"      {SIDEREAL_YEAR} is the sidereal year")
    print(save_plot(plot, pool.bodies, firsts["pool"], years, sigma))
    return [*broken, *check_years(years)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    began = time.perf_counter()
    try:
        libraries = [load_library(name) for name in options.libraries]
    except ImportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    shapes, plans = shapes_of(options, read_bodies(DATA))
    print(f"pool: {options.members} systems for {options.years} years")
    crowd = plans["lock-step"].ensemble.shape[-1]
    print(f"lock-step: {crowd} systems for {options.steps} steps of {options.step_days} days")
    print(f"{options.workers} workers, start method {options.method}", flush=True)
    broken = report(run_all(shapes, libraries, options.repeats), plans, options.plot, options.sigma)
    for message in broken:
        print(f"check failed: {message}", file=sys.stderr)
    seconds = time.perf_counter() - began
    print(f"{len(broken) or 'no'} failed checks; {seconds:.0f} s in all")
    return 1 if broken else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
