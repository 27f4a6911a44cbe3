"""A process is stopped while it holds a lock: others wait for it, never past their time."""

from __future__ import annotations

import gc
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import zeroipc.mp as mp
from zeroipc._core import transport as pure
from zeroipc._core.blocks import arena_locked
from zeroipc._core.mqueue import queue_locked
from zeroipc._core.status import OK, Status
from zeroipc._core.wait import FOREVER
from zeroipc.mp import transport

SHORT = 0.3
"""Seconds: three ticks."""


class Holder:
    """A process that takes a lock, and stops or dies while it has it.

    Args:
        slot: whose lock; None: the arena's.
        how: it stops or dies.
        later: whether it only does so when `start` is called.
    """

    def __init__(self, slot: int | None, how: signal.Signals, later: bool) -> None:
        home = transport.home()
        ready, go = os.pipe(), os.pipe()
        self._go = go[1]
        self.pid = os.fork()
        if self.pid == 0:
            try:
                view = pure.Arena(home.fd, home.nbytes).view

                def work() -> Status:
                    os.kill(os.getpid(), how)
                    return OK

                os.write(ready[1], b"r")
                os.read(go[0], 1)
                if slot is None:
                    arena_locked(view, FOREVER, work)
                else:
                    queue_locked(view, slot, FOREVER, work)
            finally:
                os._exit(0)
        os.read(ready[0], 1)
        for fd in (*ready, go[0]):
            os.close(fd)
        if not later:
            self.start()

    def start(self) -> None:
        """Let it take the lock."""
        os.write(self._go, b"g")
        os.close(self._go)
        _, self.status = os.waitpid(self.pid, os.WUNTRACED)

    def go_on(self) -> None:
        """Let the process go on, and wait for its end."""
        if self.pid and os.WIFSTOPPED(self.status):
            os.kill(self.pid, signal.SIGCONT)
            os.waitpid(self.pid, 0)
        self.pid = 0


@pytest.fixture
def hold() -> Iterator[Callable[..., Holder]]:
    """Return a function that makes holders, which go on after the test."""
    holders: list[Holder] = []

    def make(
        slot: int | None = None, how: signal.Signals = signal.SIGSTOP, later: bool = False
    ) -> Holder:
        holders.append(Holder(slot, how, later))
        return holders[-1]

    yield make
    for holder in holders:
        holder.go_on()


def warm() -> Any:
    """Return a bounded queue after some use, so that nothing is made for the first time."""
    q = mp.Queue(5)
    for item in (1, np.ones(5000), np.ones(100_000)):
        q.put(item)
        q.get()
    return q


@pytest.mark.parametrize("which", ["arena", "queue"])
def test_times_are_kept(which: str, hold: Callable[..., Holder]) -> None:
    q = warm()
    holder = hold(None if which == "arena" else q._handle[1])
    for item in (np.ones(9000), np.ones(1 << 20), b"x" * 50_000):
        with pytest.raises(queue.Full):
            q.put(item, timeout=SHORT)
        with pytest.raises(queue.Full):
            q.put_nowait(item)
        with pytest.raises(queue.Full):
            q.put_many([item, item], timeout=SHORT)
    with pytest.raises(queue.Empty):
        q.get(timeout=SHORT)
    with pytest.raises(queue.Empty):
        q.get_nowait()
    if which == "arena":  # what needs no memory needs no lock of the arena
        q.put("small", timeout=60)
        assert q.get(timeout=60) == "small"
    holder.go_on()
    q.put(np.ones(9000))
    assert q.get().sum() == 9000


@pytest.mark.parametrize("call", ["put", "put large", "get", "empty", "Queue"])
def test_other_threads_run_meanwhile(call: str, hold: Callable[..., Holder]) -> None:
    q = warm()
    holder = hold()
    turns = 0
    done = threading.Event()

    def turn() -> None:
        nonlocal turns
        while turns < 10:
            time.sleep(0.001)  # without the interpreter lock
            turns += 1
        holder.go_on()  # only now can a call without time-out return
        done.set()

    thread = threading.Thread(target=turn)
    thread.start()
    if call == "get":
        with pytest.raises(queue.Empty):
            q.get(timeout=SHORT)
    elif call == "empty":
        assert mp.empty(9000).size == 9000
    elif call == "Queue":
        assert mp.Queue().empty()
    else:
        q.put(np.ones(1 << 20 if call == "put large" else 9000))
        assert q.get()[0] == 1
    assert done.wait()
    thread.join()


@pytest.mark.parametrize("which", ["arena", "queue"])
@pytest.mark.parametrize("item", [1, np.ones(9000)], ids=["small", "array"])
def test_an_unbounded_queue_is_never_full(
    which: str, item: Any, hold: Callable[..., Holder]
) -> None:
    q = mp.Queue()
    q.put(0)
    holder = hold(None if which == "arena" else q._handle[1])
    q.put_nowait((1, item))
    q.put((2, item), timeout=SHORT)
    assert q.put_many([(3, item), (4, item)], timeout=SHORT) == 2
    q.put((5, item), False)
    holder.go_on()
    assert q.get() == 0
    assert [q.get()[0] for _ in range(5)] == [1, 2, 3, 4, 5]
    q.close()
    q.join_thread()


@pytest.mark.parametrize("which", ["arena", "queue"])
@pytest.mark.parametrize("item", [1, np.ones(9000)], ids=["small", "array"])
def test_tasks_wait_for_a_lock(which: str, item: Any, hold: Callable[..., Holder]) -> None:
    with mp.ProcessPoolExecutor(1, mp.get_context("fork")) as pool:
        assert pool.submit(abs, -1).result() == 1
        holder = hold(None if which == "arena" else pool._call_queue._handle[1])
        futures = [pool.submit(np.sum, item) for _ in range(3)]
        assert not any(future.done() for future in futures) or which == "arena"
        holder.go_on()
        assert [future.result() for future in futures] == [np.sum(item)] * 3


def test_a_queue_that_cannot_be_mended_yet(hold: Callable[..., Holder]) -> None:
    """Its lock's holder died, and the repair needs the arena's lock, whose holder is stopped."""
    q = warm()
    q.put("kept")
    dead = hold(q._handle[1], signal.SIGKILL, later=True)
    stopped = hold()
    dead.start()
    for _ in range(2):
        with pytest.raises(queue.Empty):
            q.get(timeout=SHORT)
        with pytest.raises(queue.Full):
            q.put(1, timeout=SHORT)
    stopped.go_on()
    q.put(2)
    assert [q.get(), q.get()] == ["kept", 2]


def test_the_dead_are_swept_later(hold: Callable[..., Holder]) -> None:
    q = warm()
    gc.collect()  # arrays of earlier tests
    live = transport.home().arena.stats()["blocks_live"]
    pid = os.fork()
    if pid == 0:
        kept = [mp.empty(5000) for _ in range(50)]
        os.kill(os.getpid(), signal.SIGKILL if kept else 0)
    os.waitpid(pid, 0)
    stopped = hold()
    with pytest.raises(queue.Empty):
        q.get(timeout=SHORT)
    transport.home().arena.sweep()
    assert transport.home().arena.stats()["blocks_live"] >= live + 50
    stopped.go_on()
    transport.home().arena.sweep()
    assert transport.home().arena.stats()["blocks_live"] <= live
