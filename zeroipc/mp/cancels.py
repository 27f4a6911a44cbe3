"""Cancelling tasks: in the backlog, in the ring, and, if that is wanted, in a worker."""

from __future__ import annotations

from concurrent.futures._base import RUNNING
from typing import TYPE_CHECKING, Any, cast

from .futures import SENDING

if TYPE_CHECKING:
    from .engine import Engine
    from .futures import TaskFuture


class Cancels:
    """Cancels the tasks of an engine.

    Args:
        engine: the engine.

    Attributes:
        count: of the tasks that were cancelled.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.count = 0

    def cancel(self, future: TaskFuture[Any], running: bool) -> bool:
        """Cancel *future* unless a worker has taken it; whether it is cancelled.

        Args:
            future: of the task.
            running: also if a worker has; that one is killed, and replaced.
        """
        try:
            if self.cancel_queued(future):
                return True
            return running and future.batch is None and self.engine.limits.cancel(future)
        except BaseException:  # of a signal handler
            self.engine.doubt()
            raise

    def cancel_queued(self, future: TaskFuture[Any]) -> bool:
        """Cancel *future* if it is not with a worker; whether it is cancelled."""
        engine, carrier = self.engine, cast("Any", future.batch)
        with engine.lock:
            if carrier is not None and carrier is not future:
                settled = carrier.cancel_member(future)
            elif future.number not in engine.pending:
                return future.cancelled()
            else:
                settled = self._settle_queued(future)
        if settled is None:
            return False
        self.tell(future, settled)
        return True

    def _settle_queued(self, future: TaskFuture[Any]) -> bool | None:
        """Mark a task as cancelled if no worker has it, as `settle`; else None."""
        if future.item == SENDING:
            return None
        if future.item is not None and not self.engine.tasks._cancel(future.item):
            future._state = RUNNING
            return None
        return self.settle(future)

    def settle(self, future: TaskFuture[Any]) -> bool:
        """Mark a task as cancelled; whether nobody has to be told. Needs the engine's lock."""
        self.count += 1
        settled = future.settle_cancelled()
        self.engine.remove(future)
        return settled

    def tell(self, future: TaskFuture[Any], settled: bool) -> None:
        """Tell who watches a task that was cancelled, unless it was *settled* in silence."""
        if not settled:
            future.tell_cancelled()
        self.engine.collector.nudge()
        if self.engine.closing:
            self.engine.bell.ring()
