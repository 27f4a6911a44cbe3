"""Processes that work together are killed at named points and at random; see README.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.driver import kills, points, run_all, seed

pytestmark = [pytest.mark.kill, pytest.mark.timeout(1800)]

AT_ONE_POINT = 25
SELDOM = {"alloc.carve": 2, "arena.repair": 8, "queue.repair": 8, "sweep.counted": 8}
"""Kills of one run at one point: blocks are carved only while an arena grows, and there is
something to mend only after a death at another point."""


def test_deaths_at_each_point(hooked: Path) -> None:
    chosen, names = seed(), points()
    rounds = max(1, kills(0) // (AT_ONE_POINT * len(names)))
    print(f"ZEROIPC_SEED={chosen}")
    run_all(
        hooked,
        [
            ("load", chosen + turn, SELDOM.get(name, AT_ONE_POINT), 2, 2, 0, "first", name, *names)
            for turn in range(rounds)
            for name in names
        ],
    )


# Many producers, few consumers, and the other way round; bounded queues and unbounded ones.
@pytest.mark.parametrize(
    ("producers", "consumers", "maxsize"), [(2, 2, 0), (2, 2, 64), (1, 4, 5), (4, 1, 16), (1, 1, 1)]
)
def test_deaths_at_random(hooked: Path, producers: int, consumers: int, maxsize: int) -> None:
    chosen = seed()
    print(f"ZEROIPC_SEED={chosen}")
    run_all(
        hooked,
        [("load", chosen, kills(7500) // 5, producers, consumers, maxsize, "all", *points())],
    )


# Nothing else happens to wake the sleeper whose wake died with the other side.
@pytest.mark.parametrize("point", ["put.before_wake", "get.before_wake", "wait.announced"])
def test_wakes_that_are_lost_delay_and_do_not_hang(hooked: Path, point: str) -> None:
    run_all(hooked, [("load", seed(), 40, 1, 1, 5, "only", point)])


def test_thousands_of_queues_a_full_table_and_many_sleepers(hooked: Path) -> None:
    run_all(hooked, [("limits", seed())])
