"""A process dies after machine instructions of each operation; see README.md.

After each of them where an operation has no more than 500, else after so many, evenly spread from
a random one on; ZEROIPC_KILLS=1000000 takes all of them.
"""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from tests.crash.driver import kills, run, run_all, seed

pytestmark = [pytest.mark.kill, pytest.mark.timeout(1800)]


def test_the_core_works_when_nobody_dies(program: Path) -> None:
    run_all(program, [("basics",)])


def test_a_death_after_any_instruction_costs_nothing_but_what_the_dead_held(program: Path) -> None:
    if platform.machine() != "x86_64":
        pytest.skip(f"stepping by instruction is written for x86-64: machine={platform.machine()}")
    if run(program, "steppable").returncode != 0:
        pytest.skip("ptrace is refused here, so no process can be stepped")
    chosen, most = seed(), kills(500)
    print(f"ZEROIPC_SEED={chosen}; at most {most} kills in each operation")
    scenarios = run(program, "scenarios").stdout.splitlines()
    assert len(scenarios) > 30
    run_all(program, [("step", chosen, most, scenario) for scenario in scenarios])
