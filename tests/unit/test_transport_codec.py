"""Everything that can be sent arrives as it was, whichever twin sends and receives."""

from __future__ import annotations

import math
import pickle
from collections import OrderedDict, namedtuple
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from tests.support.arenas import BACKENDS, PAIRS, File, Line, core, queue_of
from zeroipc.errors import ShmFullError, UnpicklableError

Point = namedtuple("Point", "x y")


@pytest.fixture(params=PAIRS, ids="-".join)
def line(request: pytest.FixtureRequest) -> Line:
    return Line(*request.param)


PLAIN = [
    None,
    True,
    False,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    2**63,
    -(2**63) - 1,
    1 << 1000,
    0.0,
    -0.0,
    math.inf,
    -math.inf,
    5e-324,
    2.5 + 1j,
    "",
    "text",
    "\0",
    "Grüße 𝄞",
    "\ud800 alone",
    "x" * 16384,
    "x" * 16385,
    "é" * 100_000,
    b"",
    b"\0" * 16384,
    b"\1" * 16385,
    b"\2" * 5_000_000,
    bytearray(b"short"),
    bytearray(b"long" * 10_000),
    (),
    [],
    {},
    [1, (2, [3, {"four": 5}])],
    list(range(70)),
    {"k": [None, True, "s", b"b", 1.5]},
    {1, 2},
    frozenset({"a"}),
    Point(1, 2),
    OrderedDict(a=1),
    Decimal("1.5"),
    datetime(2020, 1, 1, tzinfo=UTC),
    timedelta(seconds=1),
    range(5),
    ValueError("no"),
    print,
    Line,
]


@pytest.mark.parametrize("obj", PLAIN, ids=lambda obj: f"{type(obj).__name__}-{str(obj)[:12]!r}")
def test_objects(line: Line, obj: Any) -> None:
    before = line.live()
    found = line.send(obj)
    assert type(found) is type(obj)
    if isinstance(obj, ValueError):
        assert found.args == obj.args
    else:
        assert found == obj
        assert repr(found)[:100] == repr(obj)[:100]
    del found
    assert line.live() == before


def test_nan_and_the_sign_of_zero(line: Line) -> None:
    assert math.isnan(line.send(math.nan))
    assert math.copysign(1, line.send(-0.0)) == -1


def test_a_subclass_stays_one(line: Line) -> None:
    assert type(line.send(np.float64(1.5))) is np.float64
    assert type(line.send(np.bool_(True))) is np.bool_


BIG = 30_000
ARRAYS = {
    "0-d": np.array(3.5),
    "empty": np.zeros((0, 3)),
    "1 byte": np.array([7], np.uint8),
    "short": np.arange(24.0).reshape(2, 3, 4),
    "long": np.arange(float(BIG)),
    "page": np.zeros(4096, np.uint8),
    "fortran": np.asfortranarray(np.arange(float(BIG)).reshape(100, 300)),
    "short fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "strided": np.arange(2 * BIG)[::2],
    "reversed": np.arange(BIG)[::-1],
    "transposed": np.arange(BIG).reshape(10, 30, 100).transpose(2, 0, 1),
    "broadcast": np.broadcast_to(np.arange(100), (300, 100)),
    "bool": np.array([True, False]),
    "half": np.arange(5, dtype=np.float16),
    "complex": np.arange(BIG) * 1j,
    "complex64": np.arange(5, dtype=np.complex64),
    "longdouble": np.arange(5, dtype=np.longdouble),
    "big endian": np.arange(BIG, dtype=">i4"),
    "datetime": np.arange("2020-01", "2020-03", dtype="datetime64[D]"),
    "timedelta": np.arange(BIG).astype("timedelta64[s]"),
    "text": np.array(["a", "bcd"]),
    "bytes": np.array([b"ab", b"c"] * 5000),
    "structured": np.zeros(BIG, [("x", "f8"), ("n", "i4", (3,))]),
    "objects": np.array([1, "two", None], object),
    "many dimensions": np.zeros((1,) * 32),
}
for _dtype in "bBhHiIlLqQfd":
    ARRAYS[f"type {_dtype}"] = np.arange(3, dtype=_dtype)


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(line: Line, name: str) -> None:
    array = ARRAYS[name]
    before = line.live()
    found = line.send(array)
    assert type(found) is np.ndarray
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert np.array_equal(found, array)
    assert found.flags.fnc == (array.flags.fnc and not array.flags.c_contiguous)
    assert found.flags.writeable
    del found
    assert line.live() == before


def test_received_arrays_are_ours_alone(line: Line) -> None:
    source = np.zeros(BIG)
    found = line.send(source)
    found[:] = 1
    assert source.sum() == 0


@pytest.mark.parametrize("nelem", [5, BIG])
def test_readonly_arrays_stay_so(line: Line, nelem: int) -> None:
    array = np.arange(nelem)
    array.setflags(write=False)
    assert not line.send(array).flags.writeable


def test_containers_of_arrays(line: Line) -> None:
    before = line.live()
    nested = {
        "a": [np.arange(BIG), {"b": (np.ones((3, 5000)), np.zeros(3), "x")}],
        "frozen": np.arange(BIG),
        "bytes": bytearray(b"z" * 50_000),
        "long pickle": list(range(100_000)),
    }
    nested["frozen"].setflags(write=False)  # type: ignore[attr-defined]
    found = line.send(nested)
    assert np.array_equal(found["a"][0], np.arange(BIG))
    assert found["a"][0].flags.writeable
    assert np.array_equal(found["a"][1]["b"][0], np.ones((3, 5000)))
    assert not found["frozen"].flags.writeable
    assert found["bytes"] == nested["bytes"]
    assert found["long pickle"] == nested["long pickle"]
    kept = found["a"][1]["b"][0][1]
    del found
    assert kept.sum() == 5000
    assert line.live() == before + 1
    del kept
    assert line.live() == before


class Raw:
    """Sends bare buffers out of band."""

    def __init__(self, *buffers: Any) -> None:
        self.buffers = buffers

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Raw, tuple(map(pickle.PickleBuffer, self.buffers))


def test_bare_buffers(line: Line) -> None:
    found = line.send(Raw(b"q" * 5000, bytearray(b"w" * 5000), b"short"))
    assert [bytes(part) for part in found.buffers] == [b"q" * 5000, b"w" * 5000, b"short"]
    assert [memoryview(part).readonly for part in found.buffers[:2]] == [True, False]
    assert memoryview(found.buffers[1]).format == "B"


def test_many_buffers(line: Line) -> None:
    arrays = [np.full(600, number) for number in range(300)]
    found = line.send(arrays)
    assert all(np.array_equal(one, other) for one, other in zip(arrays, found, strict=True))


def test_a_queue_goes_through_itself() -> None:
    for backend in BACKENDS:
        file = File()
        arena = file.create(backend)
        queue = queue_of(backend, arena)
        assert core(backend).send_handle(queue) is None  # no message is being made
        assert arena.holders(queue._handle[1]) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_cannot_be_pickled(backend: str) -> None:
    file = File()
    arena = file.create(backend)
    queue = queue_of(backend, arena)
    live = arena.stats()["blocks_live"]
    with pytest.raises(UnpicklableError, match=r"obj\['f'\]\[1\]"):
        queue.put({"a": np.arange(BIG), "f": [1, lambda: None]})
    assert queue.qsize() == 0
    assert arena.stats()["blocks_live"] == live


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_message_that_can_never_fit(backend: str) -> None:
    file = File()
    arena = file.create(backend, limit=32 << 20)
    queue = queue_of(backend, arena, maxsize=5)
    with pytest.raises(ShmFullError, match="a message must be smaller than the arena by a six"):
        queue.put(np.zeros(4 << 20))
    assert queue.qsize() == 0
