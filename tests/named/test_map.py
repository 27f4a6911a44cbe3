"""The named map: what one process sees."""

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
    Map,
    Memory,
    NameExistsError,
    NoRoomError,
    OutOfRangeError,
    SegmentFormatError,
    StalledError,
    StructureNotFoundError,
)
from zeroipc._core.named.element import element_of
from zeroipc._core.named.entries_shape import shape_of
from zeroipc._core.named.layout import SLOT_EMPTY, SLOT_INSERTING, SLOT_OCCUPIED

pytestmark = pytest.mark.usefixtures("backend")
PAIR = np.dtype([("id", "i4"), ("value", "f8")], align=True)


def states(mem: Memory, name: str, nbytes: int) -> Any:
    """Return the states of the entries, writable; *nbytes* is the size of an entry."""
    view = mem.view(mem.entry(name))[16:]
    return np.ndarray(len(view) // nbytes, np.uint32, view, 0, (nbytes,))


@pytest.mark.parametrize(
    "key, value, shape",
    [
        ("i4", "i4", (4, 8, 12)),
        ("i4", "f8", (4, 8, 16)),
        ("i8", "f8", (8, 16, 24)),
        ("u1", "u1", (4, 5, 8)),
        ("u2", "u1", (4, 6, 8)),
        ("u1", "f8", (4, 8, 16)),
        ("f8", "u1", (8, 16, 24)),
        (np.dtype("i4,i4,i4", align=True), "i4", (4, 16, 20)),
        ("S3", "u2", (4, 8, 12)),
        (PAIR, "i4", (8, 24, 32)),
    ],
)
def test_entries_are_the_structs_of_c(key: Any, value: Any, shape: tuple[int, ...]) -> None:
    assert shape_of(element_of(key), element_of(value)) == shape


@pytest.mark.parametrize(
    "key_dtype, keys, value_dtype, values",
    [
        ("i1", [-128, 0, 127], "u1", [0, 1, 255]),
        ("u8", [0, 2**64 - 1], "f8", [0.1, -0.0]),
        ("i8", [-(2**63), 2**63 - 1], "?", [True, False]),
        ("f4", [0.5, float("inf")], "i2", [-1, 1]),
        ("f8", [0.1, -0.5], "S5", [b"hello", b""]),
        ("?", [True, False], "i8", [-1, 1]),
        ("S20", [b"a", b"b" * 20], "c8", [1 + 2j, 0]),
        ("U3", ["für", ""], ">i2", [-2, 300]),
        ("c16", [1 + 2j, 1j], "f4", [0.5, 1.5]),
        ("M8[s]", [np.datetime64("2026-01-01T00:00:00")], "S3", [b"abc"]),
    ],
)
def test_gives_back_what_was_stored(
    memory: Memory, key_dtype: str, keys: list[Any], value_dtype: str, values: list[Any]
) -> None:
    one = Map(memory, "one", 8, key_dtype, value_dtype)
    for key, value in zip(keys, values, strict=True):
        one[key] = value
    assert [one[key] for key in keys] == values
    assert one == dict(zip(keys, values, strict=True)) == one.copy()
    many = Map(memory, "many", 8, key_dtype, value_dtype)
    many.insert_many(keys, values)
    assert bytes(memory.view(memory.entry("many"))) == bytes(memory.view(memory.entry("one")))
    assert [one.pop(key) for key in keys] == values
    assert not one


def test_structs_are_found_by_their_bytes(memory: Memory) -> None:
    found = Map(memory, "found", 8, PAIR, "V8")
    key = np.frombuffer(b"\xff" * 16, PAIR).copy()[0]  # with padding that is not zero
    key["id"], key["value"] = 3, 0.5
    found[key] = np.void(b"12345678")
    assert found[(3, 0.5)].tobytes() == b"12345678"
    assert (3, 0.25) not in found
    assert [item.tolist() for item in found] == [(3, 0.5)]
    keys = np.frombuffer(b"\xff" * 32, PAIR).copy()
    keys["id"], keys["value"] = (4, 3), (1.5, 0.5)
    found.insert_many(keys, [b"a", b"b"])
    assert found[(3, 0.5)].tobytes() == b"b" + bytes(7)
    assert len(found) == 2


def test_is_a_dict(memory: Memory) -> None:
    ages = Map(memory, "ages", 16, "S8", np.int32)
    ages.update({b"ada": 36, b"bob": 50})
    ages.update([(b"cid", 7), (b"ada", 37)])
    assert (b"ada" in ages, b"dan" in ages, 3.5 in ages, b"far too long" in ages) == (
        *(True, False),
        *(False, False),
    )
    assert ages.get(b"dan", 5) == 5
    assert ages.setdefault(b"dan", 8) == 8
    assert ages.setdefault(b"dan", 9) == 8
    assert sorted(ages) == sorted(ages.keys()) == [b"ada", b"bob", b"cid", b"dan"]
    assert sorted(ages.values()) == [7, 8, 37, 50]
    assert (b"cid", 7) in ages.items()
    del ages[b"cid"]
    with pytest.raises(KeyError, match="cid"):
        ages[b"cid"]
    with pytest.raises(KeyError):
        del ages[b"cid"]
    with pytest.raises(KeyError):
        ages.pop(b"cid")
    assert ages.pop(b"cid", None) is None
    assert dict([ages.popitem() for _ in range(3)]) == {b"ada": 37, b"bob": 50, b"dan": 8}
    with pytest.raises(KeyError, match="empty"):
        ages.popitem()
    assert not ages
    ages.update({})
    with pytest.raises(CapacityError, match="as many"):
        ages.insert_many([b"a", b"b"], [1])


def test_bytes_are_as_numpy_has_them(memory: Memory) -> None:
    """Without trailing NULs, of any type that NumPy takes, and never cut."""
    words = Map(memory, "words", 8, "S4", np.int8)
    words.update({b"ab\0": 1, b"\0a": 2, b"": 3, b"full": 4})
    for key in (b"ab", b"ab\0\0", np.bytes_(b"ab"), "ab"):
        assert words[key] == 1
    assert sorted(words) == [b"", b"\0a", b"ab", b"full"]
    with pytest.raises(OutOfRangeError, match="at most 4"):
        words[b"longer"] = 5


def test_speaks_the_words_of_the_format(memory: Memory) -> None:
    words = Map(memory, "words", 2, np.int8, np.float32)
    assert (words.insert(1, 0.5), words.insert(1, 1.5), words.find(1)) == (True, False, 1.5)
    assert (words.try_insert(2, 2), words.try_insert(2, 3), words.try_insert(3, 4)) == (
        *(True, True),
        False,
    )
    assert (words.erase(1), words.erase(1), words.find(1)) == (True, False, None)


def test_says_when_it_is_full(memory: Memory) -> None:
    full = Map(memory, "full", 3, np.uint16, np.uint16)
    full.update(zip(range(3), range(3), strict=True))
    with pytest.raises(NoRoomError, match="3 entries"):
        full[3] = 3
    full[2] = 5  # is there
    with pytest.raises(NoRoomError):
        full.setdefault(9, 9)
    with pytest.raises(NoRoomError) as caught:
        full.insert_many([1, 2, 7, 0], [11, 12, 17, 10])
    assert caught.value.done == 2
    assert full.copy() == {0: 0, 1: 11, 2: 12}
    del full[1]
    full[9] = 9
    assert full.copy() == {0: 0, 9: 9, 2: 12}
    assert states(memory, "full", 8).tolist() == [SLOT_OCCUPIED] * 3
    full.clear()
    assert (len(full), states(memory, "full", 8).tolist()) == (0, [SLOT_EMPTY] * 3)


def test_erased_entries_stay_in_the_chain(memory: Memory) -> None:
    chained = Map(memory, "chained", 4, np.int32, np.int32)
    for key in (0, 4, 8):  # one chain
        chained[key] = key
    del chained[4]
    assert chained[8] == 8
    chained[8] = 9
    assert states(memory, "chained", 12).tolist() == [1, 2, 1, 0]
    chained[12] = 12
    assert states(memory, "chained", 12).tolist() == [1, 1, 1, 0]
    assert chained.copy() == {0: 0, 12: 12, 8: 9}


def test_zeros_are_equal_and_nan_is_never_found(memory: Memory) -> None:
    floats = Map(memory, "floats", 1, np.float64, np.int8)  # one entry: one chain
    floats[0.0] = 1
    assert floats[-0.0] == 1
    floats[-0.0] = 2
    assert str(list(floats.items())) == "[(0.0, 2)]"
    del floats[0.0]
    floats[float("nan")] = 3
    assert float("nan") not in floats
    assert str(list(floats.items())) == "[(nan, 3)]"
    assert not floats.erase(float("nan"))


@pytest.mark.parametrize(
    "key, value, error",
    [
        ("1", 1, DTypeError),
        (1.5, 1, DTypeError),
        (1, "1", DTypeError),
        (2**31, 1, OutOfRangeError),
    ],
)
def test_refuses_what_the_dtypes_cannot_hold(
    memory: Memory, key: Any, value: Any, error: type[Exception]
) -> None:
    strict = Map(memory, "strict", 4, np.int32, np.float64)
    before = bytes(memory.buf)
    for store in (strict.__setitem__, strict.setdefault, lambda *pair: strict.update([pair])):
        with pytest.raises(error, match=r"values? must"):
            store(key, value)
    assert bytes(memory.buf) == before


def test_opens_only_what_fits(memory: Memory) -> None:
    with pytest.raises(StructureNotFoundError):
        Map(memory, "map", None, np.int32, np.int32)
    Map.create(memory, "map", 5, np.int32, np.int32)[7] = 8
    with pytest.raises(NameExistsError):
        Map.create(memory, "map", 5, np.int32, np.int32)
    with pytest.raises(CapacityError, match="must be 5"):
        Map(memory, "map", 8, np.int32, np.int32)
    with pytest.raises(DTypeError, match="key_size=4"):
        Map.open(memory, "map", np.int64, np.int32)
    with pytest.raises(DTypeError, match="value_size=4"):
        Map.open(memory, "map", np.int32, np.int16)
    with pytest.raises(DTypeError, match="must be given"):
        Map(memory, "map")
    with pytest.raises(DTypeError, match="at most 8 bytes"):
        Map(memory, "other", 4, np.int32, "S9")
    for capacity in (0, -3, 2**32):
        with pytest.raises(CapacityError):
            Map(memory, "other", capacity, np.int32, np.int32)
    assert Map.open(memory, "map", np.int32, np.int32)[7] == 8
    Map(memory, "aligned", 5, np.int64, np.int32)
    with pytest.raises(DTypeError, match="alignment"):
        Map.open(memory, "aligned", "V8", np.int32)


def test_refuses_what_is_no_map(memory: Memory) -> None:
    memory.add("short", 8, lambda view: None)
    memory.add("zeros", 64, lambda view: None)
    for name in ("short", "zeros"):
        with pytest.raises(SegmentFormatError, match="not a map"):
            Map.open(memory, name, np.int32, np.int32)


def test_closes_pickles_and_shows_itself(memory: Memory) -> None:
    with Map(memory, "map", 4, np.int32, np.float32) as opened:
        opened[1] = 0.5
        again = pickle.loads(pickle.dumps(opened))
        assert again[1] == 0.5
        assert repr(opened) == "<Map 'map', size=1/4, dtypes=int32: float32>"
    assert opened.closed
    assert repr(opened) == "<Map 'map', closed>"
    with pytest.raises(ClosedError):
        opened[1]


def test_says_that_somebody_is_stuck_and_can_be_repaired(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer of key 0 died; 4 and 8 have the same chain."""
    monkeypatch.setattr("zeroipc._waiting.STALL", 20_000_000)
    stuck = Map(memory, "stuck", 4, np.int32, np.int32)
    stuck.update({0: 10, 4: 14, 1: 11})
    states(memory, "stuck", 12)[0] = SLOT_INSERTING
    assert stuck[4] == 14  # passes by
    stuck[4] = 15
    assert 8 not in stuck
    assert not stuck.try_insert(8, 8)
    assert stuck.pop(4) == 15
    for attempt in (
        lambda: stuck[0],
        lambda: stuck.pop(0),
        lambda: stuck.__setitem__(8, 18),  # it may become the key's
        lambda: list(stuck.items()),
    ):
        with pytest.raises(StalledError, match="map 'stuck'"):
            attempt()
    assert stuck.repair() == 1
    assert (len(stuck), stuck.copy()) == (1, {1: 11})
    stuck.update({0: 1, 4: 2, 8: 3})
    assert stuck.copy() == {0: 1, 4: 2, 8: 3, 1: 11}


def test_repair_counts_anew(memory: Memory) -> None:
    counted = Map(memory, "counted", 8, np.int32, np.int32)
    counted.update({1: 1, 2: 2})
    memory.view(memory.entry("counted"))[:4].cast("I")[0] = 2**32 - 1  # an insert is late
    assert len(counted) == 0
    assert counted.repair() == 0
    assert len(counted) == 2


def test_finds_damage(memory: Memory) -> None:
    damaged = Map(memory, "damaged", 4, np.int32, np.int32)
    damaged[1] = 1
    states(memory, "damaged", 12)[1] = 77
    for attempt in (lambda: damaged[1], lambda: damaged.update({1: 2}), damaged.copy):
        with pytest.raises(SegmentFormatError, match="damaged"):
            attempt()
    assert damaged.repair() == 1
    assert damaged.copy() == {}


@pytest.mark.parametrize("golden", golden_names("map"))
def test_golden_segments(golden: str, segment_name: str) -> None:
    write_segment(segment_name, golden_bytes(golden))
    with Memory(segment_name) as mem:
        for known in golden_facts(golden)["structures"]:
            found = Map.open(mem, known["name"], known["key_type"], known["value_type"])
            assert (found.capacity, len(found)) == (known["capacity"], known["size"])
            assert sorted(map(list, found.items())) == known["items"]
            assert [key for key in known["absent_keys"] if key in found] == []
        mem.unlink()


@pytest.mark.parametrize("golden", golden_names("map"))
def test_golden_bytes(golden: str, make_memory: Callable[..., Memory]) -> None:
    facts = golden_facts(golden)
    mem = make_memory(facts["segment_size"], max_entries=facts["table"]["word_at_12"])
    for known in facts["structures"]:
        scores = Map(mem, known["name"], known["capacity"], known["key_type"], known["value_type"])
        for key, value in ((1, 10), (2, 20), (7, 70), (2, 21)):
            scores[key] = value
        del scores[7]
    assert differing(golden, read_segment(mem.name)) == []
