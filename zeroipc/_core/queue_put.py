"""Putting objects into a message queue."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterable
from queue import Full
from typing import Any

from ..errors import QueueFullError, ShmFullError
from .arena import class_pages
from .codec import draft_payload, dump_inside, encode
from .draft import Draft, draft_dropped
from .layout import PAGE, PAYLOAD_PICKLE, STATE_OPEN
from .mutex import check_outermost, here
from .patience import deadline_of, queue_send
from .queue_handle import MANY, Handle
from .records import SharedQueue
from .ring import Message, queue_size
from .status import NO_ROOM, OK, Status
from .wait import now, wait_wake


class Deferred:
    """A put that a nested call left to the call that it interrupted.

    It may be called again when an exception cut it short: a message goes once.
    """

    def __init__(self, queue: Puts, data: bytes, deadline: int) -> None:
        self.data = data
        self.deadline = deadline
        self.message = Message()
        self._queue = queue

    def __call__(self) -> None:
        """Make the put, unless that was done."""
        if self.message.went:
            return
        try:
            self._queue._put_pickle(self)
        except Exception:
            logging.getLogger("zeroipc").exception(
                "a put of a signal handler or finalizer, made after the queue operation that "
                "it interrupted, failed"
            )


CONTAINERS = frozenset((list, tuple, range, set, frozenset, dict))
"""What has all its items already, so that none has to wait for the next."""


OWED_NS = 100_000
"""Who puts several tasks wakes a worker once, when all are there: a worker on this CPU would
take its place for each. But no task waits longer than this for the next."""


class Batch:
    """Objects that are encoded, to be put in one visit.

    Attributes:
        deadline: until when to wait for room.
        went: how many were put before.
    """

    def __init__(self, queue: Puts, deadline: int) -> None:
        self.deadline = deadline
        self.went = 0
        self._queue = queue
        self._drafts: list[tuple[Draft, Any]] = []

    def add(self, obj: Any) -> bool:
        """Encode one more.

        False: it must be put by itself, which may wait for memory, when those before it have
        gone.
        """
        if self._queue._spilling or here.held or here.draining:
            return False
        draft = Draft(self._queue._home(), 0, self.deadline)
        self._drafts.append((draft, obj))
        try:
            encode(draft, obj)
        except BaseException as error:
            self._drop_last()
            if draft.busy or isinstance(error, ShmFullError):
                return False
            raise
        return True

    def is_full(self, limit: int) -> bool:
        """Return whether the batch is to be put.

        A message with blocks goes at once: who is to free memory for the next one may need it.
        """
        return len(self._drafts) == limit or bool(self._drafts[-1][0].message.blocks)

    def put(self) -> None:
        """Put what is in the batch; it is empty afterwards, whatever happens."""
        queue, drafts = self._queue, self._drafts
        if not drafts:
            return
        arena, slot, generation = queue._open_home(), queue._slot, queue._generation
        bounded = queue._maxsize != 0
        messages = [draft.message for draft, _ in drafts]
        try:
            status = queue_send(arena, slot, generation, messages, bounded, self.deadline)
            left = [obj for draft, obj in drafts if not draft.message.went]
        finally:
            self.went += sum(message.went for message in messages)
            self.drop()
        for obj in left:
            queue._put_outcome(status, bounded, obj)
            self.went += 1

    def drop(self) -> None:
        """Undo what was not put."""
        while self._drafts:
            self._drop_last()

    def _drop_last(self) -> None:
        draft, _ = self._drafts[-1]
        if not draft.message.went:
            draft_dropped(draft)
        self._drafts.pop()


class Puts(Handle):
    """The calls that put."""

    __slots__ = ()

    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put obj into the queue; Full when there is no room in time."""
        self._put_object(obj, deadline_of(timeout) if block else 0)

    def put_nowait(self, obj: Any) -> None:
        """Put obj at once, as put(obj, False) does."""
        self._put_object(obj, 0)

    def _put_object(self, obj: Any, deadline: int) -> None:
        arena, queue = self._open_home(), self._record()
        self._used = True
        if here.held or here.draining:
            self._put_later(queue, obj, deadline)
        elif self._spilling:
            self._spill(obj)
        else:
            bounded = queue.maxsize != 0
            draft = Draft(arena, deadline if bounded else 0, deadline)
            try:
                status = self._send(draft, obj, bounded, deadline)
            except ShmFullError as error:
                if draft.too_large:
                    raise
                if bounded:
                    raise _full_as_queue(error) from None
                status = Status.FULL
            except TimeoutError:
                if not draft.busy:
                    raise
                status = Status.BUSY
            self._put_outcome(status, bounded, obj)

    def _put_outcome(self, status: Status, bounded: bool, obj: Any) -> None:
        """Finish a put: what an unbounded queue has no room for, or cannot lock, is spilled."""
        if status is OK:
            return
        if not bounded and (status in NO_ROOM or status in (Status.FULL, Status.BUSY)):
            self._spill(obj)
            return
        error = self._error(Status.FULL if status is Status.BUSY else status)
        raise _full_as_queue(error) if isinstance(error, ShmFullError) else error

    def put_many(
        self, items: Iterable[Any], block: bool = True, timeout: float | None = None
    ) -> int:
        """Put the items in order; return how many went in before the time was over.

        Args:
            items: any iterable. Those of a list, tuple, range, set or dict go several at a
                time; those of another one each as soon as it is there.
            block: whether to wait for room.
            timeout: seconds for all of them; None for ever.

        Raises:
            queue.Full: not even the first went in.
            UnpicklableError: one cannot be pickled; those before it went in.
            ValueError: the queue is closed.
        """
        batch = Batch(self, deadline_of(timeout) if block else 0)
        limit = MANY if type(items) in CONTAINERS else 1
        self._open_home()
        self._used = True
        try:
            self._put_each(items, batch, limit)
        except Full:
            if not batch.went:
                raise
        finally:
            batch.drop()
        return batch.went

    def _put_each(self, items: Iterable[Any], batch: Batch, limit: int) -> None:
        try:
            for obj in items:
                added = batch.add(obj)
                if not added or batch.is_full(limit):
                    batch.put()
                if not added:
                    self._put_object(obj, batch.deadline)
                    batch.went += 1
        except Exception:
            batch.put()  # those before
            raise
        batch.put()

    def _put_later(self, queue: SharedQueue, obj: Any, deadline: int) -> None:
        """In a nested call: have the interrupted call put the object when it can."""
        if queue.state != STATE_OPEN:
            raise self._error(Status.SHUT)
        if deadline == 0 and 0 < queue.maxsize <= queue_size(queue):
            raise Full
        here.deferred.append(Deferred(self, dump_inside(obj), deadline))

    def _put_pickle(self, put: Deferred) -> None:
        """Make a put that was left by a nested call."""
        bounded = self._record().maxsize != 0
        draft = Draft(self._home(), put.deadline if bounded else 0, put.deadline)
        put.message = draft.message
        try:
            status = self._send(draft, put, bounded, put.deadline)
        except ShmFullError as error:
            if bounded:
                raise _full_as_queue(error) from None
            status = Status.FULL
        except TimeoutError:
            if not draft.busy:
                raise
            status = Status.BUSY
        self._put_outcome(status, bounded, None if status is OK else pickle.loads(put.data))

    def _put_now(self, obj: Any, timeout: float | None) -> None:
        """Put although the queue is closed here or spilling, waiting for memory.

        Raises:
            ShmFullError: there was none in time.
        """
        check_outermost("_put_now")
        deadline = deadline_of(timeout)
        draft = Draft(self._home(), deadline, deadline)
        status = self._send(draft, obj, True, deadline)
        if status is not OK:
            raise self._error(status)

    def _put_task(self, obj: Any) -> tuple[int, int] | None:
        """Put without waiting; return the item number and the bytes it takes.

        None while a process that is stopped has a lock. `_wake_worker` is to follow.
        When a signal handler's exception cut it short, call it again with the same object: it
        is put once.
        """
        blocks = self._view("_put_task").blocks
        if self._task is None or self._task[0] is not obj or not self._task[1].went:
            draft = Draft(self._home(), 0, 0)
            draft.message.defers = True
            self._task = obj, draft.message
            try:
                status = self._send(draft, obj, False, 0)
            except TimeoutError:
                if not draft.busy:
                    raise
                return None
            if status is Status.BUSY:
                return None
            if status is not OK:
                raise self._error(status)
        message = self._task[1]
        self._owe_wake(message.owes)
        nbytes = sum(class_pages(blocks[number].cls) * PAGE for number in message.blocks)
        item, nbytes = message.item, len(message.payload) + nbytes
        self._task = None
        return item, nbytes

    def _wake_worker(self) -> None:
        """Wake who sleeps for what `_put_task` put."""
        if self._owed_since != 0:
            wait_wake(self._record().items.address, 1)
        self._owed_since = 0

    def _owe_wake(self, owes: bool) -> None:
        if not owes and self._owed_since == 0:
            return
        moment = now()
        if self._owed_since == 0:
            self._owed_since = moment
        if moment > self._owed_since + OWED_NS:
            self._wake_worker()

    def _send(self, draft: Draft, obj: Any, patient: bool, deadline: int) -> Status:
        """Put *obj*, waiting for what may come; a draft that is not sent is undone."""
        try:
            if isinstance(obj, Deferred):
                draft_payload(draft, PAYLOAD_PICKLE, obj.data)
            else:
                encode(draft, obj)
            return queue_send(
                draft.arena, self._slot, self._generation, [draft.message], patient, deadline
            )
        finally:
            if not draft.message.went:
                draft_dropped(draft)

    def _spill(self, obj: Any) -> None:
        """Keep an object that did not fit into the arena."""
        raise NotImplementedError


def _full_as_queue(error: ShmFullError) -> QueueFullError:
    """Return the error as one that is a queue.Full as well."""
    return QueueFullError(str(error), error.asked, error.free)
