"""Read-write locks, monitors and signals shared with another implementation."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.support.peer import Peer
from zeroipc import Array, Atomic, Memory
from zeroipc.sync import Monitor, RWLock, Signal

pytestmark = pytest.mark.usefixtures("backend")
StartPeer = Callable[..., Peer]
WIDE = np.dtype([("words", "i8", 24)], align=True)  # the peer's "r24"


def wide(value: int) -> Any:
    return np.array(([value] * 24,), WIDE)[()]


def whole(item: Any) -> int:
    assert len(set(item["words"].tolist())) == 1
    return int(item["words"][0])


@pytest.mark.parametrize(
    "make, kind, parts",
    [
        (RWLock, "rwlock", ["ours_state", "ours_rmtx", "ours_wmtx", "ours"]),
        (Monitor, "monitor", ["ours_mtx", "ours_cond", "ours_count", "ours"]),
    ],
)
def test_both_make_the_same_bytes(
    memory: Memory, peer: Peer, make: Any, kind: str, parts: list[str]
) -> None:
    make(memory, "ours")
    peer.ask(f"{kind}.create", "theirs")
    assert peer.ask("names") == parts + [part.replace("ours", "theirs") for part in parts]
    for part in parts:
        assert peer.ask("bytes", part) == peer.ask("bytes", part.replace("ours", "theirs"))
    make.open(memory, "theirs")


# --- read-write lock


@pytest.mark.parametrize("by_peer", [False, True])
def test_who_excludes_whom(memory: Memory, peer: Peer, by_peer: bool) -> None:
    if by_peer:
        peer.ask("rwlock.create", "lock")
    lock = RWLock(memory, "lock")
    peer.ask("rwlock.act", "lock", "read")
    assert lock.readers == 1
    assert not lock.try_write()
    assert lock.try_read()
    lock.release_read()
    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(lock.acquire_write)
        peer.ask("rwlock.act", "lock", "unread")
        assert writer.result()
        peer.start("rwlock.act", "lock", "read")
        pool.submit(lock.release_write).result()  # by the thread that has it
        peer.answer()
        peer.ask("rwlock.act", "lock", "unread")
        peer.ask("rwlock.act", "lock", "write")
        assert lock.writing
        assert not lock.try_read()
        assert not lock.try_write()
        reader = pool.submit(lock.acquire_read)
        peer.ask("rwlock.act", "lock", "unwrite")
        assert reader.result()
        pool.submit(lock.release_read).result()
    assert peer.numbers("rwlock.facts", "lock") == [0, 0]


def test_nobody_reads_while_somebody_writes(memory: Memory, start_peer: StartPeer) -> None:
    lock, values = RWLock(memory, "lock"), Array(memory, "values", 32, np.int64)
    writer, reader = start_peer(memory), start_peer(memory)
    writer.start("rwlock.write", "lock", "values", 20_000)
    reader.start("rwlock.read", "lock", "values", 20_000)
    for _ in range(300):
        with lock.read():
            assert len(set(values.tolist())) == 1
        with lock.write():
            values += 1
    writer.answer()
    reader.answer()
    assert values.tolist() == [20_300] * 32
    assert peer_is_free(reader, "lock")


def test_a_writer_waits_until_the_readers_have_left(memory: Memory, peer: Peer) -> None:
    lock, values = RWLock(memory, "lock"), Array(memory, "values", 2, np.int64)
    with lock.read():
        peer.start("rwlock.write", "lock", "values", 1)
        while not lock.writing and not values[1]:
            pass
        assert not lock.try_read()
        assert [values[1] for _ in range(5000)] == [0] * 5000
    peer.answer()
    assert values[1] == 1


def peer_is_free(peer: Peer, name: str) -> bool:
    return peer.numbers("rwlock.facts", name) == [0, 0]


# --- monitor


@pytest.mark.parametrize("by_peer", [False, True])
def test_they_take_turns(memory: Memory, start_peer: StartPeer, by_peer: bool) -> None:
    peers = [start_peer(memory) for _ in range(2)]
    if by_peer:
        peers[0].ask("monitor.create", "turns")
    turns, turn = Monitor(memory, "turns"), Atomic(memory, "turn")
    for number, peer in enumerate(peers):
        peer.start("monitor.turns", "turns", "turn", number, 3, 100)
    for _ in range(100):
        with turns:
            turns.wait_for(lambda: turn.load() % 3 == 2)
            turn.store(turn.load() + 1)
            turns.notify_all()
    for peer in peers:
        peer.answer()
    assert turn.load() == 300
    assert turns.waiting == 0
    assert not turns.locked()


def test_a_sleeper_sees_what_the_peer_sets(memory: Memory, peer: Peer) -> None:
    changed, value = Monitor(memory, "changed"), Atomic(memory, "value")

    def wait_until(wanted: int) -> int:
        with changed:
            changed.wait_for(lambda: value.load() == wanted)
            return int(value.load())

    with ThreadPoolExecutor(1) as pool:
        for i in range(1, 30):
            waiter = pool.submit(wait_until, i)
            peer.ask("monitor.set", "changed", "value", i, 1)
            assert waiter.result() == i
    assert changed.waiting == 0


# --- signal


@pytest.mark.parametrize("dtype, value", [("i1", -7), ("i4", 9), ("u8", 2**64 - 1), ("f8", 0.1)])
@pytest.mark.parametrize("rounded", [0, 1])
def test_both_get_and_set_a_signal(
    memory: Memory, peer: Peer, dtype: str, value: Any, rounded: int
) -> None:
    peer.ask("signal.create", "theirs", dtype, value, rounded)
    ours, theirs = Signal(memory, "ours", dtype, value), Signal(memory, "theirs", dtype)
    assert ours.read() == theirs.read() == (0, value)
    peer.ask("signal.set", "ours", dtype, 5)
    assert ours.read() == (1, 5)
    ours.set(value)
    version, word = peer.ask("signal.get", "ours", dtype)
    assert (version, type(value)(word)) == ("2", value)
    if rounded:
        theirs.set(5)
        peer.ask("signal.set", "theirs", dtype, value)
        for part in ("_state", "_mtx", ""):
            assert peer.ask("bytes", f"ours{part}") == peer.ask("bytes", f"theirs{part}")


def test_watchers_see_whole_values(memory: Memory, start_peer: StartPeer) -> None:
    level = Signal(memory, "level", WIDE, wide(0))
    setter, watcher = start_peer(memory), start_peer(memory)
    watcher.start("signal.watch", "level", "r24", -1)
    setter.start("signal.set_range", "level", "r24", 1, 20_000)
    version = 0
    for i in range(200):
        level.set(wide(100_000 + i))
        seen, value = level.read()
        assert seen > version
        assert 0 < whole(value) < 100_200
        version = seen
    setter.answer()
    level.set(wide(-1))
    assert watcher.answer() == ["20201"]


def test_a_sleeper_sees_that_the_peer_sets_a_signal(memory: Memory, peer: Peer) -> None:
    level = Signal(memory, "level", "i4", 0)
    with ThreadPoolExecutor(1) as pool:
        for i in range(20):
            waiter = pool.submit(level.wait, i)
            peer.ask("signal.set", "level", "i4", i)
            assert waiter.result() == i + 1
