"""Arrays over blocks that are put: which of them move, and what becomes of both sides.

A loan is an array over a block that this process has allocated. Where nothing else shows it, it
moves with the message: nothing is copied, whatever its size. What was received is copied.
"""

from __future__ import annotations

from queue import Full
from typing import Any

import numpy as np
import pytest

from tests.support.arenas import BACKENDS, PAIRS, File, Line, queue_of
from zeroipc._core.layout import MESSAGE_BLOCKS
from zeroipc.errors import MovedError, ShmFullError

BIG = 30_000


@pytest.fixture(params=PAIRS, ids="-".join)
def line(request: pytest.FixtureRequest) -> Line:
    return Line(*request.param)


def block_of(array: Any) -> int:
    """Return the number of the block that *array* shows."""
    number: int = array.base.base.id
    return number


# --- Alone in a message -------------------------------------------------------------------


def loan(arena: Any, nelem: int = BIG) -> Any:
    """Return an array over a block, as zeroipc.mp.empty makes it."""
    array = np.ndarray((nelem,), float, arena.allocate(8 * nelem)).view()
    array[:] = np.arange(nelem)
    return array


def test_a_whole_loan_moves(line: Line) -> None:
    before = line.live()
    array = loan(line.arena)
    found = line.send(array)
    assert line.live() == before + 1  # the very same block
    assert not array.flags.writeable
    assert found.flags.writeable
    assert np.array_equal(found, np.arange(BIG))
    found[0] = 99
    assert array[0] == 99
    with pytest.raises(MovedError, match="the array was moved"):
        line.out.put(array)
    del found
    assert line.live() == before
    assert array[0] == 99  # pinned by its lender, and so not handed out again
    another = loan(line.arena)
    assert another.ctypes.data != array.ctypes.data


@pytest.mark.parametrize("lent", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_a_received_array_stays_what_it_is(line: Line, lent: bool, inside: bool) -> None:
    """Whoever got it may put it into several queues, and goes on using it."""
    array = loan(line.arena) if lent else np.arange(float(BIG))
    found = line.send({"a": array})["a"] if inside else line.send(array)
    back = queue_of(line.sender, line.arena)
    there = queue_of(line.receiver, line.other, back._handle[1:])
    for number in range(4):
        found[0] = number
        there.put([found, "on"] if number % 2 else found)
    got = [back.get() for _ in range(4)]
    assert [item[0][0] if number % 2 else item[0] for number, item in enumerate(got)] == [
        0,
        1,
        2,
        3,
    ]
    assert found.flags.writeable
    assert np.array_equal(found[1:], np.arange(1, BIG))
    assert block_of(got[0]) != block_of(found)


@pytest.mark.parametrize("shown", ["slice", "view", "memoryview", "reshaped", "short", "frozen"])
def test_what_is_no_whole_loan_is_copied(line: Line, shown: str) -> None:
    array = loan(line.arena, 400 if shown == "short" else BIG)
    keep: Any = None
    sent = array
    if shown == "slice":
        sent = array[1:]
    elif shown == "view":
        keep = array[1:]
    elif shown == "memoryview":
        keep = memoryview(array.base.base)
    elif shown == "reshaped":
        keep = array.reshape(10, -1)
    elif shown == "frozen":
        array.setflags(write=False)
    found = line.send(sent)
    assert np.array_equal(found, sent)
    assert array.flags.writeable == (shown != "frozen")
    if shown != "frozen":
        array[:] = 0
        assert found.sum() > 0
    del keep


def test_a_loan_that_was_not_sent_stays_what_it_was() -> None:
    for backend in BACKENDS:
        file = File()
        arena = file.create(backend)
        queue = queue_of(backend, arena, maxsize=1)
        queue.put(1)
        array = loan(arena)
        with pytest.raises(Full):
            queue.put(array, False)
        assert array.flags.writeable
        queue.get()
        queue.put(array)
        assert not array.flags.writeable


# --- Inside other objects -----------------------------------------------------------------


class Holder:
    """An object of the program."""

    def __init__(self, array: Any) -> None:
        self.array = array


@pytest.mark.parametrize("into", ["tuple", "list", "dict", "deep", "object"])
def test_a_loan_inside_an_object_moves(line: Line, into: str) -> None:
    before = line.live()
    array = loan(line.arena)
    block = block_of(array)
    forms: dict[str, tuple[Any, Any]] = {
        "tuple": (lambda a: (1, a), lambda o: o[1]),
        "list": (lambda a: [a], lambda o: o[0]),
        "dict": (lambda a: {"a": a, "b": 2}, lambda o: o["a"]),
        "deep": (lambda a: [{"x": ((a,), "y")}], lambda o: o[0]["x"][0][0]),
        "object": (Holder, lambda o: o.array),
    }
    pack, unpack = forms[into]
    found = unpack(line.send(pack(array)))
    assert line.live() == before + 1  # nothing was copied
    assert block_of(found) == block
    assert found.flags.writeable
    assert not array.flags.writeable
    assert np.array_equal(found, np.arange(BIG))
    found[7] = -1
    assert array[7] == -1  # the same memory
    for again in (array, (array,), {"slice": array[5:9]}, [array[::2]]):
        with pytest.raises(MovedError, match="the array was moved"):
            line.out.put(again)
    del found
    assert line.live() == before
    assert array[7] == -1  # pinned by its lender, and so not handed out again
    another = loan(line.arena)
    assert block_of(another) != block
    del array, again, another
    more = [loan(line.arena) for _ in range(3)]
    assert block in [block_of(other) for other in more]


@pytest.mark.parametrize("nbytes", [4104, 1 << 16, 1 << 20, 20 << 20])
def test_no_size_is_copied(line: Line, nbytes: int) -> None:
    array = loan(line.arena, nbytes // 8)
    block, reserved = block_of(array), line.arena.stats()["reserved"]
    found = line.send((array, "tag"))[0]
    assert block_of(found) == block
    assert line.arena.stats()["reserved"] <= reserved + (1 << 16)
    assert found[-1] == nbytes // 8 - 1


@pytest.mark.parametrize("kind", ["fortran", "matrix", "slice", "structured", "big endian"])
def test_loans_of_any_form_move(line: Line, kind: str) -> None:
    memory = line.arena.allocate(8 * BIG)
    if kind == "fortran":
        array = np.ndarray((100, 300), float, memory, order="F").view()
    elif kind == "structured":
        array = np.ndarray((BIG // 2,), [("x", "f8"), ("n", "i4", (2,))], memory).view()
    elif kind == "big endian":
        array = np.ndarray((BIG,), ">f8", memory).view()
    else:
        array = np.ndarray((100, 300), float, memory).view()
    array[...] = np.ones(array.shape, array.dtype)
    if kind == "slice":
        array = array[30:70]  # the only array that is left
    block = memory.id
    del memory
    found = line.send([array, 0])[0]
    assert block_of(found) == block
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.flags.fnc == array.flags.fnc
    assert np.array_equal(found, np.ones(array.shape, array.dtype))
    assert not array.flags.writeable


def test_many_loans_in_one_message(line: Line) -> None:
    """As many move as the record has room for; the others are copied into one block."""
    before = line.live()
    arrays = [loan(line.arena) for _ in range(MESSAGE_BLOCKS + 4)]
    blocks = [block_of(array) for array in arrays]
    found = line.send([*arrays, np.zeros(BIG)])
    moved = MESSAGE_BLOCKS - 1
    assert [block_of(array) for array in found[:moved]] == blocks[:moved]
    assert [array.flags.writeable for array in arrays] == [False] * moved + [True] * 5
    assert all(np.array_equal(array, np.arange(BIG)) for array in found[:-1])
    for array in arrays[moved:]:
        array[:] = 0
    assert all(array[1] == 1 for array in found[:-1])
    assert all(array.flags.writeable for array in found)
    assert line.live() == before + len(arrays) + 1
    del array, arrays, found
    assert line.live() == before


def test_a_loan_with_a_long_pickle(line: Line) -> None:
    array, numbers = loan(line.arena), list(range(50_000))
    block = block_of(array)
    found = line.send((numbers, array, np.ones(BIG), numbers))
    assert found[0] == numbers
    assert found[0] is found[3]
    assert block_of(found[1]) == block
    assert found[2].sum() == BIG


def test_a_loan_with_queues(line: Line) -> None:
    """Blocks that only name queues come before loans."""

    class Named:
        def __init__(self) -> None:
            self.queue = queue_of(line.sender, line.arena)

        def __reduce__(self) -> Any:
            from tests.support.arenas import core

            assert core(line.sender).send_handle(self.queue) is True
            return int, ()

    array = loan(line.arena)
    block = block_of(array)
    live = line.live()
    found = line.send([Named(), array, Named(), np.ones(BIG)])
    assert block_of(found[1]) == block
    assert found[3].sum() == BIG
    del found
    assert line.live() <= live + 1


def test_the_same_loan_twice_arrives_as_one(line: Line) -> None:
    array = loan(line.arena)
    block = block_of(array)
    found = line.send([array, array])
    assert found[0] is found[1]
    assert block_of(found[0]) == block


class Twice:
    """Sends the buffer of one array twice."""

    def __init__(self, *buffers: Any) -> None:
        self.buffers = buffers

    def __reduce_ex__(self, protocol: Any) -> Any:
        from pickle import PickleBuffer

        return Twice, tuple(map(PickleBuffer, self.buffers))


def test_the_second_buffer_of_a_loan_is_copied(line: Line) -> None:
    array = loan(line.arena)
    one, other = line.send(Twice(array, array)).buffers
    assert [memoryview(part).readonly for part in (one, other)] == [False, False]
    memoryview(one)[:8] = b"\xff" * 8
    assert bytes(other[:8]) == bytes(8)


@pytest.mark.parametrize("shown", ["slice", "view", "both", "memoryview", "short", "frozen"])
def test_what_is_no_whole_loan_is_copied_inside_an_object(line: Line, shown: str) -> None:
    array = loan(line.arena, 400 if shown == "short" else BIG)
    keep: Any = None
    sent = [array]
    if shown == "slice":
        sent = [array[1:]]
    elif shown == "view":
        keep = array[1:]
    elif shown == "both":
        sent = [array, array.reshape(10, -1)]
    elif shown == "memoryview":
        keep = memoryview(array.base.base)
    elif shown == "frozen":
        array.setflags(write=False)
    found = line.send(sent)
    assert all(np.array_equal(one, other) for one, other in zip(found, sent, strict=True))
    assert array.flags.writeable == (shown != "frozen")
    if shown != "frozen":
        array[:] = 0
        assert found[0].sum() > 0
    del keep


def test_a_subclass_of_ndarray_is_copied(line: Line) -> None:
    array = loan(line.arena).view(np.matrix)
    found = line.send([array])[0]
    assert type(found) is np.matrix
    assert array.flags.writeable


def unpicklable() -> Any:
    return lambda: None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("why", ["full", "unpicklable", "no memory", "moved"])
def test_a_message_that_was_not_sent_leaves_its_loans(backend: str, why: str) -> None:
    file = File()
    arena = file.create(backend, limit=32 << 20)
    queue = queue_of(backend, arena, maxsize=1)
    arrays: list[Any] = [loan(arena) for _ in range(3)]
    gone = loan(arena)
    queue.put(gone)
    if why != "full":
        queue.get()
    live = arena.stats()["blocks_live"]
    extra = {
        "full": (0, Full),
        "unpicklable": (unpicklable(), TypeError),
        "no memory": (np.zeros(4 << 20), ShmFullError),
        "moved": (gone, MovedError),
    }[why]
    for _ in range(2):
        with pytest.raises(extra[1]):
            queue.put([*arrays, extra[0]], False)
    assert arena.stats()["blocks_live"] == live
    for array in arrays:
        array[0] = 5
    if why == "full":
        queue.get()
    blocks = [block_of(array) for array in arrays]
    queue.put(arrays)
    assert not any(array.flags.writeable for array in arrays)
    found = queue.get()
    assert [block_of(array) for array in found] == blocks
    assert [array[0] for array in found] == [5, 5, 5]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_message_that_is_taken_back_gives_up_its_loans(backend: str) -> None:
    file = File()
    arena = file.create(backend)
    queue = queue_of(backend, arena)
    live = arena.stats()["blocks_live"]
    item, _ = queue._put_task([loan(arena), loan(arena)])
    assert queue._cancel(item)
    queue.put("next")
    assert queue.get() == "next"
    assert arena.stats()["blocks_live"] == live
