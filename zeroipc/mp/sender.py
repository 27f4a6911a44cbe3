"""The way of tasks into the ring: enough to keep the workers busy, and not much more.

What is in the ring can still be cancelled, but it takes shared memory; what is in the
backlog is only a reference to the caller's arguments.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from concurrent.futures._base import PENDING, RUNNING
from typing import TYPE_CHECKING, Any

from .._core.signals import is_from_handler
from ..errors import NestedCallError, ShmFullError, UnpicklableError
from .batches import Batch
from .futures import SENDING, UNSENT, TaskFuture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .calls import Packer
    from .engine import Engine

BURST = 16
SMALL_NBYTES = 4096
"""Most tasks that are sent in one step, and the size beyond which one is the last of its step."""
RING_TASKS = 256
RING_NBYTES = 4 << 20
"""Most tasks, and their bytes, in the ring; but always enough to keep the workers busy."""
PATIENCE = 1.0
"""Seconds to look for room when no task is out whose end would make some: a worker lets go of
its arguments a moment after its result is there."""


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
        self._sent: deque[tuple[TaskFuture[Any], tuple[int, int]]] = deque()
        self._task: tuple[Any, ...] | None = None
        self._full_since: float | None = None

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
            if not self._room() or not self._send_some():
                return False
        return True

    def _room(self) -> bool:
        queued = self.engine.tasks.qsize()
        return bool(
            queued <= self.engine.crew.size or (queued < RING_TASKS and self.nbytes < RING_NBYTES)
        )

    def _send_some(self) -> bool:
        """Send the first tasks of the backlog; whether to go on with the next.

        They leave the backlog only afterwards. What `_put_task` returns goes into a deque in one
        step, together with its task, and the same object is put once: whatever a signal handler
        raises, a task is sent once.
        """
        self.note()
        batch = self._begin()
        tasks = self.engine.tasks
        try:
            sent = map(tasks._put_task, self._messages(batch))
            # None: a process that is stopped has a lock; the manager tries again.
            self._sent.extend(zip(batch, itertools.takewhile(bool, sent), strict=False))
        except NestedCallError:
            self._end(batch)
            self.engine.bell.ring()  # the manager sends it
            return False
        except Exception as error:
            if is_from_handler(error):
                raise
            return self._fail(self._end(batch), error)
        finally:
            tasks._wake_worker()
        self._end(batch)
        return self._task is None

    def _begin(self) -> list[TaskFuture[Any]]:
        """Return the tasks to be sent next."""
        with self.engine.lock:
            batch = self._first()
            if not batch and self.backlog:
                self.backlog.popleft()
        return batch

    def _first(self) -> list[TaskFuture[Any]]:
        """Return the first tasks of the backlog that can be sent. Needs the lock."""
        batch: list[TaskFuture[Any]] = []
        # By number: signal handlers may submit meanwhile, and send some of these.
        for place in range(min(BURST, len(self.backlog))):
            future = self._waiting(place)
            if future is None:
                break
            batch.append(future)
        return batch

    def _waiting(self, place: int) -> TaskFuture[Any] | None:
        """Return the task there, which nobody can cancel any more; None: it is not to be sent."""
        try:
            future = self.backlog[place]
        except IndexError:
            return None
        if future.call is None:
            return None
        future.item = SENDING  # before the look
        return future if future._state == PENDING else None

    def _messages(self, batch: list[TaskFuture[Any]]) -> Iterator[tuple[Any, ...]]:
        """Yield what is put for each task, as long as they are small."""
        for future in batch:
            if self._task is None or self._task[0] != future.number:  # else it was cut short
                call = future.call
                if call is None:  # the engine broke
                    return
                self._task = self._message(future.number, call)
            yield self._task
            if self._sent and self._sent[-1][1][1] > SMALL_NBYTES:
                return

    def _message(self, number: int, call: tuple[Any, Any, Any]) -> tuple[Any, ...]:
        """Return what a worker gets."""
        return number, self.packer.pack(call[0]), call[1], call[2]

    def _end(self, batch: list[TaskFuture[Any]]) -> TaskFuture[Any] | None:
        """Note what was sent; return the first that was not."""
        self.note()
        if batch and batch[-1].item != SENDING and not self._orphans:
            return None  # they are sent in order
        with self.engine.lock:
            left = _take_back(batch)
            self._orphans.clear()
        return left[0] if left else None

    def _fail(self, future: TaskFuture[Any] | None, error: Exception) -> bool:
        """Deal with a task that could not be sent; whether to go on with the next."""
        if future is None or (isinstance(error, ShmFullError) and self._may_fit(error)):
            return False  # the manager tries again
        self._task = None
        if isinstance(future, Batch):
            with self.engine.lock:
                future.take_apart()
            return True
        call = future.call
        if call is not None:
            error = _explained(error, call)
        self.engine.end(future, None, _outcome(future, error))
        self.engine.collector.nudge()
        return True

    def _may_fit(self, error: ShmFullError) -> bool:
        """Return whether there may be room soon for what has found none."""
        now = time.monotonic()
        if self.by_item or self._full_since is None:
            self._full_since = now
        limit: int = self.engine.tasks._handle[0].limit
        return bool(self.by_item) or (error.asked <= limit and now < self._full_since + PATIENCE)

    def note(self) -> None:
        """Note which tasks were sent; they leave the backlog. The manager's as well."""
        if not self._sent:
            return
        with self.engine.lock:
            self._note_all()

    def _note_all(self) -> None:
        while self._sent:
            entry = self._sent[0]
            self._note(entry[0], *entry[1])
            if self._sent and self._sent[0] is entry:  # a signal handler may have come here
                self._sent.popleft()

    def _note(self, future: TaskFuture[Any], item: int, nbytes: int) -> None:
        future.call = None
        future.item = item
        self._full_since = None
        if future.number in self.engine.pending and item not in self.by_item:
            future.nbytes = nbytes
            self.nbytes += nbytes
            self.by_item[item] = future
            if item in self._orphans:
                self.engine.deaths.lose(future, self._orphans[item])
        if self.backlog and self.backlog[0] is future:
            self.backlog.popleft()
        if self._task is not None and self._task[0] == future.number:
            self._task = None

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
        if self._sending or self._task is not None:
            self._orphans[item] = process

    def disown(self) -> None:
        """In a forked child: nothing is sent from here."""
        self._sending = False
        self._sent.clear()
        self.backlog.clear()
        self.by_item.clear()


def _take_back(batch: list[TaskFuture[Any]]) -> list[TaskFuture[Any]]:
    """Return those that were not sent; they can be cancelled again."""
    left = [future for future in batch if future.item == SENDING]
    for future in left:
        future.item = UNSENT
    return left


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
