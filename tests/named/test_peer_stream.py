"""Streams shared with another implementation, with and without values."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.support.peer import Peer
from zeroipc import ClosedChannelError, EventStream, Memory, Stream

pytestmark = pytest.mark.usefixtures("backend")
StartPeer = Callable[..., Peer]
COUNT = 3000
each_capacity = pytest.mark.parametrize("capacity", [1, 3, 64])


@each_capacity
def test_both_make_the_same_bytes(memory: Memory, peer: Peer, capacity: int) -> None:
    Stream(memory, "ours", capacity, "i4").emit(5)
    peer.ask("stream.create", "theirs", capacity, "i4")
    peer.ask("stream.emit", "theirs", "i4", 5, 1)
    for part in ("header", "buffer"):
        assert peer.ask("bytes", f"ours_{part}") == peer.ask("bytes", f"theirs_{part}")
    assert Stream.open(memory, "theirs", "i4").next() == 5


@each_capacity
def test_the_peer_reads(memory: Memory, peer: Peer, capacity: int) -> None:
    stream = Stream(memory, "values", capacity, np.int64)
    peer.start("stream.read", "values", "i8", 10**9, COUNT)
    stream.emit_all(range(COUNT))
    stream.close()
    assert peer.answer() == [str(COUNT), str(sum(range(COUNT)))]
    assert peer.numbers("stream.facts", "values") == [COUNT, 0, 1]


@each_capacity
def test_the_peer_emits(memory: Memory, start_peer: StartPeer, capacity: int) -> None:
    peer = start_peer(memory)
    peer.ask("stream.create", "values", capacity, "i8")
    stream = Stream(memory, "values", dtype=np.int64)
    peer.start("stream.emit", "values", "i8", 0, COUNT)
    with ThreadPoolExecutor(1) as pool:
        everything = pool.submit(list, stream)
        assert peer.answer() == [str(COUNT)]
        peer.ask("stream.close", "values")
        assert everything.result() == list(range(COUNT))
    with pytest.raises(ClosedChannelError):
        stream.emit(1)
    assert peer.numbers("stream.facts", "values") == [COUNT, 0, 1]


def test_python_ends_what_the_peer_emits(memory: Memory, peer: Peer) -> None:
    stream = Stream(memory, "values", 4, np.int64)
    peer.start("stream.emit", "values", "i8", 0, 10**9)
    assert [stream.next() for _ in range(50)] == list(range(50))
    stream.close()
    sent = int(peer.answer()[0])
    assert list(stream) == list(range(50, sent))


def test_events(memory: Memory, start_peer: StartPeer) -> None:
    peers = [start_peer(memory) for _ in range(2)]
    peers[0].ask("events.create", "theirs")
    ours, theirs = EventStream(memory, "ours"), EventStream(memory, "theirs")
    assert peers[0].ask("bytes", "ours") == peers[0].ask("bytes", "theirs")
    for events in (ours, theirs):
        peers[0].start("events.emit", events.name, COUNT)
        peers[1].start("events.await", events.name, 2 * COUNT)
        for _ in range(COUNT):
            events.emit()
        for peer in peers:
            peer.answer()
        assert events.count == 2 * COUNT
