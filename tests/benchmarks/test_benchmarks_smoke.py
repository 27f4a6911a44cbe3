"""The benchmarks at a tiny size: every scenario runs, and wrong data is noticed."""

import json
import os
import pickle
import time
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import rivals, runner, targets
from benchmarks.__main__ import main
from benchmarks.rivals.base import Rival
from benchmarks.scenario import Counts, Limit, Sample, Scenario
from benchmarks.scenarios import ALL, arrays, loans, streams
from benchmarks.summary import verdicts

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or not os.path.isdir("/dev/shm"),
    reason="the benchmarks read /proc and /dev/shm and pin processes: Linux only",
)
BY_NAME = {scenario.name: scenario for scenario in ALL}
ENOUGH = 90.0  # seconds after which a hang is reported; nothing is expected to take that long
NOTHING = Limit("nothing", lambda: 1e-6)


@pytest.mark.parametrize("name", BY_NAME)
def test_every_scenario_runs_with_the_standard_library(name: str) -> None:
    scenario = BY_NAME[name]
    sample = runner.measure(scenario, rivals.BASELINE, scenario.counts.tiny, "fork")
    if name in ("loan", "named-find") or (name.startswith("joblib") and not find_spec("joblib")):
        assert sample == runner.NONE
    else:
        assert isinstance(sample, Sample), sample
        assert sample.seconds > 0


@pytest.mark.parametrize("name", ["dict-2p2c", "array-64KB", "pingpong", "lockstep", "idle"])
def test_scenarios_run_with_spawned_processes(name: str) -> None:
    scenario = BY_NAME[name]
    sample = runner.measure(scenario, rivals.BASELINE, scenario.counts.tiny, "spawn")
    assert isinstance(sample, Sample), sample


def test_limits_are_positive() -> None:
    for limit in {scenario.limit.name: scenario.limit for scenario in ALL}.values():
        sample = runner.guarded(partial(sample_of, limit), ENOUGH)
        assert isinstance(sample, Sample), (limit.name, sample)
        assert sample.seconds > 0


def sample_of(limit: Limit) -> Sample:
    return Sample(limit.measure())


def test_dict_is_about_100_bytes() -> None:
    for item in streams.DICTS:
        assert 90 <= len(pickle.dumps(item)) <= 110


def swapped(items: list[Any]) -> Iterator[Any]:
    return iter([items[1], items[0], *items[2:]])


def test_items_out_of_order_are_noticed() -> None:
    received = swapped(streams.DICTS)
    with pytest.raises(AssertionError, match="in order: number=0"):
        streams.receive(lambda: next(received), streams.DICTS, 2)


def test_an_item_received_twice_is_noticed() -> None:
    tally = [1] * streams.KINDS
    streams.check_tallies(tally, tally, streams.KINDS)
    with pytest.raises(AssertionError, match="kind=0 sent=2 received=3"):
        streams.check_tallies([2, *tally[1:]], tally, streams.KINDS)


def test_a_changed_array_is_noticed() -> None:
    array = np.full(8, 1.0)
    for check in (arrays.check_ends, arrays.check_all, arrays.check_sum):
        check(array, 1)
        with pytest.raises(AssertionError):
            check(array, 2)


def test_a_library_without_loans_has_no_such_thing() -> None:
    plain = SimpleNamespace(lender=lambda: None)
    rival: Any = SimpleNamespace(queue=lambda depth, nbytes: plain)
    assert loans.every_size(loans.TINY_SIZES, rival, 1) is None


def scenario_of(run: Any, timeout: float = ENOUGH) -> Scenario:
    return Scenario("dict-1p1c", "made up", run, Counts(1, 1, 1), NOTHING, timeout)


def test_a_rival_that_hangs_is_timed_out_with_its_children() -> None:
    alive, held = os.pipe()

    def hang(rival: Rival, count: int) -> Sample | None:
        os.fork()  # both hold the pipe as long as they live
        time.sleep(3600)
        return None

    outcome = runner.measure(scenario_of(hang, 0.2), rivals.BASELINE, 1, "fork")
    assert outcome == "timed out after 0.2 s"
    os.close(held)
    assert os.read(alive, 1) == b""
    os.close(alive)


def test_a_rival_that_fails_is_reported_and_not_asked_again() -> None:
    def fail(rival: Rival, count: int) -> Sample | None:
        raise ValueError("received data must be that sent")

    runs = runner.run(scenario_of(fail), [rivals.BASELINE], 3, 1, "fork")
    assert runs.failures[rivals.BASELINE].startswith("failed: ValueError: received data")
    assert list(runs.samples) == [runner.LIMIT]
    assert len(runs.samples[runner.LIMIT]) == 3


def test_a_rival_that_dies_is_reported() -> None:
    def die(rival: Rival, count: int) -> Sample | None:
        os._exit(7)

    outcome = runner.measure(scenario_of(die), rivals.BASELINE, 1, "fork")
    assert outcome == "its process died: exit code 7"


def test_ratios_are_paired_by_round() -> None:
    runs = runner.Runs(scenario_of(None))
    runs.samples[rivals.BASELINE] = {0: Sample(10.0), 1: Sample(40.0), 2: Sample(30.0)}
    runs.samples[rivals.SUBJECT] = {1: Sample(10.0), 2: Sample(10.0)}
    (verdict,) = verdicts(runs)
    assert verdict.value == 3.5
    assert verdict.reached


def test_every_target_belongs_to_a_scenario() -> None:
    assert {target.scenario for target in targets.TARGETS} == set(BY_NAME)


def test_command_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "result.json"
    flags = ["--quick", "--rounds", "2", "--only", "^import$", "--rivals", "stdlib"]
    assert main([*flags, "--json", str(file), "--plot", str(tmp_path / "plot.png")]) == 0
    written = json.loads(file.read_text())
    assert [scenario["name"] for scenario in written["scenarios"]] == ["import"]
    assert len(written["scenarios"][0]["samples"]["stdlib"]) == 2
    assert "later_ms at most 20: not measured" in capsys.readouterr().out
