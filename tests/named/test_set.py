"""The named set: what one process sees."""

from __future__ import annotations

import pickle
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
    NoRoomError,
    OutOfRangeError,
    SegmentFormatError,
    Set,
    StalledError,
    StructureNotFoundError,
)
from zeroipc._core.named.element import element_of
from zeroipc._core.named.entries_shape import shape_of

pytestmark = pytest.mark.usefixtures("backend")


@pytest.mark.parametrize(
    "dtype, value_at, nbytes",
    [
        ("u1", 4, 8),
        ("i4", 4, 8),
        ("i8", 8, 16),
        ("S3", 4, 8),
        ("S5", 4, 12),
        (np.dtype("i4,i4,i4", align=True), 4, 16),
        ("V20", 4, 24),
    ],
)
def test_entries_are_the_structs_of_c(dtype: Any, value_at: int, nbytes: int) -> None:
    shape = shape_of(element_of(dtype), None)
    assert (shape.key_at, shape.nbytes) == (value_at, nbytes)


@pytest.mark.parametrize(
    "dtype, values",
    [
        ("i1", [-128, 0, 127]),
        ("u8", [0, 2**64 - 1]),
        ("f4", [0.5, float("inf")]),
        ("?", [True, False]),
        ("S20", [b"a", b"b" * 20]),
        ("U3", ["für", ""]),
        ("c16", [1 + 2j]),
    ],
)
def test_has_what_was_added(memory: Memory, dtype: str, values: list[Any]) -> None:
    one = Set(memory, "one", 8, dtype)
    for value in values:
        one.add(value)
    assert [value in one for value in values] == [True] * len(values)
    assert set(values) == set(one) == one.copy()
    many = Set(memory, "many", 8, dtype)
    many.update(values)
    assert bytes(memory.view(memory.entry("many"))) == bytes(memory.view(memory.entry("one")))


def test_is_a_set(memory: Memory) -> None:
    ids = Set(memory, "ids", 16, np.int64)
    ids.update([1, 2], np.arange(2, 5), {4, 9})
    ids.add(9)
    assert ids.copy() == {1, 2, 3, 4, 9}
    assert (len(ids), 9 in ids, 5 in ids, 1.5 in ids, "a" in ids, 2**64 in ids) == (
        *(5, True, False),
        *(False, False, False),
    )
    assert ids.__eq__({1, 2, 3, 4, 9})
    assert {1} < ids
    assert ids & {1, 7} == {1}
    assert {7} | ids == {1, 2, 3, 4, 7, 9}
    assert ids.isdisjoint([7, 8])
    ids.remove(1)
    with pytest.raises(KeyError):
        ids.remove(1)
    ids.discard(1)
    ids -= {2, 3}
    assert ids.copy() == {4, 9}
    assert {ids.pop(), ids.pop()} == {4, 9}
    with pytest.raises(KeyError, match="empty"):
        ids.pop()
    assert not ids


def test_speaks_the_words_of_the_format(memory: Memory) -> None:
    words = Set(memory, "words", 2, np.int8)
    assert (words.insert(1), words.insert(1)) == (True, False)
    assert (words.try_insert(2), words.try_insert(2), words.try_insert(3)) == (True, True, False)
    assert (words.erase(1), words.erase(1)) == (True, False)


def test_says_when_it_is_full(memory: Memory) -> None:
    full = Set(memory, "full", 3, np.uint16)
    full.update(range(3))
    with pytest.raises(NoRoomError, match="3 entries"):
        full.add(3)
    full.add(2)  # is there
    with pytest.raises(NoRoomError) as caught:
        full.update([0, 1, 7, 2])
    assert caught.value.done == 2
    full.clear()
    full.update([7, 8, 9])
    assert full.copy() == {7, 8, 9}


def test_opens_only_what_fits(memory: Memory) -> None:
    with pytest.raises(StructureNotFoundError):
        Set(memory, "ids", dtype=np.int32)
    Set.create(memory, "ids", 5, np.int32).add(7)
    with pytest.raises(NameExistsError):
        Set.create(memory, "ids", 5, np.int32)
    with pytest.raises(CapacityError, match="must be 5"):
        Set(memory, "ids", 8, np.int32)
    with pytest.raises(DTypeError, match="elem_size=4"):
        Set.open(memory, "ids", np.int64)
    with pytest.raises(DTypeError, match="must be given"):
        Set(memory, "ids")
    with pytest.raises(CapacityError):
        Set(memory, "other", 0, np.int32)
    assert 7 in Set.open(memory, "ids", np.int32)
    for value, error in ((1.5, DTypeError), (2**31, OutOfRangeError)):
        with pytest.raises(error, match="value must"):
            Set.open(memory, "ids", np.int32).add(value)
    memory.add("short", 8, lambda view: None)
    memory.add("zeros", 64, lambda view: None)
    for name in ("short", "zeros"):
        with pytest.raises(SegmentFormatError, match="not a set"):
            Set.open(memory, name, np.int32)


def test_closes_pickles_and_shows_itself(memory: Memory) -> None:
    with Set(memory, "ids", 4, np.int32) as opened:
        opened.add(1)
        assert 1 in pickle.loads(pickle.dumps(opened))
        assert repr(opened) == "<Set 'ids', size=1/4, dtype=int32>"
    assert repr(opened) == "<Set 'ids', closed>"
    with pytest.raises(ClosedError):
        opened.add(1)


def test_says_that_somebody_is_stuck_and_can_be_repaired(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody died adding or removing 0; 4 and 8 have the same chain."""
    monkeypatch.setattr("zeroipc._waiting.STALL", 20_000_000)
    stuck = Set(memory, "stuck", 4, np.int32)
    stuck.update([0, 4])
    memory.view(memory.entry("stuck"))[16:20].cast("I")[0] = 3
    assert 4 in stuck
    assert 8 not in stuck
    stuck.discard(4)
    for attempt in (lambda: 0 in stuck, lambda: stuck.discard(0), lambda: stuck.add(8)):
        with pytest.raises(StalledError, match="set 'stuck'"):
            attempt()
    assert stuck.repair() == 1
    assert (len(stuck), stuck.copy()) == (0, set())
    stuck.update([0, 4, 8])
    assert stuck.copy() == {0, 4, 8}


@pytest.mark.parametrize("golden", golden_names("set"))
def test_golden_segments(golden: str, segment_name: str) -> None:
    write_segment(segment_name, golden_bytes(golden))
    with Memory(segment_name) as mem:
        for known in golden_facts(golden)["structures"]:
            found = Set.open(mem, known["name"], known["type"])
            assert (found.capacity, len(found)) == (known["capacity"], known["size"])
            assert sorted(found) == known["items"]
            assert [value for value in known["absent"] if value in found] == []
        mem.unlink()


@pytest.mark.parametrize("golden", golden_names("set"))
def test_golden_bytes(golden: str, make_memory: Callable[..., Memory]) -> None:
    facts = golden_facts(golden)
    mem = make_memory(facts["segment_size"], max_entries=facts["table"]["word_at_12"])
    for known in facts["structures"]:
        ids = Set(mem, known["name"], known["capacity"], known["type"])
        assert [ids.insert(value) for value in (5, 21, 5, 100)] == [True, True, False, True]
        ids.remove(21)
    assert differing(golden, read_segment(mem.name)) == []
