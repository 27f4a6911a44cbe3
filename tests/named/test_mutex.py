"""Mutexes: one process, several processes, and what the death of a holder leaves."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from contextlib import suppress
from typing import Any

import pytest

from tests.support.golden import golden_bytes, golden_facts, write_segment
from tests.support.named import crew
from zeroipc import (
    ClosedError,
    Memory,
    Mutex,
    NameExistsError,
    NameTooLongError,
    ReleaseError,
    SegmentFormatError,
    Semaphore,
    StructureNotFoundError,
)
from zeroipc._core.named.holder import holder_dead, holder_tag, own_tag

pytestmark = pytest.mark.usefixtures("backend")


def words(memory: Memory, name: str = "lock") -> list[int]:
    return memory.view(memory.entry(name)).cast("I").tolist()


def test_locks(memory: Memory) -> None:
    lock = Mutex(memory, "lock")
    assert words(memory) == [1, 0, 1, 0]
    assert lock.acquire() is True
    assert words(memory) == [0, 0, 1, own_tag()]
    assert lock.locked()
    assert not lock.try_acquire()
    assert not lock.acquire(blocking=False)
    assert not lock.acquire(timeout=0.01)
    lock.release()
    assert words(memory) == [1, 0, 1, 0]
    with pytest.raises(ReleaseError, match="must be locked"):
        lock.release()
    with suppress(KeyError), lock:
        assert lock.locked()
        assert not lock.recovered
        raise KeyError
    assert not lock.locked()


def test_any_thread_may_release(memory: Memory) -> None:
    lock = Mutex(memory, "lock")
    lock.acquire()
    thread = threading.Thread(target=lock.release)
    thread.start()
    assert lock.acquire(timeout=60)
    thread.join()


def test_opens_only_what_fits(memory: Memory) -> None:
    with pytest.raises(StructureNotFoundError):
        Mutex.open(memory, "lock")
    Mutex.create(memory, "lock").acquire()
    with pytest.raises(NameExistsError):
        Mutex.create(memory, "lock")
    assert Mutex.open(memory, "lock").locked()
    assert Mutex(memory, "lock").locked()
    with pytest.raises(NameTooLongError):
        Mutex(memory, "m" * 32)
    Semaphore(memory, "seats", 1)
    memory.add("short", 8, lambda view: None)
    for name in ("seats", "short"):
        with pytest.raises(SegmentFormatError, match="not a mutex"):
            Mutex(memory, name)


def test_closes_pickles_and_shows_itself(memory: Memory) -> None:
    lock = Mutex(memory, "lock")
    with pickle.loads(pickle.dumps(lock)):
        assert repr(lock) == "<Mutex 'lock', locked>"
    assert repr(lock) == "<Mutex 'lock', free>"
    lock.close()
    for use in (lock.acquire, lock.release, lock.try_acquire, lock.locked):
        with pytest.raises(ClosedError, match="'lock'"):
            use()


def test_only_one_is_inside(memory: Memory) -> None:
    total = memory.view(memory.add("total", 8, lambda view: None)).cast("q")
    Mutex(memory, "lock")
    with crew() as others:
        for _ in range(4):
            others.start(add, memory.name, 1000)
        others.results()
    assert total[0] == 4000
    assert words(memory) == [1, 0, 1, 0]


def add(name: str, count: int) -> None:
    mem = Memory(name)
    total = mem.view(mem.entry("total")).cast("q")
    lock = Mutex.open(mem, "lock")
    for _ in range(count):
        with lock:
            total[0] += 1


# --- deaths ---


def killed_holder(memory: Memory, others: Any) -> None:
    def hold(name: str) -> None:
        Mutex(Memory(name), "lock").acquire()
        os.kill(os.getpid(), signal.SIGKILL)

    others.start(hold, memory.name).join()


def test_the_mutex_of_the_dead_is_inherited(memory: Memory) -> None:
    lock = Mutex(memory, "lock")
    with crew() as others:
        killed_holder(memory, others)
    tag = words(memory)[3]
    assert holder_dead(tag)
    assert lock.locked()
    assert not lock.try_acquire()
    assert lock.acquire(timeout=60)
    assert lock.recovered
    assert words(memory) == [0, 0, 1, own_tag()]
    lock.release()
    with lock:
        assert not lock.recovered


def test_exactly_one_survivor_inherits(memory: Memory) -> None:
    Mutex(memory, "lock")
    with crew() as dead, crew() as others:
        for _ in range(4):
            others.start(inherit_in_turn, memory.name)
        killed_holder(memory, dead)
        Semaphore(memory, "start", 0).release(4)
        assert sorted(others.results()) == [False, False, False, True]
    assert words(memory) == [1, 0, 1, 0]


def inherit_in_turn(name: str) -> bool:
    mem = Memory(name)
    Semaphore(mem, "start", 0).acquire()
    lock = Mutex(mem, "lock")
    with lock:
        return lock.recovered


def test_random_kills(memory: Memory) -> None:
    """Two numbers that are equal outside the mutex, whoever dies inside."""
    pair = memory.view(memory.add("pair", 16, lambda view: None)).cast("q")
    lock = Mutex(memory, "lock")
    with crew() as others:
        for turn in range(8):
            worker = others.start(change_for_ever, memory.name)
            assert lock.acquire(timeout=60)
            lock.release()
            seen = pair[1]
            while pair[1] == seen and worker.is_alive():
                pass
            worker.kill()
            worker.join()
            while not lock.acquire(timeout=0.2):
                if words(memory)[3] == 0:  # killed between the permit and its tag
                    lock.repair()
            assert pair[1] in (pair[0], pair[0] - 1), turn
            pair[1] = pair[0]
            lock.release()


def change_for_ever(name: str) -> None:
    mem = Memory(name)
    pair = mem.view(mem.entry("pair")).cast("q")
    lock = Mutex(mem, "lock")
    while True:
        with lock:
            pair[1] = pair[0]
            pair[0] += 1
            pair[1] = pair[0]


def test_a_mutex_without_a_tag_is_waited_for_and_repaired(memory: Memory) -> None:
    lock = Mutex(memory, "lock")
    memory.view(memory.entry("lock")).cast("I")[0] = 0  # as a program in C++ locks it
    assert not lock.acquire(timeout=0.2)
    lock.repair()
    assert words(memory) == [1, 0, 1, 0]
    assert lock.acquire(blocking=False)


def test_a_living_holder_keeps_its_mutex(memory: Memory) -> None:
    Mutex(memory, "lock").acquire()
    assert not Mutex(memory, "lock").acquire(timeout=0.3)
    held = memory.view(memory.entry("lock")).cast("I")
    held[3] = os.getpid()  # with another start time: somebody else's pid, used again
    other_start = holder_dead(held[3])
    assert other_start == (own_tag() != os.getpid())
    assert Mutex(memory, "lock").acquire(timeout=60 if other_start else 0.3) == other_start


def test_a_forked_child_has_a_tag_of_its_own(memory: Memory) -> None:
    lock = Mutex(memory, "lock")
    with lock:
        parent = words(memory)[3]

    def child_tag() -> tuple[int, int]:
        with lock:  # the handle that the parent has used
            return words(memory)[3], holder_tag(os.getpid())

    with crew() as others:
        others.start(child_tag)
        others.start(child_tag)
        for found, wanted in others.results():
            assert found == wanted != parent


def test_hostile_tags(memory: Memory) -> None:
    lock = Mutex(memory, "lock")
    held = memory.view(memory.entry("lock")).cast("I")
    for tag in (1, 2**22 - 1, 2**32 - 1, 2**22):
        lock.repair()
        held[0], held[3] = 0, tag
        lock.acquire(timeout=0.01)


def test_golden_segment(segment_name: str) -> None:
    write_segment(segment_name, golden_bytes("v2_mutex_once_event"))
    with Memory(segment_name) as mem:
        for known in golden_facts("v2_mutex_once_event")["structures"]:
            if known["kind"] == "mutex":
                assert Mutex.open(mem, known["name"]).locked() == known["locked"]
        mem.unlink()
