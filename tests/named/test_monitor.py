"""Monitors: the mutex and its condition; no notification is missed, whoever takes it."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Callable

import pytest

from tests.support.named import crew
from zeroipc import (
    Atomic,
    ClosedError,
    Memory,
    Monitor,
    NameTooLongError,
    ReleaseError,
    Semaphore,
    StructureNotFoundError,
    TableFullError,
)

pytestmark = pytest.mark.usefixtures("backend")


def words(memory: Memory) -> list[int]:
    """Return the permits and sleepers of mutex and condition, and the count."""
    pairs = (memory.view(memory.entry(f"mon_{part}")).cast("i") for part in ("mtx", "cond"))
    count = memory.view(memory.entry("mon_count")).cast("i")[0]
    return [word for pair in pairs for word in pair[:2].tolist()] + [count]


def test_is_a_mutex(memory: Memory) -> None:
    monitor = Monitor(memory, "mon")
    assert [entry.name for entry in memory] == ["mon_mtx", "mon_cond", "mon_count", "mon"]
    with monitor:
        assert monitor.locked()
        assert not monitor.try_acquire()
        assert not monitor.acquire(timeout=0.01)
    assert not monitor.locked()
    with pytest.raises(ReleaseError):
        monitor.release()
    with pytest.raises(ReleaseError):
        monitor.wait(0)
    assert words(memory) == [1, 0, 0, 0, 0]


def test_times_out(memory: Memory) -> None:
    monitor = Monitor(memory, "mon")
    answers = iter([0, "", None, None, None, None, None])
    with monitor:
        assert monitor.wait(0.01) is False
        assert monitor.wait_for(lambda: next(answers), 0.001) in (0, "", None)
        assert monitor.wait_for(lambda: "yes", 0) == "yes"
        assert monitor.wait_for(lambda: 0, 0) == 0
        assert monitor.wait()  # for nothing, rather than for ever
    assert words(memory) == [1, 0, 0, 0, 0]


def test_notifications_are_only_for_those_who_wait(memory: Memory) -> None:
    monitor = Monitor(memory, "mon")
    with monitor:
        monitor.notify()
        monitor.notify_all()
    with pytest.raises(ValueError, match="at least 1"):
        monitor.notify(0)
    assert words(memory) == [1, 0, 0, 0, 0]
    memory.view(memory.entry("mon_count")).cast("I")[0] = 3
    monitor.notify()
    assert words(memory)[2] == 1
    monitor.notify(5)
    monitor.notify_all()
    assert words(memory)[2] == 3
    memory.view(memory.entry("mon_count")).cast("I")[0] = 2**32 - 1
    monitor.notify_all()
    assert words(memory)[2] == 2**31 - 1
    monitor.repair()
    assert words(memory) == [1, 0, 0, 0, 0]


def test_a_waiter_is_notified(memory: Memory) -> None:
    monitor = Monitor(memory, "mon")
    ready: list[int] = []
    with monitor:
        thread = threading.Thread(target=make_ready, args=(Monitor(memory, "mon"), ready))
        thread.start()
        assert monitor.wait_for(lambda: ready, 60)
    thread.join()
    assert words(memory) == [1, 0, 0, 0, 0]


def make_ready(monitor: Monitor, ready: list[int]) -> None:
    with monitor:
        ready.append(1)
        monitor.notify()


@pytest.mark.parametrize("players", [2, 3])
def test_taking_turns(memory: Memory, players: int) -> None:
    """Each notifies one and then waits itself: with permits alone all soon sleep for ever."""
    turn = Atomic(memory, "turn")
    Monitor(memory, "mon")
    with crew() as others:
        for number in range(players):
            others.start(take_turns, memory.name, number, players, 100)
        others.results()
    assert turn.value == 100 * players
    assert words(memory)[4] == 0


def take_turns(name: str, number: int, players: int, rounds: int) -> None:
    mem = Memory(name)
    turn, monitor = Atomic(mem, "turn"), Monitor(mem, "mon")
    for _ in range(rounds):
        with monitor:
            monitor.wait_for(lambda: turn.value % players == number)
            turn.fetch_add(1)
            monitor.notify()


def test_a_loop_around_wait_takes_turns_too(memory: Memory) -> None:
    Atomic(memory, "turn")
    Monitor(memory, "mon")
    with crew() as others:
        for number in range(2):
            others.start(take_turns_in_a_loop, memory.name, number, 50)
        others.results()
    assert Atomic(memory, "turn").value == 100


def take_turns_in_a_loop(name: str, number: int, rounds: int) -> None:
    mem = Memory(name)
    turn, monitor = Atomic(mem, "turn"), Monitor(mem, "mon")
    for _ in range(rounds):
        with monitor:
            while turn.value % 2 != number:
                monitor.wait()
            turn.fetch_add(1)
            monitor.notify()


def test_all_are_notified(memory: Memory) -> None:
    started, go = Atomic(memory, "started"), Atomic(memory, "go")
    monitor = Monitor(memory, "mon")
    with crew() as others:
        for _ in range(3):
            others.start(wait_to_go, memory.name)
        while started.value < 3:
            pass
        with monitor:
            go += 1
            monitor.notify_all()
        others.results()
    assert words(memory)[4] == 0


def wait_to_go(name: str) -> None:
    mem = Memory(name)
    started, go, monitor = Atomic(mem, "started"), Atomic(mem, "go"), Monitor(mem, "mon")
    with monitor:
        started += 1
        monitor.wait_for(lambda: go.value)


def test_a_lost_notification_is_made_good(memory: Memory) -> None:
    """Somebody takes the permit and does nothing with it."""
    ready = Atomic(memory, "ready")
    monitor = Monitor(memory, "mon")
    with crew() as others:
        others.start(wait_until_ready, memory.name)
        while monitor.waiting == 0:
            pass
        ready += 1  # and nobody notifies
        others.results()


def wait_until_ready(name: str) -> None:
    mem = Memory(name)
    ready, monitor = Atomic(mem, "ready"), Monitor(mem, "mon")
    with monitor:
        monitor.wait_for(lambda: ready.value)


def test_who_is_woken_for_nothing_passes_it_on_once(memory: Memory) -> None:
    monitor = Monitor(memory, "mon")
    Semaphore(memory, "mon_cond").release()  # meant for the other one
    memory.view(memory.entry("mon_count")).cast("I")[0] = 1  # who is dead
    found: list[int] = []

    def look() -> bool:
        found.append(words(memory)[2])
        return len(found) == 4

    with monitor:
        assert monitor.wait_for(look)
    assert found == [1, 0, 0, 0]
    assert words(memory)[2:] == [0, 0, 1]


def test_a_holder_that_dies(memory: Memory) -> None:
    def die(name: str) -> None:
        Monitor(Memory(name), "mon").acquire()
        os.kill(os.getpid(), signal.SIGKILL)

    monitor = Monitor(memory, "mon")
    with crew() as others:
        others.start(die, memory.name).join()
    with monitor:
        assert monitor.recovered
    assert words(memory) == [1, 0, 0, 0, 0]


def test_all_parts_or_none(make_memory: Callable[..., Memory]) -> None:
    memory = make_memory(4096, max_entries=3)
    before = bytes(memory.buf)
    with pytest.raises(StructureNotFoundError):
        Monitor.open(memory, "mon")
    with pytest.raises(NameTooLongError):
        Monitor(memory, "m" * 26)
    with pytest.raises(TableFullError):
        Monitor(memory, "m" * 25)
    assert bytes(memory.buf) == before


def test_closes_pickles_and_shows_itself(memory: Memory) -> None:
    monitor = Monitor(memory, "mon")
    with pickle.loads(pickle.dumps(monitor)):
        assert repr(monitor) == "<Monitor 'mon', locked, waiting=0>"
    monitor.close()
    for use in (monitor.acquire, monitor.release, monitor.wait, monitor.notify):
        with pytest.raises(ClosedError):
            use()
    with pytest.raises(ClosedError), monitor:
        pass
