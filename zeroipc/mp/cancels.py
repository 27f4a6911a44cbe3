"""Cancelling tasks: in the backlog, in the ring, and, if that is wanted, in a worker."""

from __future__ import annotations

from concurrent.futures._base import RUNNING
from typing import TYPE_CHECKING, Any

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
            return self.cancel_queued(future) or (running and self.engine.limits.cancel(future))
        except BaseException:  # of a signal handler
            self.engine.doubt()
            raise

    def cancel_queued(self, future: TaskFuture[Any]) -> bool:
        """Cancel *future* if it is not with a worker; whether it is cancelled."""
        engine = self.engine
        with engine.lock:
            if future.number not in engine.pending:
                return future.cancelled()
            if future.item == SENDING:
                return False
            if future.item is not None and not engine.tasks._cancel(future.item):
                future._state = RUNNING
                return False
            settled = self.settle(future)
        self.tell(future, settled)
        return True

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
