"""Pools shared with another implementation."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.support.peer import Peer
from zeroipc import FreedError, Memory, Pool

pytestmark = pytest.mark.usefixtures("backend")
WIDE = np.dtype([("words", "i8", 24)], align=True)  # the peer's "r24"
TYPES: list[tuple[str, Any]] = [
    ("i1", "i1"),
    ("i2", "i2"),
    ("i4", "i4"),
    ("f8", "f8"),
    ("r24", WIDE),
]
each_type = pytest.mark.parametrize("name, dtype", TYPES)


@each_type
def test_both_make_the_same_bytes(memory: Memory, peer: Peer, name: str, dtype: Any) -> None:
    ours = Pool(memory, "ours", 5, dtype)
    peer.ask("pool.create", "theirs", 5, name)
    for pool in (ours, Pool.open(memory, "theirs", dtype)):
        nodes = [pool.allocate() for _ in range(2)]
        assert [node.index for node in nodes] == [0, 1]
        assert peer.number("pool.allocate", pool.name, name) == 2
        nodes[0].free()
        assert peer.number("pool.allocate", pool.name, name) == 0
        peer.ask("pool.free", pool.name, name, 2)
        assert pool.allocate().detach() == 2
        nodes[1].detach()
    assert peer.ask("bytes", "ours") == peer.ask("bytes", "theirs")


@pytest.mark.parametrize("dtype, value", [("i1", -7), ("u4", 2**32 - 1), ("f8", 0.1)])
def test_nodes_go_to_and_fro(memory: Memory, peer: Peer, dtype: str, value: Any) -> None:
    pool = Pool(memory, "pool", 3, dtype)
    index = peer.number("pool.allocate", "pool", dtype)
    peer.ask("pool.set", "pool", dtype, index, value)
    node = pool.adopt(index)
    assert node.value == value
    node.value = 1
    assert [float(word) for word in peer.ask("pool.get", "pool", dtype, index)] == [1]
    assert len(pool) == peer.number("pool.allocated", "pool") == 1
    peer.ask("pool.free", "pool", dtype, node.detach())
    with pytest.raises(FreedError):
        pool.free(index)
    assert len(pool) == 0


def test_each_waits_for_a_node_of_the_other(memory: Memory, peer: Peer) -> None:
    pool = Pool(memory, "pool", 2, "i4")
    mine = [pool.allocate(), pool.allocate()]
    assert peer.ask("pool.try_allocate", "pool", "i4") == []
    with ThreadPoolExecutor(1) as executor:
        for _ in range(20):
            peer.start("pool.allocate", "pool", "i4")
            mine.pop().free()
            theirs = int(peer.answer()[0])
            waiter = executor.submit(pool.allocate)
            peer.ask("pool.free", "pool", "i4", theirs)
            mine.append(waiter.result())


def test_a_peer_that_slept_does_not_take_two_nodes_for_free(memory: Memory, peer: Peer) -> None:
    """The first free node is the same again, but not the second: the count of changes tells."""
    pool = Pool(memory, "pool", 3, "i4")
    look = peer.numbers("pool.look", "pool", "i4")
    first, second = pool.allocate(), pool.allocate()
    first.free()
    assert peer.numbers("pool.look", "pool", "i4")[0] % 2**32 == look[0] % 2**32
    assert peer.number("pool.swap", "pool", "i4", *look) == 0
    assert [pool.allocate().detach(), pool.allocate().detach()] == [0, 2]
    assert second.index == 1


@pytest.mark.parametrize("capacity", [4, 12])
def test_a_node_has_one_owner(
    memory: Memory, start_peer: Callable[..., Peer], capacity: int
) -> None:
    pool = Pool(memory, "pool", capacity, WIDE)
    peers = [start_peer(memory) for _ in range(2)]
    held = capacity // 4
    for number, peer in enumerate(peers):
        peer.start("pool.churn", "pool", "r24", held, number + 1, 100_000)
    for turn in range(2000):
        nodes = [pool.allocate() for _ in range(held)]
        for node in nodes:
            node["words"] = -turn - node.index
        for node in nodes:
            assert (node["words"] == -turn - node.index).all()
            node.free()
    for peer in peers:
        peer.answer()
    assert len(pool) == 0
    assert sorted(pool.allocate().detach() for _ in range(capacity)) == list(range(capacity))
