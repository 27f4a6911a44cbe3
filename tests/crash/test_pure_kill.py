"""Pools and executors of the pure backend, counted and summed under kills.

In programs of their own, so whichever backend the tests have. A task has one outcome: its result,
once, or the death of a worker.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import zeroipc.mp
from tests.support.deadly import begun
from tests.support.programs import run_python

pytestmark = pytest.mark.kill

METHODS = zeroipc.mp.get_all_start_methods()
COUNT = 60

PROGRAM = """
import sys
from functools import partial
from concurrent.futures.process import BrokenProcessPool
import zeroipc
import zeroipc.mp as mp
from tests.support.deadly import note_or_die

def outcome(get):
    try:
        return get()
    except (zeroipc.WorkerDiedError, BrokenProcessPool) as error:
        return type(error).__name__

def in_pool(context, calls):
    with context.Pool(3) as pool:
        results = [pool.apply_async(note_or_die, call) for call in calls]
        return [outcome(result.get) for result in results]

def in_executor(context, calls, **options):
    with mp.ProcessPoolExecutor(3, mp_context=context, **options) as pool:
        # An executor that is broken already takes no more.
        futures = [outcome(partial(pool.submit, note_or_die, *call)) for call in calls]
        return [future if isinstance(future, str) else outcome(future.result) for future in futures]

def in_lasting_executor(context, calls):
    return in_executor(context, calls, on_death="respawn")

if __name__ == "__main__":
    method, way, path, count, *fatal = sys.argv[1:]
    assert zeroipc.backend == "pure"
    calls = [(path, number, set(map(int, fatal))) for number in range(int(count))]
    print(*globals()[way](mp.get_context(method), calls))
"""


def run(method: str, way: str, path: Path, *fatal: int) -> list[str]:
    """Return the outcomes of all tasks, and check that none was run twice."""
    shown = run_python(PROGRAM, method, way, path, COUNT, *fatal, ZEROIPC_BACKEND="pure")
    numbers = [number for each in begun(path).values() for number in each]
    assert len(numbers) == len(set(numbers)), "a task was run twice"
    return shown.stdout.split()


@pytest.mark.parametrize("way", ["in_pool", "in_lasting_executor"])
@pytest.mark.parametrize("method", METHODS)
def test_each_death_fails_one_task_and_no_other(method: str, way: str, tmp_path: Path) -> None:
    fatal = range(9, COUNT, 10)
    assert run(method, way, tmp_path / "begun", *fatal) == [
        "WorkerDiedError" if number in fatal else str(number) for number in range(COUNT)
    ]


@pytest.mark.parametrize("method", METHODS)
def test_a_death_fails_all_that_has_no_result(method: str, tmp_path: Path) -> None:
    """A worker that begins another task has sent the result of the last: that must arrive."""
    path, fatal = tmp_path / "begun", COUNT // 2
    outcomes = run(method, "in_executor", path, fatal)
    good = {number for number, outcome in enumerate(outcomes) if outcome == str(number)}
    assert outcomes.count("BrokenProcessPool") == COUNT - len(good)
    assert len(outcomes) == COUNT
    workers = begun(path).values()
    (sent,) = [numbers[:-1] for numbers in workers if numbers[-1] == fatal]
    assert set(sent) <= good <= {number for numbers in workers for number in numbers} - {fatal}
