"""Queues, rings and stacks shared with another implementation, which polls and wakes nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.support.peer import Peer
from zeroipc import Memory, Queue, Ring, Stack

pytestmark = pytest.mark.usefixtures("backend")
StartPeer = Callable[..., Peer]

COUNT = 5000
WIDE = np.dtype([("words", "i8", 24)])  # the peer's "r24": all words are equal, unless it is torn
VALUES: list[tuple[str, list[Any]]] = [
    ("i1", [-128, 127]),
    ("u2", [0, 65535]),
    ("i4", [-(2**31), 2**31 - 1]),
    ("u8", [0, 2**64 - 1]),
    ("f4", [0.5, -1.25]),
    ("f8", [0.1, 1e300]),
]


class Kind(NamedTuple):
    """A structure that is pushed to and popped from."""

    name: str
    type: Any
    sides: int
    """How many producers may work at a time, and how many consumers."""
    order: Callable[[list[Any]], Iterable[Any]]
    """How what was pushed comes back."""
    push_many: str
    pop_many: str
    repairs: bool
    """Whether there is something to repair after a death."""


def reversed_list(items: list[Any]) -> list[Any]:
    return items[::-1]


KINDS = [
    Kind("queue", Queue, 2, list, "push_many", "pop_many", True),
    Kind("stack", Stack, 2, reversed_list, "push_many", "pop_many", True),
    Kind("stack_claiming", Stack, 2, reversed_list, "push_many", "pop_many", True),
    Kind("ring", Ring, 1, list, "write", "read", False),
]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def wide(value: int) -> Any:
    return np.array(([value] * 24,), WIDE)[()]


def whole(item: Any) -> int:
    """Return which number an item of WIDE is, after a look at every word."""
    assert len(set(item["words"].tolist())) == 1
    return int(item["words"][0])


def is_ordered(kind: Kind, found: list[int]) -> bool:
    """Return whether each producer's items came one after the other, where that is promised."""
    if kind.order is not list:
        return True
    parts = [[value for value in found if value // COUNT == number] for number in range(4)]
    return all(part == sorted(part) for part in parts)


@each_kind
@pytest.mark.parametrize("dtype, values", VALUES)
def test_the_peer_creates(
    kind: Kind, memory: Memory, peer: Peer, dtype: str, values: list[Any]
) -> None:
    peer.ask("box.create", kind.name, "items", dtype, 2)
    items = kind.type(memory, "items", dtype=dtype)
    assert items.capacity == 2
    for value in values:
        peer.ask("push", kind.name, "items", dtype, value)
    assert peer.number("try_push", kind.name, "items", dtype, 1) == 0
    assert items.full()
    assert [items.pop(), items.pop()] == kind.order(values)
    assert items.empty()


@each_kind
@pytest.mark.parametrize("dtype, values", VALUES)
def test_python_creates(
    kind: Kind, memory: Memory, peer: Peer, dtype: str, values: list[Any]
) -> None:
    items = kind.type(memory, "items", 2, dtype)
    for value in values:
        items.push(value)
    for value in kind.order(values):
        (word,) = peer.ask("pop", kind.name, "items", dtype)
        assert type(value)(word) == value
    assert peer.ask("try_pop", kind.name, "items", dtype) == []
    peer.ask("push", kind.name, "items", dtype, 1)
    assert items.pop() == 1


@each_kind
@pytest.mark.parametrize("capacity", [2, 64])
@pytest.mark.parametrize("dtype, nbytes", [("i1", 1), ("i4", 4), ("i8", 8), (WIDE, 192)])
def test_both_make_the_same_bytes(
    kind: Kind, memory: Memory, peer: Peer, capacity: int, dtype: Any, nbytes: int
) -> None:
    name = "r24" if nbytes == 192 else dtype
    ours = kind.type(memory, "ours", capacity, dtype)
    peer.ask("box.create", kind.name, "theirs", name, capacity)
    for i in range(capacity + 1):
        ours.push(wide(i) if nbytes == 192 else i)
        peer.ask("push", kind.name, "theirs", name, i)
        if i != 1:
            ours.pop()
            peer.ask("pop", kind.name, "theirs", name)
    assert peer.ask("bytes", "ours") == peer.ask("bytes", "theirs")


@each_kind
@pytest.mark.parametrize("capacity", [2, 64])
def test_items_from_the_peer(
    kind: Kind, memory: Memory, start_peer: StartPeer, capacity: int
) -> None:
    items = kind.type(memory, "items", capacity, WIDE)
    producers = [start_peer(memory) for _ in range(kind.sides)]
    for number, producer in enumerate(producers):
        producer.start("push_range", kind.name, "items", "r24", number * COUNT, COUNT)
    found = [whole(items.pop()) for _ in range(kind.sides * COUNT)]
    for producer in producers:
        producer.answer()
    assert sorted(found) == list(range(kind.sides * COUNT))
    assert is_ordered(kind, found)
    assert items.empty()


@each_kind
@pytest.mark.parametrize("capacity", [2, 64])
def test_items_for_the_peer(
    kind: Kind, memory: Memory, start_peer: StartPeer, capacity: int
) -> None:
    items = kind.type(memory, "items", capacity, WIDE)
    consumers = [start_peer(memory) for _ in range(kind.sides)]
    each, span = COUNT // kind.sides, COUNT if kind.order is list else 0
    for consumer in consumers:
        consumer.start("pop_count", kind.name, "items", "r24", each, span)
    for i in range(COUNT):
        items.push(wide(i))
    answers = [list(map(int, consumer.answer())) for consumer in consumers]
    assert [count for count, _ in answers] == [each] * kind.sides
    assert sum(total for _, total in answers) == sum(range(COUNT))
    assert items.empty()


@each_kind
def test_many_at_a_time(kind: Kind, memory: Memory, start_peer: StartPeer) -> None:
    """The peer's items come in batches, and Python's go in batches."""
    here, there = (kind.type(memory, name, 16, np.int64) for name in ("here", "there"))
    producer, consumer = start_peer(memory), start_peer(memory)
    producer.start("push_range", kind.name, "here", "i8", 0, COUNT)
    span = COUNT if kind.order is list else 0
    consumer.start("pop_count", kind.name, "there", "i8", COUNT, span)
    pusher = Thread(target=getattr(there, kind.push_many), args=(np.arange(COUNT),))
    pusher.start()
    found: list[int] = []
    while len(found) < COUNT:
        found.extend(getattr(here, kind.pop_many)(5).tolist())
    pusher.join()
    producer.answer()
    assert list(map(int, consumer.answer())) == [COUNT, sum(range(COUNT))]
    assert sorted(found) == list(range(COUNT))
    assert is_ordered(kind, found)


@each_kind
def test_everybody_produces_and_consumes(kind: Kind, memory: Memory, start_peer: StartPeer) -> None:
    if kind.sides == 1:
        return
    items = kind.type(memory, "items", 16, np.int64)
    producer, consumer = start_peer(memory), start_peer(memory)
    producer.start("push_range", kind.name, "items", "i8", 0, COUNT)
    span = COUNT if kind.order is list else 0
    consumer.start("pop_count", kind.name, "items", "i8", COUNT, span)
    pusher = Thread(target=lambda: [items.push(i) for i in range(COUNT, 2 * COUNT)])
    pusher.start()
    found = [items.pop() for _ in range(COUNT)]
    pusher.join()
    producer.answer()
    count, total = map(int, consumer.answer())
    assert count == COUNT == len(set(found))
    assert total + sum(found) == sum(range(2 * COUNT))
    assert is_ordered(kind, found)
    assert items.empty()


@each_kind
def test_sleepers_notice_who_wakes_nobody(kind: Kind, memory: Memory, peer: Peer) -> None:
    """Each waits for the other in turn; only Python's side ever sleeps on a futex."""
    there, back = (kind.type(memory, name, 2, np.int64) for name in ("there", "back"))
    peer.start("relay", kind.name, "there", "i8", "back", 200)
    for i in range(200):
        there.push(i)
        assert back.pop() == i
    peer.answer()


@each_kind
def test_a_full_box_is_emptied_by_who_wakes_nobody(kind: Kind, memory: Memory, peer: Peer) -> None:
    items = kind.type(memory, "items", 2, np.int64)
    pusher = Thread(target=getattr(items, kind.push_many), args=(np.arange(50),))
    pusher.start()
    assert peer.numbers("pop_count", kind.name, "items", "i8", 50, 0) == [50, sum(range(50))]
    pusher.join()


@each_kind
def test_a_peer_that_is_killed_in_the_midst(
    kind: Kind, memory: Memory, start_peer: StartPeer
) -> None:
    items = kind.type(memory, "items", 8, WIDE)
    for turn in range(6):
        peer = start_peer(memory)
        peer.start("push_range", kind.name, "items", "r24", 0, 10**9)
        found = [whole(items.pop()) for _ in range(200 + turn)]
        peer.kill()
        found.extend(drained(items))
        if kind.repairs:
            items.repair()
            found.extend(drained(items))
        assert sorted(found) == list(range(len(found)))
        assert items.empty()
    for i in range(20):
        items.push(wide(i))
        assert whole(items.pop()) == i


def drained(items: Any) -> list[int]:
    """Return what can be popped now."""
    found = []
    while (item := items.try_pop()) is not None:
        found.append(whole(item))
    return found


@each_kind
@pytest.mark.parametrize("version, slots", [(1, 64), (2, 1), (2, 2)])
def test_in_old_tables_and_without_room_for_sleepers(
    kind: Kind, make_memory: Callable[..., Memory], start_peer: StartPeer, version: int, slots: int
) -> None:
    memory = make_memory(65536, version=version, max_entries=slots)
    items = kind.type(memory, "items", 2, np.int64)
    peer = start_peer()
    assert peer.numbers("open", memory.name) == [version, 65536, slots]
    for i in range(10):
        with ThreadPoolExecutor(1) as pool:
            waiter = pool.submit(items.pop)
            peer.ask("push", kind.name, "items", "i8", i)
            assert waiter.result() == i
        peer.start("pop", kind.name, "items", "i8")
        items.push(-i)
        assert peer.answer() == [str(-i)]
    assert set(peer.ask("names")) <= {"items", ".wait"}
