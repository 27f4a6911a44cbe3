#!/usr/bin/env python3
"""Runs CPython's own multiprocessing and process-pool tests against a module.

    python tests/conformance/run_cpython_suite.py --module zeroipc.mp --baseline auto
    python tests/conformance/run_cpython_suite.py --module zeroipc.mp --method spawn --only Queue

The tests are those of the Python that runs this script; substitute/sitecustomize.py says how the
module takes the place of multiprocessing. The baselines are what the standard library itself
passes; they were made with --module multiprocessing --record baseline/cpython-3.X.json. What does
not pass is run once more, alone: some of these tests want things done within a second or so, and
under load the standard library fails them too.

Exit status: with --baseline, 1 if a test that passes there does not pass here, unless expected.py
gives the reason; without, 1 if any test fails; 1 too if a class does not exit or leaves processes.
"""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

from cases import HERE, METHODS, PARTS, Case, borrowed_futures_tests, collect, test_folder
from expected import EXPECTED
from private import private_uses
from sessions import STOP, Notes, Results, run_case

OUTCOMES = ("passed", "failed", "error", "timeout", "crashed", "skipped")
PASSING = ("passed", "skipped")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("--module", required=True, help="in place of multiprocessing, e.g. zeroipc.mp")
    add("--install", action="store_true", help="let --module's install() swap, not stand-ins")
    add("--executor", metavar="M:C", help="class in place of concurrent.futures' [--module's own]")
    add("--method", choices=METHODS, action="append", help="repeatable [all three]")
    add("--part", choices=PARTS, action="append", help="repeatable [all three]")
    add("--only", default="", metavar="REGEX", help="searched in METHOD.CLASS.TEST")
    add("--core", action="store_true", help="only the classes that a drop-in replaces")
    add("--jobs", type=int, default=1, help="classes at a time [%(default)s]")
    add("--timeout", type=float, default=120, help="seconds for one test [%(default)s]")
    add("--baseline", metavar="FILE", help="a --record file to compare with; auto: this Python's")
    add("--record", type=Path, metavar="FILE", help="write the names of what passed here")
    add("--quiet", action="store_true", help="totals only")
    options = parser.parse_args()
    options.method = options.method or METHODS
    options.part = options.part or PARTS
    options.suite = borrowed_futures_tests()
    options.executor = options.executor or default_executor(options.module)
    return options


def default_executor(module: str) -> str:
    where = "concurrent.futures" if module == "multiprocessing" else module
    return f"{where}:ProcessPoolExecutor"


def environment(options: argparse.Namespace) -> dict[str, str]:
    paths = [str(HERE / "substitute"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {
        "CONFORMANCE_INSTALL": options.module if options.install else "",
        "CONFORMANCE_MODULE": "" if options.install else options.module,
        "CONFORMANCE_EXECUTOR": options.executor,
        "CONFORMANCE_TEST_DIR": str(options.suite or ""),
        "PYTHONPATH": os.pathsep.join(paths),
    }


class Report:
    """What has been run so far."""

    def __init__(self) -> None:
        self.results: dict[str, tuple[str, str]] = {}  # "method.Class.test" -> (outcome, detail)
        self.notes: list[tuple[str, str, str]] = []  # (kind, "method.Class", detail)
        self.marks: dict[str, str] = {}  # "method.Class.test" -> private names it reaches for
        self.cases: list[Case] = []

    def add(self, case: Case, results: Results, notes: Notes) -> None:
        name = f"{case.method}.{case.name}"
        self.cases.append(case)
        self.results |= {f"{name}.{test}": result for test, result in results.items()}
        self.notes += [(kind, name, detail) for kind, detail in notes if kind != "skipped"]
        for test, (where, path) in case.tests.items():
            if results[test][0] not in PASSING:
                names = private_uses(path).get(where)
                self.marks[f"{name}.{test}"] = f" [private: {' '.join(names)}]" if names else ""

    def passed(self) -> set[str]:
        return {test for test, (outcome, _) in self.results.items() if outcome == "passed"}

    def unexpected(self, case: Case) -> dict[str, tuple[str, str]]:
        """The tests of CASE that do not pass, and that nobody expects to."""
        return {
            test: where
            for test, where in case.tests.items()
            if f"{case.method}.{case.name}.{test}" in self.marks
            and f"{case.name}.{test}" not in EXPECTED
        }

    def retry(self, env: dict[str, str], limit: float) -> None:
        """Run what does not pass once more, one class after the other."""
        for case in self.cases:
            if tests := self.unexpected(case):
                results, notes = run_case(case._replace(tests=tests), env, limit)
                name = f"{case.method}.{case.name}"
                self.notes += [(kind, name, detail) for kind, detail in notes if kind != "skipped"]
                for test, result in results.items():
                    print(f"once more, alone: {result[0]:8} {name}.{test}", flush=True)
                    self.results[f"{name}.{test}"] = result
                    if result[0] in PASSING:
                        del self.marks[f"{name}.{test}"]

    def print_failures(self) -> None:
        for test, mark in self.marks.items():
            outcome, detail = self.results[test]
            reason = EXPECTED.get(test.partition(".")[2])
            print(f"  {outcome:8} {test}{mark}")
            print(f"           {'expected: ' + reason if reason else short(detail)}")
        for kind, name, detail in self.notes:
            print(f"  {kind:8} {name}: {short(detail)}")

    def is_stuck(self) -> bool:
        return any(kind in ("timeout", "leak") for kind, _, _ in self.notes)


def short(detail: str) -> str:
    """The end of a traceback, without this machine's paths."""
    lines = [line.strip() for line in detail.splitlines() if line.strip()]
    text = " | ".join(lines[-2:])
    for path, name in ((sys.prefix, "PREFIX"), (sys.base_prefix, "PREFIX"), (str(HERE), "HERE")):
        text = text.replace(path, name)
    return text.replace(tempfile.gettempdir(), "TMP")[-400:]


def row(title: str, outcomes: Counter[str]) -> str:
    columns = [outcomes.total(), *(outcomes[outcome] for outcome in OUTCOMES)]
    return f"{title:<52}" + "".join(f"{column:>8}" for column in columns)


def run_all(options: argparse.Namespace) -> Report:
    report, env, began = Report(), environment(options), time.monotonic()
    origin = f"borrowed from {options.suite.parent.name}" if options.suite else "its own"
    print(f"{options.module} and {options.executor} on Python {platform.python_version()}")
    print(f"futures tests: {origin}\n")
    print(f"{'class':<52}" + "".join(f"{column:>8}" for column in ("run", *OUTCOMES)))
    for case, results, notes, seconds in run_cases(list(collect(options, env)), env, options):
        report.add(case, results, notes)
        if not options.quiet:
            outcomes = Counter(outcome for outcome, _ in results.values())
            kinds = " ".join(kind for kind, _ in notes)
            line = row(f"{case.method}.{case.name}", outcomes)
            print(f"{line} {seconds:7.1f} s {kinds}", flush=True)
    report.retry(env, options.timeout)
    print("\n" + row("all", Counter(outcome for outcome, _ in report.results.values())))
    print(f"{time.monotonic() - began:.0f} s\n\nnot passed: {len(report.marks)}")
    report.print_failures()
    return report


def run_cases(
    cases: list[Case], env: dict[str, str], options: argparse.Namespace
) -> Iterator[tuple[Case, Results, Notes, float]]:
    """Run CASES, --jobs of them at a time; the results come in their order."""

    def run(case: Case) -> tuple[Case, Results, Notes, float]:
        start = time.monotonic()
        results, notes = run_case(case, env, options.timeout)
        return case, results, notes, time.monotonic() - start

    with ThreadPoolExecutor(options.jobs) as threads:
        try:
            yield from threads.map(run, cases)
        except BaseException:  # the run is given up
            STOP.set()
            threads.shutdown(cancel_futures=True)
            raise


def baseline_path(name: str) -> Path:
    """What was recorded, which for this Python may be nothing yet."""
    if name != "auto":
        return Path(name)
    path = HERE / "baseline" / f"cpython-{sys.version_info.major}.{sys.version_info.minor}.json"
    if not path.exists():
        skip(f"no {path.name}: make it with --module multiprocessing --record {path}")
    return path


def skip(reason: str) -> NoReturn:
    """There is nothing to run, and that is no failure."""
    print(f"SKIPPED, on Python {platform.python_version()}: {reason}")
    sys.exit(0)


def lost(report: Report, baseline: Path) -> list[str]:
    """The tests that pass in BASELINE and not here, and that nobody expects to."""
    classes = json.loads(baseline.read_text())["passed"]
    before = {f"{name}.{test}" for name, tests in classes.items() for test in tests}
    worse = sorted(before & report.results.keys() - report.passed())
    unexpected = [test for test in worse if test.partition(".")[2] not in EXPECTED]
    print(
        f"\nagainst {baseline.name}: {len(worse)} pass there and not here, "
        f"{len(worse) - len(unexpected)} of them as expected"
    )
    for test in unexpected:
        print(f"  {test}")
    for test in sorted(report.passed()):
        if test.partition(".")[2] in EXPECTED:
            print(f"  passes although expected.py excuses it: {test}")
    return unexpected


def record(report: Report, path: Path) -> None:
    classes: dict[str, list[str]] = {}
    for test in sorted(report.passed()):
        name, _, method = test.rpartition(".")
        classes.setdefault(name, []).append(method)
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(classes[name])}" for name in classes)
    path.write_text(f'{{"python": "{platform.python_version()}", "passed": {{\n{lines}\n}}}}\n')


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a run cleans up
    options = arguments()
    if test_folder() is None:
        skip("it was installed without the standard library's tests")
    baseline = baseline_path(options.baseline) if options.baseline else None
    report = run_all(options)
    if options.record:
        record(report, options.record)
    failed = lost(report, baseline) if baseline else list(report.marks)
    if not report.results:
        sys.exit("no test was selected")
    sys.exit(1 if failed or report.is_stuck() else 0)


if __name__ == "__main__":
    main()
