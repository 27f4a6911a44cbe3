"""``python -m benchmarks``: choose scenarios and rivals, run them, report."""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import plot, report, rivals, runner
from benchmarks.scenarios import ALL


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; the status is 0 whatever the numbers say."""
    flags = parser().parse_args(arguments)
    chosen = [scenario for scenario in ALL if re.search(flags.only, scenario.name)]
    print(report.header())
    for name in flags.rivals:
        if not rivals.installed(name):
            print(f"{name}: {runner.ABSENT}")
    all_runs = []
    for scenario in chosen:
        count = scenario.counts.quick if flags.quick else scenario.counts.full
        runs = runner.run(scenario, flags.rivals, rounds(flags), count, flags.method)
        print(report.scenario_table(runs), flush=True)
        all_runs.append(runs)
    print(report.targets_table(all_runs))
    if flags.json:
        settings = {key: str(value) for key, value in vars(flags).items()}
        flags.json.write_text(json.dumps(report.as_json(all_runs, settings), indent=1))
    if plot.write(all_runs, flags.plot):
        print(f"plot: {flags.plot}")
    else:
        print("no plot: matplotlib is not installed")
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    made.add_argument("--only", metavar="REGEX", default="", help="scenarios whose name matches")
    made.add_argument("--rounds", type=int, help="interleaved rounds (default 9; 3 with --quick)")
    made.add_argument("--quick", action="store_true", help="small counts, about a minute")
    made.add_argument(
        "--rivals",
        type=rival_names,
        default=list(rivals.RIVALS),
        metavar="NAMES",
        help=f"comma-separated, of {', '.join(rivals.RIVALS)}",
    )
    made.add_argument("--method", choices=("fork", "spawn", "forkserver"), default="fork")
    made.add_argument("--json", type=Path, metavar="FILE", help="write every sample here")
    made.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        default=Path("build/benchmarks.png"),
        help="where the picture of the ratios goes (default %(default)s)",
    )
    return made


def rival_names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in rivals.RIVALS:
            known = ", ".join(rivals.RIVALS)
            raise argparse.ArgumentTypeError(f"a rival must be one of {known}: {name!r}")
    return names


def rounds(flags: argparse.Namespace) -> int:
    if flags.rounds is not None:
        return int(flags.rounds)
    return 3 if flags.quick else 9


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    sys.exit(main())
