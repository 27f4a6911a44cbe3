"""Channels: what one process and its threads see, and bytes."""

from __future__ import annotations

import doctest
import pickle
import queue
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zeroipc.channel
from tests.support.golden import (
    differing,
    golden_bytes,
    golden_facts,
    golden_names,
    read_segment,
    write_segment,
)
from tests.support.leaks import PREFIX
from tests.support.named import MIXED, using
from zeroipc import (
    CapacityError,
    Channel,
    ClosedChannelError,
    ClosedError,
    DTypeError,
    Memory,
    NameExistsError,
    NameTooLongError,
    OutOfRangeError,
    SegmentFormatError,
    StalledError,
    StructureNotFoundError,
    WaitTimeoutError,
    select,
)
from zeroipc._core.status import OK
from zeroipc._rendezvous import Offer, Rendezvous, new_claim

pytestmark = pytest.mark.usefixtures("backend")
PAIR = np.dtype([("id", "i4"), ("value", "f8")], align=True)


def in_thread(function: Callable[[], Any]) -> Callable[[], Any]:
    """Start a thread; return a function that waits for it and gives its result."""
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put(function())
        except BaseException as error:
            results.put(error)

    thread = threading.Thread(target=run)
    thread.start()

    def result() -> Any:
        thread.join()
        value = results.get()
        if isinstance(value, BaseException):
            raise value
        return value

    return result


def words(memory: Memory, name: str) -> tuple[int, int]:
    """Return how many senders and receivers wait."""
    header = memory.view(memory.entry(f"{name}_header")).cast("I")
    return header[1], header[2]


def slot(memory: Memory, name: str) -> memoryview:
    return memory.view(memory.entry(f"{name}_slot"))


def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        threading.Event().wait(0.001)


# --- with a buffer ---


def test_buffers_values_in_order(memory: Memory) -> None:
    values = Channel(memory, "values", 3, "i4")
    assert values.capacity == 4
    assert [values.try_send(i) for i in range(5)] == [True] * 4 + [False]
    with pytest.raises(WaitTimeoutError, match="'values'"):
        values.send(5, timeout=0.01)
    assert len(values) == 4
    assert [values.recv() for _ in range(4)] == [0, 1, 2, 3]
    assert values.try_recv("none") == "none"
    with pytest.raises(WaitTimeoutError):
        values.recv(timeout=0.01)


@pytest.mark.parametrize("dtype, value", [("f8", 0.5), ("S4", b"abc"), ("?", True)])
@pytest.mark.parametrize("capacity", [0, 2])
def test_gives_back_what_was_sent(memory: Memory, capacity: int, dtype: str, value: Any) -> None:
    values = Channel(memory, "values", capacity, dtype)
    received = in_thread(values.recv)
    values.send(value)
    assert received() == value


def test_a_closed_channel_drains(memory: Memory) -> None:
    values = Channel(memory, "values", 4, "i4")
    for i in range(3):
        values.send(i)
    Channel.open(memory, "values", "i4").close()
    assert values.closed
    for send in (values.send, values.try_send):
        with pytest.raises(ClosedChannelError, match="is closed"):
            send(4)
    assert list(values) == [0, 1, 2]
    assert list(values) == []
    for recv in (values.recv, values.try_recv):
        with pytest.raises(EOFError, match="nothing is left"):
            recv()


@pytest.mark.parametrize("capacity", [0, 2])
def test_closing_wakes_who_waits(memory: Memory, capacity: int) -> None:
    values = Channel(memory, "values", capacity, "i4")
    collected = in_thread(lambda: list(values))
    values.send(1)
    values.close()
    assert collected() == [1]
    full = Channel(memory, "full", capacity, "i4")
    for i in range(capacity):
        full.send(i)
    sent = in_thread(lambda: full.send(9))
    full.close()
    with pytest.raises(ClosedChannelError):
        sent()


# --- without ---


def test_a_send_ends_when_the_value_was_received(memory: Memory) -> None:
    values = Channel(memory, "values", 0, "i4")
    assert not values.try_send(1)
    assert values.try_recv() is None
    sent = in_thread(lambda: values.send(7))
    wait_for(lambda: slot(memory, "values")[0] == 1)
    assert words(memory, "values") == (1, 0)
    assert values.recv() == 7
    sent()
    received = in_thread(values.recv)
    wait_for(lambda: words(memory, "values") == (0, 1))
    while not values.try_send(8):
        pass
    assert received() == 8
    assert words(memory, "values") == (0, 0)
    assert bytes(memory.view(memory.entry("values_header"))) == bytes(32)
    assert bytes(slot(memory, "values")) == bytes([0, 1, 0, 0, 8, 0, 0, 0])


def test_what_nobody_takes_is_taken_back(memory: Memory) -> None:
    values = Channel(memory, "values", 0, "i4")
    with pytest.raises(WaitTimeoutError):
        values.send(1, timeout=0.02)
    assert (slot(memory, "values")[0], words(memory, "values")) == (0, (0, 0))
    with pytest.raises(WaitTimeoutError):
        values.recv(timeout=0.01)
    assert words(memory, "values") == (0, 0)


def test_a_receiver_that_is_not_there_any_more(memory: Memory) -> None:
    """One that died while it waited: who tries to send believes it for a moment."""
    values = Channel(memory, "values", 0, "i4")
    memory.view(memory.entry("values_header")).cast("I")[2] = 1
    assert not values.try_send(1)
    assert slot(memory, "values")[0] == 0
    values.repair()
    assert words(memory, "values") == (0, 0)


def send_range(values: Channel, start: int, stop: int) -> None:
    for i in range(start, stop):
        values.send(i)


def test_many_threads_on_both_sides(memory: Memory) -> None:
    values = Channel(memory, "values", 0, "i8")
    receivers = [in_thread(lambda: list(values)) for _ in range(3)]
    senders = [in_thread(partial(send_range, values, n, n + 50)) for n in (0, 50, 100)]
    for sender in senders:
        sender()
    values.close()
    assert sorted(value for receiver in receivers for value in receiver()) == list(range(150))


def test_a_value_of_the_dead_is_delivered(memory: Memory) -> None:
    values = Channel(memory, "values", 0, "i4")
    slot(memory, "values")[:] = bytes([1, 0, 0, 0, 5, 0, 0, 0])
    memory.view(memory.entry("values_header")).cast("Q")[2] = 2**22 - 1  # no such process
    sent = in_thread(lambda: values.send(6))
    assert [values.recv(), values.recv()] == [5, 6]
    sent()


class Amid:
    """A word that after one call of a method, the first, lets something else happen."""

    def __init__(self, word: Any, method: str, happen: Callable[[], object]) -> None:
        self._word, self._method, self._happen = word, method, happen

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._word, name)
        return self._call if name == self._method else method

    def _call(self, *args: Any) -> Any:
        result = getattr(self._word, self._method)(*args)
        if self._happen is not None:
            happen, self._happen = self._happen, None  # type: ignore[assignment]
            happen()
        return result


def test_a_side_given_back_amid_a_claim(memory: Memory) -> None:
    """Who loses the race for a side, and finds it free, must not end what another offers."""
    values = Channel(memory, "values", 0, "i8")
    line, other = values._line, Channel(memory, "values", 0, "i8")._line
    assert isinstance(line, Rendezvous)
    assert isinstance(other, Rendezvous)
    first, offers = Offer(other, bytes(8)), []
    assert first.attempt() is not OK
    claim = new_claim()
    assert other._claim(other._receiving, claim) is OK

    def receive_first() -> None:
        other._consumed.store(1)
        other._ready.store(0)
        assert other._receiving.compare_exchange(claim, 0)
        assert first.end()

    def offer_second() -> None:
        offers.append(Offer(other, bytes([7]) + bytes(7)))
        offers[0].attempt()

    line._receiving = Amid(line._receiving, "compare_exchange", receive_first)
    line._consumed = Amid(line._consumed, "load", offer_second)
    received = [line.try_recv()]
    while not offers:
        offer_second()
    received.append(line.try_recv())
    assert 7 in received
    assert offers[0].attempt() is OK
    assert offers[0].end()


def test_a_receiver_that_died_having_received(memory: Memory) -> None:
    values = Channel(memory, "values", 0, "i4")
    slot(memory, "values")[:] = bytes([1, 1, 0, 0, 5, 0, 0, 0])
    header = memory.view(memory.entry("values_header")).cast("Q")
    header[3] = 2**22 - 1
    assert values.try_recv() is None  # inherits, and finishes
    assert (slot(memory, "values")[0], header[3]) == (0, 0)
    slot(memory, "values")[:2] = bytes([1, 1])  # a peer's, of which nobody knows
    with pytest.raises(StalledError, match="'values'"):
        values.recv()
    values.repair()
    sent = in_thread(lambda: values.send(6))
    assert values.recv() == 6
    sent()


# --- select ---


@pytest.mark.parametrize("capacity", [0, 2])
def test_select_finds_the_one_with_a_value(memory: Memory, capacity: int) -> None:
    channels = [Channel(memory, f"c{i}", capacity, "i4") for i in range(3)]
    with pytest.raises(WaitTimeoutError):
        select(*channels, timeout=0.01)
    for i in (1, 0, 2):
        selected = in_thread(lambda: select(*channels))
        channels[i].send(i * 10)
        assert selected() == (channels[i], i * 10)
    assert [words(memory, f"c{i}") for i in range(3)] == [(0, 0)] * 3


def test_select_ends_when_all_are_closed(memory: Memory) -> None:
    channels = [Channel(memory, f"c{i}", 2, "i4") for i in range(2)]
    channels[0].send(5)
    channels[0].close()
    assert select(*channels) == (channels[0], 5)
    selected = in_thread(lambda: select(*channels))
    channels[1].close()
    with pytest.raises(ClosedChannelError):
        selected()
    with pytest.raises(ValueError, match="at least one"):
        select()


def test_select_over_segments(make_memory: Callable[..., Memory]) -> None:
    channels = [Channel(make_memory(), "c", 2, "i4") for _ in range(2)]
    selected = in_thread(lambda: select(*channels))
    channels[1].send(3)
    assert selected() == (channels[1], 3)


# --- the rest ---


def test_opens_only_what_fits(memory: Memory) -> None:
    with pytest.raises(StructureNotFoundError):
        Channel(memory, "values", dtype="i4")
    Channel.create(memory, "values", 4, "i4")
    Channel.create(memory, "direct", 0, "i4")
    for name in ("values", "direct"):
        with pytest.raises(NameExistsError):
            Channel.create(memory, name, 4 if name == "values" else 0, "i4")
        with pytest.raises(DTypeError):
            Channel.open(memory, name, "V24")
        with pytest.raises(CapacityError, match="exists"):
            Channel(memory, name, 8, "i4")
    with pytest.raises(CapacityError, match="exists"):
        Channel(memory, "values", 0, "i4")
    with pytest.raises(CapacityError):
        Channel(memory, "one", 1, "i4")
    with pytest.raises(NameTooLongError):
        Channel(memory, "a" * 25, 2, "i4")
    assert Channel(memory, "a" * 24, 2, "i4").capacity == 2
    memory.add("bad_header", 16, lambda view: None)
    with pytest.raises(SegmentFormatError, match="not a channel"):
        Channel(memory, "bad", dtype="i4")
    memory.add("half_header", 32, lambda view: view.__setitem__(slice(None), bytes(32)))
    with pytest.raises(SegmentFormatError, match="half_slot"):
        Channel(memory, "half", dtype="i4")


@pytest.mark.parametrize("capacity", [0, 2])
def test_refuses_what_the_dtype_cannot_hold(memory: Memory, capacity: int) -> None:
    values = Channel(memory, "values", capacity, "u1")
    before = bytes(memory.buf)
    for send in (values.send, values.try_send):
        with pytest.raises(OutOfRangeError):
            send(256)
    assert bytes(memory.buf) == before


def test_detaches_pickles_and_shows_itself(memory: Memory) -> None:
    with Channel(memory, "values", 2, "i4") as values:
        assert repr(values) == "<Channel 'values', size=0/2, dtype=int32>"
        pickle.loads(pickle.dumps(values)).send(5)
        assert values.recv() == 5
    assert not Channel(memory, "values", dtype="i4").closed
    for use in (values.recv, values.close, lambda: values.send(1)):
        with pytest.raises(ClosedError, match="is closed"):
            use()
    assert values.closed


STEPS = st.lists(st.one_of(st.integers(0, 255), st.sampled_from(["recv", "close"])), max_size=20)


@given(steps=STEPS, capacity=st.sampled_from([2, 4]))
def test_is_a_bounded_deque_that_can_be_closed(steps: list[Any], capacity: int) -> None:
    mems = [Memory.create(f"{PREFIX}channel-{i}", 8192) for i in range(2)]
    handles = []
    for backend in MIXED:
        with using(backend):
            handles.append([Channel(mem, "values", capacity, "u1") for mem in mems])
    model: deque[int] = deque()
    closed = False
    try:
        for number, step in enumerate(steps):
            for values in (handles[number % 2][0], handles[1][1]):
                check_step(values, step, model, capacity, closed)
            closed = apply_step(step, model, capacity, closed)
        assert bytes(mems[0].buf) == bytes(mems[1].buf)
    finally:
        for mem in mems:
            mem.close()
            mem.unlink()


def check_step(values: Channel, step: Any, model: deque[int], capacity: int, closed: bool) -> None:
    if step == "close":
        values.close()
    elif closed and (step != "recv" or not model):
        with pytest.raises(ClosedChannelError):
            values.try_recv() if step == "recv" else values.try_send(step)
    elif step == "recv":
        assert values.try_recv() == (model[0] if model else None)
    else:
        assert values.try_send(step) == (len(model) < capacity)


def apply_step(step: Any, model: deque[int], capacity: int, closed: bool) -> bool:
    if step == "recv" and model:
        model.popleft()
    elif isinstance(step, int) and not closed and len(model) < capacity:
        model.append(step)
    return closed or step == "close"


@pytest.mark.parametrize("golden", golden_names("channel"))
def test_golden_segments(golden: str, segment_name: str) -> None:
    write_segment(segment_name, golden_bytes(golden))
    with Memory(segment_name) as mem:
        for known in golden_facts(golden)["structures"]:
            values = Channel(mem, known["name"], dtype=known["type"])
            assert (values.capacity, values.closed) == (known["capacity"], known["closed"])
            assert [values.try_recv() for _ in known["recv_order"]] == known["recv_order"]
            assert values.try_recv() is None
        mem.unlink()


@pytest.mark.parametrize("golden", golden_names("channel"))
def test_golden_bytes(golden: str, make_memory: Callable[..., Memory]) -> None:
    facts = golden_facts(golden)
    mem = make_memory(facts["segment_size"], max_entries=facts["table"]["word_at_12"])
    for known in facts["structures"]:
        values = Channel(mem, known["name"], known["requested_capacity"], known["type"])
        for value in (100, *known["recv_order"]):
            values.send(value)
        values.recv()
    assert differing(golden, read_segment(mem.name)) == []


def test_the_example() -> None:
    assert doctest.testmod(zeroipc.channel).failed == 0
