"""The named queue: what one process sees."""

from __future__ import annotations

import pickle
import queue
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support.golden import (
    differing,
    golden_bytes,
    golden_facts,
    golden_names,
    read_segment,
    write_segment,
)
from zeroipc import (
    CapacityError,
    ClosedError,
    DTypeError,
    Memory,
    NameExistsError,
    OutOfRangeError,
    Queue,
    SegmentFormatError,
    StalledError,
    StructureNotFoundError,
    WaitTimeoutError,
)

pytestmark = pytest.mark.usefixtures("backend")
PAIR = np.dtype([("id", "i4"), ("value", "f8")], align=True)


@pytest.mark.parametrize(
    "dtype, values",
    [
        ("i1", [-128, 0, 127]),
        ("u8", [0, 2**64 - 1]),
        ("i8", [-(2**63), 2**63 - 1]),
        ("f4", [0.5, float("inf")]),
        ("f8", [0.1, -0.0]),
        ("?", [True, False]),
        ("S5", [b"hello", b""]),
        ("U3", ["für", ""]),
        ("c16", [1 + 2j]),
        (">i2", [-2, 300]),
        ("M8[s]", [np.datetime64("2026-01-01T00:00:00")]),
    ],
)
def test_gives_back_what_was_pushed(memory: Memory, dtype: str, values: list[Any]) -> None:
    items = Queue(memory, "items", 4, dtype)
    for value in values:
        items.push(value)
    assert [items.pop() for _ in values] == values


def test_structs_come_as_numpy_gives_them(memory: Memory) -> None:
    items = Queue(memory, "items", 4, PAIR)
    items.push((3, 0.5))
    item = items.pop()
    assert (item["id"], item["value"]) == (3, 0.5)


def test_is_bounded_and_first_in_first_out(memory: Memory) -> None:
    items = Queue(memory, "items", 3, np.int32)
    assert items.capacity == 4
    assert [items.try_push(i) for i in range(5)] == [True] * 4 + [False]
    assert (len(items), items.full(), items.empty()) == (4, True, False)
    assert [items.try_pop("none") for _ in range(5)] == [0, 1, 2, 3, "none"]
    assert (len(items), items.full(), items.empty()) == (0, False, True)


def test_times_out(memory: Memory) -> None:
    items = Queue(memory, "items", 2, np.int32)
    with pytest.raises(WaitTimeoutError):
        items.pop(timeout=0.01)
    with pytest.raises(queue.Empty):
        items.get(timeout=0.01)
    with pytest.raises(queue.Empty):
        items.get_nowait()
    items.push_many([1, 2])
    with pytest.raises(TimeoutError, match="no room"):
        items.push(3, timeout=0)
    with pytest.raises(queue.Full):
        items.put_nowait(3)
    with pytest.raises(WaitTimeoutError) as caught:
        items.push_many([3, 4], timeout=0)
    assert (caught.value.done, len(items)) == (0, 2)


def test_moves_many_at_once(memory: Memory) -> None:
    items = Queue(memory, "items", 8, np.float64)
    for turn in range(5):  # across the end of the slots
        items.push_many(np.arange(6) + turn)
        assert items.pop_many(4).tolist() == [turn, turn + 1, turn + 2, turn + 3]
        assert items.pop_many(100).tolist() == [turn + 4, turn + 5]
    with pytest.raises(WaitTimeoutError) as caught:
        items.push_many(np.arange(10), timeout=0)
    assert caught.value.done == 8
    out = np.zeros(3)
    assert items.pop_into(out) == 3
    assert out.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "dtype, value, error",
    [
        ("i4", 1.5, DTypeError),
        ("i4", "1", DTypeError),
        ("f8", "1", DTypeError),
        ("f8", None, DTypeError),
        ("u1", 256, OutOfRangeError),
        ("u8", -1, OutOfRangeError),
        ("i8", 2**63, OutOfRangeError),
        ("S3", b"four", OutOfRangeError),
        (PAIR, 3 + 4j, DTypeError),
    ],
)
def test_refuses_what_the_dtype_cannot_hold(
    memory: Memory, dtype: Any, value: Any, error: type[Exception]
) -> None:
    items = Queue(memory, "items", 4, dtype)
    before = bytes(memory.buf)
    with pytest.raises(error, match="value must"):
        items.push(value)
    assert bytes(memory.buf) == before


@pytest.mark.parametrize(
    "dtype, values, error",
    [
        ("i2", [2**15], OutOfRangeError),
        ("u4", [-1], OutOfRangeError),
        ("u4", np.array([2**40]), OutOfRangeError),
        ("i4", [1.5], DTypeError),
        ("f8", ["a"], DTypeError),
        ("f8", [1j], DTypeError),
    ],
)
def test_refuses_many_that_the_dtype_cannot_hold(
    memory: Memory, dtype: str, values: Any, error: type[Exception]
) -> None:
    items = Queue(memory, "items", 4, dtype)
    with pytest.raises(error, match="values must"):
        items.push_many(values)
    assert items.empty()


def test_opens_only_what_fits(memory: Memory) -> None:
    with pytest.raises(StructureNotFoundError):
        Queue(memory, "items", dtype=np.int32)
    items = Queue.create(memory, "items", 4, np.int32)
    items.push(7)
    with pytest.raises(NameExistsError):
        Queue.create(memory, "items", 4, np.int32)
    with pytest.raises(CapacityError, match="must be 4"):
        Queue(memory, "items", 8, np.int32)
    with pytest.raises(DTypeError, match="4 bytes"):
        Queue.open(memory, "items", np.int64)
    with pytest.raises(DTypeError, match="must be given"):
        Queue(memory, "items")
    for capacity in (0, 1, -3, 2**31 + 1):
        with pytest.raises(CapacityError):
            Queue(memory, "other", capacity, np.int32)
    assert Queue.open(memory, "items", np.int32).pop() == 7


def test_refuses_what_is_no_queue(memory: Memory) -> None:
    memory.add("short", 8, lambda view: None)
    memory.add("zeros", 64, lambda view: None)
    for name in ("short", "zeros"):
        with pytest.raises(SegmentFormatError, match="not a queue"):
            Queue(memory, name, dtype=np.int32)


def test_closes_pickles_and_shows_itself(memory: Memory) -> None:
    with Queue(memory, "items", 4, np.int32) as items:
        items.push(1)
        again = pickle.loads(pickle.dumps(items))
        assert again.pop() == 1
        assert repr(items) == "<Queue 'items', size=0/4, dtype=int32>"
    assert items.closed
    assert repr(items) == "<Queue 'items', closed>"
    with pytest.raises(ClosedError):
        items.try_push(1)


def test_says_that_somebody_is_stuck_and_can_be_repaired(memory: Memory) -> None:
    items = Queue(memory, "items", 4, np.int32)
    items.push_many([0, 1, 2, 3])
    assert [items.pop(), items.pop()] == [0, 1]
    header = memory.view(memory.entry("items"))[:16].cast("I")
    header[0] += 1  # a consumer claimed the item 2 and died
    header[1] += 1  # a producer claimed the slot of item 4 and died
    assert items.try_pop() == 3
    assert items.try_pop() is None
    with pytest.raises(StalledError, match="'items'"):
        items.pop()
    items.try_push(5)
    assert items.repair() == 1
    assert items.try_pop() == 5
    for turn in range(10):
        items.push(turn)
        assert items.pop() == turn


@pytest.mark.parametrize("golden", golden_names("queue"))
def test_golden_segments(golden: str, segment_name: str) -> None:
    write_segment(segment_name, golden_bytes(golden))
    with Memory(segment_name) as mem:
        for known in golden_facts(golden)["structures"]:
            items = Queue(mem, known["name"], dtype=known["type"])
            assert (items.capacity, len(items)) == (known["capacity"], known["size"])
            assert [items.pop() for _ in range(len(items))] == known["pop_order"]
        mem.unlink()


@pytest.mark.parametrize("golden", golden_names("queue"))
def test_golden_bytes(golden: str, make_memory: Callable[..., Memory]) -> None:
    facts = golden_facts(golden)
    mem = make_memory(facts["segment_size"], max_entries=facts["table"]["word_at_12"])
    made = [
        (Queue(mem, known["name"], known["requested_capacity"], known["type"]), known)
        for known in facts["structures"]
    ]
    for items, known in made:
        items.push_many(np.arange(known["tail"]) * 3 - 5)
        assert len([items.pop() for _ in range(known["head"])]) == known["head"]
    assert differing(golden, read_segment(mem.name)) == []
