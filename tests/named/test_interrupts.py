"""Ctrl-C in the midst of a wait: nothing stays claimed, counted or offered."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from zeroipc import Channel, Function, Future, Memory, select

pytestmark = pytest.mark.usefixtures("backend")


class Interrupt(BaseException):
    """What the signal's handler raises."""


def raise_interrupt(number: int, frame: object) -> None:
    raise Interrupt


def interrupted(call: Callable[[], Any], begun: Callable[[], bool]) -> None:
    """Call something in this thread, and interrupt it once it has begun to wait."""

    def interrupt() -> None:
        while not begun():
            os.sched_yield()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    thread = threading.Thread(target=interrupt)
    before = signal.signal(signal.SIGUSR1, raise_interrupt)
    try:
        thread.start()
        with pytest.raises(Interrupt):
            call()
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def test_a_reader_of_a_future(memory: Memory) -> None:
    future = Future(memory, "future", "i8")
    waiters = memory.view(memory.entry("future"))[4:8].cast("I")
    interrupted(future.result, lambda: waiters[0] == 1)
    assert waiters[0] == 0


def test_a_sender_and_a_receiver(memory: Memory) -> None:
    values = Channel(memory, "values", 0, "i8")
    header = memory.view(memory.entry("values_header"))
    slot = memory.view(memory.entry("values_slot"))
    for call in (values.recv, lambda: select(values)):
        interrupted(call, lambda: header[8] == 1)
        assert bytes(header) == bytes(32)
    interrupted(lambda: values.send(5), lambda: slot[0] == 1)
    assert bytes(header) == bytes(32)
    assert slot[0] == 0


def test_a_client(memory: Memory) -> None:
    f = Function(memory, "f", "i8", "i8", slots=1)
    interrupted(lambda: f(1), lambda: f._core.in_use() == 1)
    assert f._core.in_use() == 0
    future = f.submit(-2)
    assert f.serve_one(abs)
    assert future.result() == 2
