"""Queues shared with another implementation, which polls and wakes nobody."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any

import numpy as np
import pytest

from tests.support.peer import Peer
from zeroipc import Memory, Queue

pytestmark = pytest.mark.usefixtures("backend")
StartPeer = Callable[..., Peer]

COUNT = 5000
TRIPLE = np.dtype([("a", "i8"), ("b", "i8"), ("c", "i8")])  # the peer's "r3"
VALUES: list[tuple[str, list[Any]]] = [
    ("i1", [-128, 127]),
    ("u2", [0, 65535]),
    ("i4", [-(2**31), 2**31 - 1]),
    ("u8", [0, 2**64 - 1]),
    ("f4", [0.5, -1.25]),
    ("f8", [0.1, 1e300]),
]


@pytest.mark.parametrize("dtype, values", VALUES)
def test_the_peer_creates(memory: Memory, peer: Peer, dtype: str, values: list[Any]) -> None:
    peer.ask("queue.create", "items", 2, dtype)
    items = Queue(memory, "items", dtype=dtype)
    assert items.capacity == 2
    for value in values:
        peer.ask("queue.push", "items", dtype, value)
    assert peer.number("queue.try_push", "items", dtype, 1) == 0
    assert items.full()
    assert [items.pop(), items.pop()] == values
    assert items.empty()


@pytest.mark.parametrize("dtype, values", VALUES)
def test_python_creates(memory: Memory, peer: Peer, dtype: str, values: list[Any]) -> None:
    items = Queue(memory, "items", 2, dtype)
    for value in values:
        items.push(value)
    for value in values:
        (word,) = peer.ask("queue.pop", "items", dtype)
        assert type(value)(word) == value
    assert peer.ask("queue.try_pop", "items", dtype) == []
    peer.ask("queue.push", "items", dtype, 1)
    assert items.pop() == 1


@pytest.mark.parametrize("capacity", [2, 64])
@pytest.mark.parametrize("dtype, nbytes", [("i1", 1), ("i4", 4), ("i8", 8), (TRIPLE, 24)])
def test_both_make_the_same_bytes(
    memory: Memory, peer: Peer, capacity: int, dtype: Any, nbytes: int
) -> None:
    name = "r3" if nbytes == 24 else dtype
    ours = Queue(memory, "ours", capacity, dtype)
    peer.ask("queue.create", "theirs", capacity, name)
    for i in range(capacity + 1):
        ours.push((i, i, i) if nbytes == 24 else i)
        peer.ask("queue.push", "theirs", name, i)
        ours.pop()
        peer.ask("queue.pop", "theirs", name)
    assert peer.ask("bytes", "ours") == peer.ask("bytes", "theirs")


@pytest.mark.parametrize("capacity", [2, 64])
def test_items_from_the_peer(memory: Memory, start_peer: StartPeer, capacity: int) -> None:
    items = Queue(memory, "items", capacity, TRIPLE)
    producers = [start_peer(memory) for _ in range(2)]
    for number, producer in enumerate(producers):
        producer.start("queue.push_range", "items", "r3", number * COUNT, COUNT)
    found = [items.pop().item() for _ in range(2 * COUNT)]
    for producer in producers:
        producer.answer()
    assert all(a == b == c for a, b, c in found)
    for number in range(2):
        wanted = list(range(number * COUNT, (number + 1) * COUNT))
        assert [a for a, _, _ in found if a // COUNT == number] == wanted
    assert items.empty()


@pytest.mark.parametrize("capacity", [2, 64])
def test_items_for_the_peer(memory: Memory, start_peer: StartPeer, capacity: int) -> None:
    items = Queue(memory, "items", capacity, TRIPLE)
    consumers = [start_peer(memory) for _ in range(2)]
    for consumer in consumers:
        consumer.start("queue.pop_count", "items", "r3", COUNT // 2, COUNT)
    for i in range(COUNT):
        items.push((i, i, i))
    answers = [list(map(int, consumer.answer())) for consumer in consumers]
    assert [count for count, _ in answers] == [COUNT // 2] * 2
    assert sum(total for _, total in answers) == sum(range(COUNT))
    assert items.empty()


def test_everybody_produces_and_consumes(memory: Memory, start_peer: StartPeer) -> None:
    items = Queue(memory, "items", 16, np.int64)
    producer, consumer = start_peer(memory), start_peer(memory)
    producer.start("queue.push_range", "items", "i8", 0, COUNT)
    consumer.start("queue.pop_count", "items", "i8", COUNT, COUNT)
    pusher = Thread(target=lambda: items.push_many(np.arange(COUNT, 2 * COUNT)))
    pusher.start()
    found: list[int] = []
    while len(found) < COUNT:
        found.extend(items.pop_many(min(8, COUNT - len(found))).tolist())
    pusher.join()
    producer.answer()
    count, total = map(int, consumer.answer())
    assert count == COUNT
    assert total + sum(found) == sum(range(2 * COUNT))
    for number in range(2):
        mine = [value for value in found if value // COUNT == number]
        assert mine == sorted(set(mine))
    assert items.empty()


def test_sleepers_notice_who_wakes_nobody(memory: Memory, peer: Peer) -> None:
    """Each waits for the other in turn; only Python's side ever sleeps on a futex."""
    there, back = (Queue(memory, name, 2, np.int64) for name in ("there", "back"))
    peer.start("queue.relay", "there", "back", "i8", 200)
    for i in range(200):
        there.push(i)
        assert back.pop() == i
    peer.answer()


def test_a_full_queue_is_emptied_by_who_wakes_nobody(memory: Memory, peer: Peer) -> None:
    items = Queue(memory, "items", 2, np.int64)
    items.push_many([0, 1])
    pusher = Thread(target=lambda: items.push_many(range(2, 50)))
    pusher.start()
    assert peer.numbers("queue.pop_count", "items", "i8", 50, 50) == [50, sum(range(50))]
    pusher.join()
