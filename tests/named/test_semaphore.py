"""Semaphores: one process, several processes, both backends, C++'s bytes."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest

from tests.support.golden import (
    differing,
    golden_bytes,
    golden_facts,
    read_segment,
    write_segment,
)
from tests.support.named import crew
from zeroipc import (
    Atomic,
    CapacityError,
    ClosedError,
    Memory,
    NameExistsError,
    ReleaseError,
    SegmentFormatError,
    Semaphore,
    StructureNotFoundError,
)

pytestmark = pytest.mark.usefixtures("backend")


def test_counts(memory: Memory) -> None:
    seats = Semaphore(memory, "seats", 2, 3)
    assert [seats.try_acquire() for _ in range(3)] == [True, True, False]
    assert (seats.count, seats.locked()) == (0, True)
    seats.release()
    seats.release(2)
    with pytest.raises(ReleaseError, match="at most 3"):
        seats.release()
    with seats:
        assert seats.count == 2
    assert (seats.count, seats.locked()) == (3, False)
    assert seats.acquire() is True
    for n in (0, -1, 2**31):
        with pytest.raises(ValueError, match="n must be"):
            seats.release(n)
    with pytest.raises(TypeError):
        seats.release(1.5)  # type: ignore[arg-type]


def test_release_errors_are_those_of_the_standard_library() -> None:
    assert issubclass(ReleaseError, RuntimeError)  # threading.Lock
    assert issubclass(ReleaseError, ValueError)  # threading.BoundedSemaphore


def test_without_a_limit_it_counts_to_the_end_of_the_word(memory: Memory) -> None:
    seats = Semaphore(memory, "seats", 0)
    seats.release(2**31 - 1)
    with pytest.raises(ReleaseError):
        seats.release()
    assert seats.count == 2**31 - 1


def test_acquire_is_that_of_threading(memory: Memory) -> None:
    seats = Semaphore(memory, "seats", 1)
    assert seats.acquire(False)
    assert not seats.acquire(False)
    assert not seats.acquire(blocking=False)
    assert not seats.acquire(timeout=0.01)
    assert not seats.acquire(True, 0)
    with pytest.raises(ValueError, match="does not block"):
        seats.acquire(False, 1)
    with pytest.raises(ValueError, match="not negative"):
        seats.acquire(timeout=-2)
    with pytest.raises(TypeError):
        seats.acquire(wait=1)  # type: ignore[call-arg]
    assert bytes(memory.view(memory.entry("seats"))) == bytes(16)  # nobody waits any more
    seats.release()
    assert seats.acquire(timeout=None)


def test_permits_of_the_dead_come_back(memory: Memory) -> None:
    seats = Semaphore(memory, "seats", 2, 3)
    assert seats.acquire()
    with pytest.raises(CapacityError, match="count must be from 0 to 3: count=4"):
        seats.repair(4)
    assert seats.count == 1
    seats.repair(3)
    assert seats.count == 3
    seats.repair(0)
    assert not seats.try_acquire()


def test_opens_only_what_fits(memory: Memory) -> None:
    with pytest.raises(StructureNotFoundError):
        Semaphore(memory, "seats")
    for count, most in ((-1, 0), (4, 3), (0, -1), (2**31, 0), (1, 2**31)):
        with pytest.raises(CapacityError):
            Semaphore(memory, "seats", count, most)
    Semaphore.create(memory, "seats", 1, 3).release()
    with pytest.raises(NameExistsError):
        Semaphore.create(memory, "seats", 1)
    with pytest.raises(CapacityError, match="must be 3"):
        Semaphore(memory, "seats", 1, 2)
    assert Semaphore(memory, "seats", 0).count == 2
    assert Semaphore.open(memory, "seats").max_count == 3
    memory.add("short", 8, lambda view: None)
    memory.add("negative", 16, lambda view: view.cast("i").__setitem__(0, -1))
    memory.add("over", 16, lambda view: view.cast("i").__setitem__(slice(3), OVER))
    for name in ("short", "negative", "over"):
        with pytest.raises(SegmentFormatError, match="not a semaphore"):
            Semaphore(memory, name)


OVER = memoryview(b"\3\0\0\0\0\0\0\0\2\0\0\0").cast("i")


def test_closes_pickles_and_shows_itself(memory: Memory) -> None:
    seats = Semaphore(memory, "seats", 2)
    again = pickle.loads(pickle.dumps(seats))
    assert again.acquire()
    assert repr(seats) == "<Semaphore 'seats', count=1, max_count=0>"
    seats.close()
    seats.close()
    assert repr(seats) == "<Semaphore 'seats', closed>"
    for use in (seats.acquire, seats.release, seats.try_acquire, seats.__enter__):
        with pytest.raises(ClosedError, match="'seats'"):
            use()
    with pytest.raises(ClosedError), seats:
        pass


@pytest.mark.parametrize("permits", [1, 2])
def test_no_more_are_inside_than_permits(memory: Memory, permits: int) -> None:
    Semaphore(memory, "seats", permits, permits)
    inside, most = Atomic(memory, "inside"), Atomic(memory, "most")
    with crew() as others:
        for _ in range(4):
            others.start(sit_down, memory.name, 500)
        others.results()
    assert (inside.value, 1 <= most.value <= permits) == (0, True)
    assert bytes(memory.view(memory.entry("seats"))[:8]) == bytes([permits, *[0] * 7])


def sit_down(name: str, count: int) -> None:
    mem = Memory(name)
    seats = Semaphore(mem, "seats")
    inside, most = Atomic(mem, "inside"), Atomic(mem, "most")
    for _ in range(count):
        with seats:
            now = inside.fetch_add(1) + 1
            while (seen := most.value) < now and not most.compare_exchange(seen, now):
                pass
            inside.fetch_sub(1)


def test_a_sleeper_is_woken(memory: Memory) -> None:
    there, back = Semaphore(memory, "there", 0), Semaphore(memory, "back", 0)
    with crew() as others:
        others.start(echo, memory.name, 500)
        for _ in range(500):
            there.release()
            back.acquire()
        others.results()
    assert (there.count, back.count) == (0, 0)


def echo(name: str, count: int) -> None:
    mem = Memory(name)
    there, back = Semaphore(mem, "there"), Semaphore(mem, "back")
    for _ in range(count):
        there.acquire()
        back.release()


def test_golden_segment(segment_name: str) -> None:
    write_segment(segment_name, golden_bytes("v2_semaphore"))
    with Memory(segment_name) as mem:
        for known in golden_facts("v2_semaphore")["structures"]:
            seats = Semaphore(mem, known["name"])
            assert (seats.count, seats.max_count) == (known["count"], known["max_count"])
        mem.unlink()


def test_golden_bytes(make_memory: Callable[..., Memory]) -> None:
    facts = golden_facts("v2_semaphore")
    mem = make_memory(facts["segment_size"], max_entries=facts["table"]["word_at_12"])
    Semaphore(mem, "unbounded", 0).release(3)
    pool = Semaphore(mem, "pool_of_5", 5, 5)
    assert pool.acquire()
    assert pool.acquire()
    Semaphore(mem, "binary", 1, 1)
    assert differing("v2_semaphore", read_segment(mem.name)) == []
