"""kill -9 of those who put and get: nobody hangs, nothing is delivered twice, nothing leaks."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from mmap import mmap
from typing import Any

import numpy as np
import pytest

import zeroipc.mp as mp
from tests.support.programs import run_python
from zeroipc import errors
from zeroipc.mp import transport

pytestmark = pytest.mark.kill
METHODS = multiprocessing.get_all_start_methods()
ITEMS = 1 << 16
PRODUCERS = CONSUMERS = 2


class Audit:
    """Who did what, in plain shared memory outside of what is tested: a byte for each item.

    An item is STARTED before its put, SENT after it, and counted up by whoever gets it. Each
    process writes bytes of its own items or those it holds, so no two write the same.
    """

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:
            self.bytes = mmap(file.fileno(), 3 * ITEMS * PRODUCERS)
        marks = np.frombuffer(self.bytes, np.uint8).reshape(3, PRODUCERS, ITEMS)
        self.started, self.sent, self.got = marks


def produce(q: Any, path: str, who: int) -> None:
    audit = Audit(path)
    number = int(audit.started[who].argmin())
    while number < ITEMS:
        audit.started[who, number] = 1
        payload = np.full(20_000, number % 251, np.uint8) if number % 5 == 0 else b"x" * (number % 900)
        q.put((who, number, payload))
        audit.sent[who, number] = 1
        number += 1


def consume(q: Any, path: str) -> None:
    audit = Audit(path)
    while (item := q.get()) is not None:
        who, number, payload = item
        audit.got[who, number] += 1
        if number % 5 == 0:
            assert (payload == number % 251).all(), number


@pytest.fixture
def path(tmp_path: Any) -> Iterator[str]:
    file = tmp_path / "audit"
    file.write_bytes(bytes(3 * ITEMS * PRODUCERS))
    yield str(file)


@pytest.mark.parametrize("maxsize", [0, 50])
@pytest.mark.parametrize("method", METHODS)
def test_random_kills_under_load(method: str, maxsize: int, path: str) -> None:
    context = mp.get_context(method)
    q = context.Queue(maxsize)
    audit = Audit(path)
    start = transport.home().arena.stats()["blocks_live"]
    roles = [(produce, (q, path, who)) for who in range(PRODUCERS)]
    roles += [(consume, (q, path))] * CONSUMERS
    running = [context.Process(target=target, args=args) for target, args in roles]
    for process in running:
        process.start()
    pick, deaths = random.Random(method + str(maxsize)), [0, 0]
    end = time.monotonic() + (4 if method == "fork" else 6)
    while time.monotonic() < end:
        time.sleep(pick.random() * 0.02)  # paces the kills; orders nothing
        index = pick.randrange(len(running))
        victim = running[index]
        if victim.pid is not None:
            os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        assert victim.exitcode == -signal.SIGKILL or audit.started[:, -1].any(), victim.exitcode
        deaths[roles[index][0] is consume] += 1
        target, args = roles[index]
        running[index] = context.Process(target=target, args=args)
        running[index].start()
    for index in range(PRODUCERS):
        running[index].kill()
        running[index].join()
        deaths[0] += 1
    for _ in range(CONSUMERS):
        q.put(None)
    for process in running[PRODUCERS:]:
        process.join()
        assert process.exitcode == 0
    check(audit, deaths)
    transport.home().arena.sweep()
    del process, victim, running, roles, args
    q.put(np.zeros(50_000))  # a getter that died had these blocks; all must be back
    assert q.get().size == 50_000
    assert transport.home().arena.stats()["blocks_live"] <= start + 16


def check(audit: Audit, deaths: list[int]) -> None:
    got, sent, started = (x.astype(int) for x in (audit.got, audit.sent, audit.started))
    assert got.max() <= 1, "delivered twice"
    assert (got <= started).all(), "delivered and never put"
    lost = int((sent > got).sum())
    assert lost <= deaths[1], f"{lost} items lost with {deaths[1]} consumers killed"
    assert sent.sum() > 100


def take_and_die(q: Any, count: int) -> None:
    for _ in range(count):
        q.get()
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("method", METHODS)
def test_join_tells_once_that_tasks_died(method: str) -> None:
    context = mp.get_context(method)
    q = context.JoinableQueue()
    for number in range(5):
        q.put(number)
    child = context.Process(target=take_and_die, args=(q, 3))
    child.start()
    child.join()
    q.get()
    q.task_done()
    joined: list[str] = []

    def join() -> None:
        try:
            q.join()
            joined.append("done")
        except errors.OwnerDiedError as error:
            joined.append(str(error))

    thread = threading.Thread(target=join)
    thread.start()
    thread.join()
    assert "3 tasks" in joined[0]
    assert q.get() == 4
    q.task_done()
    q.join()
    pytest.raises(ValueError, q.task_done)


def test_what_a_killed_producer_put_is_delivered() -> None:
    q, context = mp.Queue(), mp.get_context("fork")

    def put_and_die() -> None:
        for number in range(200):
            q.put((number, np.full(10_000, number)))
        os.kill(os.getpid(), signal.SIGKILL)

    child = context.Process(target=put_and_die)
    child.start()
    child.join()
    for number in range(200):
        got, array = q.get()
        assert got == number and (array == number).all()


def test_nothing_is_left_when_all_are_killed() -> None:
    run_python("""
        import os, signal, subprocess, sys, zeroipc.mp as mp
        before = {x for x in os.listdir("/dev/shm") if x.startswith("zeroipc-")}
        source = '''if True:
            import os, signal, zeroipc.mp as mp, numpy as np
            q = mp.Queue()
            for _ in range(3):
                if os.fork() == 0:
                    break
            q.put(np.zeros(100000))
            print(os.getpid(), flush=True)
            signal.pause()
        '''
        program = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
        pids = [int(program.stdout.readline()) for _ in range(4)]
        mine = [x for x in os.listdir("/dev/shm") if any(f"zeroipc-{pid}-" in x for pid in pids)]
        assert not mine, mine
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        program.communicate()
    """)
