"""Putting tasks: a worker that sleeps is woken once for all that are put together.

Whether somebody is woken shows in the Python twin alone; that both change the same words is
tested in test_transport_twins.py.
"""

from __future__ import annotations

import pytest

from tests.support.arenas import PURE, File, queue_of
from zeroipc._core import mqueue, queue_put, wait


class Bench:
    """A queue with a sleeper, a clock, and a list of the words at which somebody was woken."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.queue = queue_of(PURE, File().create(PURE))
        self.record = self.queue._record()
        self.record.items_waiters = 1
        self.items = self.record.items
        self.time = 1
        self.woken: list[int] = []
        for module in (mqueue, queue_put):
            monkeypatch.setattr(module, "wait_wake", lambda word, count: self.woken.append(word))
        monkeypatch.setattr(queue_put, "now", lambda: self.time)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_one_wake_for_several_tasks(bench: Bench) -> None:
    for number in range(3):
        bench.queue._put_task(number)
    assert bench.woken == []
    bench.queue._wake_worker()
    assert bench.woken == [bench.items.address]
    bench.queue._wake_worker()
    assert len(bench.woken) == 1


def test_nobody_waits_long_for_the_next_task(bench: Bench) -> None:
    bench.queue._put_task(1)
    bench.time += queue_put.OWED_NS
    bench.queue._put_task(2)
    assert bench.woken == []
    bench.time += 1
    bench.queue._put_task(3)
    assert len(bench.woken) == 1
    bench.queue._wake_worker()
    assert len(bench.woken) == 1


def test_no_sleeper_no_wake(bench: Bench) -> None:
    bench.record.items_waiters = 0
    bench.queue._put_task(1)
    bench.queue._wake_worker()
    assert bench.woken == []


def test_an_ordinary_put_wakes_at_once(bench: Bench) -> None:
    bench.queue.put(1)
    assert bench.woken == [bench.items.address]
    assert wait.wake_decide(bench.items) is False  # it has not run yet
