"""A process is killed after each few opcodes of an operation; what it left lets others go on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from tests.support.named import using
from zeroipc import Barrier, Event, Latch, Memory, Monitor, Mutex, RWLock, Semaphore, Signal

pytestmark = pytest.mark.slow
FORK = multiprocessing.get_context("fork")
PATIENCE = 0.03
"""Seconds after which a mutex without a tag is taken for held by nobody."""


def killed_after(opcodes: int, work: Callable[[], Any]) -> bool:
    """Do *work* in a process that is killed after so many opcodes; return whether it was."""
    process = FORK.Process(target=_run_traced, args=(opcodes, work))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _run_traced(left: int, work: Callable[[], Any]) -> None:
    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal left
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys._getframe().f_trace_opcodes = True  # 3.12 traces opcodes only after this
    sys.settrace(trace)
    work()
    sys.settrace(None)


def sweep(stride: int, work: Callable[[], Any], survive: Callable[[], Any]) -> None:
    """Kill *work* further and further in, until it ends; each time others *survive*."""
    opcodes = 0
    while killed_after(opcodes, work):
        survive()
        opcodes += stride
    survive()
    assert opcodes > 20 * stride


def nobody_has(memory: Memory, *mutexes: str) -> bool:
    """Return whether one of the mutexes is locked without a tag: its holder died just then."""
    words = (memory.view(memory.entry(name)).cast("I").tolist() for name in mutexes)
    return any((count, owner) == (0, 0) for count, _, _, owner in words)


def acquired(memory: Memory, acquire: Callable[..., bool], *mutexes: str) -> bool:
    """Acquire what a dead one may have; return False if only `repair` helps."""
    while not acquire(timeout=PATIENCE):
        if nobody_has(memory, *mutexes):
            return False
    return True


@pytest.fixture(autouse=True)
def pure() -> Any:
    with using("pure"):
        yield


def test_mutex(memory: Memory) -> None:
    lock, inherited, repaired = Mutex(memory, "lock"), 0, 0

    def work() -> None:
        lock.acquire()
        lock.release()

    def survive() -> None:
        nonlocal inherited, repaired
        if not acquired(memory, lock.acquire, "lock"):
            lock.repair()
            repaired += 1
            return
        inherited += lock.recovered
        lock.release()

    sweep(2, work, survive)
    assert inherited > 0
    assert repaired > 0  # the few opcodes beside the tag, on either side


def test_rwlock(memory: Memory) -> None:
    lock, inherited = RWLock(memory, "lock"), 0

    def work() -> None:
        lock.acquire_write()
        lock.release_write()

    def survive() -> None:
        nonlocal inherited
        for acquire, release in (
            (lock.acquire_read, lock.release_read),
            (lock.acquire_write, lock.release_write),
        ):
            if not acquired(memory, acquire, "lock_rmtx", "lock_wmtx"):
                lock.repair()
                assert acquire()
            inherited += lock.recovered
            release()

    sweep(15, work, survive)
    assert inherited > 0


def test_signal(memory: Memory) -> None:
    level, before = Signal(memory, "level", "i4", 0), (0, 0)

    def work() -> None:
        level.set(before[1] + 1)

    def survive() -> None:
        nonlocal before
        if nobody_has(memory, "level_mtx"):
            level.repair()
        version, value = level.read()
        # whole: old, new, or new under the old version
        assert (version - before[0], value - before[1]) in ((0, 0), (0, 1), (1, 1))
        before = version, value

    sweep(7, work, survive)


def test_barrier(memory: Memory) -> None:
    gate, turns = Barrier(memory, "gate", 1), 0

    def survive() -> None:
        nonlocal turns
        assert gate.n_waiting == 0
        assert gate.generation - turns in (0, 1)
        gate.wait()
        turns = gate.generation

    sweep(3, gate.wait, survive)


def test_what_is_one_step_is_never_half_done(memory: Memory) -> None:
    seats, latch = Semaphore(memory, "seats", 0), Latch(memory, "latch", 1)
    event = Event(memory, "event", manual=False)

    def work() -> None:
        seats.release()
        latch.count_down()
        event.set()

    def survive() -> None:
        assert seats.count in (0, 1)
        assert latch.count == 1 or seats.count == 1  # one after the other
        kept = event.wait(0)
        assert not kept or latch.try_wait()
        seats.acquire(False)
        latch.reset()
        event.clear()

    sweep(5, work, survive)


def test_monitor(memory: Memory) -> None:
    monitor = Monitor(memory, "mon")

    def work() -> None:
        with monitor:
            monitor.wait(0)
            monitor.notify()

    def survive() -> None:
        if not acquired(memory, monitor.acquire, "mon_mtx"):
            monitor.repair()
            assert monitor.acquire()
        answers = iter((False, False, True))
        assert monitor.wait_for(lambda: next(answers))
        monitor.release()

    sweep(25, work, survive)
