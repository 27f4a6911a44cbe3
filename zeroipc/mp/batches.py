"""`submit_many`: tasks that share messages on their way, but each has its own future.

A batch is one task to the engine: one message in the ring, one worker, one outcome. It hands
the outcomes out to its members. They can be cancelled one by one until a worker has the batch,
and one that cannot be pickled fails alone: a batch that cannot be sent is taken apart. What
cannot be told apart is a death: all that were in the batch then fail.
"""

from __future__ import annotations

import copy
import itertools
from concurrent.futures._base import PENDING
from typing import TYPE_CHECKING, Any

from .deaths import prepare_for_interrupts
from .futures import SENDING, UNSENT, TaskFuture

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .engine import Engine
    from .terms import Terms

SIZE_MAX = 32
"""Most tasks in a batch, if nobody says otherwise: the message then costs little for each."""


def submit_many(
    engine: Engine,
    fn: Any,
    calls: Iterable[tuple[Any, ...]],
    size: int | None,
    terms: Terms | None,
) -> list[TaskFuture[Any]]:
    """Hand in a call for each tuple of arguments; return the futures in order.

    Args:
        engine: whose workers run them.
        fn: what is called.
        calls: arguments of each call.
        size: of a batch; None: so that each worker gets four, but at most SIZE_MAX.
        terms: of each task, which then travels alone; or None.
    """
    if size is not None and size < 1:
        raise ValueError(f"chunksize must be >= 1: chunksize={size}")
    if terms is not None:
        return [engine.submit(fn, args, {}, terms) for args in calls]
    prepare_for_interrupts()
    waiting = list(calls)
    if size is None:
        size = max(1, min(SIZE_MAX, -(-len(waiting) // (4 * engine.crew.size))))
    futures: list[TaskFuture[Any]] = []
    rest = iter(waiting)
    while some := list(itertools.islice(rest, size)):
        batch = Batch(engine, fn, some)
        _hand_in(engine, batch)
        futures += batch.members
    return futures


def _hand_in(engine: Engine, batch: Batch) -> None:
    """Hand in the tasks of a batch, as `Engine.submit` does one."""
    with engine.lock:
        engine.check_open()
        task: Any = batch
        batch.take_number(engine.count)
        engine.count += len(batch.calls)
        engine.sender.backlog.append(task)
        engine.pending[batch.number] = task
    if engine.thread is None or not engine.crew.starts_all:
        engine._hire(task)
    engine.sender.refill()
    if engine.asleep:
        engine.bell.ring()


class Batch:
    """A task of an `Engine` that stands for several.

    Attributes:
        members: futures of those that have not been cancelled.
        calls: their arguments.
        number: below 0, for the members have those from 0 on.
        call, fn, item, nbytes: as `TaskFuture` has them.
    """

    terms = _watch = None

    def __init__(self, engine: Engine, fn: Any, calls: list[tuple[Any, ...]]) -> None:
        self._engine = engine
        self._state = PENDING
        self.batch = self
        self.number = -1
        self.fn = fn
        self.calls = calls
        self.members: list[TaskFuture[Any]] = []
        self.call: Any = (fn, calls, None)  # without keywords: a batch
        self.item: int | None = UNSENT
        self.nbytes = 0

    def take_number(self, number: int) -> None:
        """Number the members, from *number* on. Needs the lock."""
        self.number = -1 - number
        for place, args in enumerate(self.calls):
            member: TaskFuture[Any]
            member = TaskFuture(self._engine, number + place, (self.fn, args, {}))
            member.batch = self
            self.members.append(member)

    def is_done(self) -> bool:
        """Return whether all members are."""
        return all(member.is_done() for member in self.members)

    def cancelled(self) -> bool:
        """Return whether it was cancelled as a whole."""
        return self.is_done() and all(member.cancelled() for member in self.members)

    # --- The outcome ------------------------------------------------------------------------

    def settle(self, value: Any, error: BaseException | None) -> bool:
        """Hand out the outcomes; whether nobody watches a member. Needs the lock."""
        engine, settled = self._engine, True
        outcomes = value if error is None else [(False, error)] * len(self.members)
        engine.collector.answered += len(self.members) - 1
        for member, (good, result) in zip(self.members, outcomes, strict=True):
            if not good:
                engine.failed += error is None or member is not self.members[0]
                result = result if error is None else _own_copy(result, member.number)
            told = (result, None) if good else (None, result)
            if not member.settle(*told):
                engine.outbox.append((member, *told))
                settled = False
            self._let_go(member)
        return settled

    def _let_go(self, member: TaskFuture[Any]) -> None:
        self._engine.watched.discard(member)
        member.call = member.fn = member.batch = None

    def tell(self, value: Any, error: BaseException | None) -> None:
        """Do nothing: the members are told themselves."""

    def settle_cancelled(self) -> bool:
        """Cancel all members; whether nobody watches one. Needs the lock."""
        self._engine.cancels.count += len(self.members) - 1
        self.members = [member for member in self.members if not self._cancelled(member)]
        return not self.members

    def _cancelled(self, member: TaskFuture[Any]) -> bool:
        settled = member.settle_cancelled()
        self._let_go(member)
        return settled

    def tell_cancelled(self) -> None:
        """Cancel the members that are watched, and tell who does."""
        for member in self.members:
            member.tell_cancelled()

    def disown(self, error: BaseException) -> None:
        """In a forked child: nothing will come."""
        for member in self.members:
            member.disown(error)

    # --- One by one -------------------------------------------------------------------------

    def cancel_member(self, member: TaskFuture[Any]) -> bool | None:
        """Cancel one; whether nobody watches it, None: a worker has the batch. Needs the lock."""
        engine = self._engine
        if self.item == SENDING:
            return None
        if self.item is not None:
            if not engine.tasks._cancel(self.item):
                return None
            engine.sender.send_again(self, (self.fn, self.calls, None))  # type: ignore[arg-type]
        place = self.members.index(member)
        self.members = self.members[:place] + self.members[place + 1 :]
        self.calls = self.calls[:place] + self.calls[place + 1 :]
        self.call = (self.fn, self.calls, None) if self.members else None
        engine.sender.forget_task(self)
        engine.cancels.count += 1
        if not self.members:
            engine.remove(self)  # type: ignore[arg-type]
        return self._cancelled(member)

    def take_apart(self) -> None:
        """Have the members sent one by one: one of them cannot be. Needs the lock."""
        engine = self._engine
        engine.remove(self)  # type: ignore[arg-type]
        for member in self.members:
            member.batch = None
            engine.pending[member.number] = member
        engine.sender.backlog.extendleft(reversed(self.members))


def _own_copy(error: BaseException, number: int) -> BaseException:
    """Return an error for one future alone: raising it adds to its traceback."""
    own = copy.copy(error)
    own.__cause__ = error.__cause__
    if hasattr(own, "task"):
        own.task = number
    return own
