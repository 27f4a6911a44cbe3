"""Values of a dtype, one and many: stored whole, or refused before anything changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from zeroipc import DTypeError, Map, Memory, OutOfRangeError, Queue, Ring, Stack
from zeroipc._core.named.element import element_of, items_of

pytestmark = pytest.mark.usefixtures("backend")
NAMED = np.dtype([("name", "S3"), ("number", "i4")])


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([b"abc", b"a"], "S3"),
        (np.array([b"ab"]), "S3"),
        (["abc"], "S3"),
        (["äöü"], "U3"),
        ([(b"abc", 1)], NAMED),
        ([b"", b"x"], "S1"),
        ([], "S3"),
    ],
)
def test_strings_that_fit(values: Any, dtype: Any) -> None:
    items = items_of(values, np.dtype(dtype))
    assert items.tolist() == np.array(values, dtype).tolist()
    element = element_of(dtype)
    assert b"".join(map(element.pack, values)) == items.tobytes()


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([b"a", b"abcd"], "S3"),
        (np.array([b"abcd"]), "S3"),
        (["abcd"], "U3"),
        (np.array(["abcd"]), "U3"),
        ([(b"abcd", 1)], NAMED),
        (np.array([(b"abcd", 1)], [("name", "S4"), ("number", "i4")]), NAMED),
        ([((b"abcd", 1), 2)], [("inner", NAMED), ("outer", "i1")]),
        ([[b"abc", b"c"]], "2S2"),
    ],
)
def test_strings_are_never_cut(values: Any, dtype: Any) -> None:
    with pytest.raises(OutOfRangeError, match=r"at most . items: value=.*abc"):
        items_of(values, np.dtype(dtype))
    with pytest.raises(OutOfRangeError, match=r"at most . items: value=.*abc"):
        element_of(dtype).pack(values[-1])


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([5], "S3"), (5, "S3"), (["é"], "S3"), ([(b"ab",)], NAMED), ([1, 2], "2i4")],
)
def test_refuses_another_kind(values: Any, dtype: Any) -> None:
    with pytest.raises(DTypeError, match="values must"):
        items_of(values, np.dtype(dtype))


@pytest.mark.parametrize("make", [Queue, Stack])
def test_a_string_too_long_changes_nothing(memory: Memory, make: Callable[..., Any]) -> None:
    items = make(memory, "items", 4, "S3")
    with pytest.raises(OutOfRangeError):
        items.push_many([b"a", b"abcd"])
    assert not items.qsize()


@pytest.mark.parametrize("make", [Queue, Stack])
def test_items_that_are_arrays(memory: Memory, make: Callable[..., Any]) -> None:
    items = make(memory, "items", 4, "2i4")
    items.push_many([[1, 2], [3, 4]])
    items.push([5, 6])
    assert sorted([*items.pop_many(2).tolist(), items.pop().tolist()]) == [[1, 2], [3, 4], [5, 6]]
    with pytest.raises(DTypeError, match=r"shape=\(2,\)"):
        items.pop_into(np.empty(2, "i4"))


def test_elements_that_are_arrays(memory: Memory) -> None:
    ring = Ring(memory, "ring", 64, "2i4")
    ring.write([[1, 2], [3, 4], [5, 6]])
    assert ring.read(2).tolist() == [[1, 2], [3, 4]]
    with ring.peek(1) as window:
        assert window.tolist() == [[5, 6]]


def test_values_that_are_arrays(memory: Memory) -> None:
    pairs = Map(memory, "pairs", 8, "S3", "2i4")
    pairs[b"a"] = [1, 2]
    pairs.update({b"b": [3, 4]})
    assert {key: value.tolist() for key, value in pairs.items()} == {b"a": [1, 2], b"b": [3, 4]}
