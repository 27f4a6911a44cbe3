"""Locks, events and conditions of the core: the two implementations at work on the same ones."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.arenas import BACKENDS, PAIRS, File, core, ended_well, fork_child
from zeroipc._core import layout
from zeroipc._core.layout import (
    LOCK_CONDITION,
    LOCK_EVENT,
    LOCK_PLAIN,
    LOCK_RECURSIVE,
    LOCK_SEMAPHORE,
    WAITERS_INLINE,
)
from zeroipc.errors import ClosedError

TYPES = {LOCK_EVENT: "Event", LOCK_CONDITION: "Condition"}


def lock_of(backend: str, arena: Any, kind: int, handle: Any = None, value: int = 1) -> Any:
    """Return a new lock of a kind, or the one that *handle* names."""
    base = getattr(core(backend), TYPES.get(kind, "Lock"))
    lock = type("Own", (base,), {"_semlock": property(lambda self: self)})()
    lock._attach(arena, *(handle or arena.create_lock(kind, value, 3)))
    return lock


class Pair:
    """One lock, as two participants see it; the second lives in a child that runs *work*."""

    def __init__(self, maker: str, user: str, kind: int, value: int = 1) -> None:
        self.user, self.kind = user, kind
        self.file = File()
        self.arena = self.file.create(maker)
        self.lock = lock_of(maker, self.arena, kind, value=value)

    def child(self, work: Callable[[Any], object]) -> int:
        """Run *work* with the lock in a child that has its own arena; return its pid."""

        def attach() -> None:
            arena = self.file.attach(self.user)
            work(lock_of(self.user, arena, self.kind, self.lock._handle[1:]))

        return fork_child(attach)


def killed(child: int) -> bool:
    """Wait for a child; return whether it was killed."""
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(("maker", "user"), PAIRS)
@pytest.mark.parametrize("kind", [LOCK_PLAIN, LOCK_RECURSIVE, LOCK_SEMAPHORE])
def test_only_one_has_it(maker: str, user: str, kind: int) -> None:
    pair = Pair(maker, user, kind)
    assert pair.lock.acquire()
    assert pair.lock._is_mine()

    def work(lock: Any) -> None:
        assert not lock.acquire(False)
        assert not lock.acquire(True, 0.01)
        assert not lock._is_mine()
        assert lock._is_zero()
        assert lock._get_value() == lock._count() == 0

    assert ended_well(pair.child(work))
    pair.lock.release()
    assert ended_well(pair.child(lambda lock: lock.acquire() and lock.release()))
    assert pair.lock._get_value() == 1


@pytest.mark.parametrize(("maker", "user"), PAIRS)
def test_counted_under_contention(maker: str, user: str) -> None:
    pair = Pair(maker, user, LOCK_PLAIN)
    memory = core(maker).Memory()
    memory._attach(pair.arena, *pair.arena.create_memory(8))
    count = memory.buffer.cast("q")
    rounds = 300

    def work(lock: Any) -> None:
        for _ in range(rounds):
            with lock:
                count[0] += 1

    children = [pair.child(work) for _ in range(2)]
    work(pair.lock)
    assert all(map(ended_well, children))
    assert count[0] == 3 * rounds


@pytest.mark.parametrize(("maker", "user"), PAIRS)
@pytest.mark.parametrize("kind", [LOCK_PLAIN, LOCK_RECURSIVE])
def test_the_lock_of_a_dead_holder(maker: str, user: str, kind: int) -> None:
    pair = Pair(maker, user, kind)
    assert killed(pair.child(lambda lock: die(lock.acquire())))
    assert pair.lock.acquire(True, 30)
    assert pair.lock.owner_died
    pair.lock.release()
    assert pair.lock.acquire(False)
    assert not pair.lock.owner_died


@pytest.mark.parametrize(("maker", "user"), PAIRS)
def test_who_only_tries_learns_of_a_death(maker: str, user: str) -> None:
    pair = Pair(maker, user, LOCK_PLAIN)
    assert killed(pair.child(lambda lock: die(lock.acquire())))
    for _ in range(2000):
        if pair.lock.acquire(False):
            break
        threading.Event().wait(0.01)
    assert pair.lock.owner_died


@pytest.mark.parametrize(("maker", "user"), PAIRS)
def test_a_semaphore_of_the_dead_stays_taken(maker: str, user: str) -> None:
    pair = Pair(maker, user, LOCK_SEMAPHORE, value=2)
    assert killed(pair.child(lambda lock: die(lock.acquire())))
    assert pair.arena.sweep() == 1
    assert pair.lock._get_value() == 1
    assert ended_well(pair.child(lambda lock: [lock.release(), lock.release()]))
    with pytest.raises(ValueError, match="released too many times"):
        pair.lock.release()


@pytest.mark.parametrize(("maker", "user"), PAIRS)
def test_an_event_that_is_set_and_cleared(maker: str, user: str) -> None:
    pair = Pair(maker, user, LOCK_EVENT, value=0)
    reading, writing = os.pipe()

    def work(event: Any) -> None:
        os.write(writing, b"x")
        assert event.wait(30)

    child = pair.child(work)
    os.read(reading, 1)
    os.close(reading)
    os.close(writing)
    pair.lock.set()
    assert pair.lock.is_set()
    assert ended_well(child)
    pair.lock.clear()
    assert not pair.lock.is_set()
    assert not pair.lock.wait(0)


class Waiting:
    """A condition with children that wait for it, in the order in which they came."""

    def __init__(self, maker: str, user: str, count: int) -> None:
        self.pair = Pair(maker, user, LOCK_CONDITION)
        self.condition = self.pair.lock
        mutex = self.condition._lock = lock_of(maker, self.pair.arena, LOCK_RECURSIVE)
        self.handle = mutex._handle[1:]
        self.children = [self._child(number) for number in range(count)]

    def _child(self, number: int) -> int:
        def work(condition: Any) -> None:
            mutex = lock_of(self.pair.user, condition._handle[0], LOCK_RECURSIVE, self.handle)
            condition._lock = mutex
            with condition:
                assert condition.wait(30)
                assert mutex._is_mine()

        before = self.condition._waiting()
        child = self.pair.child(work)
        while self.condition._waiting() == before:
            threading.Event().wait(0.001)
        return child

    def notify(self, count: int = 1) -> None:
        with self.condition:
            self.condition.notify(count)


@pytest.mark.parametrize(("maker", "user"), PAIRS)
def test_who_waited_longest_is_notified(maker: str, user: str) -> None:
    waiting = Waiting(maker, user, 3)
    for child in waiting.children:
        waiting.notify()
        assert ended_well(child)
    assert waiting.condition._waiting() == 0


@pytest.mark.parametrize(("maker", "user"), PAIRS)
def test_a_dead_waiter_takes_no_notify_along(maker: str, user: str) -> None:
    waiting = Waiting(maker, user, 3)
    os.kill(waiting.children[0], signal.SIGKILL)
    assert killed(waiting.children[0])
    waiting.notify()  # it picks the dead one, which nobody has missed yet
    waiting.pair.arena.sweep()  # unless one who waits has done so
    assert ended_well(waiting.children[1])
    os.kill(waiting.children[2], signal.SIGKILL)
    assert killed(waiting.children[2])
    waiting.pair.arena.sweep()
    assert waiting.condition._waiting() == 0
    assert waiting.condition._lost == 1


@pytest.mark.parametrize(("maker", "user"), PAIRS)
def test_more_waiters_than_the_slot_has_room_for(maker: str, user: str) -> None:
    pair = Pair(maker, user, LOCK_CONDITION)
    other = lock_of(user, pair.file.attach(user), LOCK_CONDITION, pair.lock._handle[1:])
    many = WAITERS_INLINE + layout.PAGE // layout.WAITER.nbytes + 3
    places = [(pair.lock, other)[turn % 2]._come() for turn in range(many)]
    assert places == list(range(many))
    assert pair.lock._waiting() == many
    assert pair.arena.stats()["blocks_live"] == 1
    for place in places:
        other._go(place)
    assert pair.lock._waiting() == 0
    assert pair.lock._come() == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_lock_nobody_has_is_gone(backend: str) -> None:
    arena = File().create(backend)
    condition = lock_of(backend, arena, LOCK_CONDITION)
    for _ in range(WAITERS_INLINE + 1):
        condition._come()
    handle = condition._handle[1:]
    del condition
    assert lock_of(backend, arena, LOCK_PLAIN)._handle[1] == handle[0]
    assert arena.stats()["blocks_live"] == 0
    with pytest.raises(ClosedError):
        lock_of(backend, arena, LOCK_PLAIN, handle)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_forked_child_has_nothing(backend: str) -> None:
    arena = File().create(backend)
    lock, semaphore = lock_of(backend, arena, LOCK_RECURSIVE), lock_of(backend, arena, 2, value=3)
    lock.acquire(), semaphore.acquire()

    def work() -> None:
        arena.after_fork()
        assert not lock._is_mine()
        assert lock._count() == semaphore._count() == 0
        assert not lock.acquire(False)

    arena.before_fork()
    assert ended_well(fork_child(work))
    assert lock._is_mine()
    assert lock._count() == semaphore._count() == 1
