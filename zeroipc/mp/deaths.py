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
pending fails, as in the standard library. With "respawn" the one task fails, or is run again,
and another worker takes the place. Workers that die before they are ready for a task, one after
the other, would do so for ever: the engine breaks when there are AT_START more of them than
there may be workers. It breaks as well when a worker ended by a Ctrl-C, unless the engine
survives that, or its initializer raised an exception. A worker that was killed to end its task
(limits.py) is replaced in any case.
"""

from __future__ import annotations

import importlib
import sys
from concurrent.futures._base import BrokenExecutor
from typing import TYPE_CHECKING, Any

from .._core.signals import held_back
from .crew import obituary
from .futures import name_of
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
        replaced: how many have died or were killed to end a task.

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
        wanted = [p for p in ended if crew.is_retired(p) or crew.is_condemned(p)]
        accidents = [process for process in ended if process not in wanted]
        if accidents and engine.broken is None:
            self._mourn(accidents)
        self.replaced += sum(map(crew.is_condemned, ended))
        if engine.broken is not None:
            return
        for process in ended:
            crew.forget(process)
        for _ in ended:
            self._replace()

    def _mourn(self, accidents: list[Any]) -> None:
        interrupted = any(process.exitcode == INTERRUPTED for process in accidents)
        if not self.respawns or (interrupted and not self.engine.survives_interrupts):
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
        """Fail the task that a worker had when it died, or have it run again."""
        from .._died import WorkerDiedError

        text = obituary(process) + _while_running(future)
        error = WorkerDiedError(text, process.pid, process.exitcode, future.number)
        terms = future.terms
        if terms is None or not terms.retries:
            error.__cause__ = None if terms is None else terms.death
            self.engine.collector.answered += 1
            self.engine.end(future, None, error)
            return
        terms.retries -= 1
        terms.death = error
        self.engine.sender.send_again(future, terms.call)

    def _replace(self) -> None:
        """Start a worker, if there is a task for it, or all shall be there."""
        engine, crew = self.engine, self.engine.crew
        if engine.pending or not engine.closing:
            crew.grow(crew.size if crew.starts_all else engine.demand)

    def _last_words(self, process: Any) -> str:
        engine = self.engine
        item = engine.tasks._claim(engine.crew.number(process))
        future = None if item is None else engine.sender.by_item.get(item)
        return "" if future is None else _while_running(future)


def _while_running(future: TaskFuture[Any]) -> str:
    again = "" if future.terms is None or future.terms.death is None else ", again"
    return f" while it ran task {_numbers(future)}, {name_of(future.fn)}{again}"


def _numbers(future: TaskFuture[Any]) -> str:
    """Return the numbers of the tasks that a worker had."""
    if future.batch is None:
        return str(future.number)
    numbers = [member.number for member in future.batch.members]
    return f"{numbers[0]} or one of the {len(numbers) - 1} sent with it"


def prepare_for_interrupts() -> None:
    """Load what `load_obituaries` does, with the second call or during a long wait.

    Not from Python 3.13 on: there the import's callbacks lose what a signal handler raises.
    """
    if sys.version_info < (3, 13):
        load_obituaries()


def load_obituaries() -> None:
    """Load what the death of a worker needs before a Ctrl-C can cause it.

    What is loaded after a Ctrl-C makes Python forget that it has to end by SIGINT.
    """
    if "concurrent.futures.process" not in sys.modules:
        with held_back():  # the import has callbacks, in which a handler's exception is lost
            importlib.import_module("concurrent.futures.process")


def broken(what: str, cause: BaseException | None) -> BaseException:
    """Return an exception of its own for each future: raising one adds to its traceback."""
    try:  # not at the top: it loads half of multiprocessing, which takes longer than a task
        from concurrent.futures.process import BrokenProcessPool, _RemoteTraceback
    except RuntimeError:  # it cannot be loaded when the interpreter is ending
        return BrokenExecutor(what)
    error = BrokenProcessPool(what)
    if cause is not None:
        text = f'\n"""\n{_text_of(cause)}"""'
        error.__cause__ = _RemoteTraceback(text)  # type: ignore[arg-type]
    return error


def _text_of(error: BaseException) -> str:
    import traceback

    return "".join(traceback.format_exception(error))
