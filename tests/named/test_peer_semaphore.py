"""Semaphores, mutexes and atomic numbers shared with another implementation."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any

import pytest

from tests.support.peer import Peer
from zeroipc import Atomic, Memory
from zeroipc.sync import Mutex, Semaphore

pytestmark = pytest.mark.usefixtures("backend")
StartPeer = Callable[..., Peer]
TIMES = 2000
THEIR_TIMES = 100_000
"""The peer is so much quicker: both should be at it all the time."""


@pytest.mark.parametrize(
    "dtype, first, step",
    [("i4", -5, 3), ("u4", 2**32 - 1, 2), ("i8", -(2**62), 9), ("f8", 0.5, 0.25)],
)
def test_an_atomic_number(
    memory: Memory, start_peer: StartPeer, dtype: str, first: Any, step: Any
) -> None:
    peers = [start_peer(memory) for _ in range(2)]
    peers[0].ask("atomic.create", "theirs", dtype, first)
    theirs, ours = Atomic(memory, "theirs", dtype), Atomic(memory, "ours", dtype, first)
    assert (theirs.load(), ours.load()) == (first, first)
    for number in (theirs, ours):
        for peer in peers:
            peer.start("atomic.add", number.name, dtype, step, TIMES)
        for _ in range(TIMES):
            number.fetch_add(step)
        for peer in peers:
            peer.answer()
        wanted = first + 3 * TIMES * step
        assert number.load() == (wanted % 2**32 if dtype == "u4" else wanted)
    assert peers[0].ask("bytes", "ours") == peers[0].ask("bytes", "theirs")


def test_a_waiter_sees_a_number_that_the_peer_changes(memory: Memory, peer: Peer) -> None:
    number = Atomic(memory, "number")
    with ThreadPoolExecutor(1) as pool:
        for i in range(0, 40, 2):
            peer.start("atomic.await", "number", "i8", i + 1)
            number.store(i + 1)
            peer.answer()
            waiter = pool.submit(number.wait, i + 1)
            peer.ask("atomic.add", "number", "i8", 1, 1)
            assert waiter.result() == i + 2


@pytest.mark.parametrize("count, most", [(0, 0), (3, 3), (2, 5)])
def test_a_semaphore_of_the_peer(memory: Memory, peer: Peer, count: int, most: int) -> None:
    peer.ask("semaphore.create", "seats", count, most)
    seats = Semaphore(memory, "seats")
    assert (seats.count, seats.max_count) == (count, most)
    assert [seats.try_acquire() for _ in range(count + 1)] == [True] * count + [False]
    assert peer.number("semaphore.try_take", "seats") == 0
    assert peer.number("semaphore.give", "seats", most + 1) == (most == 0)
    seats.release(1)
    assert peer.number("semaphore.try_take", "seats") == 1


def test_a_semaphore_of_python(memory: Memory, peer: Peer) -> None:
    seats = Semaphore(memory, "seats", 2, 4)
    assert peer.numbers("semaphore.facts", "seats") == [2, 0, 4]
    peer.ask("semaphore.create", "theirs", 2, 4)
    assert peer.ask("bytes", "seats") == peer.ask("bytes", "theirs")
    assert peer.number("semaphore.try_take", "seats") == 1
    assert seats.count == 1
    assert peer.number("semaphore.give", "seats", 3) == 1
    with pytest.raises(ValueError):
        seats.release()


def test_permits_go_to_and_fro(memory: Memory, peer: Peer) -> None:
    """Each side blocks until the other gives; the peer wakes nobody."""
    there, back = (Semaphore(memory, name, 0) for name in ("there", "back"))
    for _ in range(30):
        peer.start("semaphore.take", "there")
        there.release()
        peer.answer()
        waiter = Thread(target=back.acquire)
        waiter.start()
        assert peer.number("semaphore.give", "back", 1) == 1
        waiter.join()
    assert peer.numbers("semaphore.facts", "there") == [0, 0, 0]
    assert peer.numbers("semaphore.facts", "back") == [0, 0, 0]


def test_no_more_are_inside_than_there_are_permits(memory: Memory, start_peer: StartPeer) -> None:
    seats, inside = Semaphore(memory, "seats", 2, 2), Atomic(memory, "inside")
    peers = [start_peer(memory) for _ in range(2)]
    for peer in peers:
        peer.start("semaphore.crowd", "seats", "inside", 2, THEIR_TIMES)
    for _ in range(TIMES):
        with seats:
            assert inside.fetch_add(1) < 2
            inside.fetch_sub(1)
    for peer in peers:
        peer.answer()
    assert peer.numbers("semaphore.facts", "seats") == [2, 0, 2]


@pytest.mark.parametrize("by_peer", [False, True])
def test_a_mutex_excludes(memory: Memory, start_peer: StartPeer, by_peer: bool) -> None:
    peers = [start_peer(memory) for _ in range(2)]
    if by_peer:
        peers[0].ask("semaphore.create", "lock", 1, 1)
    lock, counted = Mutex(memory, "lock"), Atomic(memory, "counted")
    for peer in peers:
        peer.start("mutex.count", "lock", "counted", THEIR_TIMES)
    for _ in range(TIMES):
        with lock:
            counted.store(counted.load() + 1)
    for peer in peers:
        peer.answer()
    assert counted.load() == 2 * THEIR_TIMES + TIMES
    assert not lock.locked()


def test_a_mutex_that_the_peer_holds(memory: Memory, peer: Peer) -> None:
    lock = Mutex(memory, "lock")
    peer.ask("semaphore.take", "lock")
    assert lock.locked()
    assert not lock.try_acquire()
    assert not lock.acquire(timeout=0.01)
    waiter = Thread(target=lock.acquire)
    waiter.start()
    peer.ask("semaphore.give", "lock", 1)
    waiter.join()
    assert peer.number("semaphore.try_take", "lock") == 0
    lock.release()
    assert peer.number("semaphore.try_take", "lock") == 1


def test_a_mutex_whose_holder_is_killed_is_inherited(memory: Memory, start_peer: StartPeer) -> None:
    """A peer that follows the specification says who it is; the tag must be the right one."""
    lock = Mutex(memory, "lock")
    holder = start_peer(memory)
    holder.ask("mutex.lock", "lock")
    assert not lock.acquire(timeout=0.3)
    assert holder.number("mutex.unlock", "lock") == 1
    assert lock.acquire()
    assert not lock.recovered
    lock.release()
    holder.ask("mutex.lock", "lock")
    holder.kill()
    assert lock.acquire()
    assert lock.recovered
    lock.release()
    with lock:
        assert not lock.recovered
