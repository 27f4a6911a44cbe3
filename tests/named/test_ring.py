"""The named ring: what one process sees."""

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
    IntruderError,
    Memory,
    NameExistsError,
    OutOfRangeError,
    Ring,
    SegmentFormatError,
    StructureNotFoundError,
    WaitTimeoutError,
)

pytestmark = pytest.mark.usefixtures("backend")
PAIR = np.dtype([("id", "i4"), ("value", "f8")], align=True)


def test_moves_one_at_a_time(memory: Memory) -> None:
    ring = Ring(memory, "ring", 3, np.int32)
    assert [ring.try_push(i) for i in range(4)] == [True] * 3 + [False]
    assert (len(ring), ring.full(), ring.empty()) == (3, True, False)
    assert [ring.try_pop("none") for _ in range(4)] == [0, 1, 2, "none"]
    assert (len(ring), ring.full(), ring.empty()) == (0, False, True)
    ring.push(7)
    assert ring.pop() == 7


@pytest.mark.parametrize("dtype", ["u1", "f8", "S5", "V3", PAIR])
def test_moves_many_across_the_end(memory: Memory, dtype: Any) -> None:
    ring = Ring(memory, "ring", 7, dtype)
    raw = np.arange(5 * 10 * ring.dtype.itemsize, dtype=np.uint8)
    values = raw.view(ring.dtype).reshape(10, 5)
    for row in values:
        ring.write(row)
        assert ring.read(100).tobytes() == row.tobytes()
    assert ring.try_write(values.reshape(-1)) == 7
    assert ring.try_read(3).tobytes() == values[0, :3].tobytes()
    out = np.zeros(10, ring.dtype)
    assert ring.read_into(out) == 4
    assert out[:4].tobytes() == values.reshape(-1)[3:7].tobytes()
    assert ring.try_read(3).shape == (0,)


def test_scalars_and_nothing_are_many_too(memory: Memory) -> None:
    ring = Ring(memory, "ring", 4, np.float64)
    ring.write(0.5)
    ring.write([])
    assert ring.try_write([]) == 0
    assert ring.read_into(np.zeros(0)) == 0
    assert ring.read(9).tolist() == [0.5]


def test_windows_are_the_memory_itself(memory: Memory) -> None:
    ring = Ring(memory, "ring", 5, np.int64)
    with ring.reserve(3) as window:
        window[:] = [1, 2, 3]
        assert ring.empty()
    assert len(ring) == 3
    with ring.peek(2) as window:
        assert window.tolist() == [1, 2]
        assert len(ring) == 3
        with pytest.raises(ValueError, match="read-only"):
            window[0] = 4
    assert len(ring) == 1
    with ring.reserve(100) as window:  # as far as the end
        window[:] = [4, 5]
    with ring.reserve(100) as window:  # as far as what is not read
        window[:] = [6, 7]
    assert ring.full()
    with ring.peek(100) as window:
        assert window.tolist() == [3, 4, 5]
    assert ring.read(100).tolist() == [6, 7]


def test_windows_that_fail_change_nothing(memory: Memory) -> None:
    ring = Ring(memory, "ring", 4, np.int64)
    with pytest.raises(ZeroDivisionError), ring.reserve(2) as window:
        window[0] = 1 // int(window[1] * 0)
    assert ring.empty()
    ring.write([1, 2])
    with pytest.raises(ZeroDivisionError), ring.peek(2) as window:
        _ = 1 // int(window[0] - 1)
    assert ring.read(2).tolist() == [1, 2]


def test_windows_notice_somebody_else(memory: Memory) -> None:
    ring, other = Ring(memory, "ring", 4, np.int64), Ring(memory, "ring", dtype=np.int64)
    with pytest.raises(IntruderError, match="written to"), ring.reserve(2):
        other.push(1)
    ring.push(2)
    with pytest.raises(IntruderError, match="read from"), ring.peek(2):
        other.pop()
    assert ring.read(4).tolist() == [2]


def test_times_out(memory: Memory) -> None:
    ring = Ring(memory, "ring", 2, np.int32)
    for reading in (
        lambda: ring.pop(0.01),
        lambda: ring.read(1, 0),
        lambda: ring.read_into(np.zeros(1, np.int32), 0),
        lambda: ring.peek(1, 0).__enter__(),
    ):
        with pytest.raises(WaitTimeoutError, match="no element"):
            reading()
    with pytest.raises(WaitTimeoutError) as caught:
        ring.write([1, 2, 3], timeout=0)
    assert caught.value.done == 2
    for writing in (lambda: ring.push(1, 0.01), lambda: ring.reserve(1, 0).__enter__()):
        with pytest.raises(WaitTimeoutError, match="no room"):
            writing()


def test_refuses_what_the_dtype_cannot_hold(memory: Memory) -> None:
    ring = Ring(memory, "ring", 4, np.uint8)
    for value, error in ((256, OutOfRangeError), (1.5, DTypeError), ("1", DTypeError)):
        with pytest.raises(error, match="value must"):
            ring.push(value)
        with pytest.raises(error, match="values must"):
            ring.write([value])
    with pytest.raises(DTypeError, match="out must"):
        ring.read_into(np.zeros(1))
    for limit in (0, -1):
        for bad in (ring.read, ring.try_read, lambda n: ring.peek(n).__enter__()):
            with pytest.raises(CapacityError, match="at least 1"):
                bad(limit)
    assert ring.empty()


def test_opens_only_what_fits(memory: Memory) -> None:
    with pytest.raises(StructureNotFoundError):
        Ring(memory, "ring", dtype=np.int32)
    Ring.create(memory, "ring", 5, np.int32).push(7)
    with pytest.raises(NameExistsError):
        Ring.create(memory, "ring", 5, np.int32)
    with pytest.raises(CapacityError, match="must be 5"):
        Ring(memory, "ring", 4, np.int32)
    with pytest.raises(DTypeError, match="4 bytes"):
        Ring.open(memory, "ring", np.int64)
    with pytest.raises(DTypeError, match="must be given"):
        Ring(memory, "ring")
    for capacity in (0, -3, 2**30):
        with pytest.raises(CapacityError):
            Ring(memory, "other", capacity, np.int32)
    assert Ring.open(memory, "ring", np.int32).pop() == 7


def header(memory: Memory, write_pos: int, read_pos: int, nbytes: int, elem_size: int) -> None:
    view = memory.view(memory.entry("ring"))
    view[:16].cast("Q")[0], view[:16].cast("Q")[1] = write_pos, read_pos
    view[16:24].cast("I")[0], view[16:24].cast("I")[1] = nbytes, elem_size


@pytest.mark.parametrize(
    "nbytes, elem_size", [(0, 0), (0, 4), (20, 0), (18, 4), (24, 4), (2**32 - 4, 4)]
)
def test_refuses_what_is_no_ring(memory: Memory, nbytes: int, elem_size: int) -> None:
    Ring(memory, "ring", 5, np.int32)
    memory.add("short", 8, lambda view: None)
    header(memory, 0, 0, nbytes, elem_size)
    for name in ("short", "ring"):
        with pytest.raises(SegmentFormatError, match="not a ring"):
            Ring(memory, name, dtype=np.int32)


@pytest.mark.parametrize(
    "write_pos, read_pos",
    [(24, 0), (0, 4), (2, 2), (6, 4), (2**63, 0), (2**64 - 1, 2**64 - 9)],
)
def test_says_that_positions_are_damaged(memory: Memory, write_pos: int, read_pos: int) -> None:
    ring = Ring(memory, "ring", 5, np.int32)
    header(memory, write_pos, read_pos, 20, 4)
    damaged = 0
    for attempt in (
        lambda: ring.try_push(1),
        lambda: ring.try_write([1, 2]),
        lambda: ring.write([1], 0),
        lambda: ring.try_pop(),
        lambda: ring.try_read(5),
        lambda: ring.pop(0),
        lambda: ring.peek(1, 0).__enter__(),
    ):
        try:
            attempt()
        except SegmentFormatError:
            damaged += 1
        except WaitTimeoutError:
            pass
    assert damaged > 0
    assert 0 <= len(ring) <= 5


def test_closes_pickles_and_shows_itself(memory: Memory) -> None:
    with Ring(memory, "ring", 4, np.int32) as ring:
        ring.push(1)
        assert repr(ring) == "<Ring 'ring', size=1/4, dtype=int32>"
        assert pickle.loads(pickle.dumps(ring)).pop() == 1
        assert ring
    assert ring.closed
    assert repr(ring) == "<Ring 'ring', closed>"
    with pytest.raises(ClosedError):
        ring.try_push(1)


@pytest.mark.parametrize("golden", golden_names("ring"))
def test_golden_segments(golden: str, segment_name: str) -> None:
    write_segment(segment_name, golden_bytes(golden))
    with Memory(segment_name) as mem:
        for known in golden_facts(golden)["structures"]:
            ring = Ring(mem, known["name"], dtype=known["type"])
            assert (ring.capacity, ring.full()) == (known["capacity_elements"], known["full"])
            assert ring.read(100).tolist() == known["read_order"]
        mem.unlink()


@pytest.mark.parametrize("golden", golden_names("ring"))
def test_golden_bytes(golden: str, make_memory: Callable[..., Memory]) -> None:
    facts = golden_facts(golden)
    mem = make_memory(facts["segment_size"], max_entries=facts["table"]["word_at_12"])
    for known in facts["structures"]:
        ring = Ring(mem, known["name"], known["capacity_elements"], known["type"])
        size = ring.dtype.itemsize
        ring.write(np.arange(known["write_pos"] // size) * 3 - 5)
        ring.read(known["read_pos"] // size)
    assert differing(golden, read_segment(mem.name)) == []
