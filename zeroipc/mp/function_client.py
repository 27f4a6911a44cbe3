"""Calls of a `Function` from processes other than its owner.

A client has an engine of its own. It puts calls into the owner's task ring, where the owner's
workers take them, and gets the outcomes through a result queue of its own, whose address goes
with each call. It has no workers: instead of their deaths it looks for that of the owner.

    client                      owner
    make a result queue
    Joined ───────────────────► note its address
    call ──► task ring          (not involved)
    outcome ◄── worker
    Lost ◄───────────────────── a worker died: with this task, if it is yours
    Ended ◄──────────────────── closed, or broken

The death of the owner is found by looking, whenever calls are under way. If a client dies its
calls are dropped by the worker that takes them, and its results with the queue.
"""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any

from .._backend import transport as core
from .._core.owner import owner_alive
from ..errors import OwnerDiedError, ShutDown
from .context import _concrete_contexts
from .crew import Crew
from .deaths import Deaths
from .engine import Engine
from .function_served import queue_at
from .queues import SimpleQueue, TaskQueue
from .sender import RING_NBYTES, RING_TASKS, Sender

if TYPE_CHECKING:
    from .futures import TaskFuture


class Link:
    """How to reach the workers of a function; what travels to other processes.

    Args:
        owner: (pid, start time) of the process that started the workers.
        size: how many there are.
        tasks: the task ring.
        results: slot and generation of the owner's result queue.
    """

    def __init__(
        self, owner: tuple[int, int], size: int, tasks: Any, results: tuple[int, int]
    ) -> None:
        self.owner, self.size, self.tasks, self.results = owner, size, tasks, results

    def sent(self) -> tuple[Any, ...]:
        """Return what `received` takes in a child being started, or who gets the message being put.

        Raises:
            RuntimeError: there is neither.
        """
        return self.owner, self.size, self.tasks.__getstate__(), self.results

    @staticmethod
    def received(sent: tuple[Any, ...]) -> Link:
        """Return the link that was sent."""
        owner, size, where, results = sent
        tasks: Any = TaskQueue.__new__(TaskQueue)
        tasks.__setstate__(where)
        return Link(owner, size, tasks, results)


# --- What they tell each other --------------------------------------------------------------


class Joined:
    """A client's message to the owner: where it gets its results."""

    def __init__(self, address: tuple[int, int]) -> None:
        self.address = address

    def tell(self, engine: Any) -> None:
        """Note it. In the owner."""
        engine.clients.add(self.address)


class Lost:
    """The owner's message to all clients: a worker died in the midst of the task *item*."""

    def __init__(self, item: int, text: str, pid: int, exitcode: int) -> None:
        self.item, self.text, self.pid, self.exitcode = item, text, pid, exitcode

    def tell(self, engine: Any) -> None:
        """Fail the task if it is ours. In the client."""
        with engine.lock:
            future = engine.sender.by_item.get(self.item)
            if future is None:  # it is another's, or we do not yet know its number
                engine.sender.expect(self.item, self)
                return
        engine.deaths.lose(future, self)

    def error(self, number: int) -> BaseException:
        """Return the error of the call that died with the worker."""
        from .._died import WorkerDiedError

        text = f"{self.text}, call {number} of process {os.getpid()}"
        return WorkerDiedError(text, self.pid, self.exitcode, number)


class Ended:
    """The owner's message to all clients: there are no workers any more, and why."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def tell(self, engine: Any) -> None:
        """Fail all calls. In the client."""
        engine.fail_all(lambda: copy.copy(self.error))


# --- The engine of a client -----------------------------------------------------------------


class FairSender(Sender):
    """Fills the ring with as many tasks as any other process may, whatever is in it."""

    def _room(self) -> bool:
        own = len(self.by_item)
        return own <= self.engine.crew.size or (own < RING_TASKS and self.nbytes < RING_NBYTES)


class ClientSender(FairSender):
    """Sends the address of the results along."""

    def _message(self, number: int, call: tuple[Any, Any, Any]) -> tuple[Any, ...]:
        return (*super()._message(number, call), self.engine.results._handle[1:])


class BorrowedTasks(TaskQueue):
    """The owner's task ring, which is not ours to shut.

    Args:
        link: leads to it.
    """

    def __init__(self, link: Link) -> None:
        self._attach(*link.tasks._handle)
        self._owner = link.owner[0]

    def _put_task(self, task: Any) -> tuple[int, int]:
        try:
            return super()._put_task(task)  # type: ignore[no-any-return]
        except ShutDown:
            raise ShutDown(closed_by(self._owner)) from None

    def _shutdown(self, immediate: bool) -> None:
        """Leave it to the owner."""


class NoCrew(Crew):
    """In place of the workers of an engine, when they are another's: nobody to start or to end.

    Args:
        context: any.
        size: how many there are.
    """

    def __init__(self, context: Any, size: int) -> None:
        super().__init__(context, size, _nobody, _nobody)
        self.starts_all = True  # all there will be are there

    def grow(self, demand: int) -> None:
        """Leave it to the owner."""

    def end(self, at_once: bool) -> None:
        """Leave it to the owner."""


def _nobody(*args: Any) -> Any:
    raise NotImplementedError


class OwnersDeath(Deaths):
    """In place of the deaths of workers: that of the owner, and what it says of its workers'."""

    def __init__(self, engine: Engine, owner: tuple[int, int]) -> None:
        super().__init__(engine, "break")
        self._owner = owner

    def reap(self) -> None:
        """Fail all calls if the owner has died."""
        engine = self.engine
        if engine.broken is not None or owner_alive(*self._owner):
            return
        engine.sender.note()
        with engine.collector.taken_over():  # what was answered before counts
            engine.deliver()
        engine.fail_all(lambda: OwnerDiedError(_died(self._owner[0])))

    def lose(self, future: TaskFuture[Any], news: Any) -> None:
        """Fail the call that a worker had when it died."""
        self.engine.end(future, None, news.error(future.number))


class ClientEngine(Engine):
    """An engine whose workers are another process's.

    Args:
        link: leads to them.

    Raises:
        OwnerDiedError: from the first `submit`: that process has ended.
    """

    def __init__(self, link: Link) -> None:
        context = _concrete_contexts["spawn"]
        super().__init__(context, link.size)
        self._link = link
        self.crew = NoCrew(context, link.size)
        self.sender = ClientSender(self, self.packer)
        self.deaths = OwnersDeath(self, link.owner)

    def make_queues(self) -> tuple[Any, Any]:
        """Return the owner's tasks and results of our own, in the same arena."""
        link = self._link
        arena = link.tasks._handle[0]
        owners = queue_at(arena, link.results)
        if owners is None or not owner_alive(*link.owner):
            raise OwnerDiedError(_died(link.owner[0]))
        results: Any = SimpleQueue.__new__(SimpleQueue)
        results._attach(arena, *arena.create_queue(0, core.NOTE_NOTHING, False))
        owners.put(Joined(results._handle[1:]))
        return BorrowedTasks(link), results


def closed_by(pid: int) -> str:
    """Say why a function takes no calls."""
    return f"the function takes no more calls: its owner, process {pid}, closed it, or it broke"


def _died(pid: int) -> str:
    return f"process {pid}, which owned the function and its workers, has ended"
