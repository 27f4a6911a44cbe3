"""The worker processes of an engine: started, numbered, mourned."""

from __future__ import annotations

import select
import signal
from typing import TYPE_CHECKING, Any

from .._core.signals import held_back
from .._rlock import RLock
from .threads import environment
from .worker import Start, run_worker

if TYPE_CHECKING:
    from collections.abc import Callable

GRACE = 1.0
"""Seconds that a worker which is told to end at once has before it is killed."""


class Crew:
    """Worker processes.

    Args:
        context: starts the processes.
        size: how many at most.
        start: makes what the worker of a number is told.
        make: makes a process of a target and its arguments.
        shrinks: whether workers leave when there is nothing to do.
        inner_threads: see threads.py.

    Attributes:
        forks: whether starting one forks this process.
        starts_all: whether all of them are started with the first: threads do not fork well.
        hiring: held while processes are started.
    """

    def __init__(
        self,
        context: Any,
        size: int,
        start: Callable[[int, set[Any]], Start],
        make: Callable[[Any, Any], Any],
        shrinks: bool = False,
        inner_threads: int | None = None,
    ) -> None:
        self.context = context
        self.size = size
        self.forks = context.get_start_method(allow_none=False) == "fork"
        self.shrinks = shrinks
        self.starts_all = self.forks and not shrinks
        self._inner_threads = inner_threads
        self._start = start
        self._make = make
        self._numbers: dict[int, Any] = {}  # number: process
        self._retired: set[int] = set()
        self._ready: set[int] = set()
        self._condemned: set[int] = set()
        self.hiring = RLock()
        self._starting = False
        self._ended = False

    def grow(self, demand: int) -> None:
        """Start a worker if there are fewer than *demand*, and fewer than the size."""
        if len(self._numbers) >= min(self.size, demand):
            return
        with self.hiring:
            if self._ended or self._starting or len(self._numbers) >= min(self.size, demand):
                return
            self._starting = True  # pickling what it is told may submit, and so come here
            try:
                self._begin()
            finally:
                self._starting = False

    def _begin(self) -> None:
        """Start a worker; a Ctrl-C reaches it only when it is ready to end quietly."""
        _start_servers(self.context)
        with held_back() as mask:
            number = next(n for n in range(self.size) if n not in self._numbers)
            process = self._make(run_worker, (self._start(number, mask),))
            with environment(self._inner_threads):
                process.start()
            self._numbers[number] = process

    @property
    def processes(self) -> dict[int, Any]:
        """The workers by pid; those that have ended stay until they are replaced."""
        return {process.pid: process for process in list(self._numbers.values())}

    def retire(self, pid: int) -> None:
        """Note that a worker has run its limit of tasks; its end is no accident."""
        self._retired.add(pid)

    def retires(self) -> bool:
        """Return whether a worker that has run its limit of tasks is about to end."""
        return bool(self._retired)

    def is_retired(self, process: Any) -> bool:
        """Return whether the worker announced its end."""
        return process.pid in self._retired

    def note_ready(self, pid: int) -> None:
        """Note that a worker has started and waits for its first task."""
        self._ready.add(pid)

    def is_ready(self, process: Any) -> bool:
        """Return whether the worker had said so."""
        return process.pid in self._ready

    def condemn(self, process: Any) -> None:
        """Note that a worker is to be killed, together with its task."""
        self._condemned.add(process.pid)

    def is_condemned(self, process: Any) -> bool:
        """Return whether the worker's death is wanted."""
        return process.pid in self._condemned

    def numbers(self) -> dict[int, Any]:
        """Return the processes by the numbers under which they note what they take."""
        return dict(self._numbers)

    def ended(self) -> list[Any]:
        """Return the processes that have ended."""
        processes = list(self._numbers.values())
        return [process for process in processes if process.exitcode is not None]

    def sentinels(self) -> list[int]:
        """Return descriptors that become ready when a process ends."""
        return [process.sentinel for process in list(self._numbers.values())]

    def forget(self, process: Any) -> None:
        """Take a worker that has ended off the list; its number is free again."""
        process.join()
        self._retired.discard(process.pid)
        self._ready.discard(process.pid)
        self._condemned.discard(process.pid)
        del self._numbers[self.number(process)]

    def number(self, process: Any) -> int:
        """Return the number under which the worker notes what it takes."""
        return next(n for n, other in self._numbers.items() if other is process)

    def end(self, at_once: bool) -> None:
        """Wait for all to end, and start no more; *at_once*: make them."""
        with self.hiring:
            self._ended = True
        processes = list(self._numbers.values())
        if at_once:
            for process in processes:
                process.terminate()
            for process in processes:
                if not _ends_within(process, GRACE):
                    process.kill()  # whoever is stopped or does not want to
        for process in processes:
            process.join()

    def strike(self, operation: str) -> None:
        """Send all a signal, and start no more; *operation*: "terminate" or "kill"."""
        with self.hiring:
            self._ended = True
        for process in list(self.processes.values()):
            getattr(process, operation)()

    def dismiss(self) -> None:
        """End all at once; new ones may be started."""
        self.end(at_once=True)
        self._numbers.clear()
        self._ended = False

    def disown(self) -> None:
        """In a forked child: the workers are the parent's."""
        self.hiring = RLock()
        self._starting = False
        self._ended = True
        self._numbers = {}


def _ends_within(process: Any, seconds: float) -> bool:
    """Wait for at most so long until a process ends; whether it did.

    As `join` with a timeout, which would load multiprocessing.connection: late, and in Python
    3.11 a program that has loaded it in the midst of a Ctrl-C ends with status 1, not by SIGINT.
    """
    if not hasattr(process, "sentinel"):  # what a context of another library starts
        return True
    poll = select.poll()
    poll.register(process.sentinel, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _start_servers(context: Any) -> None:
    """Start what starting a process would start, and what must not inherit a signal mask."""
    method = context.get_start_method(allow_none=False)
    if method == "fork":
        return
    from multiprocessing import forkserver, resource_tracker

    resource_tracker.ensure_running()
    if method == "forkserver":
        forkserver.ensure_running()


def obituary(process: Any) -> str:
    """Say how a worker ended."""
    code = process.exitcode
    if code >= 0:
        return f"worker {process.pid} exited with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:  # a real-time signal
        name = f"signal {-code}"
    return f"worker {process.pid} was killed by {name}"
