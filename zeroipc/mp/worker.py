"""What a worker process of an engine runs: take a task, call it, send the outcome.

A worker ends when the task queue is shut and empty, when it has run its limit of tasks,
or when its parent is gone, which it notices within PARENT_CHECK seconds.
"""

from __future__ import annotations

import os
from concurrent.futures import _base
from multiprocessing import parent_process
from queue import Empty
from typing import Any, NamedTuple

from ..errors import ClosedError
from .calls import unpack

PARENT_CHECK = 1.0


class Start(NamedTuple):
    """What a worker is told when it starts.

    Attributes:
        tasks, results: its queues.
        number: under which its gets are noted.
        initializer: packed, or None; called with *initargs* before the first task.
        limit: how many tasks it may run, or None.
    """

    tasks: Any
    results: Any
    number: int
    initializer: bytes | tuple[bytes] | None
    initargs: tuple[Any, ...]
    limit: int | None


class Retired(NamedTuple):
    """The message of a worker that has run its limit of tasks and ends."""

    pid: int


def run_worker(start: Start) -> None:
    """Be a worker. The target of its process."""
    start.tasks._claim_as(start.number)
    starter = os.getppid()
    try:
        if start.initializer is not None and not initialized(start):
            return
        left = start.limit
        while left != 0:
            call = next_call(start.tasks, starter)
            if call is None:
                return
            run_call(call, start.results)
            del call  # its arrays go back before the wait for the next
            left = None if left is None else left - 1
        start.results.put(Retired(os.getpid()))
    except KeyboardInterrupt:
        pass  # the parent got it as well, and it is there that the user wants to see it


def initialized(start: Start) -> bool:
    """Run the initializer; whether it succeeded."""
    try:
        unpack(start.initializer)(*start.initargs)  # type: ignore[arg-type]
    except BaseException:
        _base.LOGGER.critical("Exception in initializer:", exc_info=True)
        return False
    return True


def next_call(tasks: Any, starter: int) -> tuple[Any, ...] | None:
    """Return the next task; None when there will be no more, or nobody to do it for.

    Args:
        tasks: the task queue.
        starter: pid of the process that forked this one. The sentinel alone does not do:
            workers inherit the ends of earlier ones and would outlive one another.
    """
    while True:
        try:
            call: tuple[Any, ...] = tasks.get(True, PARENT_CHECK)
            return call
        except Empty:
            parent = parent_process()
            if os.getppid() != starter or not (parent is None or parent.is_alive()):
                return None
        except ClosedError:
            return None


def run_call(call: tuple[Any, ...], results: Any) -> None:
    """Call, and send (number, whether it returned, what it returned or raised)."""
    number, packed, args, kwargs = call
    try:
        value = unpack(packed)(*args, **kwargs)
    except BaseException as error:
        results.put((number, False, portable(error)))
        return
    try:
        results.put((number, True, value))
    except BaseException as error:
        results.put((number, False, portable(error)))


def portable(error: BaseException) -> Any:
    """Return *error* so that it takes its traceback along, as the text of its cause."""
    from concurrent.futures.process import _ExceptionWithTraceback  # loads much, needed seldom

    return _ExceptionWithTraceback(error, error.__traceback__)
