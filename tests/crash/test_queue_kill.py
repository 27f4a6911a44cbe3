"""kill -9 of those who put and get: nobody hangs, nothing is delivered twice, nothing leaks."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zeroipc.mp as mp
from tests.support.programs import ROOT
from zeroipc import errors
from zeroipc.mp import transport

pytestmark = pytest.mark.kill
METHODS = multiprocessing.get_all_start_methods()
ITEMS = 1 << 20
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


def payload_of(number: int) -> Any:
    """Return an array to copy, one to move, or bytes."""
    if number % 5:
        return b"x" * (number % 900)
    array = mp.empty(20_000, np.uint8) if number % 2 else np.empty(20_000, np.uint8)
    array[:] = number % 251
    return array


def produce(q: Any, path: str, who: int) -> None:
    audit = Audit(path)
    number = int(audit.started[who].argmin())
    while number < ITEMS:
        audit.started[who, number] = 1
        q.put((who, number, payload_of(number)))
        audit.sent[who, number] = 1
        number += 1


def consume(q: Any, path: str) -> None:
    audit = Audit(path)
    while (item := q.get()) is not None:
        who, number, payload = item
        audit.got[who, number] += 1
        if number % 5 == 0:
            assert (payload == number % 251).all(), number


@pytest.fixture(autouse=True)
def no_survivors() -> Iterator[None]:
    """End the children of a test that failed, so that it hangs nobody."""
    yield
    for child in multiprocessing.active_children():
        child.kill()
        child.join()


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "audit"
    file.write_bytes(bytes(3 * ITEMS * PRODUCERS))
    return str(file)


@pytest.mark.parametrize("maxsize", [0, 50])
@pytest.mark.parametrize("method", METHODS)
def test_random_kills_under_load(method: str, maxsize: int, path: str) -> None:
    context = mp.get_context(method)
    q = context.Queue(maxsize)
    audit = Audit(path)
    start = transport.home().arena.stats()["blocks_live"]
    roles: list[tuple[Any, tuple[Any, ...]]] = [(consume, (q, path))] * CONSUMERS
    roles = [(produce, (q, path, who)) for who in range(PRODUCERS)] + roles
    running = [context.Process(target=target, args=args) for target, args in roles]
    for process in running:
        process.start()
    pick, deaths = random.Random(method + str(maxsize)), [0, 0]
    for _ in range(200 if method == "fork" else 16):
        time.sleep(pick.random() * 0.02)  # paces the kills; orders nothing
        wait_for_progress(audit)
        index = pick.randrange(len(running))
        victim = running[index]
        victim.kill()
        victim.join()
        assert victim.exitcode == -signal.SIGKILL
        target, args = roles[index]
        deaths[target is consume] += 1
        running[index] = context.Process(target=target, args=args)
        running[index].start()
    while int(audit.sent.sum()) <= 100:
        time.sleep(0.001)
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
    transport.home().arena.shrink()
    assert transport.home().arena.stats()["blocks_live"] <= start


def wait_for_progress(audit: Audit) -> None:
    """Wait until another item has been got: nobody hangs. The watchdog is the deadline."""
    before = int(audit.got.sum())
    while int(audit.got.sum()) == before:
        time.sleep(0.001)


def check(audit: Audit, deaths: list[int]) -> None:
    got, sent, started = (x.astype(int) for x in (audit.got, audit.sent, audit.started))
    assert got.max() <= 1, "delivered twice"
    assert (got <= started).all(), "delivered and never put"
    lost = int((sent > got).sum())
    assert lost <= deaths[1], f"{lost} items lost with {deaths[1]} consumers killed"


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
    with pytest.raises(ValueError):
        q.task_done()


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
        assert got == number
        assert (array == number).all()


ORPHANS = """
import os, sys, zeroipc.mp as mp
from zeroipc.errors import OwnerDiedError

def take(q):
    try:
        q.get()
        os.write(1, b"g")
    except OwnerDiedError as error:
        os.write(1, b"o" if "nobody is left" in str(error) else b"?")

def first(q):
    os.write(1, b"r")
    take(q)

def feed(q):
    own = mp.Queue()
    os.write(1, b"r")
    take(own)
    q.put(1)
    take(q)

if __name__ == "__main__":
    context, q = mp.get_context(sys.argv[1]), mp.Queue()
    for target in (first, first, feed):
        context.Process(target=target, args=(q,)).start()
    q.get()
"""


@pytest.mark.parametrize("method", METHODS)
def test_children_of_a_killed_parent_do_not_wait_for_ever(method: str, tmp_path: Path) -> None:
    program = tmp_path / "orphans.py"
    program.write_text(ORPHANS)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(program), method]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0, env=environment)
    assert parent.stdout is not None
    for _ in range(3):
        assert parent.stdout.read(1) == b"r"
    parent.kill()
    # One child finds that nobody can answer it and feeds the others; one of those gets the
    # item, and then the last two find the same. The pipe ends when all of them have ended.
    assert sorted(parent.communicate()[0]) == sorted(b"gooo")


FAMILY = """if True:
    import os, signal, numpy as np, zeroipc.mp as mp
    q = mp.Queue()
    for _ in range(3):
        if os.fork() == 0:
            break
    q.put(np.zeros(100_000))
    os.write(1, b"%d\\n" % os.getpid())
    signal.pause()
"""


def test_nothing_is_left_when_all_are_killed() -> None:
    before = set(os.listdir("/dev/shm"))
    family = subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE)
    assert family.stdout is not None
    pids = [int(family.stdout.readline()) for _ in range(4)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    family.communicate()
    left = set(os.listdir("/dev/shm")) - before
    assert not [name for name in left if any(f"-{pid}-" in name for pid in pids)]
