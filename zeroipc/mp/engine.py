"""The one worker engine: tasks out, results back, deaths noticed.

        submit ──► backlog ──► task ring ──► worker 0..n-1
                                                │
        future ◄── collector ◄── result ring ◄──┘

- **Sender** (sender.py). Moves tasks into the ring while it has room, in the thread of
  whoever submits or collects.
- **Collector** (collector.py). A role, held by one thread at a time: take messages from the
  result ring and finish futures. The caller of `result()` takes it if it is free.
- **Manager thread** (manager.py). Normally asleep. It collects when somebody watches a
  future without asking for its result, and finishes all futures that are watched, so that
  callbacks run there; it deals with deaths (deaths.py), and ends the engine.

Locks: `lock` guards the states of futures and the tables; nothing of the user's runs under
it. Who takes a future off `pending` finishes it.

Signals: handlers run in the main thread, in the midst of all this, and may raise. Tables
are changed in an order that leaves no future unreachable; a role is taken inside the
`try` that gives it back, and a loop in it is a function of its own, because Python 3.13
guards no jump back; what a queue gives goes into a list in one step. They are held back
while processes and threads are started (_core/signals.py). Only a handler that raises amid
unpickling can lose a result: what was sent is put on `doubtful` then, and the manager
finds out.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections import deque
from concurrent.futures._base import PENDING, RUNNING, BrokenExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from .._core.owner import owner_start_time
from .._core.signals import held_back
from .._rlock import RLock
from ..errors import NestedCallError
from .bell import Bell
from .calls import Packer
from .cancels import Cancels
from .collector import Collector
from .crew import Crew
from .deaths import Deaths, broken, prepare_for_interrupts
from .futures import SENDING, TaskFuture
from .limits import Limits
from .manager import Manager
from .queues import SimpleQueue, TaskQueue
from .sender import Sender
from .worker import Start, run_call

if TYPE_CHECKING:
    from collections.abc import Callable

    from .terms import Terms

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
_exiting = False


class Engine:
    """Workers and what they work on.

    Args:
        context: starts the processes.
        max_workers: how many at most.
        initializer, initargs: called in each worker first.
        tasks_per_worker: after how many tasks a worker is replaced; None: never.
        on_death: "break": when a worker dies everything pending fails, and no task is taken any
            more; "respawn": the task that it ran fails, and another takes its place.
        idle: seconds after which a worker without a task leaves; None: never.
        inner_threads: what numerical libraries in the workers are told (threads.py), or None.

    Attributes:
        count: of the tasks that were handed in.
        failed: how many of them have ended with an error.
        pending: futures that are not done, by their number.
        watched: those of them that somebody watches.
        outbox: watched futures with their outcomes, for the manager to finish.
        doubtful: sent tasks whose result may have been lost.
        asleep: whether the manager has to be woken for a new task.
    """

    daemon = False
    """Whether it ends with its owner, who sees to that, and at exit without finishing its work."""
    survives_interrupts = False
    """Whether workers that ended by a Ctrl-C are replaced as others are."""
    run_call = staticmethod(run_call)
    """What a worker does with a task."""

    def __init__(
        self,
        context: Any,
        max_workers: int,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        tasks_per_worker: int | None = None,
        on_death: str = "break",
        idle: float | None = None,
        inner_threads: int | None = None,
    ) -> None:
        self.deaths = Deaths(self, on_death)
        self.broken: BaseException | None = None
        self.closing = False
        self.count = self.failed = 0
        self.thread: Manager | None = None
        self.bell = Bell()
        self.tasks: Any = None
        self.results: Any = None
        self.pending: dict[int, TaskFuture[Any]] = {}
        self.watched: set[TaskFuture[Any]] = set()
        self.outbox: deque[tuple[TaskFuture[Any], Any, BaseException | None]] = deque()
        self.doubtful: list[TaskFuture[Any]] = []
        self.asleep = False
        self.lock = RLock()
        self._starting = False
        self._coming: Manager | None = None
        self.packer = Packer(by_value=context.get_start_method(allow_none=False) != "fork")
        self.sender = Sender(self, self.packer)
        self.collector = Collector(self)
        self.limits = Limits(self)
        self.cancels = Cancels(self)
        start = partial(
            Start,
            initializer=None if initializer is None else self.packer.pack(initializer),
            initargs=initargs,
            limit=tasks_per_worker,
            idle=idle,
            announces=self.deaths.respawns,
            parent=(os.getpid(), owner_start_time(os.getpid())),
            run=self.run_call,
        )
        self.crew = Crew(
            context,
            max_workers,
            lambda number, mask: start(self.tasks, self.results, number, mask),
            self.make_process,
            shrinks=idle is not None,
            inner_threads=inner_threads,
        )
        _engines.add(self)

    # --- Submitting -----------------------------------------------------------------------

    def submit(
        self, fn: Any, args: Any, kwargs: Any, terms: Terms | None = None
    ) -> TaskFuture[Any]:
        """Hand in a call; never blocks.

        Args:
            fn, args, kwargs: the call.
            terms: what else is agreed about it (terms.py), for this task alone.

        Raises:
            BrokenProcessPool: a worker died before.
            RuntimeError: the engine is closed.
        """
        if self.count == 1:  # not before the first: its result should not wait for this
            prepare_for_interrupts()
        with self.lock:
            self.check_open()
            number = self.count
            self.count = number + 1
            future: TaskFuture[Any] = TaskFuture(self, number, (fn, args, kwargs))
            if terms is not None:
                self.limits.agree(future, terms)
            self.sender.backlog.append(future)
            self.pending[number] = future
        if self.thread is None or not self.crew.starts_all:
            self._hire(future)
        self.sender.refill()
        if self.asleep or terms is not None:  # its time is measured
            self.bell.ring()
        return future

    def make_process(self, target: Any, args: Any) -> Any:
        """Return a worker's process, not started."""
        return self.crew.context.Process(target=target, args=args)

    def make_queues(self) -> tuple[Any, Any]:
        """Return the rings of tasks and results."""
        return TaskQueue(), SimpleQueue()

    @property
    def first_workers(self) -> int:
        """How many workers start with the manager: all before it, under fork."""
        return self.crew.size if self.crew.forks else 1

    @property
    def demand(self) -> int:
        """How many workers could be of use.

        What could not be sent counts as well: the standard library starts workers for that.
        """
        pending = len(self.pending)
        return pending if self.crew.shrinks else max(pending, self.count - self.collector.answered)

    def check_open(self) -> None:
        """Raise what `submit` raises when no task is taken any more. Needs the lock."""
        if self.broken is not None:
            raise type(self.broken)(*self.broken.args) from self.broken
        if self.closing or (_exiting and not self.daemon):
            when = "interpreter shutdown" if _exiting else "shutdown"
            raise RuntimeError(f"cannot schedule new futures after {when}")

    def _hire(self, future: TaskFuture[Any]) -> None:
        """See to it that a worker comes to take *future*."""
        try:
            if self.thread is None:
                self._start()
            else:
                self.crew.grow(self.demand)
        except BaseException as error:
            self.end(future, None, error)
            raise

    def _start(self) -> None:
        """Start the manager, and under fork all workers before it: threads do not fork well."""
        with self.crew.hiring:
            if self.thread is not None or self._starting:  # by another, or by us, above
                return
            self._starting = True
            try:
                self.tasks, self.results = self.make_queues()
                self._hire_first()
                self.bell.hang()
                self.sender.refill()  # a worker gets to work while the thread starts
                self._start_manager()
            except BaseException as error:
                with self.lock:
                    self._coming = None
                if self.thread is None:
                    self._undo_start(error)
                raise
            finally:
                self._starting = False

    def _hire_first(self) -> None:
        for _ in range(self.first_workers):
            self.crew.grow(self.crew.size)

    def _start_manager(self) -> None:
        with held_back() as mask:
            manager = self._coming = Manager(self, mask)
            manager.start()
            self.admit(manager)

    def admit(self, manager: Manager) -> bool:
        """Make a thread the manager, unless its start was given up; return whether it is.

        It asks as well: a handler's exception may come out of `start` while it begins to run.
        """
        with self.lock:
            if self._coming is manager:
                self.thread = manager
            return self.thread is manager

    def _undo_start(self, error: BaseException) -> None:
        """Fail what was handed in; the next task starts anew."""
        with held_back():
            if self.tasks is not None:  # should there be a worker that is not on the list
                self.tasks._shutdown(True)
            self.crew.dismiss()
            self.bell.close()
            self.tasks = self.results = None
            for future in list(self.pending.values()):
                self.end(future, None, error)
        self.deliver()

    def end(self, future: TaskFuture[Any], value: Any, error: BaseException | None) -> None:
        """Finish a task, unless somebody else has."""
        with self.lock:
            rings = self.finish(future, value, error)
        if rings:
            self.bell.ring()

    def finish(self, future: TaskFuture[Any], value: Any, error: BaseException | None) -> bool:
        """Finish a task as `end` does; return whether to ring the bell. Needs the lock."""
        if future.number not in self.pending:
            return False
        if error is not None:
            self.failed += 1
        rings = not self.outbox  # else it was rung, and empties the box before it sleeps
        settled = future.settle(value, error)
        if not settled:
            self.outbox.append((future, value, error))
        self.remove(future)
        return rings and not settled and threading.current_thread() is not self.thread

    def deliver(self) -> None:
        """Finish futures that somebody watches; runs callbacks. The manager's, if there is one."""
        while self.outbox:
            future, value, error = self.outbox.popleft()
            future.tell(value, error)

    def remove(self, future: TaskFuture[Any]) -> None:
        """Take a task off the tables. Needs the lock."""
        if self.sender.by_item.pop(future.item, None) is not None:
            self.sender.nbytes -= future.nbytes
        if future._watch is not None:
            self.watched.discard(future)
        if future.terms is not None:
            self.limits.forget(future)
        future.call = future.fn = None
        self.pending.pop(future.number, None)

    # --- Looking, cancelling and watching --------------------------------------------------

    def poll(self, future: TaskFuture[Any]) -> None:
        """Collect what is there without waiting, and note whether a worker has *future*."""
        with contextlib.suppress(NestedCallError):
            self.collector.collect_waiting()
        with self.lock:
            item = future.item if future.batch is None else future.batch.item
            sent = future._state == PENDING and item is not None and item != SENDING
            if sent and not self.tasks._queued(item):
                future._state = RUNNING

    def cancel(self, future: TaskFuture[Any], running: bool = False) -> bool:
        """Cancel *future* unless a worker has taken it, or even so; whether it is cancelled."""
        return self.cancels.cancel(future, running)

    def doubt(self) -> None:
        """Have the manager find out which of the tasks that were sent will never end."""
        with self.lock:
            self.doubtful.extend(self.sender.by_item.values())
        self.bell.ring()

    def watch(self, future: TaskFuture[Any]) -> None:
        """Have the manager collect until *future* is done. Needs the lock."""
        self.watched.add(future)
        self.bell.ring()

    # --- The end ----------------------------------------------------------------------------

    def fail(self, what: str, cause: BaseException | None = None) -> None:
        """Fail everything that is pending, and take no more; the manager ends the workers."""
        self.fail_all(lambda: broken(what, cause))

    def fail_all(self, error: Callable[[], BaseException]) -> None:
        """Fail everything as `fail` does, each with an error of its own."""
        with self.lock:
            self.broken = self.broken or error()
            pending = list(self.pending.values())
            self.sender.backlog.clear()
        for future in pending:
            self.end(future, None, error())
        self.collector.nudge()
        self.bell.ring()

    def close(self, cancel_pending: bool) -> None:
        """Take no more tasks; the manager ends the workers when all are done.

        Args:
            cancel_pending: cancel what is queued, but for one task for each worker: it has
                that or is just starting up for it.
        """
        with self.lock:
            self.closing = True
            pending = list(self.pending.values())[len(self.crew.processes) :]
        if cancel_pending:
            for future in pending:
                self.cancel(future)
        self.bell.ring()

    def disown(self) -> None:
        """In a forked child: everything belongs to the parent, and nobody holds the locks."""
        self.lock = RLock()
        self.thread = None
        self.bell.disown()
        self.crew.disown()
        self.sender.disown()
        self.collector.disown()
        self.broken = BrokenExecutor(
            f"this executor belongs to process {os.getppid()}, which forked this one: make another"
        )
        for future in self.pending.values():
            future.disown(self.broken)
        for table in (self.pending, self.watched, self.outbox, self.doubtful):
            table.clear()


def _disown_all() -> None:
    for engine in list(_engines):
        engine.disown()
    _engines.clear()


def _close_all() -> None:
    """At interpreter exit, before threads are joined: work is finished, then all ends."""
    global _exiting
    _exiting = True
    for engine in list(_engines):
        if not engine.daemon:
            engine.close(cancel_pending=False)


os.register_at_fork(after_in_child=_disown_all)
# concurrent.futures registers its own the same way: atexit proper runs too late.
threading._register_atexit(_close_all)  # type: ignore[attr-defined]
