"""The Python twin interrupted: nested calls, exceptions and finalizers at its every step.

The C core cannot be interrupted under a lock, so all of this is about the twin alone.
"""

from __future__ import annotations

import dis
import gc
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from queue import Full
from types import FrameType
from typing import Any

import numpy as np
import pytest

from tests.support.arenas import PURE, File, ended_well, fork_child, queue_of
from zeroipc._core import mutex
from zeroipc._core.mqueue import queue_locked
from zeroipc._core.mutex import here
from zeroipc._core.status import OK, Status
from zeroipc._core.sweep import arena_deregister

CORE = os.path.dirname(mutex.__file__)
INTERRUPTIBLE = {"CALL", "CALL_FUNCTION_EX", "JUMP_BACKWARD", "RESUME", "CALL_KW"}


@pytest.fixture
def file() -> File:
    return File()


@pytest.fixture
def arena(file: File) -> Any:
    return file.create(PURE)


def under_lock(queue: Any, work: Callable[[], Any]) -> None:
    """Run *work* as a signal handler would: while this thread holds the queue's lock."""
    arena, slot, _ = queue._handle

    def inside() -> Status:
        work()
        return OK

    assert queue_locked(arena.view, slot, mutex.TICK_NS, inside) is OK


# --- Nested calls ---------------------------------------------------------------------------


def test_a_nested_put_is_made_after_the_outer_call(arena: Any) -> None:
    queue = queue_of(PURE, arena)
    array = np.arange(30_000)

    def handler() -> None:
        queue.put(1)
        queue.put({"two": [2]})
        queue.put_nowait(array)
        array[:] = 0  # what was put is a snapshot
        assert queue.qsize() == 0

    under_lock(queue, handler)
    assert [queue.get(False), queue.get(False)] == [1, {"two": [2]}]
    assert queue.get(False).sum() == 449985000
    assert not here.deferred


def test_a_nested_put_keeps_its_order(arena: Any) -> None:
    first, second = queue_of(PURE, arena), queue_of(PURE, arena)

    def handler() -> None:
        for number in range(10):
            (first if number % 2 else second).put(b"n" * 20_000 + bytes([number]))

    under_lock(first, handler)
    assert [first.get(False)[-1] for _ in range(5)] == [1, 3, 5, 7, 9]
    assert [second.get(False)[-1] for _ in range(5)] == [0, 2, 4, 6, 8]


def test_a_nested_put_says_what_is_wrong_at_once(arena: Any) -> None:
    bounded = queue_of(PURE, arena, maxsize=1)
    bounded.put(0)

    def handler() -> None:
        with pytest.raises(Full):
            bounded.put_nowait(1)
        with pytest.raises(TypeError, match="cannot pickle obj"):
            bounded.put(lambda: None)

    under_lock(bounded, handler)
    assert bounded.qsize() == 1
    bounded._shutdown(False)

    def refused() -> None:
        with pytest.raises(ValueError, match="the queue is shut down"):
            bounded.put(1)

    under_lock(bounded, refused)


def test_a_nested_put_that_fails_later_is_logged(
    arena: Any, caplog: pytest.LogCaptureFixture
) -> None:
    queue = queue_of(PURE, arena)

    def handler() -> None:
        queue.put(1)
        queue._record().state = 1  # somebody else shuts it down meanwhile

    under_lock(queue, handler)
    assert "made after the queue operation that it interrupted, failed" in caplog.text
    assert not here.deferred


def test_other_nested_calls_raise(arena: Any) -> None:
    queue = queue_of(PURE, arena)
    queue.put(1)
    calls: list[Callable[[], Any]] = [
        queue.get,
        queue.get_nowait,
        lambda: queue.get_many(1),
        lambda: queue._poll(0),
        lambda: queue._shutdown(False),
        lambda: queue._put_task(1),
        lambda: queue._put_now(1, 0),
        lambda: arena.allocate(10),
        lambda: arena.create_queue(0, 0, False),
        lambda: queue_of(PURE, arena, queue._handle[1:]),
        arena.sweep,
        arena.shrink,
        lambda: arena.trim(0),
        arena.deregister,
    ]

    def handler() -> None:
        for call in calls:
            with pytest.raises(RuntimeError, match="only put is possible there"):
                call()

    under_lock(queue, handler)
    assert queue.get(False) == 1


def test_a_nested_finalizer_frees(arena: Any) -> None:
    queue = queue_of(PURE, arena)
    kept = [arena.allocate(5000), queue_of(PURE, arena)]
    live = arena.stats()["blocks_live"]
    under_lock(queue, kept.clear)
    assert arena.stats()["blocks_live"] == live - 1
    queue_of(PURE, arena)
    assert arena.stats()["queues"] == 2


def test_a_fork_clears_the_marker(file: File, arena: Any) -> None:
    queue = queue_of(PURE, arena)

    def child() -> None:
        assert here.held == 0
        assert not here.deferred
        other = file.attach(PURE)
        mine = queue_of(PURE, other)
        mine.put("works")
        assert mine.get() == "works"

    def handler() -> None:
        queue.put("deferred")
        assert ended_well(fork_child(child))
        assert here.held == 1

    under_lock(queue, handler)
    assert queue.get() == "deferred"


# --- Abandoned holds --------------------------------------------------------------------------


def test_an_exception_leaves_the_lock_free(file: File, arena: Any) -> None:
    queue = queue_of(PURE, arena)
    with pytest.raises(ZeroDivisionError):
        under_lock(queue, lambda: 1 / 0)
    assert here.held == 0
    other = queue_of(PURE, file.attach(PURE), queue._handle[1:])
    other.put(1)
    assert queue.get(False) == 1


def test_an_abandoned_hold_is_mended_by_the_next_call(arena: Any) -> None:
    queue = queue_of(PURE, arena)
    queue.put(np.arange(30_000))
    record = queue._record()
    assert mutex.mutex_try_lock(record.lock) is OK  # and never unlocked
    block = arena.view.blocks[1]
    record.items_pending = 1
    queue.put(2)
    assert record.items_pending == 0  # the repair ran
    assert block.owner != 0
    assert queue.get(False).sum() == 449985000


def test_a_thread_that_ends_under_a_lock(arena: Any) -> None:
    queue = queue_of(PURE, arena)
    thread = threading.Thread(target=lambda: mutex.mutex_try_lock(queue._record().lock))
    thread.start()
    thread.join()
    queue.put(1)
    assert queue.get(False) == 1


class Interrupt(BaseException):
    """What the handler raises."""


class Interrupter:
    """Raises at the n-th point of the core at which the interpreter might run a handler.

    These are: after a call of what is not Python code, at the start of a function, and at
    the end of a loop.
    """

    START = -1

    def __init__(self, left: int) -> None:
        self.left = left
        self._before: dict[int, int] = {}
        self._returned = False

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(CORE):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "call":
            self._before[id(frame)] = self.START
        elif event == "opcode":
            before = self._before[id(frame)]
            self._before[id(frame)] = frame.f_lasti
            if self._handles(frame, before):
                self.left -= 1
                if self.left < 0:
                    sys.settrace(None)
                    raise Interrupt
        self._returned = event == "return"
        return self.trace

    def _handles(self, frame: FrameType, before: int) -> bool:
        """Return whether signals are looked at behind the instruction at *before*."""
        if before == self.START:
            return True
        name = dis.opname[frame.f_code.co_code[before]]
        return name in INTERRUPTIBLE and not (self._returned and name.startswith("CALL"))


def interruptions(work: Callable[[], Any]) -> Iterator[int]:
    """Run *work* again and again, each time with an exception at another point of the core."""
    for number in itertools.count():
        sys._getframe().f_trace_opcodes = True  # Python 3.12 traces instructions only after this
        sys.settrace(Interrupter(number).trace)
        try:
            work()
            return
        except Interrupt:
            sys.settrace(None)
            yield number
        finally:
            sys.settrace(None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("size", [10, 30_000])
@pytest.mark.parametrize("what", ["put", "get"])
def test_an_exception_at_any_point(file: File, arena: Any, what: str, size: int) -> None:
    queue = queue_of(PURE, arena, maxsize=50)
    watcher = file.attach(PURE)
    other = queue_of(PURE, watcher, queue._handle[1:])
    item, points = np.arange(size), 0
    for _ in interruptions((lambda: queue.put(item)) if what == "put" else queue.get):
        points += 1
        assert here.held == 0
        while other.qsize() < 5:  # the other one is never locked out
            other.put(item)
        while other.qsize() > 10:
            assert np.array_equal(other.get(), item)
    assert points > 50
    assert all(np.array_equal(one, item) for one in other.get_many(100))
    # An exception in a finalizer keeps what that was to free, until the participant leaves.
    assert watcher.stats()["blocks_live"] <= 1 + 4
    arena_deregister(arena.view)
    assert watcher.stats()["blocks_live"] == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_task_that_was_cut_short_is_put_once(arena: Any) -> None:
    """At whatever point the exception came: the engine then hands in the same object again."""
    queue = queue_of(PURE, arena)
    tasks: list[list[int]] = []

    def put() -> None:
        tasks.append([len(tasks)])
        queue._put_task(tasks[-1])

    for _ in interruptions(put):
        queue._put_task(tasks[-1])
        assert queue.get_many(2) == [tasks[-1]]
    assert queue.get_many(2) == [tasks[-1]]
    assert len(tasks) > 30


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_storm_of_exceptions(file: File, arena: Any) -> None:
    queue = queue_of(PURE, arena)
    array = np.arange(5000)
    raised = 0

    def handler(number: int, frame: Any) -> None:
        nonlocal raised
        raised += 1
        raise Interrupt

    old = signal.signal(signal.SIGALRM, handler)

    def hammer(until: int) -> None:
        while raised < until:
            queue.put(array)
            queue.get(False)

    try:
        while raised < 300:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0002 + raised % 7 * 0.0001)
                hammer(raised + 1)
            except Interrupt:
                continue
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert raised == 300
    assert here.held == 0
    other = queue_of(PURE, file.attach(PURE), queue._handle[1:])
    other.put("still works")
    assert other.get_many(1000)[-1] == "still works"


def test_garbage_collection_at_every_step(arena: Any) -> None:
    queue = queue_of(PURE, arena)
    told = queue_of(PURE, arena)

    class Cycle:
        def __init__(self) -> None:
            self.me = self
            self.block = arena.allocate(5000)
            self.queue = queue_of(PURE, arena)

        def __del__(self) -> None:
            told.put("gone")

    old = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for number in range(100):
            Cycle()
            queue.put([number, np.full(3000, number)])
            assert queue.get(False)[0] == number
    finally:
        gc.set_threshold(*old)
    gc.collect()
    assert told.qsize() == 100
    assert set(told.get_many(100)) == {"gone"}


def test_many_threads_and_a_fork(file: File, arena: Any) -> None:
    queue = queue_of(PURE, arena)
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            queue.put(b"t" * 20_000)
            queue.get()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()

    def child() -> None:
        mine = queue_of(PURE, file.attach(PURE), queue._handle[1:])
        for _ in range(20):
            mine.put(b"c" * 20_000)
            mine.get()

    try:
        assert all(ended_well(fork_child(child)) for _ in range(5))
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert queue.qsize() == 0
