"""Ending tasks that run: those that run for too long, and those that somebody cancels.

Nothing can end a call but the end of its process. The worker is stopped first (SIGSTOP), for
it may be finishing the task at this moment and take another, which must not die for it. Only
if it is found stopped and still has the task, it is killed, and replaced; otherwise it goes on.
The lock of a queue that it holds while it is stopped delays others; death gives it back.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .._core.signals import held_back
from ..errors import TaskTimeoutError
from .futures import name_of
from .terms import Terms

if TYPE_CHECKING:
    from .engine import Engine
    from .futures import TaskFuture

LOOK = 0.02
"""Seconds between looks whether a worker has taken a task that has a timeout."""
PATIENCE = 10.0
"""Longest time that a process may take to stop: on a busy machine it has to get a turn first."""
PAUSE = 0.0005


class Limits:
    """Knows the terms of an engine's tasks, and ends those that run.

    Args:
        engine: the engine.

    Attributes:
        timed: pending tasks that have a timeout.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.timed: set[TaskFuture[Any]] = set()
        self._deadlines: dict[int, float] = {}  # of what runs, by its number in the ring
        self._looked = True  # since the last was added

    def agree(self, future: TaskFuture[Any], terms: Terms) -> None:
        """Note the terms of a new task. Needs the engine's lock."""
        future.terms = Terms(terms.timeout, terms.retries)
        if terms.retries:
            future.terms.call = future.call
        if terms.timeout is not None:
            self.timed.add(future)
            self._looked = False

    def forget(self, future: TaskFuture[Any]) -> None:
        """Forget the terms of a task that is done. Needs the engine's lock."""
        future.terms = None
        self.timed.discard(future)

    # --- Timeouts; the manager's ------------------------------------------------------------

    def patience(self, timeout: float | None) -> float | None:
        """Return how long the manager may sleep, *timeout* seconds at most."""
        if not self.timed:
            return timeout
        left = LOOK
        if self._looked and len(self.timed) == len(self._deadlines):  # all of them run
            left = max(0.0, min(self._deadlines.values()) - time.monotonic())
        return left if timeout is None else min(timeout, left)

    def enforce(self) -> None:
        """End the tasks whose time is over."""
        if not self.timed:
            return
        self._looked = True  # before the look
        now = time.monotonic()
        running = self.running()
        self._deadlines = {
            item: self._deadlines.get(item, now + future.terms.timeout)
            for item, future in running.items()
            if future.terms is not None and future.terms.timeout is not None
        }
        for item, deadline in self._deadlines.items():
            if deadline <= now:
                self.end(running[item], _late(running[item]))

    def running(self) -> dict[int, TaskFuture[Any]]:
        """Return what the workers have, at some moment, by its number in the ring."""
        with self.engine.lock:
            return self._claimed()

    def _claimed(self) -> dict[int, TaskFuture[Any]]:
        engine = self.engine
        claims = [engine.tasks._claim(number) for number in engine.crew.numbers()]
        sent = engine.sender.by_item
        return {item: sent[item] for item in claims if item in sent}

    # --- Ending -----------------------------------------------------------------------------

    def cancel(self, future: TaskFuture[Any]) -> bool:
        """Cancel a task that a worker has, or has just been sent; whether it is cancelled."""
        deadline = time.monotonic() + PATIENCE
        while not future.is_done() and time.monotonic() < deadline:
            if self.end(future, None) or self.engine.cancels.cancel_queued(future):
                break
        return future.cancelled()

    def end(self, future: TaskFuture[Any], error: BaseException | None) -> bool:
        """End a task that a worker has, with that worker; whether this call did.

        Args:
            future: of the task.
            error: what it ends with; None: it is cancelled.
        """
        engine, taken, settled = self.engine, False, True
        with held_back():
            process = self._stop_worker_of(future)
            if process is None:
                engine.collector.collect_waiting()  # its outcome may be there already
                return False
            try:
                with engine.lock:
                    taken = self._worker_of(future) is process
                    if taken:
                        engine.crew.condemn(process)
                        engine.collector.answered += 1
                        if error is None:
                            settled = engine.cancels.settle(future)
                        else:
                            engine.end(future, None, error)
            finally:
                _signal(process, signal.SIGKILL if taken else signal.SIGCONT)
        if taken and error is None:
            engine.cancels.tell(future, settled)
        engine.collector.nudge()
        return taken

    def _worker_of(self, future: TaskFuture[Any]) -> Any:
        """Return the process that has a task, or None. Needs the engine's lock."""
        engine = self.engine
        if future.number in engine.pending and engine.sender.by_item.get(future.item) is future:
            for number, process in engine.crew.numbers().items():
                if engine.tasks._claim(number) == future.item:
                    return process
        return None

    def _stop_worker_of(self, future: TaskFuture[Any]) -> Any:
        """Stop the process that has a task and return it; None if there is none."""
        with self.engine.lock:
            process = self._worker_of(future)
        if process is None:
            time.sleep(PAUSE)  # it is being sent, or its outcome is
            return None
        _signal(process, signal.SIGSTOP)
        deadline = time.monotonic() + PATIENCE
        while not _stands(process.pid):
            if time.monotonic() > deadline:
                _signal(process, signal.SIGCONT)
                return None
            time.sleep(PAUSE)
        return process


def _signal(process: Any, number: int) -> None:
    with suppress(ProcessLookupError):
        if process.exitcode is None:  # else the pid may be another's
            os.kill(process.pid, number)


def _stands(pid: int) -> bool:
    """Return whether a process runs no more, for the time being or for good."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state = file.read().rpartition(b")")[2].split()[0]
    except OSError:
        return True
    return state in b"TtDZX"


def _late(future: TaskFuture[Any]) -> TaskTimeoutError:
    terms = future.terms
    limit = None if terms is None else terms.timeout
    return TaskTimeoutError(
        f"task {future.number}, {name_of(future.fn)}, ran for longer than its timeout={limit} s, "
        "and was ended with its worker"
    )
