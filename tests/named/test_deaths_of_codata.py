"""A process dies before each change of a shared word in turn; the others go on.

What it was doing is done, fails with an error that says so, or is mended by repair; whatever
it held is there for others afterwards.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.named import using
from zeroipc import (
    AlreadySetError,
    Channel,
    Function,
    Future,
    Lazy,
    Memory,
    OwnerDiedError,
    StalledError,
    WaitTimeoutError,
    _waiting,
)
from zeroipc._core.named.word import Word

CHANGES = ("store", "exchange", "compare_exchange", "fetch_add", "fetch_sub")
MOST = 60
"""No operation changes words more often."""


def die_at(number: int, work: Callable[..., Any], *args: Any) -> None:
    """Do the work, but be killed before the change of that number."""
    left = number

    def deadly(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*args: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*args)

        return changed

    for name in CHANGES:
        setattr(Word, name, deadly(getattr(Word, name)))
    with using("pure"):
        work(*args)


class Victims:
    """Processes that do one work, each killed one change later than the last."""

    def __init__(self, work: Callable[..., Any], *args: Any) -> None:
        self._work = work, *args
        self._context = multiprocessing.get_context("fork")
        self.number = 0
        self.survived = False

    def start(self) -> Any:
        """Start the next one."""
        self.number += 1
        assert self.number < MOST
        process = self._context.Process(target=die_at, args=(self.number, *self._work))
        process.start()
        return process

    def end(self, process: Any) -> None:
        """Wait for its end; the one that is not killed is the last."""
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        self.survived = process.exitcode == 0
        process.close()

    def next(self) -> None:
        """Start the next one, and wait for its end."""
        self.end(self.start())


# --- futures and lazy values ---


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take who is stuck for dead after a moment."""
    monkeypatch.setattr(_waiting, "STALL", 20_000_000)


@pytest.mark.usefixtures("impatient")
def test_setting_a_future(memory: Memory) -> None:
    victims = Victims(lambda: Future(memory, f"f{victims.number}", "i8").set_result(5))
    while not victims.survived:
        victims.next()
        future = Future(memory, f"f{victims.number}", "i8")
        try:
            future.set_result(6)
        except AlreadySetError:
            try:
                assert future.result() == 5
                continue
            except StalledError:
                assert future.repair()
                future.set_result(6)
        assert future.result() == 6
    assert victims.number == 4  # claim, time, publish, none


def test_computing_a_lazy_value(memory: Memory) -> None:
    victims = Victims(lambda: Lazy(memory, f"f{victims.number}", "i8", lambda: 5).force())
    while not victims.survived:
        victims.next()
        value = Lazy(memory, f"f{victims.number}", "i8", lambda: 6)
        try:
            assert value.force() in (5, 6)
        except StalledError:
            assert value.repair()
            assert value.force() == 6
    assert victims.number > 4


# --- channels without a buffer ---


def in_thread(work: Callable[..., Any], *args: Any) -> threading.Thread:
    thread = threading.Thread(target=work, args=args)
    thread.start()
    return thread


def test_sending_from_hand_to_hand(memory: Memory) -> None:
    values = Channel(memory, "values", 0, "i8")
    victims = Victims(lambda: Channel.open(memory, "values", "i8").send(victims.number))
    while not victims.survived:
        process = victims.start()
        received: list[int] = []

        def receive(received: list[int] = received) -> None:
            while not received or received[-1] != -1:
                received.append(values.recv(timeout=60))

        receiver = in_thread(receive)
        victims.end(process)
        values.send(-1, timeout=60)
        receiver.join()
        assert received in ([-1], [victims.number, -1])
    assert received == [victims.number, -1]
    assert victims.number > 6


def test_receiving_from_hand_to_hand(memory: Memory) -> None:
    values = Channel(memory, "values", 0, "i8")
    victims = Victims(lambda: Channel.open(memory, "values", "i8").recv())
    while not victims.survived:
        process = victims.start()
        sender = in_thread(values.send, victims.number, 60)
        victims.end(process)
        received: list[int] = []
        while sender.is_alive():
            try:
                received.append(values.recv(timeout=0.01))
            except WaitTimeoutError:
                continue
        sender.join()
        assert received in ([], [victims.number])  # it got it, or left it to others
        sender = in_thread(values.send, -1, 60)
        assert values.recv(timeout=60) == -1
        sender.join()
    assert victims.number > 4


# --- functions ---


def test_serving_a_call(memory: Memory) -> None:
    f = Function(memory, "f", "i8", "i8", slots=1)
    victims = Victims(lambda: Function.open(memory, "f", "i8", "i8").serve_one(abs))
    failed = 0
    while not victims.survived:
        future = f.submit(-5)
        victims.next()
        f.serve_one(abs, timeout=0)  # if nobody took it
        try:
            assert future.result() == 5
        except OwnerDiedError:
            failed += 1
        future = f.submit(-6)
        assert f.serve_one(abs, timeout=60)
        assert future.result() == 6
    assert failed > 0
    assert victims.number > 2


def test_making_a_call(memory: Memory) -> None:
    f = Function(memory, "f", "i8", "i8", slots=1)
    victims = Victims(lambda: Function.open(memory, "f", "i8", "i8")(-5))
    while not victims.survived:
        process = victims.start()
        served = threading.Event()

        def serve(served: threading.Event = served) -> None:
            while not served.is_set():
                f.serve_one(abs, timeout=0.01)

        server = in_thread(serve)
        victims.end(process)
        assert f(-6, timeout=60) == 6
        served.set()
        server.join()
    assert victims.number > 5
