"""The named future: set once, by whoever is first, and read by all."""

from __future__ import annotations

import asyncio
import concurrent.futures
import doctest
import os
import pickle
import signal
import struct
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zeroipc.future
from tests.support.golden import (
    differing,
    golden_bytes,
    golden_facts,
    golden_names,
    read_segment,
    write_segment,
)
from tests.support.named import crew
from zeroipc import (
    AlreadySetError,
    ClosedError,
    DTypeError,
    Future,
    Memory,
    NameExistsError,
    OutOfRangeError,
    RemoteError,
    SegmentFormatError,
    StalledError,
    StructureNotFoundError,
    WaitTimeoutError,
    gather,
)
from zeroipc._core.named.layout import ERROR_NBYTES, FUTURE, FUTURE_COMPUTING, FUTURE_ERROR
from zeroipc._core.named.message import message_of, message_text

pytestmark = pytest.mark.usefixtures("backend")


def state_word(memory: Memory, name: str) -> memoryview:
    return memory.view(memory.entry(name))[:4].cast("I")


@pytest.mark.parametrize("dtype, value", [("u1", 255), ("f8", 0.1), ("S3", b"abc"), ("c16", 1j)])
def test_is_set_once(memory: Memory, dtype: str, value: Any) -> None:
    answer = Future(memory, "answer", dtype)
    assert (answer.done(), answer.state, answer.try_result("none")) == (False, "pending", "none")
    with pytest.raises(WaitTimeoutError, match="'answer'"):
        answer.result(timeout=0.01)
    answer.set_result(value)
    assert (answer.done(), answer.result(0), answer.exception(0)) == (True, value, None)
    assert not answer.try_set_result(value)
    assert not answer.try_set_exception("late")
    with pytest.raises(concurrent.futures.InvalidStateError, match="is ready"):
        answer.set_result(value)
    with pytest.raises(AlreadySetError, match="is ready"):
        answer.set_exception("late")
    assert answer.result() == value


def test_a_failed_one_tells_why(memory: Memory) -> None:
    answer = Future(memory, "answer", "i4")
    answer.set_exception(KeyError("no such key"))
    for read in (answer.result, answer.try_result):
        with pytest.raises(RemoteError, match="KeyError: 'no such key'"):
            read()
    assert str(answer.exception()) == "KeyError: 'no such key'"
    with pytest.raises(AlreadySetError, match="is error"):
        answer.set_result(1)


@given(st.text())
def test_messages_are_cut_at_a_character(text: str) -> None:
    raw = message_of(text)
    assert (len(raw), raw[-1]) == (ERROR_NBYTES, 0)
    whole = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    kept = message_text(raw)
    assert whole.startswith(kept)
    assert kept == whole or len(kept.encode()) > ERROR_NBYTES - 5


def test_refuses_what_the_dtype_cannot_hold(memory: Memory) -> None:
    answer = Future(memory, "answer", "u1")
    before = bytes(memory.buf)
    with pytest.raises(OutOfRangeError):
        answer.set_result(256)
    with pytest.raises(DTypeError):
        answer.set_result("1")
    assert bytes(memory.buf) == before


def test_opens_only_what_fits(memory: Memory) -> None:
    with pytest.raises(StructureNotFoundError):
        Future.open(memory, "answer", "i4")
    Future.create(memory, "answer", "i4")
    with pytest.raises(NameExistsError):
        Future.create(memory, "answer", "i4")
    with pytest.raises(DTypeError, match="280"):
        Future(memory, "answer", "V24")
    memory.add("old", 16 + 4 + 256, lambda view: view.__setitem__(slice(None), bytes(276)))
    Future(memory, "old", "i4").set_result(-3)
    assert Future.open(memory, "old", "i4").result() == -3


def test_closes_pickles_and_shows_itself(memory: Memory) -> None:
    with Future(memory, "answer", "i4") as answer:
        assert repr(answer) == "<Future 'answer', pending, dtype=int32>"
        pickle.loads(pickle.dumps(answer)).set_result(5)
        assert answer.result() == 5
    with pytest.raises(ClosedError):
        answer.done()


def test_a_setter_that_died_stalls_readers_until_repair(memory: Memory) -> None:
    answer = Future(memory, "answer", "i4")
    state_word(memory, "answer")[0] = FUTURE_COMPUTING
    assert not answer.done()
    with pytest.raises(StalledError, match="'answer'"):
        answer.result()
    with pytest.raises(StalledError):
        asyncio.run(outcome_of(answer))
    with pytest.raises(AlreadySetError, match="is computing"):
        answer.set_result(1)
    assert answer.repair()
    assert not answer.repair()
    answer.set_result(2)
    assert answer.result() == 2


def test_an_error_whose_message_comes_later(memory: Memory) -> None:
    """As peers in C++ do it: the state, then the message, then the time."""
    answer = Future(memory, "answer", "i4")
    view = memory.view(memory.entry("answer"))
    state_word(memory, "answer")[0] = FUTURE_ERROR
    assert "failed" in str(answer.exception())  # it never came

    def finish() -> None:
        view[20:24] = b"late"
        struct.pack_into("<Q", view, FUTURE.completion_time.offset, 1)

    timer = threading.Timer(0.002, finish)
    zeroipc.future.MESSAGE_PATIENCE, before = 60.0, zeroipc.future.MESSAGE_PATIENCE
    try:
        timer.start()
        assert str(answer.exception()) == "late"
    finally:
        timer.join()
        zeroipc.future.MESSAGE_PATIENCE = before


@pytest.mark.parametrize("state", [4, 2**32 - 1])
def test_damaged_states(memory: Memory, state: int) -> None:
    answer = Future(memory, "answer", "i4")
    state_word(memory, "answer")[0] = state
    with pytest.raises(SegmentFormatError):
        answer.result()
    with pytest.raises(SegmentFormatError):
        _ = answer.state
    assert not answer.done()


# --- what follows ---


async def outcome_of(eventual: Any) -> Any:
    return await eventual


def test_then_runs_once_and_only_when_asked(memory: Memory) -> None:
    answer = Future(memory, "answer", "i4")
    ran: list[int] = []

    def half(value: int) -> float:
        ran.append(value)
        return value / 2

    later = answer.then(half)
    last = later.then(str)
    with pytest.raises(WaitTimeoutError):
        later.result(timeout=0)
    answer.set_result(5)
    assert (later.done(), ran) == (True, [])
    assert (last.result(), later.result(), last.result(), ran) == ("2.5", 2.5, "2.5", [5])


def test_a_function_that_asks_for_its_own_result_fails(memory: Memory) -> None:
    answer = Future(memory, "answer", "i4")
    later: Any = answer.then(lambda value: later.result())
    answer.set_result(5)
    with pytest.raises(RecursionError):
        later.result()


def test_errors_pass_through(memory: Memory) -> None:
    answer, other = Future(memory, "answer", "i4"), Future(memory, "other", "i4")
    answer.set_result(0)
    other.set_exception("lost")
    inverse = answer.then(lambda value: 1 / value)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            inverse.result()
    with pytest.raises(RemoteError, match="lost"):
        other.then(inverse.then).result()
    with pytest.raises(RemoteError, match="lost"):
        gather([answer, other]).result()


def test_gather_keeps_the_order(memory: Memory) -> None:
    futures = [Future(memory, f"f{i}", "i8") for i in range(4)]
    everything = gather(future.then(lambda value: value * 10) for future in futures)
    for i in (2, 0, 3):
        futures[i].set_result(i)
    assert not everything.done()
    with pytest.raises(WaitTimeoutError):
        everything.result(timeout=0.01)
    futures[1].set_result(1)
    assert everything.done()
    assert everything.then(sum).result() == 60
    assert asyncio.run(outcome_of(everything)) == [0, 10, 20, 30]


def test_is_awaited_without_blocking_the_loop(memory: Memory) -> None:
    answer = Future(memory, "answer", "i4")

    async def both() -> int:
        waiting = asyncio.create_task(outcome_of(answer.then(lambda value: value + 1)))
        await asyncio.sleep(0)
        answer.set_result(1)
        return int(await waiting)

    assert asyncio.run(both()) == 2


# --- several processes ---


def test_readers_are_woken_and_counted(memory: Memory) -> None:
    answers = [Future(memory, f"f{i}", "i8") for i in range(50)]
    with crew() as others:
        for _ in range(3):
            others.start(read_all, memory.name, len(answers))
        for i, answer in enumerate(answers):
            answer.set_result(i * i)
        assert others.results() == [[i * i for i in range(50)]] * 3
    waiters = [memory.view(memory.entry(f"f{i}"))[4:8].cast("I")[0] for i in range(50)]
    assert waiters == [0] * 50


def read_all(name: str, count: int) -> list[int]:
    mem = Memory(name)
    return [Future.open(mem, f"f{i}", "i8").result() for i in range(count)]


def test_exactly_one_setter_wins(memory: Memory) -> None:
    count = 60
    with crew() as others:
        for number in range(4):
            others.start(try_all, memory.name, number, count)
        won = others.results()
    assert sorted(i for part in won for i in part) == list(range(count))
    for number, part in enumerate(won):
        for i in part:
            assert Future.open(memory, f"f{i}", "i8").result() == number


def try_all(name: str, number: int, count: int) -> list[int]:
    mem = Memory(name)
    return [i for i in range(count) if Future(mem, f"f{i}", "i8").try_set_result(number)]


def test_a_reader_that_was_killed_hinders_nobody(memory: Memory) -> None:
    answer = Future(memory, "answer", "i8")
    with crew() as others:
        victim = others.start(read_one, memory.name)
        waiters = memory.view(memory.entry("answer"))[4:8].cast("I")
        while waiters[0] == 0:
            os.sched_yield()
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
    assert waiters[0] == 1
    answer.set_result(3)
    assert answer.result() == 3


def read_one(name: str) -> Any:
    return Future.open(Memory(name), "answer", "i8").result()


# --- bytes ---


@pytest.mark.parametrize("golden", golden_names("future"))
def test_golden_segments(golden: str, segment_name: str) -> None:
    write_segment(segment_name, golden_bytes(golden))
    with Memory(segment_name) as mem:
        for known in golden_facts(golden)["structures"]:
            future = Future.open(mem, known["name"], known["type"])
            assert future.state == known["state_name"]
            assert future.try_result() == known.get("value")
        mem.unlink()


@pytest.mark.parametrize("golden", golden_names("future"))
def test_golden_bytes(golden: str, make_memory: Callable[..., Memory]) -> None:
    facts = golden_facts(golden)
    mem = make_memory(facts["segment_size"], max_entries=facts["table"]["word_at_12"])
    for known in facts["structures"]:
        future = Future(mem, known["name"], known["type"])
        if "value" in known:
            future.set_result(known["value"])
    assert differing(golden, read_segment(mem.name)) == []


def test_the_example() -> None:
    assert doctest.testmod(zeroipc.future, extraglobs={"np": np}).failed == 0
