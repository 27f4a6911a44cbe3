"""The engine of a function in the process that owns it: its workers serve other processes too."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .._core.owner import owner_start_time
from ..errors import ShutDown
from .crew import obituary
from .deaths import Deaths
from .engine import Engine
from .function_client import Ended, FairSender, Link, Lost, closed_by
from .function_served import begin, queue_at, run_function_call
from .queues import SimpleQueue, TaskQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from .futures import TaskFuture


class ServingEngine(Engine):
    """An engine whose workers all start with it, are replaced, and have a callable.

    Args:
        context: starts the processes.
        size: how many.
        token: of the function.
        name: of the function, for messages.
        load: returns the callable, in a worker.

    Attributes:
        clients: where other processes get their results.
    """

    run_call = staticmethod(run_function_call)

    def __init__(
        self,
        context: Any,
        size: int,
        token: bytes,
        name: str,
        load: Callable[[], Callable[..., Any]],
    ) -> None:
        super().__init__(context, size, begin, (token, load), on_death="respawn")
        self.name = name
        self._prepared: tuple[Any, Any] | None = None
        self.clients: set[tuple[int, int]] = set()
        self.sender = FairSender(self, self.packer)
        self.deaths = ServingDeaths(self, "respawn")

    @property
    def demand(self) -> int:
        """How many workers there should be: others may call at any time."""
        return self.crew.size

    @property
    def first_workers(self) -> int:
        """How many start at once."""
        return self.crew.size

    def make_queues(self) -> tuple[Any, Any]:
        """Return a task ring whose closing is told to the clients, and the results."""
        prepared, self._prepared = self._prepared, None
        return prepared or (ServedTasks(self), SimpleQueue())

    def prepare(self) -> Link:
        """Make what leads to the workers, who are yet to be started."""
        self._prepared = tasks, results = self.make_queues()
        owner = os.getpid(), owner_start_time(os.getpid())
        return Link(owner, self.crew.size, tasks, results._handle[1:])

    def tell_clients(self, message: Any) -> None:
        """Send *message* to the processes that have joined, and forget those that are gone."""
        for address in list(self.clients):
            queue = queue_at(self.results._handle[0], address)
            if queue is None:
                self.clients.discard(address)
            else:
                queue.put(message)

    def tell_end(self) -> None:
        """Tell the clients, those too who have just joined, that the workers have ended."""
        with self.collector.taken_over():
            self.tell_clients(Ended(self.broken or ShutDown(closed_by(os.getpid()))))


class ServedTasks(TaskQueue):
    """The task ring of a `ServingEngine`, which closes it when its workers have ended."""

    def __init__(self, engine: ServingEngine) -> None:
        super().__init__()
        self._engine = engine

    def close(self) -> None:
        """Tell the clients, and close this process's handle."""
        self._engine.tell_end()
        super().close()


class ServingDeaths(Deaths):
    """Tells the clients as well when a worker dies."""

    engine: ServingEngine

    def _lose_task_of(self, process: Any) -> None:
        engine = self.engine
        item = engine.tasks._claim(engine.crew.number(process))
        super()._lose_task_of(process)
        if item is not None:
            engine.tell_clients(self._news(process, item))

    def lose(self, future: TaskFuture[Any], process: Any) -> None:
        """Fail the call that a worker had when it died."""
        self.engine.end(future, None, self._news(process).error(future.number))

    def _news(self, process: Any, item: int = -1) -> Lost:
        text = f"{obituary(process)} while it ran {self.engine.name}"
        return Lost(item, text, process.pid, process.exitcode)
