"""The worker processes of an engine: started, numbered, mourned."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from .worker import Start, run_worker

if TYPE_CHECKING:
    from collections.abc import Callable


class Crew:
    """Worker processes.

    Args:
        context: starts the processes.
        size: how many at most.
        start: makes what the worker of a number is told.

    Attributes:
        processes: by pid; those that have ended stay until they are replaced.
        forks: whether starting one forks this process.
    """

    def __init__(self, context: Any, size: int, start: Callable[[int], Start]) -> None:
        self.context = context
        self.size = size
        self.forks = context.get_start_method(allow_none=False) == "fork"
        self.processes: dict[int, Any] = {}
        self._start = start
        self._numbers: dict[int, int] = {}
        self._retired: set[int] = set()

    def grow(self, demand: int) -> None:
        """Start a worker if there are fewer than *demand*, and fewer than the size."""
        if len(self.processes) >= min(self.size, demand):
            return
        used = set(self._numbers.values())
        number = next(n for n in range(len(used) + 1) if n not in used)
        process = self.context.Process(target=run_worker, args=(self._start(number),))
        process.start()
        self.processes[process.pid] = process
        self._numbers[process.pid] = number

    def retire(self, pid: int) -> None:
        """Note that a worker has run its limit of tasks; its end is no accident."""
        self._retired.add(pid)

    def is_retired(self, process: Any) -> bool:
        """Return whether the worker announced its end."""
        return process.pid in self._retired

    def ended(self) -> list[Any]:
        """Return the processes that have ended."""
        return [process for process in list(self.processes.values()) if process.exitcode is not None]

    def sentinels(self) -> list[int]:
        """Return descriptors that become ready when a process ends."""
        return [process.sentinel for process in list(self.processes.values())]

    def forget(self, process: Any) -> None:
        """Take a worker that has ended off the list; its number is free again."""
        process.join()
        self._retired.discard(process.pid)
        del self.processes[process.pid], self._numbers[process.pid]

    def number(self, process: Any) -> int:
        """Return the number under which the worker notes what it takes."""
        return self._numbers[process.pid]

    def end(self, at_once: bool) -> None:
        """Wait for all to end; *at_once*: make them."""
        for process in self.processes.values():
            if at_once:
                process.terminate()
            process.join()


def obituary(process: Any) -> str:
    """Say how a worker ended."""
    code = process.exitcode
    if code >= 0:
        return f"worker {process.pid} exited with status {code}"
    return f"worker {process.pid} was killed by {signal.Signals(-code).name}"
