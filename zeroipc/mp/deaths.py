"""What becomes of an engine and its tasks when a worker ends.

A worker notes which task it takes in the ring, its claim, and clears that when the outcome is
in the result ring; it takes no other before. So when it has died and all results that are
there have been collected, its claim says which task died with it, if any:

| killed                         | claim        | result   | its task                    |
|--------------------------------|--------------|----------|-----------------------------|
| at start, in the initializer   | none         | none     | none; too often: see below  |
| between tasks                  | none         | none     | none                        |
| while it takes a task          | still queued | none     | none: another takes it      |
| in a task, or sending a result | the task     | none     | dies with it                |
| just after it sent a result    | the task     | is there | has ended                   |

With "break" any death but those that were announced breaks the engine: everything that is
pending fails, as in the standard library. With "respawn" the one task fails and another worker
takes the place. Workers that die before they are ready for a task, one after the other, would
do so for ever: the engine breaks when it is more than AT_START beyond a whole crew of them. It
breaks as well when a worker ended by a Ctrl-C or its initializer raised an exception.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .crew import obituary
from .worker import INTERRUPTED

if TYPE_CHECKING:
    from .engine import Engine
    from .futures import TaskFuture

POLICIES = ("break", "respawn")
AT_START = 3
"""Deaths at start in a row, beyond one of each worker, after which no other is started."""


class Deaths:
    """Deals with the workers of an engine that have ended. The manager's.

    Args:
        engine: the engine.
        on_death: one of POLICIES.

    Attributes:
        respawns: whether a worker that died is replaced.
        replaced: how many were.

    Raises:
        ValueError: *on_death* is something else.
    """

    def __init__(self, engine: Engine, on_death: str) -> None:
        if on_death not in POLICIES:
            raise ValueError(f"on_death must be one of {POLICIES}: on_death={on_death!r}")
        self.engine = engine
        self.respawns = on_death == "respawn"
        self.replaced = 0
        self._at_start = 0

    def reap(self) -> None:
        """Deal with workers that have ended."""
        engine, crew = self.engine, self.engine.crew
        ended = crew.ended()
        if not ended or engine.broken is not None:
            return
        engine.sender.note()
        with engine.collector.taken_over():  # what they sent before they died counts
            engine.deliver()
        accidents = [process for process in ended if not crew.is_retired(process)]
        if accidents and engine.broken is None:
            self._mourn(accidents)
        if engine.broken is not None:
            return
        for process in ended:
            crew.forget(process)
        for _ in ended:
            self._replace()

    def _mourn(self, accidents: list[Any]) -> None:
        if not self.respawns or any(process.exitcode == INTERRUPTED for process in accidents):
            fates = "; ".join(obituary(p) + self._last_words(p) for p in accidents)
            self.engine.fail(
                "A process in the process pool was terminated abruptly while the future was "
                f"running or pending: {fates}"
            )
            return
        for process in accidents:
            self._count(process)
            self._lose_task_of(process)

    def _count(self, process: Any) -> None:
        """Count a death; too many at start in a row break the engine."""
        crew = self.engine.crew
        self.replaced += 1
        self._at_start = 0 if crew.is_ready(process) else self._at_start + 1
        if self._at_start >= crew.size + AT_START:
            self.engine.fail(
                f"{self._at_start} workers in a row died before they were ready for a task, so no "
                f"other is started: {obituary(process)}"
            )

    def came_up(self, pid: int) -> None:
        """Note that a worker is ready for tasks."""
        self.engine.crew.note_ready(pid)
        self._at_start = 0

    def _lose_task_of(self, process: Any) -> None:
        """Deal with the task that the worker had, if any."""
        engine = self.engine
        item = engine.tasks._claim(engine.crew.number(process))
        if item is None:
            return
        with engine.lock:
            future = engine.sender.by_item.get(item)
            if future is None:  # it has ended, or its sender does not yet know its number
                engine.sender.expect(item, process)
                return
        self.lose(future, process)

    def lose(self, future: TaskFuture[Any], process: Any) -> None:
        """Fail the task that a worker had when it died."""
        from .._died import WorkerDiedError

        text = obituary(process) + _while_running(future)
        error = WorkerDiedError(text, process.pid, process.exitcode, future.number)
        self.engine.end(future, None, error)

    def _replace(self) -> None:
        """Start a worker, if one could be of use. Threads do not fork well: not only then."""
        engine, crew = self.engine, self.engine.crew
        if engine.pending or not engine.closing:
            crew.grow(crew.size if crew.forks else engine.demand)

    def _last_words(self, process: Any) -> str:
        engine = self.engine
        item = engine.tasks._claim(engine.crew.number(process))
        future = None if item is None else engine.sender.by_item.get(item)
        return "" if future is None else _while_running(future)


def _while_running(future: TaskFuture[Any]) -> str:
    name = getattr(future.fn, "__qualname__", repr(future.fn))
    return f" while it ran task {future.number}, {name}"
