"""What a worker process of an engine runs: take a task, call it, send the outcome.

A worker ends when the task queue is shut and empty, when it has run its limit of tasks or has
had none for long, after a Ctrl-C, quietly, since the parent got that as well, or when its parent
is gone: the system then kills it, for nobody wants what it does.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import select
import signal
import sys
from concurrent.futures import _base
from multiprocessing import parent_process
from multiprocessing.reduction import ForkingPickler
from queue import Empty
from typing import TYPE_CHECKING, Any

from .._core.owner import owner_alive
from ..errors import ClosedError
from .calls import unpack

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

PARENT_CHECK = 1.0
"""Seconds after which an idle worker looks whether its parent lives."""
INTERRUPTED = 128 + signal.SIGINT
"""Exit status after a Ctrl-C."""


class Start:
    """What a worker is told when it starts.

    Args:
        tasks, results: its queues.
        number: under which its gets are noted.
        mask: signals that the thread which starts it blocks.
        initializer: packed, or None; called with *initargs* before the first task.
        limit: how many tasks it may run, or None.
        idle: seconds without a task after which it leaves, or None.
        announces: whether it says when it is ready for the first.
        parent: (pid, start time) of the process that has the engine.
        run: runs a task and sends its outcome: `run_call`, or what stands for it.
    """

    def __init__(
        self,
        tasks: Any,
        results: Any,
        number: int,
        mask: set[Any],
        *,
        initializer: bytes | tuple[bytes] | None,
        initargs: tuple[Any, ...],
        limit: int | None,
        idle: float | None,
        announces: bool,
        parent: tuple[int, int],
        run: Callable[[tuple[Any, ...], Any], None],
    ) -> None:
        self.tasks, self.results, self.number, self.mask = tasks, results, number, mask
        self.run = run
        self.initializer, self.initargs = initializer, initargs
        self.limit, self.idle, self.announces, self.parent = limit, idle, announces, parent


class Ready:
    """The message of a worker that has started and waits for its first task."""

    def __init__(self) -> None:
        self.pid = os.getpid()


class Retired:
    """The message of a worker that ends: it has run its limit of tasks, or had none for long."""

    def __init__(self) -> None:
        self.pid = os.getpid()


class Failed:
    """The message of a worker whose initializer raised *error*."""

    def __init__(self, error: Any) -> None:
        self.pid, self.error = os.getpid(), error


_interrupted = False
_own: Start | None = None
"""What this process was told, if it is a worker."""


def run_worker(start: Start) -> None:
    """Be a worker. The target of its process."""
    global _own
    _own = start
    try:
        _die_with_parent()
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _interrupt)
        signal.pthread_sigmask(signal.SIG_SETMASK, start.mask)
        start.tasks._claim_as(start.number)
        if start.initializer is None or initialized(start):
            if start.announces:
                start.results.put(Ready())
            run_tasks(start)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def run_tasks(start: Start) -> None:
    """Run tasks until there are no more, or enough."""
    tasks, results, number, left = start.tasks, start.results, start.number, start.limit
    run = start.run
    while left != 0:
        call = next_call(start)
        if call is None:
            return
        run(call, results)
        del call  # its arrays go back before the wait for the next
        if results._spilling:  # no other task before, so that no death can take two
            results._own_overflow().join()
        tasks._claim_as(number)  # done with it: the outcome is in the ring
        if _interrupted:
            sys.exit(INTERRUPTED)
        left = None if left is None else left - 1
    start.results.put(Retired())


def _interrupt(signum: int, frame: FrameType | None) -> None:
    global _interrupted
    _interrupted = True
    if not _has_just_taken(frame):
        raise KeyboardInterrupt


def _has_just_taken(frame: FrameType | None) -> bool:
    """Return whether there is a task that was taken and not begun, which must not be lost.

    It is run then, and the worker ends after it.
    """
    between = frame is not None and frame.f_code is run_tasks.__code__
    while frame is not None and not between:
        between = frame.f_code is next_call.__code__
        frame = frame.f_back
    return between and _own is not None and _own.tasks._claim(_own.number) is not None


def _die_with_parent() -> None:
    """Have the system kill this process when its parent ends, whatever it is doing.

    The parent's end hangs up the pipe that multiprocessing keeps between the two.
    """
    parent = parent_process()
    if parent is None:  # a process of another library
        return
    hangup = parent.sentinel
    fcntl.fcntl(hangup, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(hangup, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(hangup, fcntl.F_SETFL, fcntl.fcntl(hangup, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()  # what is_alive() does, without loading half of multiprocessing
    poll.register(hangup)
    if poll.poll(0):  # it was earlier
        os._exit(1)


def initialized(start: Start) -> bool:
    """Run the initializer; whether it succeeded."""
    try:
        unpack(start.initializer)(*start.initargs)  # type: ignore[arg-type]
    except BaseException as error:
        if _interrupted:
            raise KeyboardInterrupt from None
        _base.LOGGER.critical("Exception in initializer:", exc_info=True)
        with contextlib.suppress(Exception):  # it can perhaps not be pickled
            start.results.put(Failed(portable(error)))
        return False
    return True


def next_call(start: Start) -> tuple[Any, ...] | None:
    """Return the next task; None when there will be no more, or was none for long."""
    left = math.inf if start.idle is None else start.idle
    while True:
        wait = min(PARENT_CHECK, left)
        try:
            call: tuple[Any, ...] = start.tasks.get(True, wait)
            return call
        except Empty:
            if not owner_alive(*start.parent):
                return None
            left -= wait
            if left <= 0:
                start.results.put(Retired())
                return None
            start.tasks._claim_as(start.number)  # it may be on a task that was cancelled
        except ClosedError:
            return None


def run_call(call: tuple[Any, ...], results: Any) -> None:
    """Call, and send (number, whether it returned, what it returned or raised).

    Without keywords it is a batch: *args* has the arguments of each call.
    """
    number, packed, args, kwargs = call
    try:
        fn = unpack(packed)
        outcome: tuple[int, bool, Any] = (
            number,
            True,
            run_each(fn, args) if kwargs is None else fn(*args, **kwargs),
        )
    except BaseException as error:
        outcome = number, False, portable(error)
    try:
        results.put(outcome)
    except BaseException as error:
        if kwargs is None and outcome[1]:
            results.put((number, True, [sendable(each) for each in outcome[2]]))
            return
        if not outcome[1]:
            error.add_note(f"in place of what the task raised:\n{outcome[2].tb}")
        results.put((number, False, portable(error)))


def run_each(fn: Any, calls: list[tuple[Any, ...]]) -> list[tuple[bool, Any]]:
    """Call with each tuple of arguments; return pairs (whether it returned, what)."""
    outcomes: list[tuple[bool, Any]] = []
    for args in calls:
        try:
            if _interrupted:
                raise KeyboardInterrupt
            outcomes.append((True, fn(*args)))
        except BaseException as error:
            outcomes.append((False, portable(error)))
    return outcomes


def sendable(outcome: tuple[bool, Any]) -> tuple[bool, Any]:
    """Return the outcome of one call of a batch, or why it cannot be pickled."""
    try:
        ForkingPickler.dumps(outcome)
    except BaseException as error:
        return False, portable(error)
    return outcome


def portable(error: BaseException) -> Any:
    """Return *error* so that it takes its traceback along, as the text of its cause."""
    from concurrent.futures.process import _ExceptionWithTraceback

    return _ExceptionWithTraceback(error, error.__traceback__)  # type: ignore[arg-type]
