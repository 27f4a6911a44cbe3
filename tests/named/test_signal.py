"""Signals: values with versions, watched by other processes, C++'s bytes."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest

from tests.support.golden import (
    differing,
    golden_bytes,
    golden_facts,
    read_segment,
    write_segment,
)
from tests.support.named import crew
from zeroipc import (
    ClosedError,
    DTypeError,
    Memory,
    NameExistsError,
    NameTooLongError,
    OutOfRangeError,
    Signal,
    StructureNotFoundError,
    WaitTimeoutError,
)

pytestmark = pytest.mark.usefixtures("backend")
POINT = np.dtype([("x", "f8"), ("y", "f8"), ("z", "f8")])


def test_each_change_moves_the_version(memory: Memory) -> None:
    level = Signal(memory, "level", "f8", 0.5)
    assert level.read() == (0, 0.5)
    level.set(2.0)
    level.value = 3
    assert (level.get(), level.value, level.version) == (3.0, 3.0, 2)
    assert level.update(lambda value: value * 2) == 6.0
    assert level.read() == (3, 6.0)
    assert Signal(memory, "level", "f8", 9.0).value == 6.0
    assert Signal(memory, "zero", "i2").value == 0


@pytest.mark.parametrize(
    "dtype, value, nbytes", [("i1", -1, 16), ("f8", 0.1, 16), ("S9", b"nine", 24), ("c16", 1j, 24)]
)
def test_any_dtype(memory: Memory, dtype: str, value: object, nbytes: int) -> None:
    Signal(memory, "level", dtype).set(value)
    assert Signal.open(memory, "level", dtype).get() == value
    assert memory.entry("level_state").size == nbytes


def test_waits_for_a_change(memory: Memory) -> None:
    level = Signal(memory, "level", "i4")
    with pytest.raises(WaitTimeoutError, match="version 0"):
        level.wait(timeout=0.01)
    level.set(1)
    assert level.wait(0) == 1
    with pytest.raises(TimeoutError):
        level.wait(1, 0)
    with crew() as others:
        others.start(answer, memory.name, 200)
        for i in range(0, 400, 2):
            there = level.version
            level.set(i)
            assert level.wait(there + 1) == there + 2
            assert level.get() == i + 1
        others.results()


def answer(name: str, count: int) -> None:
    level = Signal.open(Memory(name), "level", "i4")
    version = 1
    for _ in range(count):
        version = level.wait(version) + 1
        level.update(lambda value: value + 1)


def test_iterates_over_changes(memory: Memory) -> None:
    level = Signal(memory, "level", "i4", 7)
    values = iter(level)
    assert next(values) == 7
    level.set(8)
    assert next(values) == 8
    level.set(9)
    level.set(10)
    assert next(values) == 10
    with crew() as others:
        others.start(lambda: Signal(memory, "level", "i4").set(11))
        assert list(islice(values, 1)) == [11]
        others.results()


def test_no_update_is_lost_and_no_value_torn(memory: Memory) -> None:
    Signal(memory, "level", POINT)
    with crew() as others:
        for _ in range(3):
            others.start(step, memory.name, 200)
        assert others.results() == [True] * 3
    level = Signal(memory, "level", POINT)
    assert level.read()[0] == 600
    assert tuple(level.get()) == (600.0, 600.0, 600.0)


def step(name: str, count: int) -> bool:
    level, whole = Signal.open(Memory(name), "level", POINT), True
    for _ in range(count):
        value = level.update(lambda point: tuple(number + 1 for number in point))
        whole = whole and value["x"] == value["y"] == value["z"]
    return whole


def test_a_function_that_is_overtaken_is_called_again(memory: Memory) -> None:
    level = Signal(memory, "level", "i4", 1)
    seen: list[int] = []

    def function(value: int) -> int:
        seen.append(value)
        if len(seen) == 1:
            level.set(5)  # no lock is held: this does not wait for ever
        return value * 10

    assert level.update(function) == 50
    assert seen == [1, 5]


def test_one_that_dies_with_the_mutex(memory: Memory) -> None:
    def die(name: str) -> None:
        Signal(Memory(name), "level", "i4")._mutex.acquire()
        os.kill(os.getpid(), signal.SIGKILL)

    level = Signal(memory, "level", "i4", 3)
    with crew() as others:
        others.start(die, memory.name).join()
    assert level.get() == 3
    assert level.recovered
    level.set(4)
    assert not level.recovered
    level._mutex.acquire()
    level.repair()
    assert level.get() == 4


def test_refuses(memory: Memory) -> None:
    with pytest.raises(StructureNotFoundError):
        Signal.open(memory, "level", "i4")
    with pytest.raises(OutOfRangeError):
        Signal(memory, "level", "i4", 2**31)
    with pytest.raises(NameTooLongError):
        Signal(memory, "l" * 26, "i4")
    assert memory.names() == []
    level = Signal.create(memory, "level", "i4")
    with pytest.raises(NameExistsError):
        Signal.create(memory, "level", "i4")
    with pytest.raises(DTypeError, match="at most 8 bytes"):
        Signal(memory, "level", "S9")
    with pytest.raises(DTypeError):
        level.set("text")
    assert level.version == 0


def test_closes_pickles_and_shows_itself(memory: Memory) -> None:
    with Signal(memory, "level", "i4") as level:
        pickle.loads(pickle.dumps(level)).set(3)
        assert level.get() == 3
        assert repr(level) == "<Signal 'level', version=1, dtype=int32>"
    for use in (level.get, level.wait, lambda: level.set(1)):
        with pytest.raises(ClosedError):
            use()


def test_golden_segment(segment_name: str) -> None:
    (known,) = golden_facts("v2_signal_int32")["structures"]
    write_segment(segment_name, golden_bytes("v2_signal_int32"))
    with Memory(segment_name) as mem:
        counter = Signal.open(mem, known["name"], known["type"])
        assert counter.read() == (known["version"], known["value"])
        mem.unlink()


def test_golden_bytes(make_memory: Callable[..., Memory]) -> None:
    facts = golden_facts("v2_signal_int32")
    mem = make_memory(facts["segment_size"], max_entries=facts["table"]["word_at_12"])
    counter = Signal(mem, "counter", "<i4", 5)
    counter.set(6)
    counter.update(lambda value: value * 7)
    assert differing("v2_signal_int32", read_segment(mem.name)) == []
