"""`Value`, `Array` and their like: the standard library's objects, over memory of the arena."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import multiprocessing.sharedctypes
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import zeroipc.mp as mp
from zeroipc._core.layout import QUEUES
from zeroipc.errors import ShmFullError
from zeroipc.mp import cells, sharedctypes, transport

METHODS = multiprocessing.get_all_start_methods()
BOTH = [multiprocessing.sharedctypes, sharedctypes]
CODES = "bBhHiIlLqQfd"


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_double)]


def memories() -> int:
    """Return how many pieces of memory there are, when what nobody has is gone."""
    gc.collect()
    cells.SharedMemory(8)  # making one reclaims others
    return int(transport.home().arena.stats()["blocks_live"])


# --- The standard interface ---------------------------------------------------------------


def test_names_are_those_of_the_standard_library() -> None:
    theirs = multiprocessing.sharedctypes
    assert sorted(sharedctypes.__all__) == sorted(theirs.__all__)
    assert sharedctypes.SynchronizedBase is theirs.SynchronizedBase
    assert isinstance(mp.Value("i"), theirs.Synchronized)
    assert isinstance(mp.Array("c", 3), theirs.SynchronizedString)
    assert isinstance(mp.Array("i", 3), theirs.SynchronizedArray)


@pytest.mark.parametrize("made", BOTH)
def test_values(made: Any) -> None:
    for code in CODES:
        value = made.Value(code)
        assert value.value == 0
        value.value = 7
        assert (value.value, value.get_obj().value) == (7, 7)
    assert made.RawValue("d", 2.5).value == 2.5
    assert made.RawValue("c", b"x").value == b"x"
    assert made.Value("u", "ü").value == "ü"
    point = made.Value(Point, 3, 4.5)
    with point:
        point.x += 1
    assert (point.x, point.y, type(point).__name__) == (4, 4.5, "SynchronizedPoint")
    with pytest.raises(TypeError):
        made.Value("nothing")


@pytest.mark.parametrize("made", BOTH)
def test_arrays(made: Any) -> None:
    array = made.Array("i", range(6))
    assert (len(array), list(array)) == (6, [0, 1, 2, 3, 4, 5])
    assert (array[2], array[-1], array[1:4]) == (2, 5, [1, 2, 3])
    array[1:3] = [8, 9]
    array[0] = -1
    assert array[:] == [-1, 8, 9, 3, 4, 5]
    assert array[::2] == [-1, 9, 4]
    with pytest.raises(IndexError):
        array[6]
    with pytest.raises(TypeError):
        array[0] = "x"
    assert list(made.RawArray("d", 3)) == [0, 0, 0]
    assert len(made.RawArray("d", 0)) == len(made.Array("d", [])) == 0
    with pytest.raises(ValueError):
        made.RawArray("d", -1)
    points = made.Array(Point, [(1, 2.0), (3, 4.0)])
    assert [(point.x, point.y) for point in points] == [(1, 2.0), (3, 4.0)]


@pytest.mark.parametrize("made", BOTH)
def test_strings(made: Any) -> None:
    text = made.Array("c", 8)
    text.value = b"abc"
    assert (text.value, text.raw, len(text)) == (b"abc", b"abc\0\0\0\0\0", 8)
    text.raw = b"01234567"
    assert text[2:4] == b"23"
    with pytest.raises(ValueError):
        text.value = b"123456789"
    assert made.Array("c", b"hello").value == b"hello"


@pytest.mark.parametrize("made", BOTH)
def test_locks(made: Any) -> None:
    own = multiprocessing.Lock()
    assert made.Value("i", lock=own).get_lock() is own
    assert made.Array("i", 1, lock=own).get_lock() is own
    for plain in (made.Value("i", lock=False), made.Array("i", 1, lock=False)):
        assert not hasattr(plain, "get_lock")
    for lock in (True, None):
        value = made.Value("i", lock=lock)
        with value.get_lock(), value:  # it is recursive
            value.value += 1
        assert value.acquire() is True
        value.release()
    with pytest.raises(AttributeError, match=r"1\.5 has no method 'acquire'"):
        made.Value("i", lock=1.5)
    with pytest.raises(AttributeError, match="has no method 'acquire'"):
        made.Array("i", 2, lock="x")
    with pytest.raises(AssertionError, match="object already synchronized"):
        made.synchronized(value)


@pytest.mark.parametrize("made", BOTH)
def test_repr(made: Any) -> None:
    assert repr(made.RawValue("i", 3)) == "c_int(3)"
    assert repr(made.Value("i", 3)) == "<Synchronized wrapper for c_int(3)>"


@pytest.mark.parametrize("made", BOTH)
def test_copies_are_their_own(made: Any) -> None:
    for obj in (made.RawValue("i", 3), made.RawArray("d", [1, 2]), made.RawValue(Point, 1, 2)):
        copied = made.copy(obj)
        assert type(copied) is type(obj)
        assert bytes(copied) == bytes(obj)
        ctypes.memset(ctypes.addressof(copied), 0, ctypes.sizeof(copied))
        assert bytes(copied) != bytes(obj)


@pytest.mark.parametrize("make", [mp.RawValue, mp.Value, mp.get_context("spawn").Value])
def test_they_are_shared_by_inheritance_alone(make: Callable[..., Any]) -> None:
    with pytest.raises(RuntimeError, match="only be shared between processes through inheritance"):
        pickle.dumps(make("i"))


@pytest.mark.parametrize("made", BOTH)
def test_sizes_that_cannot_be(made: Any) -> None:
    with pytest.raises((OverflowError, ValueError)):
        made.RawArray("d", 1 << 62)
    with pytest.raises((MemoryError, OSError, OverflowError)):
        made.RawArray("b", 1 << 50)


def test_cells_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="size must not be negative: size=-1"):
        cells.Cell(-1)
    with pytest.raises(OverflowError, match="size must be less than"):
        cells.Cell(1 << 64)


def test_locks_of_the_standard_library_when_most_slots_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert sharedctypes.MOST == QUEUES // 2
    context = mp.get_context("spawn")
    assert isinstance(context.Value("i").get_lock(), mp.synchronize.RLock)
    monkeypatch.setattr(sharedctypes, "MOST", 0)
    value = context.Value("i")
    with value:
        value.value += 1
    assert type(value.get_lock()) is multiprocessing.synchronize.RLock


def test_locks_of_the_standard_library_when_all_slots_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = mp.get_context("spawn")

    def full(*_: Any) -> None:
        raise ShmFullError("full", 1)

    monkeypatch.setattr(type(context), "RLock", full)
    assert type(context.Array("i", 3).get_lock()) is multiprocessing.synchronize.RLock


# --- Memory -------------------------------------------------------------------------------


def test_numpy_shows_them_without_a_copy() -> None:
    array: Any = mp.Array("d", 1000)
    shown = np.frombuffer(array.get_obj())
    shown[:] = 3
    assert array[999] == 3
    assert np.ctypeslib.as_array(array.get_obj()).ctypes.data == shown.ctypes.data
    obj = array.get_obj()
    del array, obj
    gc.collect()
    cells.Cell(8)
    assert shown.sum() == 3000


def test_cells_do_not_overlap_and_are_aligned() -> None:
    sizes = [0, 1, 7, 8, 9, 100, 4096, 16384, 16385, 70000] * 3
    many = [cells.Cell(size) for size in sizes]
    for number, cell in enumerate(many):
        view = cell.create_memoryview()
        assert bytes(view) == bytes(cell._size)
        view[:] = bytes([number + 1]) * cell._size
    for number, cell in enumerate(many):
        assert bytes(cell.create_memoryview()) == bytes([number + 1]) * cell._size
        assert cell._start % cells.ALIGNMENT == 0


def test_a_cell_taken_while_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = cells.Shelf()
    renew, nested = shelf._renew, []

    def interrupted(room: int) -> Any:
        nested.append(shelf.take(8))
        return renew(room)

    monkeypatch.setattr(shelf, "_renew", interrupted)
    memory, start = shelf.take(8)
    assert nested[0][0] is not memory
    assert shelf.take(8) == (memory, start + 8)


def test_hundred_thousand() -> None:
    before = transport.home().arena.stats()["reserved"]
    many = [mp.RawValue("i", number) for number in range(100_000)]
    assert [value.value for value in many[::9999]] == list(range(0, 100_000, 9999))
    assert transport.home().arena.stats()["reserved"] - before < 8 << 20


def test_memory_goes_with_the_last_holder() -> None:
    before = memories()
    for _ in range(300):
        mp.RawArray("d", 1 << 14)
        mp.RawArray("d", 500)
    assert memories() <= before + 2


# --- Other processes ----------------------------------------------------------------------


def change(value: Any, array: Any, raw: Any, text: Any) -> None:
    with value:
        value.value += 1
    shown = np.frombuffer(array.get_obj())
    shown += 1
    raw.x = 9
    text.value = b"child"
    mp.RawValue("i", 77)  # takes memory of the child's own


@pytest.mark.parametrize("method", METHODS)
def test_children_share_them(method: str) -> None:
    context = mp.get_context(method)
    value, array = context.Value("i", 1), context.Array("d", [1.0] * 5000)
    raw, text = context.RawValue(Point, 1, 2), context.Array("c", 10)
    child = context.Process(target=change, args=(value, array, raw, text))
    child.start()
    later = context.RawValue("i", 5)  # beside what the child has
    child.join()
    assert (value.value, set(array), raw.x, text.value) == (2, {2.0}, 9, b"child")
    assert (child.exitcode, later.value) == (0, 5)


def pass_on(conn: Any, value: Any) -> None:
    conn.recv()
    conn.send(value.value)
    value.value = 5
    conn.send(value.value)


@pytest.mark.parametrize("method", METHODS)
def test_they_outlive_their_maker(method: str) -> None:
    """The standard library gives the memory to the next value that is made."""
    context = mp.get_context(method)
    here, there = context.Pipe()
    value = context.RawValue("i", 3)
    child = context.Process(target=pass_on, args=(there, value))
    child.start()
    del value
    gc.collect()
    others = [context.RawValue("i", -1) for _ in range(2000)]
    here.send("look")
    assert (here.recv(), here.recv()) == (3, 5)
    child.join()
    assert {other.value for other in others} == {-1}


def test_forks_in_a_row_take_memory_of_their_own() -> None:
    context = mp.get_context("fork")
    here, there = context.Pipe()
    value = context.RawValue("i", 1)

    def nested(depth: int) -> None:
        mine = context.RawValue("i", depth)
        if depth:
            child = context.Process(target=nested, args=(depth - 1,))
            child.start()
            child.join()
        there.send(mine.value)

    nested(3)
    assert sorted(here.recv() for _ in range(4)) == [0, 1, 2, 3]
    assert value.value == 1
