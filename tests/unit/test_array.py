"""Array: NumPy's array for all purposes, in a segment."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_dtypes, scalar_dtypes

from tests.support import leaks
from zeroipc import Array, Memory, errors

POINT = np.dtype([("x", np.float64), ("n", np.int32), ("tag", "S5")], align=True)


def test_starts_all_zero_and_is_shared(memory: Memory) -> None:
    array = Array(memory, "a", 10, np.float64)
    assert isinstance(array, np.ndarray)
    assert array.tolist() == [0.0] * 10
    array[3] = 1.5
    other = Array(Memory(memory.name), "a", dtype=np.float64)
    assert other[3] == 1.5
    other[2:5] += 1
    assert array.tolist() == [0, 0, 1, 2.5, 1, 0, 0, 0, 0, 0]


def test_stays_valid_without_its_memory(make_memory: Callable[..., Memory]) -> None:
    mem = make_memory()
    view = Array(mem, "a", 10, np.int32)[2:]
    mem.close()
    view[:] = 7
    assert view.sum() == 56


@pytest.mark.parametrize("dtype", [np.uint8, bool, "<f2", "S3", "U2", "c16", "M8[ns]", POINT])
def test_dtypes(memory: Memory, dtype: Any) -> None:
    array = Array(memory, "a", 7, dtype)
    assert array.dtype == np.dtype(dtype)
    array.view(np.uint8)[:] = 1
    again = Array(memory, "a", 7, dtype)
    assert again.tobytes() == b"\1" * array.nbytes
    assert array.flags.aligned


@given(dtype=scalar_dtypes() | array_dtypes(), capacity=st.integers(1, 9))
def test_any_dtype_or_a_reason_why_not(dtype: np.dtype[Any], capacity: int) -> None:
    with Memory.create(leaks.PREFIX + "any", 1 << 16) as mem:
        mem.unlink()
        if dtype.hasobject or not dtype.itemsize or dtype.alignment > 8:
            with pytest.raises(errors.DTypeError, match="dtype must"):
                Array(mem, "a", capacity, dtype)
        else:
            array = Array(mem, "a", capacity, dtype)
            assert len(array) == capacity
            assert array.nbytes == capacity * dtype.itemsize
            assert Array(mem, "a", dtype=dtype).tobytes() == bytes(array.nbytes)


@pytest.mark.parametrize(
    "dtype",
    [object, [("x", "O")], "V0", "S0", np.longdouble, None, "nonsense"],
)
def test_dtypes_that_cannot_be_shared(memory: Memory, dtype: Any) -> None:
    with pytest.raises(errors.DTypeError, match="dtype must"):
        Array(memory, "a", 5, dtype)
    assert memory.names() == []


def test_structured(memory: Memory) -> None:
    array = Array(memory, "a", 3, POINT)
    array["x"] = [1, 2, 3]
    array[1]["tag"] = b"two"
    other = Array(memory, "a", dtype=POINT)
    assert other["x"].sum() == 6
    assert other[1].item() == (2.0, 0, b"two")


# --- opening ---


def test_missing(memory: Memory) -> None:
    with pytest.raises(errors.StructureNotFoundError, match="'a'"):
        Array(memory, "a", dtype=np.int32)


@pytest.mark.parametrize("capacity", [0, -1])
def test_capacity_out_of_range(memory: Memory, capacity: int) -> None:
    with pytest.raises(errors.CapacityError, match=f"capacity={capacity}"):
        Array(memory, "a", capacity, np.int32)
    assert memory.names() == []


def test_other_capacity_or_itemsize_than_stored(memory: Memory) -> None:
    Array(memory, "a", 10, np.int32)[:] = 5
    with pytest.raises(errors.CapacityError, match="capacity must be 10: capacity=11"):
        Array(memory, "a", 11, np.int32)
    with pytest.raises(errors.DTypeError, match="elements of 4 bytes: dtype=float64 has 8"):
        Array(memory, "a", dtype=np.float64)
    with pytest.raises(errors.DTypeError, match="elements of 4 bytes"):
        Array(memory, "a", 10, np.float64)
    assert Array(memory, "a", 10, np.uint32).tolist() == [5] * 10


@pytest.mark.parametrize("first", [0, 11, 1000, 2**63])
def test_what_is_not_an_array(memory: Memory, first: int) -> None:
    def prepare(view: memoryview) -> None:
        view[:8].cast("Q")[0] = first

    memory.add("other", 48, prepare)
    memory.add("tiny", 4, lambda view: None)
    for name in ("other", "tiny"):
        with pytest.raises(errors.SegmentFormatError, match="not an array"):
            Array(memory, name, dtype=np.int32)


def test_no_room_changes_nothing(memory: Memory) -> None:
    before = bytes(memory.buf)
    with pytest.raises(errors.SegmentFullError, match="asked=800008"):
        Array(memory, "a", 100_000, np.float64)
    with pytest.raises(errors.NameTooLongError, match="has 32"):
        Array(memory, "é" * 16, 10, np.float64)
    assert memory.buf == before


# --- NumPy for all purposes ---


@pytest.fixture
def array(memory: Memory) -> Array:
    """Return ten floats, 0 to 9."""
    made = Array(memory, "a", 10, np.float64)
    made[:] = np.arange(10)
    return made


def test_views_share_memory_and_results_do_not(array: Array) -> None:
    plain = np.asarray(array)
    assert type(plain) is np.ndarray
    for view in (plain, array[2:4], array.reshape(2, 5), array.data, array.T):
        assert np.shares_memory(view, array)
    for result in (array + 1, np.sqrt(array), array @ np.eye(10), array.reshape(2, 5).sum(axis=0)):
        assert type(result) is np.ndarray
        assert not np.shares_memory(result, array)
    for scalar in (array.sum(), array.mean(), array.max(), array[3], np.median(array)):
        assert type(scalar) is np.float64


def test_works_in_place(array: Array) -> None:
    same = array
    same += 1
    assert same is array
    assert np.multiply(array, 2, out=array) is array
    assert array.tolist() == [2.0 * (number + 1) for number in range(10)]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_as_a_plain_array(array: Array, protocol: int) -> None:
    copy = pickle.loads(pickle.dumps(array, protocol))
    assert type(copy) is np.ndarray
    assert copy.tolist() == array.tolist()
    copy[0] = 99
    assert array[0] == 0


def test_pickles_out_of_band(array: Array) -> None:
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(array, 5, buffer_callback=buffers.append)
    assert len(buffers) == 1
    assert pickle.loads(pickled, buffers=buffers).tolist() == array.tolist()


def test_element_access_is_not_overridden() -> None:
    ours = set(vars(Array))
    for name in ("__getitem__", "__setitem__", "__getattribute__", "__array_finalize__"):
        assert name not in ours
        assert getattr(Array, name) is getattr(np.ndarray, name)
