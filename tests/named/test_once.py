"""Onces: run by one, however many call; a runner that dies."""

from __future__ import annotations

import os
import pickle
import signal

import pytest

from tests.support.named import crew
from zeroipc import (
    Atomic,
    ClosedError,
    Memory,
    NameExistsError,
    Once,
    SegmentFormatError,
    StalledError,
    StructureNotFoundError,
)

pytestmark = pytest.mark.usefixtures("backend")


def test_runs_once(memory: Memory) -> None:
    ran: list[int] = []
    once = Once(memory, "once")
    assert not once.done
    assert [once.call(lambda: ran.append(1)) for _ in range(3)] == [True, False, False]
    assert (ran, once.done) == ([1], True)
    once.reset()
    assert once.call(lambda: ran.append(2))
    assert ran == [1, 2]
    assert bytes(memory.view(memory.entry("once"))) == b"\2\0\0\0"


def test_counts_as_done_when_it_raises(memory: Memory) -> None:
    once = Once(memory, "once")
    with pytest.raises(ZeroDivisionError):
        once.call(lambda: 1 // 0)
    assert once.done


def test_run_by_one_of_many_and_seen_by_all(memory: Memory) -> None:
    Atomic(memory, "ran")
    with crew() as others:
        for _ in range(4):
            others.start(run, memory.name, 50)
        ran = others.results()
    assert [sum(turn) for turn in zip(*ran, strict=True)] == [1] * 50
    assert Atomic(memory, "ran").value == 50


def run(name: str, count: int) -> list[bool]:
    mem = Memory(name)
    ran, mine = Atomic(mem, "ran"), []

    def work() -> None:
        ran.fetch_add(1)

    for i in range(count):
        mine.append(Once(mem, f"once{i}").call(work))
        assert ran.value > i
    return mine


def test_a_runner_that_dies(memory: Memory) -> None:
    once = Once(memory, "once")
    with crew() as others:
        others.start(
            lambda: once.call(lambda: os.kill(os.getpid(), signal.SIGKILL)), backend="pure"
        ).join()
    with pytest.raises(StalledError, match="'once'"):
        once.call(lambda: None, timeout=0.05)
    assert once.repair()
    assert not once.repair()
    assert once.call(lambda: None)


def test_who_waits_is_let_go_by_a_reset(memory: Memory) -> None:
    once = Once(memory, "once")
    with crew() as others:

        def begin() -> None:
            again = Once(memory, "once")
            again.call(again.reset)

        others.start(begin)
        others.results()
    assert once.done  # the runner says so at its end, as C++ programs do


def test_opens_only_what_fits(memory: Memory) -> None:
    with pytest.raises(StructureNotFoundError):
        Once.open(memory, "once")
    Once.create(memory, "once").call(lambda: None)
    with pytest.raises(NameExistsError):
        Once.create(memory, "once")
    assert Once.open(memory, "once").done
    memory.add("long", 8, lambda view: None)
    with pytest.raises(SegmentFormatError, match="not a once"):
        Once(memory, "long")
    memory.add("odd", 4, lambda view: view.cast("I").__setitem__(0, 3))
    with pytest.raises(SegmentFormatError, match="damaged"):
        Once(memory, "odd").call(lambda: None)


def test_closes_pickles_and_shows_itself(memory: Memory) -> None:
    with Once(memory, "once") as once:
        assert repr(once) == "<Once 'once', not done>"
        pickle.loads(pickle.dumps(once)).call(lambda: None)
        assert repr(once) == "<Once 'once', done>"
    with pytest.raises(ClosedError):
        once.call(lambda: None)
