"""Barriers, latches, events and what is done once, shared with another implementation."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.peer import Peer
from zeroipc import Atomic, Memory, StructureNotFoundError, WaitTimeoutError
from zeroipc.sync import Barrier, Event, Latch, Once

pytestmark = pytest.mark.usefixtures("backend")
StartPeer = Callable[..., Peer]
TURNS = 700


# --- barrier


@pytest.mark.parametrize("by_peer", [False, True])
def test_nobody_passes_a_barrier_before_all_have_come(
    memory: Memory, start_peer: StartPeer, by_peer: bool
) -> None:
    peers = [start_peer(memory) for _ in range(2)]
    if by_peer:
        peers[0].ask("barrier.create", "meeting", 3)
    meeting, before = Barrier(memory, "meeting", 3), Atomic(memory, "before")
    for peer in peers:
        peer.start("barrier.meet", "meeting", "before", TURNS)
    for turn in range(1, TURNS + 1):
        before.fetch_add(1)
        meeting.wait()
        assert before.load() >= 3 * turn
    for peer in peers:
        peer.answer()
    assert peers[0].numbers("barrier.facts", "meeting") == [0, TURNS, 3]


def test_both_make_the_same_barrier(memory: Memory, peer: Peer) -> None:
    Barrier.create(memory, "ours", 5)
    peer.ask("barrier.create", "theirs", 5)
    assert peer.ask("bytes", "ours") == peer.ask("bytes", "theirs")


def test_who_is_late_leaves_the_barrier_to_the_peer(memory: Memory, start_peer: StartPeer) -> None:
    meeting = Barrier(memory, "meeting", 2)
    Atomic(memory, "before")
    for _ in range(3):
        with pytest.raises(WaitTimeoutError):
            meeting.wait(timeout=0.001)
    peers = [start_peer(memory) for _ in range(2)]
    assert peers[0].numbers("barrier.facts", "meeting") == [0, 0, 2]
    for peer in peers:
        peer.start("barrier.meet", "meeting", "before", 10)
    for peer in peers:
        peer.answer()
    assert meeting.generation == 10


def test_who_is_late_time_and_again_misses_no_meeting(memory: Memory, peer: Peer) -> None:
    """Leaving races with the peer's arrival, which takes it two steps."""
    meeting, before = Barrier(memory, "meeting", 2), Atomic(memory, "before")
    peer.start("barrier.meet", "meeting", "before", 100)
    for turn in range(1, 101):
        before.fetch_add(1)
        while True:
            try:
                meeting.wait(timeout=0.00002 * (turn % 5))
            except WaitTimeoutError:
                continue
            break
        assert before.load() >= 2 * turn
    peer.answer()
    assert peer.numbers("barrier.facts", "meeting") == [0, 100, 2]


# --- latch


def test_both_count_a_latch_down(memory: Memory, start_peer: StartPeer) -> None:
    peers = [start_peer(memory) for _ in range(3)]
    peers[0].ask("latch.create", "theirs", 3 * TURNS)
    ours = Latch(memory, "ours", 3 * TURNS)
    assert peers[0].ask("bytes", "ours") == peers[0].ask("bytes", "theirs")
    for latch in (ours, Latch(memory, "theirs")):
        peers[2].start("latch.wait", latch.name)
        for peer in peers[:2]:
            peer.start("latch.count_down", latch.name, 1, TURNS)
        for _ in range(TURNS):
            assert not latch.try_wait()
            latch.count_down()
        latch.wait()
        for peer in peers:
            peer.answer()
        assert peers[0].numbers("latch.facts", latch.name) == [0, 3 * TURNS]


def test_a_waiter_sees_a_latch_that_the_peer_opens(memory: Memory, peer: Peer) -> None:
    latch = Latch(memory, "latch", 2)
    with ThreadPoolExecutor(1) as pool:
        for _ in range(20):
            waiter = pool.submit(latch.wait)
            peer.ask("latch.count_down", "latch", 1, 1)
            peer.ask("latch.count_down", "latch", 5, 1)
            waiter.result()
            assert latch.count == 0
            latch.reset()


# --- once


def test_it_is_done_once(memory: Memory, start_peer: StartPeer) -> None:
    peers = [start_peer(memory) for _ in range(2)]
    called = Atomic(memory, "called")
    for turn in range(1, 51):
        name = f"once-{turn}"
        if turn % 2:
            peers[0].ask("once.create", name)
        once = Once(memory, name)
        for peer in peers:
            peer.start("once.call", name, "called")
        by_us = once.call(lambda: called.store(called.load() + 1))
        assert sorted([by_us, *(peer.answer() == ["1"] for peer in peers)]) == [False, False, True]
        assert called.load() == turn
        assert once.done


# --- event


@pytest.mark.parametrize("manual", [False, True])
def test_both_make_the_same_event(memory: Memory, peer: Peer, manual: bool) -> None:
    Event.create(memory, "ours", manual)
    peer.ask("event.create", "theirs", int(manual))
    assert peer.ask("names") == ["ours", "ours_sem", "theirs", "theirs_sem"]
    for part in ("", "_sem"):
        assert peer.ask("bytes", f"ours{part}") == peer.ask("bytes", f"theirs{part}")
    assert not Event(memory, "theirs", manual).is_set()


def test_an_event_that_the_peer_is_just_making(memory: Memory, peer: Peer) -> None:
    """C++ programs make the event first and its semaphore second."""

    def find(name: str) -> Event:
        while True:
            try:
                return Event.open(memory, name)
            except StructureNotFoundError:
                continue

    with ThreadPoolExecutor(1) as pool:
        for i in range(20):
            name = f"event-{i}"
            found = pool.submit(find, name)
            peer.ask("event.create_first", name, 1)
            peer.ask("event.create_second", name)
            peer.ask("event.set", name)
            assert found.result().is_set()


@pytest.mark.parametrize("manual", [False, True])
def test_both_wait_for_an_event(memory: Memory, peer: Peer, manual: bool) -> None:
    there, back = (Event(memory, name, manual) for name in ("there", "back"))
    with ThreadPoolExecutor(1) as pool:
        for _ in range(30):
            peer.start("event.wait", "there")
            there.set()
            peer.answer()
            waiter = pool.submit(back.wait)
            peer.ask("event.set", "back")
            assert waiter.result()
            if manual:
                peer.ask("event.clear", "there")
                back.clear()
            assert not there.is_set()
            assert not back.wait(timeout=0)
    assert peer.numbers("event.facts", "back") == [0, int(manual), 0]


def test_an_automatic_event_lets_one_go(memory: Memory, start_peer: StartPeer) -> None:
    event = Event(memory, "event", manual=False)
    peers = [start_peer(memory) for _ in range(2)]
    for peer in peers:
        peer.start("event.wait", "event")
    for _ in range(3):
        event.set()
    for peer in peers:
        peer.answer()
    assert event.wait()
    assert not event.wait(timeout=0)


def test_a_pulse_lets_go_who_waits(
    memory: Memory, start_peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zeroipc.sync.event.PULSE_PATIENCE", 60.0)
    event = Event(memory, "event", manual=True)
    waiting, pulsing = start_peer(memory), start_peer(memory)
    with ThreadPoolExecutor(1) as pool:
        for _ in range(20):
            waiting.start("event.wait", "event")
            waiter = pool.submit(event.wait)
            while pulsing.numbers("event.facts", "event") != [0, 1, 2]:
                pass
            pulsing.ask("event.pulse", "event")
            assert waiter.result()
            waiting.answer()
            assert pulsing.numbers("event.facts", "event") == [0, 1, 0]
            waiting.start("event.wait", "event")
            while pulsing.numbers("event.facts", "event") != [0, 1, 1]:
                pass
            event.pulse()
            waiting.answer()
