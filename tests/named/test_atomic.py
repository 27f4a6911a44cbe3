"""Atomic numbers: one process, several processes, both backends."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from tests.support.named import crew, using
from zeroipc import (
    Atomic,
    ClosedError,
    DTypeError,
    Memory,
    NameExistsError,
    OutOfRangeError,
    SegmentFormatError,
    StructureNotFoundError,
    WaitTimeoutError,
)

pytestmark = pytest.mark.usefixtures("backend")


@pytest.mark.parametrize("dtype", ["i4", "u4", "i8", "u8"])
def test_integers(memory: Memory, dtype: str) -> None:
    number = Atomic(memory, "number", dtype, 5)
    assert number.fetch_add(3) == 5
    assert number.fetch_sub(1) == 8
    assert number.exchange(12) == 7
    assert (number.compare_exchange(11, 0), number.compare_exchange(12, 9)) == (False, True)
    assert (number.fetch_and(8), number.fetch_or(3), number.fetch_xor(1)) == (9, 8, 11)
    assert (number.load(), number.value, int(number), float(number)) == (10, 10, 10, 10.0)
    high = np.iinfo(dtype).max
    number.store(high)
    number.fetch_add(1)
    assert number.value == np.iinfo(dtype).min
    entry = memory.entry("number")
    assert entry.size == 8
    number.value = 1
    assert bytes(memory.view(entry)) == b"\1" + bytes(7)


def test_operators_leave_the_same_handle(memory: Memory) -> None:
    number = same = Atomic(memory, "number")
    number += 7
    number -= 1
    number &= 5
    number |= 3
    number ^= 1
    assert number is same
    assert same.value == 6


def test_floats(memory: Memory) -> None:
    number = Atomic(memory, "number", np.float64, 0.5)
    number += 0.25
    assert float(number) == 0.75
    with pytest.raises(DTypeError):
        number |= 1


def test_refuses(memory: Memory) -> None:
    with pytest.raises(DTypeError, match="int16"):
        Atomic(memory, "number", np.int16)
    with pytest.raises(OutOfRangeError):
        Atomic(memory, "number", np.uint32, -1)
    with pytest.raises(StructureNotFoundError):
        Atomic.open(memory, "number")
    Atomic.create(memory, "number", np.int64, 3)
    with pytest.raises(NameExistsError):
        Atomic.create(memory, "number")
    assert Atomic(memory, "number", initial=9).value == 3
    memory.add("other", 16, lambda view: None)
    with pytest.raises(SegmentFormatError, match="not an atomic"):
        Atomic(memory, "other")


def test_closes_pickles_and_shows_itself(memory: Memory) -> None:
    with Atomic(memory, "number", np.uint32) as number:
        again = pickle.loads(pickle.dumps(number))
        again += 4
        assert (again.dtype, number.value) == (np.uint32, 4)
        assert repr(number) == "<Atomic 'number', value=4, dtype=uint32>"
    assert repr(number) == "<Atomic 'number', closed>"
    for use in (number.load, lambda: number.fetch_add(1), lambda: number.wait(4)):
        with pytest.raises(ClosedError):
            use()


def test_waits_for_another_value(memory: Memory) -> None:
    number = Atomic(memory, "number")
    assert number.wait(1) == 0
    with pytest.raises(WaitTimeoutError, match="was 0"):
        number.wait(0, timeout=0.01)
    number.notify()
    with crew() as others:
        others.start(echo, memory.name, 300)
        for i in range(0, 600, 2):
            number += 1
            assert number.wait(i + 1) == i + 2
        others.results()


def echo(name: str, count: int) -> None:
    number = Atomic.open(Memory(name), "number")
    for i in range(0, 2 * count, 2):
        assert number.wait(i) == i + 1
        number += 1


def test_no_addition_is_lost(memory: Memory) -> None:
    total = Atomic(memory, "total", np.float64)
    with crew() as others:
        for _ in range(4):
            others.start(add, memory.name, 5000)
        others.results()
    assert total.value == 20_000


def add(name: str, count: int) -> None:
    total = Atomic.open(Memory(name), "total", np.float64)
    for _ in range(count):
        total += 1


def test_backends_share_a_number(memory: Memory) -> None:
    with using("pure"):
        one = Atomic(memory, "number", np.int32)
    other = Atomic(memory, "number", np.int32)
    one += 1
    other += 1
    assert one.value == other.value == 2
