"""Counters that begin again at zero, while both implementations count."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.support.peer import Peer
from zeroipc import Atomic, Function, Memory, Pool, Queue
from zeroipc.sync import Barrier

pytestmark = pytest.mark.usefixtures("backend")
StartPeer = Callable[..., Peer]
LATE = 2**32 - 6
COUNT = 40


def words(memory: Memory, name: str) -> memoryview:
    """Return the first whole 32-bit words of a structure."""
    view = memory.view(memory.entry(name))
    return view[: len(view) // 4 * 4].cast("I")


def make_late_queue(memory: Memory, capacity: int) -> Queue:
    items = Queue(memory, "items", capacity, np.int64)
    view = words(memory, "items")
    view[0] = view[1] = LATE
    for position in range(LATE, LATE + capacity):
        view[4 + 2 * capacity + position % capacity] = position % 2**32
    return items


@pytest.mark.parametrize("capacity", [2, 4, 16])
def test_a_queue(memory: Memory, start_peer: StartPeer, capacity: int) -> None:
    items = make_late_queue(memory, capacity)
    producer, consumer = start_peer(memory), start_peer(memory)
    assert items.empty()
    producer.start("push_range", "queue", "items", "i8", 0, COUNT)
    assert [items.pop() for _ in range(COUNT)] == list(range(COUNT))
    producer.answer()
    items = make_late_queue(memory, capacity)
    consumer.start("pop_count", "queue", "items", "i8", COUNT, COUNT)
    items.push_many(np.arange(COUNT))
    assert consumer.answer() == [str(COUNT), str(sum(range(COUNT)))]
    items = make_late_queue(memory, capacity)
    for i in range(20):
        assert items.try_push(i)
        assert len(items) == 1
        assert producer.ask("pop", "queue", "items", "i8") == [str(i)]


@pytest.mark.parametrize("generation", [2**31 - 3, 2**32 - 3])
def test_a_barrier(memory: Memory, start_peer: StartPeer, generation: int) -> None:
    meeting, before = Barrier(memory, "meeting", 2), Atomic(memory, "before")
    words(memory, "meeting")[1] = generation
    peer = start_peer(memory)
    peer.start("barrier.meet", "meeting", "before", 10)
    for turn in range(1, 11):
        before.fetch_add(1)
        meeting.wait()
        assert before.load() >= 2 * turn
    peer.answer()
    assert words(memory, "meeting")[1] == (generation + 10) % 2**32


def test_a_pool(memory: Memory, start_peer: StartPeer) -> None:
    pool = Pool(memory, "pool", 4, "i8")
    words(memory, "pool")[1] = LATE
    peer = start_peer(memory)
    peer.start("pool.churn", "pool", "i8", 2, 1, COUNT)
    for _ in range(COUNT):
        first, second = pool.allocate(), pool.allocate()
        first.free()
        second.free()
    peer.answer()
    assert len(pool) == 0
    assert words(memory, "pool")[1] == (LATE + 8 * COUNT) % 2**32


def test_a_function(memory: Memory, start_peer: StartPeer) -> None:
    function = Function(memory, "triple", "i4", "i4", slots=1)
    words(memory, "triple")[48:50] = memoryview(bytes([0, 0, 0, 0, 0, 0xFE, 0xFF, 0xFF])).cast("I")
    peer = start_peer(memory)
    peer.start("function.serve", "triple", "i4", "i4", 6)
    assert [function(x) for x in range(6)] == [3 * x + 1 for x in range(6)]
    peer.answer()
    assert words(memory, "triple")[49] == 4 << 8
