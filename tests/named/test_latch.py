"""Latches: one process, several processes, both backends, C++'s bytes."""

from __future__ import annotations

import pickle

import pytest

from tests.support.named import crew
from zeroipc import (
    CapacityError,
    ClosedError,
    Latch,
    Memory,
    NameExistsError,
    SegmentFormatError,
    StructureNotFoundError,
    WaitTimeoutError,
)

pytestmark = pytest.mark.usefixtures("backend")


def test_counts_down(memory: Memory) -> None:
    latch = Latch(memory, "latch", 3)
    latch.count_down()
    assert (latch.count, latch.try_wait()) == (2, False)
    with pytest.raises(WaitTimeoutError, match="at 2"):
        latch.wait(timeout=0.01)
    latch.count_down(5)
    assert (latch.count, latch.try_wait()) == (0, True)
    latch.wait()
    latch.count_down()
    assert memory.view(memory.entry("latch")).cast("i").tolist() == [0, 3, 0, 0]
    latch.reset()
    assert latch.count == 3
    with pytest.raises(TimeoutError):
        latch.arrive_and_wait(2, timeout=0)
    latch.arrive_and_wait()
    with pytest.raises(ValueError, match="at least 1"):
        latch.count_down(0)
    Latch(memory, "open", 0).wait()


def test_opens_only_what_fits(memory: Memory) -> None:
    with pytest.raises(StructureNotFoundError):
        Latch(memory, "latch")
    for count in (-1, 2**31):
        with pytest.raises(CapacityError):
            Latch(memory, "latch", count)
    Latch.create(memory, "latch", 2).count_down()
    with pytest.raises(NameExistsError):
        Latch.create(memory, "latch", 2)
    with pytest.raises(CapacityError, match="must be 2"):
        Latch(memory, "latch", 1)
    assert Latch(memory, "latch", 2).count == Latch.open(memory, "latch").count == 1
    memory.add("short", 8, lambda view: None)
    memory.add("over", 16, lambda view: view.cast("i").__setitem__(0, 5))
    memory.add("negative", 16, lambda view: view.cast("i").__setitem__(0, -1))
    for name in ("short", "over", "negative"):
        with pytest.raises(SegmentFormatError, match="not a latch"):
            Latch(memory, name)


def test_closes_pickles_and_shows_itself(memory: Memory) -> None:
    with Latch(memory, "latch", 2) as latch:
        pickle.loads(pickle.dumps(latch)).count_down()
        assert repr(latch) == "<Latch 'latch', count=1/2>"
    for use in (latch.count_down, latch.wait, latch.try_wait, latch.reset):
        with pytest.raises(ClosedError):
            use()


def test_all_who_wait_are_let_go(memory: Memory) -> None:
    start, end = Latch(memory, "start", 3), Latch(memory, "end", 3)
    with crew() as others:
        for _ in range(3):
            others.start(run, memory.name)
        start.wait()
        assert end.count == 3
        Latch(memory, "go", 1).count_down()
        end.wait()
        others.results()


def run(name: str) -> None:
    mem = Memory(name)
    Latch(mem, "start").count_down()
    Latch(mem, "go", 1).wait()
    Latch(mem, "end").count_down()
