"""Channels shared with another implementation: with a buffer, and from hand to hand."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from tests.support.peer import Peer
from zeroipc import Channel, ClosedChannelError, Memory, WaitTimeoutError

pytestmark = pytest.mark.usefixtures("backend")
StartPeer = Callable[..., Peer]
COUNT = 300
WIDE = np.dtype([("words", "i8", 24)], align=True)  # the peer's "r24"
CLAIMING, ALONE = 1, 0
"""Whether the peer claims its side, as ours do, or is alone on it, as programs in C++ are."""
each_capacity = pytest.mark.parametrize("capacity", [0, 2, 16])
each_way = pytest.mark.parametrize("sides", [(ALONE,), (CLAIMING,), (CLAIMING, CLAIMING)])


def wide(value: int) -> Any:
    return np.array(([value] * 24,), WIDE)[()]


def whole(item: Any) -> int:
    assert len(set(item["words"].tolist())) == 1
    return int(item["words"][0])


def parts(capacity: int) -> list[str]:
    return ["header", "buffer" if capacity else "slot"]


@each_capacity
@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "f8"])
def test_both_make_the_same_bytes(memory: Memory, peer: Peer, capacity: int, dtype: str) -> None:
    ours = Channel(memory, "ours", capacity, dtype)
    peer.ask("channel.create", "theirs", capacity, dtype)
    wanted = [f"{name}_{part}" for name in ("ours", "theirs") for part in parts(capacity)]
    assert peer.ask("names") == wanted
    theirs = Channel.open(memory, "theirs", dtype)
    assert theirs.capacity == ours.capacity == capacity
    for channel in (ours, theirs):
        peer.start("channel.receive", channel.name, dtype, ALONE, 1, 0)
        channel.send(-7)
        assert peer.answer() == ["1", "-7"]
        peer.start("channel.send", channel.name, dtype, ALONE, 5, 1)
        assert channel.recv() == 5
        assert peer.answer() == ["1"]
    for part in parts(capacity):
        assert peer.ask("bytes", f"ours_{part}") == peer.ask("bytes", f"theirs_{part}")


@each_capacity
@each_way
def test_values_from_the_peer(
    memory: Memory, start_peer: StartPeer, capacity: int, sides: tuple[int, ...]
) -> None:
    channel = Channel(memory, "values", capacity, WIDE)
    senders = [start_peer(memory) for _ in sides]
    for number, (sender, claiming) in enumerate(zip(senders, sides, strict=True)):
        sender.start("channel.send", "values", "r24", claiming, number * COUNT, COUNT)
    found = [whole(channel.recv()) for _ in range(len(sides) * COUNT)]
    assert [sender.answer() for sender in senders] == [[str(COUNT)]] * len(sides)
    for number in range(len(sides)):
        mine = [value for value in found if value // COUNT == number]
        assert mine == list(range(number * COUNT, (number + 1) * COUNT))


@each_capacity
@each_way
def test_values_for_the_peer(
    memory: Memory, start_peer: StartPeer, capacity: int, sides: tuple[int, ...]
) -> None:
    channel = Channel(memory, "values", capacity, WIDE)
    receivers = [start_peer(memory) for _ in sides]
    for receiver, claiming in zip(receivers, sides, strict=True):
        receiver.start("channel.receive", "values", "r24", claiming, 10**9, COUNT)
    for i in range(COUNT):
        channel.send(wide(i))
    channel.close()
    answers = [list(map(int, receiver.answer())) for receiver in receivers]
    assert sum(count for count, _ in answers) == COUNT
    assert sum(total for _, total in answers) == sum(range(COUNT))


@each_capacity
def test_everybody_sends_and_receives(memory: Memory, start_peer: StartPeer, capacity: int) -> None:
    channel = Channel(memory, "values", capacity, np.int64)
    sender, receiver = start_peer(memory), start_peer(memory)
    sender.start("channel.send", "values", "i8", CLAIMING, 0, COUNT)
    receiver.start("channel.receive", "values", "i8", CLAIMING, 10**9, COUNT)
    with ThreadPoolExecutor(1) as pool, closing(channel):
        received = pool.submit(list, channel)
        for i in range(COUNT, 2 * COUNT):
            channel.send(i)
        sender.answer()
        channel.close()
        found = received.result()
    count, total = map(int, receiver.answer())
    assert count + len(found) == 2 * COUNT
    assert total + sum(found) == sum(range(2 * COUNT))
    for number in range(2):
        mine = [value for value in found if value // COUNT == number]
        assert mine == sorted(mine)


@each_capacity
def test_the_peer_closes(memory: Memory, start_peer: StartPeer, capacity: int) -> None:
    channel = Channel(memory, "values", capacity, "i4")
    sender, closer = start_peer(memory), start_peer(memory)
    sender.start("channel.send", "values", "i4", CLAIMING, 0, COUNT)
    with ThreadPoolExecutor(1) as pool, closing(channel):
        received = pool.submit(list, channel)
        assert sender.answer() == [str(COUNT)]
        closer.ask("channel.close", "values")
        assert received.result() == list(range(COUNT))
    with pytest.raises(ClosedChannelError):
        channel.send(1)
    with pytest.raises(ClosedChannelError):
        channel.recv()
    assert closer.ask("channel.send", "values", "i4", CLAIMING, 0, 1) == ["0"]


@each_capacity
def test_python_closes_while_the_peer_waits(memory: Memory, peer: Peer, capacity: int) -> None:
    for claiming in (CLAIMING, ALONE):
        channel = Channel(memory, f"sent-{claiming}", capacity, "i4")
        peer.start("channel.send", channel.name, "i4", claiming, 0, 10**9)
        assert [channel.recv() for _ in range(10)] == list(range(10))
        channel.close()
        # The peer may have sent some more before it saw the end: they were all received.
        sent = int(peer.answer()[0])
        assert sent == 10 + len(list(channel))


def test_a_value_that_is_taken_back_was_not_received(
    memory: Memory, start_peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zeroipc._rendezvous.TAKE_BACK_PATIENCE", 60.0)
    channel = Channel(memory, "values", 0, np.int64)
    receivers = [start_peer(memory) for _ in range(2)]
    for receiver in receivers:
        receiver.start("channel.receive", "values", "i8", CLAIMING, 10**9, 0)
    received = []
    for i in range(1000):
        try:
            channel.send(i, timeout=0.00001 * (i % 10))
        except WaitTimeoutError:
            continue
        received.append(i)
    channel.close()
    answers = [list(map(int, receiver.answer())) for receiver in receivers]
    assert sum(count for count, _ in answers) == len(received)
    assert sum(total for _, total in answers) == sum(received)
