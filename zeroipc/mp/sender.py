"""The way of tasks into the ring: enough to keep the workers busy, and not much more.

What is in the ring can still be cancelled, but it takes shared memory; what is in the
backlog is only a reference to the caller's arguments.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures._base import PENDING
from typing import TYPE_CHECKING, Any

from .._core.pickling import find_culprit
from ..errors import ShmFullError, UnpicklableError
from .futures import SENDING, UNSENT, TaskFuture

if TYPE_CHECKING:
    from .calls import Packer
    from .engine import Engine

RING_TASKS = 256
RING_NBYTES = 4 << 20
"""Most tasks, and their bytes, in the ring; but always enough to keep the workers busy."""


class Sender:
    """Moves an engine's tasks from the backlog into the ring.

    Attributes:
        backlog: tasks that have not been sent, the next one first.
        by_item: what is in the ring or with a worker, by its number in the ring.
    """

    def __init__(self, engine: Engine, packer: Packer) -> None:
        self.engine = engine
        self.packer = packer
        self.backlog: deque[TaskFuture[Any]] = deque()
        self.by_item: dict[int, TaskFuture[Any]] = {}
        self._nbytes = 0
        self._sending = False

    def refill(self) -> None:
        """Move the backlog into the ring, as far as there is room."""
        while self.backlog and self._room():
            mine = False
            try:
                with self.engine.lock:
                    mine = not self._sending
                    self._sending = True
                if not mine:
                    return  # who is sending looks again afterwards
                while self.backlog and self._room():
                    if not self._send_first():
                        return
            finally:
                if mine:
                    self._sending = False

    def _room(self) -> bool:
        queued = self.engine.tasks.qsize()
        return bool(
            queued <= self.engine.crew.size or (queued < RING_TASKS and self._nbytes < RING_NBYTES)
        )

    def _send_first(self) -> bool:
        """Send the first task of the backlog; whether to go on with the next.

        It leaves the backlog only afterwards, so that an exception of a signal handler
        cannot lose it on the way.
        """
        engine = self.engine
        with engine.lock:
            if not self.backlog:  # the engine broke
                return False
            future = self.backlog[0]
            call = future.call
            if call is None or future._state != PENDING:
                self.backlog.popleft()
                return True
            future.item = SENDING
        try:
            task = (future.number, self.packer.pack(call[0]), call[1], call[2])
            item, nbytes = engine.tasks._put_task(task)
            future.call = None
        except BaseException as error:
            if isinstance(error, ShmFullError) and self.by_item:  # their end frees memory
                future.item = UNSENT
                return False
            engine.end(future, None, _explained(error, call, future))
            engine.nudge()
            if not isinstance(error, Exception):
                raise
        else:
            with engine.lock:
                future.item, future.nbytes = item, nbytes
                if future.number in engine.pending:
                    self.by_item[item] = future
                    self._nbytes += nbytes
        with engine.lock:
            if self.backlog and self.backlog[0] is future:
                self.backlog.popleft()
        return True

    def forget(self, future: TaskFuture[Any]) -> None:
        """Take a task off the tables. Needs the engine's lock."""
        future.call = None
        if future.item is not None and self.by_item.pop(future.item, None) is not None:
            self._nbytes -= future.nbytes

    def disown(self) -> None:
        """In a forked child: nothing is sent from here."""
        self._sending = False
        self.backlog.clear()
        self.by_item.clear()


def _explained(error: BaseException, call: Any, future: TaskFuture[Any]) -> BaseException:
    """Return the error to give to the future of a call that could not be sent."""
    if isinstance(error, UnpicklableError):
        _, args, kwargs = call
        path, culprit = find_culprit(args, "args", 8)
        if culprit is args:
            path, culprit = find_culprit(kwargs, "kwargs", 8)
        reason = error.__cause__ or error
        text = f"cannot pickle {path}, a {type(culprit).__qualname__}: {reason}"
        found = UnpicklableError(text)
        found.__cause__ = error.__cause__
        return found
    if isinstance(error, Exception):
        return error
    return interrupted(future, "sent", error)


def interrupted(future: TaskFuture[Any], what: str, error: BaseException | None) -> RuntimeError:
    """Return the error of a task that an exception of a signal handler has hit."""
    raised = "an exception" if error is None else type(error).__name__
    lost = RuntimeError(
        f"a signal handler raised {raised} while task {future.number} was being {what}: "
        "its outcome is unknown"
    )
    lost.__cause__ = error
    return lost
