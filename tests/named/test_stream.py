"""Streams and flows: values from one process to another, and what is made of them."""

from __future__ import annotations

import contextlib
import doctest
import itertools
import os
import pickle
import signal
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zeroipc.event_stream
import zeroipc.flow
import zeroipc.stream
from tests.support.golden import (
    differing,
    golden_bytes,
    golden_facts,
    golden_names,
    read_segment,
    write_segment,
)
from tests.support.leaks import PREFIX
from tests.support.named import MIXED, crew, using
from zeroipc import (
    CapacityError,
    ClosedChannelError,
    ClosedError,
    DTypeError,
    EventStream,
    Flow,
    Memory,
    NameExistsError,
    NameTooLongError,
    OutOfRangeError,
    SegmentFormatError,
    Stream,
    StructureNotFoundError,
    WaitTimeoutError,
)

pytestmark = pytest.mark.usefixtures("backend")


# --- streams ---


def test_values_arrive_in_order_and_are_counted(memory: Memory) -> None:
    ticks = Stream(memory, "ticks", 3, "i4")
    assert [ticks.try_emit(i) for i in range(4)] == [True, True, True, False]
    with pytest.raises(WaitTimeoutError, match="no room"):
        ticks.emit(9, timeout=0.01)
    assert (len(ticks), ticks.sequence) == (3, 3)
    assert [ticks.next(), ticks.next(0), ticks.try_next()] == [0, 1, 2]
    assert ticks.try_next("none") == "none"
    with pytest.raises(WaitTimeoutError, match="no value"):
        ticks.next(timeout=0.01)
    assert (len(ticks), ticks.sequence) == (0, 3)


def test_a_closed_stream_can_be_read_to_its_end(memory: Memory) -> None:
    ticks = Stream(memory, "ticks", 4, "S2")
    ticks.emit_all([b"a", b"b"])
    Stream.open(memory, "ticks", "S2").close()
    for emit in (ticks.emit, ticks.try_emit):
        with pytest.raises(ClosedChannelError):
            emit(b"c")
    assert list(ticks) == [b"a", b"b"]
    for read in (ticks.next, ticks.try_next):
        with pytest.raises(EOFError, match="nothing is left"):
            read()


def test_closing_wakes_both_sides(memory: Memory) -> None:
    for name, work in (("reads", list), ("emits", lambda stream: stream.emit_all(range(9)))):
        stream = Stream(memory, name, 2, "i4")
        ended: list[str] = []

        def run(stream: Stream = stream, work: Any = work, ended: list[str] = ended) -> None:
            with contextlib.suppress(ClosedChannelError):
                work(stream)
            ended.append("well")

        thread = threading.Thread(target=run)
        thread.start()
        if name == "emits":
            while len(stream) < 2:
                os.sched_yield()
        stream.close()
        thread.join()
        assert ended == ["well"]


def test_subscribers_are_counted(memory: Memory) -> None:
    ticks = Stream(memory, "ticks", 4, "i4")
    ticks.emit_all([1, 2])
    with ticks.subscribe() as same:
        assert (same, ticks.subscribers) == (ticks, 1)
        reading = iter(ticks)
        assert (next(reading), ticks.subscribers) == (1, 2)
        reading.close()  # type: ignore[attr-defined]
    assert ticks.subscribers == 0


def test_takes_from_the_stream_only_what_is_asked_for(memory: Memory) -> None:
    ticks = Stream(memory, "ticks", 16, "i4")
    ticks.emit_all(range(10))
    doubled = ticks.map(lambda tick: tick * 2)
    assert len(ticks) == 10
    assert list(doubled.take(2)) == [0, 2]
    assert len(ticks) == 8
    assert list(ticks.filter(lambda tick: tick % 2).take(2)) == [3, 5]
    assert next(ticks.skip(1)) == 7
    assert next(ticks.zip("ab")) == (8, "a")
    assert len(ticks) == 1
    ticks.emit_all([10, 11, 12])
    assert next(ticks.window(2)) == (9, 10)
    ticks.close()
    assert ticks.fold(lambda a, b: a * b, 1) == 132


def test_opens_only_what_fits(memory: Memory) -> None:
    with pytest.raises(StructureNotFoundError):
        Stream(memory, "ticks", dtype="i4")
    Stream.create(memory, "ticks", 4, "i4")
    with pytest.raises(NameExistsError):
        Stream.create(memory, "ticks", 4, "i4")
    with pytest.raises(CapacityError, match="must be 4"):
        Stream(memory, "ticks", 5, "i4")
    with pytest.raises(DTypeError):
        Stream.open(memory, "ticks", "i8")
    with pytest.raises(CapacityError):
        Stream(memory, "none", 0, "i4")
    with pytest.raises(NameTooLongError):
        Stream(memory, "a" * 25, 4, "i4")
    with pytest.raises(OutOfRangeError):
        Stream(memory, "ticks", 4, "i4").emit(2**31)
    zeroipc.Channel(memory, "channel", 4, "i4")
    with pytest.raises(SegmentFormatError):
        Stream.open(memory, "channel", "i4")
    assert Stream(memory, "a" * 24, 4, "i4").capacity == 4


def test_detaches_pickles_and_shows_itself(memory: Memory) -> None:
    with Stream(memory, "ticks", 4, "i4") as ticks:
        assert repr(ticks) == "<Stream 'ticks', size=0/4, dtype=int32>"
        pickle.loads(pickle.dumps(ticks)).emit(3)
        assert ticks.next() == 3
    assert not Stream.open(memory, "ticks", "i4").closed
    for use in (ticks.next, ticks.close, lambda: ticks.emit(1)):
        with pytest.raises(ClosedError):
            use()


STEPS = st.lists(st.one_of(st.integers(0, 255), st.sampled_from(["next", "close"])), max_size=25)


@given(steps=STEPS, capacity=st.integers(1, 4))
def test_is_a_bounded_deque_that_can_be_closed(steps: list[Any], capacity: int) -> None:
    mems = [Memory.create(f"{PREFIX}stream-{i}", 8192) for i in range(2)]
    handles = []
    for backend in MIXED:
        with using(backend):
            handles.append([Stream(mem, "ticks", capacity, "u1") for mem in mems])
    model: deque[int] = deque()
    closed = False
    try:
        for number, step in enumerate(steps):
            answers = [apply(stream, step) for stream in (handles[number % 2][0], handles[1][1])]
            assert answers == [wanted(step, model, capacity, closed)] * 2
            closed = closed or step == "close"
        assert bytes(mems[0].buf) == bytes(mems[1].buf)
    finally:
        for mem in mems:
            mem.close()
            mem.unlink()


def apply(stream: Stream, step: Any) -> Any:
    try:
        if step == "close":
            return stream.close()
        return stream.try_next() if step == "next" else stream.try_emit(step)
    except ClosedChannelError:
        return "closed"


def wanted(step: Any, model: deque[int], capacity: int, closed: bool) -> Any:
    if step == "close":
        return None
    if step == "next":
        return model.popleft() if model else "closed" if closed else None
    if closed:
        return "closed"
    if len(model) == capacity:
        return False
    model.append(step)
    return True


# --- several processes ---


def test_everything_arrives_once_and_in_order(memory: Memory) -> None:
    ticks = Stream(memory, "ticks", 4, "i8")
    with crew() as others:
        others.start(emit_range, memory.name, 3000)
        others.start(read_to_the_end, memory.name)
        sent, received = others.results()
    assert received == list(range(sent))
    assert (ticks.sequence, ticks.subscribers) == (3000, 0)


def emit_range(name: str, count: int) -> int:
    ticks = Stream.open(Memory(name), "ticks", "i8")
    ticks.emit_all(Flow(itertools.count()).take(count))
    ticks.close()
    return count


def read_to_the_end(name: str) -> list[int]:
    return list(Stream.open(Memory(name), "ticks", "i8"))


def test_another_takes_the_place_of_a_dead_producer(memory: Memory) -> None:
    ticks = Stream(memory, "ticks", 4, "i8")
    seen = -1
    for turn in range(6):
        with crew() as others:
            victim = others.start(emit_for_ever, memory.name, turn * 10**6)
            deadline = time.monotonic() + 0.02 * turn
            while time.monotonic() < deadline:
                value = ticks.next(timeout=30)
                assert value > seen
                seen = value
            os.kill(victim.pid, signal.SIGKILL)
            victim.join()
        while (value := ticks.try_next(-1)) != -1:
            assert value > seen
            seen = value
    ticks.emit(10**9)
    assert ticks.next() == 10**9


def emit_for_ever(name: str, start: int) -> None:
    Stream.open(Memory(name), "ticks", "i8").emit_all(itertools.count(start))


# --- events ---


def test_events_are_counted(memory: Memory) -> None:
    events = EventStream(memory, "events")
    with pytest.raises(WaitTimeoutError):
        events.next(timeout=0.01)
    assert [events.emit(), events.emit()] == [1, 2]
    assert (events.count, events.next(seen=0)) == (2, 2)
    assert repr(events) == "<EventStream 'events', count=2>"
    assert pickle.loads(pickle.dumps(events)).emit() == 3
    with pytest.raises(NameExistsError):
        EventStream.create(memory, "events")
    with pytest.raises(StructureNotFoundError):
        EventStream.open(memory, "others")
    assert bytes(memory.view(memory.entry("events"))) == struct.pack("<QB7x", 3, 0)
    events.close()
    assert bytes(memory.view(memory.entry("events"))) == struct.pack("<QB7x", 3, 1)
    assert events.next(seen=2) == 3
    for use in (events.emit, events.next):
        with pytest.raises(ClosedChannelError):
            use()
    Stream(memory, "stream", 3, "i4")
    with pytest.raises(SegmentFormatError, match="not an event stream"):
        EventStream(memory, "stream_header")


def test_every_event_is_seen(memory: Memory) -> None:
    events = EventStream(memory, "events")
    with crew() as readers, crew() as emitters:
        for _ in range(2):
            readers.start(see_all, memory.name)
        while EventStream(memory, "ready").count < 2:
            os.sched_yield()
        for _ in range(2):
            emitters.start(emit_many, memory.name, 500)
        emitters.results()
        events.close()
        assert readers.results() == [list(range(1, 1001))] * 2


def see_all(name: str) -> list[int]:
    mem = Memory(name)
    seen = iter(EventStream(mem, "events"))
    EventStream(mem, "ready").emit()
    return list(seen)


def emit_many(name: str, count: int) -> None:
    events = EventStream(Memory(name), "events")
    for _ in range(count):
        events.emit()


# --- flows ---


def counted() -> Iterator[int]:
    yield from itertools.count()


@given(
    st.lists(st.integers()),
    st.integers(0, 5),
    st.integers(1, 4),
    st.one_of(st.none(), st.integers(1, 6)),
)
def test_flows_are_what_lists_are(
    values: list[int], count: int, size: int, step: int | None
) -> None:
    assert list(Flow(values).take(count)) == values[:count]
    assert list(Flow(values).skip(count)) == values[count:]
    starts = range(0, len(values) - size + 1, step or size)
    assert list(Flow(values).window(size, step)) == [tuple(values[i : i + size]) for i in starts]
    assert list(Flow(values).map(abs).filter(bool)) == [abs(v) for v in values if v]
    assert Flow(values).fold(lambda total, value: total + value, 0) == sum(values)


def test_flows_without_end() -> None:
    powers: Flow[int] = Flow.iterate(lambda value: value * 2, 1)
    assert list(powers.zip(Flow(counted()).skip(3)).take(3)) == [(1, 3), (2, 4), (4, 5)]
    assert next(Flow(counted()).map(np.sqrt).filter(lambda root: root > 3)) == np.sqrt(10)
    for size, step in ((0, None), (1, 0), (-1, 2)):
        with pytest.raises(CapacityError, match="at least 1"):
            Flow(counted()).window(size, step)


# --- bytes ---


@pytest.mark.parametrize("golden", golden_names("stream"))
def test_golden_segments(golden: str, segment_name: str) -> None:
    write_segment(segment_name, golden_bytes(golden))
    with Memory(segment_name) as mem:
        for known in golden_facts(golden)["structures"]:
            stream = Stream(mem, known["name"], known["buffer_capacity"], known["type"])
            assert (stream.sequence, stream.closed) == (known["sequence"], known["closed"])
            assert [stream.next() for _ in range(len(stream))] == known["read_order"]
        mem.unlink()


@pytest.mark.parametrize("golden", golden_names("stream"))
def test_golden_bytes(golden: str, make_memory: Callable[..., Memory]) -> None:
    facts = golden_facts(golden)
    mem = make_memory(facts["segment_size"], max_entries=facts["table"]["word_at_12"])
    for known in facts["structures"]:
        stream = Stream(mem, known["name"], known["buffer_capacity"], known["type"])
        stream.emit_all([0, *known["read_order"]])
        assert stream.next() == 0
    assert differing(golden, read_segment(mem.name)) == []


@pytest.mark.parametrize(
    "module",
    [zeroipc.stream, zeroipc.event_stream, zeroipc.flow],
    ids=lambda module: module.__name__,
)
def test_the_examples(module: Any) -> None:
    assert doctest.testmod(module).failed == 0
