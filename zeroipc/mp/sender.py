"""The way of tasks into the ring: enough to keep the workers busy, and not much more.

What is in the ring can still be cancelled, but it takes shared memory; what is in the
backlog is only a reference to the caller's arguments.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures._base import PENDING, RUNNING
from typing import TYPE_CHECKING, Any

from ..errors import NestedCallError, ShmFullError, UnpicklableError
from .batches import Batch
from .futures import SENDING, UNSENT, TaskFuture
from .signals import is_from_handler

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
        nbytes: what that takes in the arena.
    """

    def __init__(self, engine: Engine, packer: Packer) -> None:
        self.engine = engine
        self.packer = packer
        self.backlog: deque[TaskFuture[Any]] = deque()
        self.by_item: dict[int | None, TaskFuture[Any]] = {}
        self.nbytes = 0
        self._sending = False
        self._orphans: dict[int, Any] = {}
        self._sent: list[tuple[int, int]] = []
        self._first: TaskFuture[Any] | None = None
        self._task: tuple[Any, ...] | None = None

    def refill(self) -> None:
        """Move the backlog into the ring, as far as there is room; nothing before the start."""
        while self.backlog and self.engine.tasks is not None:
            mine = False
            try:
                with self.engine.lock:
                    mine = not self._sending
                    self._sending = True
                if not mine:
                    return  # who is sending looks again afterwards
                if not self._send_while_room():
                    return
            finally:
                if mine:
                    self._sending = False

    def _send_while_room(self) -> bool:
        """Send; whether all is sent. A task that ends makes room."""
        while self.backlog:
            if not self._room() or not self._send_first():
                return False
        return True

    def _room(self) -> bool:
        queued = self.engine.tasks.qsize()
        return bool(
            queued <= self.engine.crew.size or (queued < RING_TASKS and self.nbytes < RING_NBYTES)
        )

    def _send_first(self) -> bool:
        """Send the first task of the backlog; whether to go on with the next.

        It leaves the backlog only afterwards, what `_put_task` returns goes into a list in one
        step, and that puts the same object once: whatever a signal handler raises, it is sent
        once.
        """
        engine = self.engine
        if self._sent:
            self.note()
            return True
        with engine.lock:
            if not self.backlog:  # the engine broke
                return False
            future = self._first = self.backlog[0]
            call = future.call
            if call is None or future._state != PENDING:
                self.backlog.popleft()
                return True
            future.item = SENDING
        try:
            if self._task is None or self._task[0] != future.number:  # else it was cut short
                self._task = self._message(future.number, call)
            self._sent.extend(filter(None, map(engine.tasks._put_task, (self._task,))))
            if not self._sent:  # a stopped process has a lock: the manager tries again
                future.item = UNSENT
                return False
            self.note()
        except NestedCallError:  # the manager sends it
            future.item = UNSENT
            engine.bell.ring()
            return False
        except Exception as error:
            if self._sent or is_from_handler(error):
                raise
            if isinstance(error, ShmFullError) and self.by_item:  # their end frees memory
                future.item = UNSENT
                return False
            self._task = None
            if isinstance(future, Batch):
                with engine.lock:
                    future.take_apart()
                return True
            engine.end(future, None, _outcome(future, _explained(error, call)))
            engine.collector.nudge()
        return True

    def _message(self, number: int, call: tuple[Any, Any, Any]) -> tuple[Any, ...]:
        """Return what a worker gets."""
        return number, self.packer.pack(call[0]), call[1], call[2]

    def note(self) -> None:
        """Note that the first task was sent, if it was; it leaves the backlog."""
        with self.engine.lock:
            future = self._first
            if future is None or not self._sent:  # or it was noted, by the manager
                return
            [(item, nbytes)] = self._sent
            future.call = None
            future.item = item
            if future.number in self.engine.pending and item not in self.by_item:
                future.nbytes = nbytes
                self.nbytes += nbytes
                self.by_item[item] = future
                if item in self._orphans:
                    self.engine.deaths.lose(future, self._orphans[item])
            self._orphans.clear()
            if self.backlog and self.backlog[0] is future:
                self.backlog.popleft()
            self._sent.clear()
            self._first = self._task = None

    def send_again(self, future: TaskFuture[Any], call: tuple[Any, Any, Any]) -> None:
        """Put a task whose worker has died at the end of the backlog."""
        with self.engine.lock:
            if self.by_item.pop(future.item, None) is None:
                return
            self.nbytes -= future.nbytes
            future.call, future.item, future.nbytes = call, UNSENT, 0
            if future._state == RUNNING:
                future._state = PENDING
            self.backlog.append(future)

    def forget_task(self, future: Any) -> None:
        """Forget the message of a task that has changed. Needs the lock."""
        if self._task is not None and self._task[0] == future.number:
            self._task = None

    def expect(self, item: int, process: Any) -> None:
        """Note who has died with an item that may be the one being sent. Needs the lock."""
        if self._first is not None and self._first.item == SENDING:
            self._orphans[item] = process

    def disown(self) -> None:
        """In a forked child: nothing is sent from here."""
        self._sending = False
        self._sent.clear()
        self.backlog.clear()
        self.by_item.clear()


def _outcome(future: TaskFuture[Any], error: Exception) -> BaseException:
    """Return the error to give to a future whose call raised *error* when it was sent."""
    death = None if future.terms is None else future.terms.death
    if death is None:
        return error
    death.__cause__ = error  # why it was not run again
    return death


def _explained(error: Exception, call: tuple[Any, Any, Any]) -> Exception:
    """Return the error to give to the future of a call that could not be sent."""
    if not isinstance(error, UnpicklableError) or error.__cause__ is None:
        return error
    from .._core.pickling import find_culprit

    _, args, kwargs = call
    path, culprit = find_culprit(args, "args", 8)
    if culprit is args:
        path, culprit = find_culprit(kwargs, "kwargs", 8)
    if culprit is kwargs:  # it was the callable
        return error
    text = f"cannot pickle {path}, a {type(culprit).__qualname__}: {error.__cause__}"
    explained = UnpicklableError(text)
    explained.__cause__ = error.__cause__
    return explained
