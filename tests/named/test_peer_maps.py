"""Maps and sets shared with another implementation."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.peer import Peer
from zeroipc import Map, Memory, Set, StalledError

pytestmark = pytest.mark.usefixtures("backend")
StartPeer = Callable[..., Peer]
KEYS: list[tuple[str, str, list[Any]]] = [
    ("i1", "i1", [-128, -1, 0, 127]),
    ("u1", "u1", [0, 200, 255]),
    ("i4", "i4", [-(2**31), -1, 0, 1, 2**31 - 1]),
    ("u4", "u4", [0, 2**31, 2**32 - 1]),
    ("i8", "i8", [-(2**63), -1, 2**63 - 1]),
    ("u8", "u8", [0, 2**63, 2**64 - 1]),
    ("f4", "f4", [0.5, -1.25, 2.0**100]),
    ("f8", "f8", [0.1, -1e300, 2.0]),
    ("S1", "s1", [b"a", b"z"]),
    ("S5", "s5", [b"hello", b"a", b"abc"]),
    ("S8", "s8", [b"12345678", b"1"]),
    ("S27", "s27", [b"abcdefghijklmnopqrstuvwxyz", b"abcdefghijklmnopqrstuvwxy"]),
]
each_key = pytest.mark.parametrize("dtype, name, keys", KEYS, ids=[dtype for dtype, *_ in KEYS])


def word(key: Any) -> str:
    return key.decode() if isinstance(key, bytes) else repr(key)


@each_key
@pytest.mark.parametrize("value", ["i8", "i2"])
def test_the_peer_stores(
    memory: Memory, peer: Peer, dtype: str, name: str, keys: list[Any], value: str
) -> None:
    peer.ask("map.create", "theirs", 7, name, value)
    theirs = Map.open(memory, "theirs", dtype, value)
    for i, key in enumerate(keys):
        assert peer.ask("map.put", "theirs", name, value, word(key), i) == ["new"]
    assert dict(theirs.items()) == {key: i for i, key in enumerate(keys)}
    for i, key in enumerate(keys):
        assert theirs[key] == i
        theirs[key] = i - 50
    for i, key in enumerate(keys):
        assert peer.ask("map.get", "theirs", name, value, word(key)) == ["there", str(i - 50)]


@each_key
@pytest.mark.parametrize("value", ["i8", "i2", "-"])
def test_both_make_the_same_bytes(
    memory: Memory, peer: Peer, dtype: str, name: str, keys: list[Any], value: str
) -> None:
    peer.ask("map.create", "theirs", 5, name, value)
    ours: Any = (
        Set(memory, "ours", 5, dtype) if value == "-" else Map(memory, "ours", 5, dtype, value)
    )
    for i, key in enumerate(keys):
        ours.insert(key, *([] if value == "-" else [i]))
        assert peer.ask("map.put", "theirs", name, value, word(key), i) == ["new"]
    assert peer.ask("bytes", "ours") == peer.ask("bytes", "theirs")
    ours.erase(keys[0])
    assert peer.number("map.erase", "theirs", name, value, word(keys[0])) == 1
    assert peer.ask("bytes", "ours") == peer.ask("bytes", "theirs")
    assert peer.number("map.size", "ours") == len(keys) - 1


def test_zeros_are_equal(memory: Memory, peer: Peer) -> None:
    ours = Map(memory, "ours", 1, "f8", "i4")
    ours[0.0] = 1
    assert peer.ask("map.get", "ours", "f8", "i4", "-0.0") == ["there", "1"]


def test_full(memory: Memory, peer: Peer) -> None:
    ours = Map(memory, "ours", 3, "i4", "i4")
    peer.ask("map.put_range", "ours", "i4", "i4", 0, 2)
    assert ours.try_insert(2, 6)
    assert not ours.try_insert(3, 9)
    assert peer.ask("map.put", "ours", "i4", "i4", 3, 9) == ["full"]
    assert peer.ask("map.put", "ours", "i4", "i4", 2, 5) == ["there"]
    assert peer.number("map.erase", "ours", "i4", "i4", 0) == 1
    assert ours.try_insert(3, 9)
    assert dict(ours) == {1: 3, 2: 5, 3: 9}


def test_all_insert_keys_of_their_own(memory: Memory, start_peer: StartPeer) -> None:
    ours = Map(memory, "ours", 1500, "i4", "i8")
    peers = [start_peer(memory) for _ in range(2)]
    for number, peer in enumerate(peers):
        peer.start("map.put_range", "ours", "i4", "i8", 500 * number, 500)
    for i in range(1000, 1500):
        ours[i] = 3 * i
    for peer in peers:
        peer.answer()
    assert dict(ours.items()) == {i: 3 * i for i in range(1500)}
    assert len(ours) == 1500


@pytest.mark.parametrize("value", ["i4", "-"])
def test_keys_come_and_go_in_a_crowd(memory: Memory, start_peer: StartPeer, value: str) -> None:
    """Chains cross everywhere, and erased entries are used again at once."""
    shared: Any = Set(memory, "m", 16, "i4") if value == "-" else Map(memory, "m", 16, "i4", value)
    peers = [start_peer(memory) for _ in range(2)]
    for number, peer in enumerate(peers):
        peer.start("map.churn", "m", "i4", value, 1000 * number, 5, 100_000, number)
    for turn in range(2000):
        key = 5000 + turn % 5
        if value == "-":
            assert shared.insert(key)
        else:
            assert shared.insert(key, turn)
            assert shared[key] == turn
        assert key in shared
        assert shared.erase(key)
        assert key not in shared
    for peer in peers:
        peer.answer()
    assert len(shared) == len(list(shared)) == 0


def test_readers_see_no_value_of_another_key(memory: Memory, start_peer: StartPeer) -> None:
    shared = Map(memory, "m", 8, "i4", "i4")
    reader, writer = start_peer(memory), start_peer(memory)
    writer.start("map.churn", "m", "i4", "i4", 20, 3, 200_000, 0)
    reader.start("map.watch", "m", "i4", "i4", 7, 300_000)
    for turn in range(1500):
        shared[7] = 700 + turn % 100
        assert shared.get(21, 2100) // 100 == 21
        shared.pop(7)
    reader.answer()
    writer.answer()
    assert dict(shared) == {}


def test_who_needs_a_claimed_entry_waits_for_it(memory: Memory, peer: Peer) -> None:
    shared = Map(memory, "m", 4, "i4", "i4")
    shared.update({1: 10, 2: 20})
    with ThreadPoolExecutor(1) as pool:
        for key in (1, 3):  # there already, and new
            entry = peer.number("map.claim", "m", "i4", "i4", key)
            found = pool.submit(shared.get, key)
            assert shared[2] == 20
            peer.ask("map.publish", "m", "i4", "i4", entry, 30)
            assert found.result() == 30
        entry = peer.number("map.claim", "m", "i4", "i4", 3)
        stored = pool.submit(shared.insert, 3, 40)
        peer.ask("map.publish", "m", "i4", "i4", entry, 35)
        stored.result()
        assert shared[3] == 40
        entry = peer.number("map.claim", "m", "i4", "i4", 1)
        erased = pool.submit(shared.pop, 1)
        peer.ask("map.publish", "m", "i4", "i4", entry, 50)
        assert erased.result() == 50
    assert dict(shared) == {2: 20, 3: 40}


def test_who_waits_in_vain_is_told(memory: Memory, peer: Peer) -> None:
    shared = Map(memory, "m", 4, "i4", "i4")
    shared.update({1: 10, 2: 20})
    peer.ask("map.claim", "m", "i4", "i4", 1)
    peer.kill()
    with pytest.raises(StalledError, match="'m'"):
        shared[1] = 11
    shared[2] = 22
    shared.repair()
    assert dict(shared) == {2: 22}
    assert [shared.try_insert(key, key) for key in (1, 3, 4, 5)] == [True, True, True, False]
