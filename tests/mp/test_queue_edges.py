"""Queues at the edges of the standard library's interface: limits, arguments, shutdown."""

from __future__ import annotations

import inspect
import math
import multiprocessing
import sys
from typing import Any

import numpy as np
import pytest

import zeroipc.mp as mp
from tests.support.programs import run_python
from zeroipc.mp.queues import Queue, ShutDown


def test_an_immediate_shutdown_drops_what_is_queued() -> None:
    """As queue.Queue has it in Python 3.13."""
    q = mp.JoinableQueue(30)
    arena = q._handle[0]
    live = arena.stats()["blocks_live"]
    for number in range(25):
        q.put((number, np.zeros(5000)))
    got = q.get()
    q.shutdown(immediate=True)
    q.shutdown(immediate=True)
    assert (q.qsize(), q.empty(), q.full()) == (0, True, False)
    del got
    assert arena.stats()["blocks_live"] <= live
    for call in (q.get, lambda: q.put(1)):
        with pytest.raises(ShutDown):
            call()
    q.task_done()  # of the one that was got
    q.join()


@pytest.mark.parametrize("maxsize", [1 << 31, (1 << 32) + 1, 1 << 64, sys.maxsize])
def test_a_maxsize_beyond_that_of_a_semaphore(maxsize: int) -> None:
    with pytest.raises(OverflowError):
        multiprocessing.Queue(maxsize)
    with pytest.raises(OverflowError):
        mp.Queue(maxsize)


@pytest.mark.parametrize("number", [-1, 1 << 32, 1 << 70])
def test_numbers_of_the_core_are_not_cut_off(number: int) -> None:
    arena, slot, _ = mp.Queue()._handle
    queue = Queue.__new__(Queue)
    with pytest.raises((OverflowError, ValueError)):
        queue._attach(arena, slot, number)


def test_a_timeout_that_is_no_number() -> None:
    q = mp.Queue(1)
    with pytest.raises(ValueError, match="nan"):
        q.get(timeout=math.nan)
    with pytest.raises(ValueError, match="nan"):
        q.put(1, timeout=math.nan)


def test_arguments_and_signatures_are_the_standard_ones() -> None:
    ours = mp.JoinableQueue()
    theirs: Any = multiprocessing.JoinableQueue()
    for name in ("put", "get", "put_nowait", "get_nowait", "qsize", "empty", "full", "task_done"):
        mine = inspect.signature(getattr(ours, name))
        assert list(mine.parameters) == list(inspect.signature(getattr(theirs, name)).parameters)
    ours.put_nowait(obj=1)
    ours.put(obj=2, block=False)
    assert [ours.get(block=False), ours.get_nowait()] == [1, 2]
    with pytest.raises(TypeError):
        ours.put_nowait()
    with pytest.raises(TypeError):
        ours.put_nowait(1, 2)
    with pytest.raises(TypeError):
        ours.put_nowait(item=1)


# What raises in a get that waits for ever: a handler, with what an alarm for a time-out raises.
TOLD = """
import signal, multiprocessing.process

def handler(*_):
    raise TimeoutError("by the handler")

class Parent:
    pid = 1
    def is_alive(self):
        signal.raise_signal(signal.SIGALRM)
        return True

if {asking}:
    multiprocessing.process.parent_process = Parent

import zeroipc.mp
signal.signal(signal.SIGALRM, handler)
q = zeroipc.mp.Queue()
try:
    if not {asking}:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
    q.get()
except TimeoutError as error:
    print(error)
"""


@pytest.mark.parametrize("asking", [False, True], ids=["while waiting", "while asking"])
def test_a_timeout_error_of_a_signal_handler_ends_a_get(asking: bool) -> None:
    """A get that nobody may ever answer asks whether the parent lives: an OSError is no answer."""
    assert run_python(TOLD.format(asking=asking)).stdout == "by the handler\n"
