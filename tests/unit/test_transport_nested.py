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
from types import FrameType
from typing import Any

import numpy as np
import pytest

from tests.support.arenas import PURE, File, ended_well, fork_child, queue_of
from zeroipc._core import mutex
from zeroipc._core.mqueue import queue_locked
from zeroipc._core.mutex import here
from zeroipc._core.status import OK, Status

CORE = os.path.dirname(mutex.__file__)
INTERRUPTIBLE = {"CALL", "CALL_FUNCTION_EX", "JUMP_BACKWARD", "RESUME", "CALL_KW", "PRECALL"}


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
        with pytest.raises(Exception, match="^$") as full:
            bounded.put_nowait(1)
        assert type(full.value).__name__ == "Full"
        with pytest.raises(TypeError, match="cannot pickle obj"):
            bounded.put(lambda: None)

    under_lock(bounded, handler)
    assert bounded.qsize() == 1
    bounded._shutdown(False)
    under_lock(bounded, lambda: pytest.raises(ValueError, bounded.put, 1))


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
        lambda: arena.create_queue(0, 0, b""),
        lambda: arena.find_queue(b"x"),
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


def interruptions(work: Callable[[], Any]) -> Iterator[int]:
    """Run *work* again and again, each time with an exception at another point of the core.

    At those points only at which the interpreter would run a signal handler: after a call,
    at the start of a function, and at the end of a loop.
    """
    for number in itertools.count():
        left = number
        before: dict[int, int] = {}

        def trace(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal left
            if not frame.f_code.co_filename.startswith(CORE):
                return None
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
            if event != "opcode":
                return trace
            previous = before.get(id(frame))
            before[id(frame)] = frame.f_lasti
            code = frame.f_code.co_code
            if previous is not None and dis.opname[code[previous]] in INTERRUPTIBLE:
                left -= 1
                if left < 0:
                    sys.settrace(None)
                    raise Interrupt
            return trace

        sys.settrace(trace)
        try:
            work()
        except Interrupt:
            yield number
            continue
        finally:
            sys.settrace(None)
        return


@pytest.mark.slow
@pytest.mark.parametrize("size", [10, 30_000])
def test_an_exception_at_any_point(file: File, arena: Any, size: int) -> None:
    queue, other = queue_of(PURE, arena, maxsize=50), None
    watcher = file.attach(PURE)
    other = queue_of(PURE, watcher, queue._handle[1:])
    item = np.arange(size)
    work = [lambda: queue.put(item), lambda: queue.get(False)]
    for step, what in enumerate(work):
        points = 0
        for _ in range(50 * step):
            queue.put(item)
        for _ in interruptions(what):
            points += 1
            assert here.held == 0
            assert watcher.stats()["blocks_live"] <= 60
            while other.qsize() > 45 * step + 5:  # the other one is never locked out
                assert other.get(False).sum() == item.sum()
            if step:
                other.put(item)
        assert points > 50
        found = other.get_many(100)
        assert all(np.array_equal(one, item) for one in found)
        del found
    arena.deregister()  # what an exception made this participant keep goes back
    watcher.sweep()
    assert watcher.stats()["blocks_live"] <= 2


def test_a_storm_of_exceptions(file: File, arena: Any) -> None:
    queue = queue_of(PURE, arena)
    array = np.arange(5000)
    got = raised = 0

    def handler(number: int, frame: Any) -> None:
        raise Interrupt

    old = signal.signal(signal.SIGALRM, handler)
    try:
        for _ in range(300):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0002 + raised % 7 * 0.0001)
                while True:
                    queue.put(array)
                    got += len(queue.get(False)) == 5000
            except Interrupt:
                raised += 1
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
