"""Read-write locks: readers together, writers alone, and what deaths leave."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.named import crew
from zeroipc import (
    ClosedError,
    Memory,
    NameExistsError,
    NameTooLongError,
    ReleaseError,
    RWLock,
    SegmentFormatError,
    StructureNotFoundError,
    TableFullError,
    WaitTimeoutError,
)

pytestmark = pytest.mark.usefixtures("backend")


def state(memory: Memory) -> list[int]:
    """Return readers, writer_active, and the permits of rmtx and wmtx."""
    words = memory.view(memory.entry("lock_state")).cast("i").tolist()
    return words + [memory.view(memory.entry(f"lock_{m}mtx")).cast("i")[0] for m in "rw"]


def test_many_read_or_one_writes(memory: Memory) -> None:
    lock = RWLock(memory, "lock")
    assert [entry.name for entry in memory] == ["lock_state", "lock_rmtx", "lock_wmtx", "lock"]
    with lock.read(), lock.read():
        assert state(memory) == [2, 0, 1, 1]
        assert (lock.readers, lock.writing) == (2, False)
        assert not lock.try_write()
        assert not lock.acquire_write(blocking=False)
        assert not lock.acquire_write(timeout=0.01)
        with pytest.raises(WaitTimeoutError), lock.write(timeout=0):
            pass
        assert state(memory) == [2, 0, 1, 1]
    with lock.write():
        assert state(memory) == [0, 1, 1, 0]
        assert not lock.try_read()
        assert not lock.try_write()
        assert not lock.acquire_read(timeout=0.01)
        assert not lock.acquire_read(False)
        with pytest.raises(WaitTimeoutError), lock.read(timeout=0):
            pass
    assert lock.try_write()
    lock.release_write()
    assert lock.acquire_read(timeout=None)
    lock.release_read()
    assert state(memory) == [0, 0, 1, 1]
    with pytest.raises(ReleaseError):
        lock.release_read()
    with pytest.raises(ReleaseError):
        lock.release_write()


def test_a_writer_who_waits_keeps_new_readers_out(memory: Memory) -> None:
    lock = RWLock(memory, "lock")
    assert lock.try_read()
    writer = threading.Thread(target=lock.acquire_write)
    writer.start()
    while not lock.writing:
        pass
    assert not lock.try_read()
    lock.release_read()
    writer.join()
    assert state(memory) == [0, 1, 1, 0]
    reader = threading.Thread(target=lock.acquire_read)
    reader.start()
    lock.release_write()
    reader.join()
    assert state(memory) == [1, 0, 1, 1]


def test_nobody_sees_half_a_change(memory: Memory) -> None:
    memory.add("pair", 16, lambda view: None)
    RWLock(memory, "lock")
    with crew() as others:
        for _ in range(2):
            others.start(write, memory.name, 150)
        for _ in range(2):
            others.start(read, memory.name, 300)
        assert others.results()[2:] == [True, True]
    assert memory.view(memory.entry("pair")).cast("q").tolist() == [300, 300]
    assert state(memory) == [0, 0, 1, 1]


def write(name: str, count: int) -> None:
    mem = Memory(name)
    pair, lock = mem.view(mem.entry("pair")).cast("q"), RWLock(mem, "lock")
    for _ in range(count):
        with lock.write():
            pair[0] += 1
            pair[1] += 1


def read(name: str, count: int) -> bool:
    mem = Memory(name)
    pair, lock = mem.view(mem.entry("pair")).cast("q"), RWLock(mem, "lock")
    equal = True
    for _ in range(count):
        with lock.read():
            equal = equal and pair[0] == pair[1]
    return equal


# --- deaths ---


def kill_in(memory: Memory, work: Callable[[RWLock], Any]) -> None:
    def die(name: str) -> None:
        work(RWLock(Memory(name), "lock"))
        os.kill(os.getpid(), signal.SIGKILL)

    with crew() as others:
        others.start(die, memory.name).join()


@pytest.mark.parametrize("how", ["acquire_read", "acquire_write"])
def test_a_writer_that_dies(memory: Memory, how: str) -> None:
    lock = RWLock(memory, "lock")
    kill_in(memory, lambda theirs: theirs.acquire_write())
    assert state(memory) == [0, 1, 1, 0]
    assert getattr(lock, how)(timeout=60)
    assert lock.recovered
    (lock.release_read if how == "acquire_read" else lock.release_write)()
    assert state(memory) == [0, 0, 1, 1]
    with lock.read():
        assert not lock.recovered


def test_a_writer_that_dies_before_readers_know(memory: Memory) -> None:
    kill_in(memory, lambda theirs: theirs._wmtx.acquire())
    lock = RWLock(memory, "lock")
    assert lock.try_read()
    lock.release_read()
    assert lock.acquire_write(timeout=60)
    assert lock.recovered


def test_one_that_dies_with_the_inner_mutex(memory: Memory) -> None:
    kill_in(memory, lambda theirs: theirs._rmtx.acquire())
    lock = RWLock(memory, "lock")
    assert not lock.try_read()
    assert lock.acquire_read(timeout=60)
    assert state(memory) == [1, 0, 1, 1]


def test_a_reader_that_dies_needs_repair(memory: Memory) -> None:
    lock = RWLock(memory, "lock")
    kill_in(memory, lambda theirs: theirs.acquire_read())
    assert not lock.acquire_write(timeout=0.05)
    with lock.read():
        pass
    lock.repair()
    assert lock.try_write()


# --- the rest ---


def test_opens_only_what_fits(memory: Memory) -> None:
    with pytest.raises(StructureNotFoundError):
        RWLock.open(memory, "lock")
    RWLock.create(memory, "lock").acquire_read()
    with pytest.raises(NameExistsError):
        RWLock.create(memory, "lock")
    assert RWLock.open(memory, "lock").readers == RWLock(memory, "lock").readers == 1
    memory.add("part", 1, lambda view: None)
    with pytest.raises(SegmentFormatError, match="part_state"):
        RWLock(memory, "part")


def test_all_parts_or_none(make_memory: Callable[..., Memory]) -> None:
    memory = make_memory(4096, max_entries=3)
    before = bytes(memory.buf)
    with pytest.raises(NameTooLongError):
        RWLock(memory, "l" * 26)
    with pytest.raises(TableFullError):
        RWLock(memory, "l" * 25)
    assert bytes(memory.buf) == before


def test_closes_pickles_and_shows_itself(memory: Memory) -> None:
    with RWLock(memory, "lock") as lock:
        pickle.loads(pickle.dumps(lock)).acquire_read()
        assert repr(lock) == "<RWLock 'lock', readers=1, writing=False>"
    for use in (lock.acquire_read, lock.acquire_write, lock.try_read, lock.release_read):
        with pytest.raises(ClosedError):
            use()
