"""The type MessageQueue of the pure backend: multiprocessing.Queue's calls, over mqueue.py.

A call waits a tick at most without looking for signals. A call that interrupts another one
of its thread under a lock (from a signal handler or a finalizer) cannot wait for that lock:
`put` is then made as soon as the lock is free, everything else raises RuntimeError.
"""

from __future__ import annotations

import logging
import operator
import pickle
from queue import Full
from typing import Any

from ..errors import (
    ClosedQueueError,
    OwnerDiedError,
    QueueFullError,
    ShmFullError,
)
from .arena import View, class_pages
from .arena_type import Arena, Draft, draft_alloc
from .claims import claim_of, queue_cancel
from .codec import (
    draft_dropped,
    draft_payload,
    dump_inside,
    encode,
    message_decode,
    message_dropped,
    sending,
)
from .layout import (
    KIND_HANDLE,
    NONE,
    PAGE,
    PARTICIPANTS,
    PAYLOAD_CANCELLED,
    PAYLOAD_PICKLE,
    QUEUES,
    ROWS_OFFSET,
    STATE_OPEN,
)
from .mutex import check_outermost, here
from .notes import queue_claims
from .participant import identity_index
from .patience import (
    GET_SIDE,
    PUT_SIDE,
    Side,
    deadline_of,
    queue_poll,
    queue_receive,
    queue_send,
)
from .records import SharedQueue
from .registry import queue_hold, queue_shut, task_done, tasks_await
from .ring import Message, queue_has_item, queue_size
from .status import NO_ROOM, OK, Status, error_of
from .wait import now

MANY = 8
"""Messages per locked visit of get_many."""


# --- Puts of nested calls -----------------------------------------------------------------------


class Deferred:
    """A put that a nested call left to the call that it interrupted.

    It may be called again when an exception cut it short: a message goes once.
    """

    def __init__(self, queue: MessageQueue, data: bytes, deadline: int) -> None:
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


class Hold:
    """One of this process's holds of a queue; the row says so as long as there are any.

    An object of its own, because it must end after the weak references to its queue: their
    callbacks ask how many there are.
    """

    __slots__ = ("_arena", "_slot")

    def __init__(self, arena: Arena, slot: int) -> None:
        arena.holds[slot] += 1  # before the row is set: from here on no other Hold clears it
        self._arena = arena
        self._slot = slot

    def __del__(self) -> None:
        holds, slot, view = self._arena.holds, self._slot, self._arena.view
        if view.me == 0:
            return
        rows, cell = view.bytes, ROWS_OFFSET + identity_index(view.me) * QUEUES + slot
        # Nothing is called from here to the store: no other thread attaches in between.
        holds[slot] -= 1
        if not holds[slot]:
            rows[cell] = 0  # as holding_clear
            view.arena.queues_dirty = 1


class MessageQueue:
    """A message queue of an arena.

    A subclass attaches it, and gives `_spill(obj)`, which keeps what does not fit.
    """

    __slots__ = (
        "_arena",
        "_claimant",
        "_closed",
        "_generation",
        "_hold",
        "_slot",
        "_spilling",
        "_used",
        "_watched",
    )
    _arena: Arena | None
    _slot: int
    _generation: int
    _claimant: int
    _hold: Hold | None
    _closed: bool
    _spilling: bool
    _used: bool
    _watched: bool

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return a queue that is not attached yet; subclasses take any arguments."""
        self = super().__new__(cls)
        self._arena = None
        self._slot = self._generation = 0
        self._claimant = NONE  # no worker, until _claim_as
        self._hold = None
        self._closed = self._spilling = self._used = self._watched = False
        return self

    def _attach(self, arena: Arena, slot: int, generation: int) -> None:
        """Hold the queue.

        Raises:
            ClosedQueueError: it is gone already.
        """
        if not isinstance(arena, Arena) or self._arena is not None:
            raise TypeError("_attach() takes an Arena, once")
        check_outermost("attaching to a queue")
        self._hold = Hold(arena, slot)
        status = queue_hold(arena.view, slot, generation)
        if status is not OK:
            self._hold = None
            raise error_of(status, arena.view)
        self._arena, self._slot, self._generation = arena, slot, generation

    @property
    def _handle(self) -> tuple[Arena | None, int, int]:
        """(arena, slot, generation)."""
        return self._arena, self._slot, self._generation

    @property
    def _maxsize(self) -> int:
        """Most items; 0: no bound."""
        return self._record().maxsize

    def _home(self) -> Arena:
        """Return the arena.

        Raises:
            RuntimeError: __init__ or __setstate__ has not run.
        """
        if self._arena is None:
            raise RuntimeError("the queue's __init__ was not called")
        return self._arena

    def _record(self) -> SharedQueue:
        return self._home().view.queues[self._slot]

    def _open_home(self) -> Arena:
        """Return the arena.

        Raises:
            ClosedQueueError: close() was called here.
        """
        arena = self._home()
        if self._closed:
            raise ClosedQueueError(f"Queue {self!r} is closed")
        return arena

    def _view(self, what: str) -> View:
        """Return the view of the arena, for a call that takes locks and cannot be put off."""
        check_outermost(what)
        return self._home().view

    def _error(self, status: Status) -> Exception:
        return error_of(status, self._home().view)

    # --- Put ---

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
            draft = Draft(arena, deadline if bounded else 0)
            try:
                status = self._send(draft, obj, bounded, deadline)
            except ShmFullError as error:
                if draft.too_large:
                    raise
                if bounded:
                    raise _full_as_queue(error) from None
                status = Status.FULL
            self._put_outcome(status, bounded, obj)

    def _put_outcome(self, status: Status, bounded: bool, obj: Any) -> None:
        """Finish a put: what an unbounded queue has no room for is spilled."""
        if status is OK:
            return
        if not bounded and (status in NO_ROOM or status is Status.FULL):
            self._spill(obj)
            return
        error = self._error(Status.FULL if status is Status.BUSY else status)
        raise _full_as_queue(error) if isinstance(error, ShmFullError) else error

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
        draft = Draft(self._home(), put.deadline if bounded else 0)
        put.message = draft.message
        try:
            status = self._send(draft, put, bounded, put.deadline)
        except ShmFullError as error:
            if bounded:
                raise _full_as_queue(error) from None
            status = Status.FULL
        self._put_outcome(status, bounded, None if status is OK else pickle.loads(put.data))

    def _put_now(self, obj: Any, timeout: float | None) -> None:
        """Put although the queue is closed here or spilling, waiting for memory.

        Raises:
            ShmFullError: there was none in time.
        """
        check_outermost("_put_now")
        deadline = deadline_of(timeout)
        draft = Draft(self._home(), deadline)
        status = self._send(draft, obj, True, deadline)
        if status is not OK:
            raise self._error(status)

    def _put_task(self, obj: Any) -> tuple[int, int]:
        """Put without waiting; return the item number and the bytes it takes.

        Programs pass what a task returned to several others, so received arrays stay theirs.
        """
        blocks = self._view("_put_task").blocks
        draft = Draft(self._home(), 0, keeps_received=True)
        status = self._send(draft, obj, False, 0)
        if status is not OK:
            raise self._error(status)
        message = draft.message
        nbytes = sum(class_pages(blocks[number].cls) * PAGE for number in message.blocks)
        return message.item, len(message.payload) + nbytes

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

    # --- Get ---

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the next object; Empty when none comes in time."""
        return self._get_object(deadline_of(timeout) if block else 0)

    def get_nowait(self) -> Any:
        """Take the next object at once, as get(False) does."""
        return self._get_object(0)

    def _get_object(self, deadline: int) -> Any:
        arena = self._open_home()
        check_outermost("get")
        message = Message(self._claimant)
        try:
            status = queue_receive(arena, self._slot, self._generation, [message], deadline)
            while status is OK and message.kind & PAYLOAD_CANCELLED:
                message_dropped(arena, message)
                message.went = False
                status = queue_receive(arena, self._slot, self._generation, [message], deadline)
            if status is not OK:
                raise self._error(status)
            return message_decode(arena, message)
        except BaseException:
            if message.went:
                message_dropped(arena, message)
            raise
        finally:
            self._tell_watch()

    def get_many(self, limit: int, block: bool = True, timeout: float | None = None) -> list[Any]:
        """Wait for one object, then take up to *limit* that are there."""
        limit = operator.index(limit)
        if limit < 1:
            raise ValueError(f"limit must be at least 1: limit={limit}")
        deadline = deadline_of(timeout) if block else 0
        arena = self._open_home()
        check_outermost("get_many")
        found: list[Any] = []
        try:
            self._get_many(arena, found, limit, deadline)
        finally:
            self._tell_watch()
        return found

    def _get_many(self, arena: Arena, found: list[Any], limit: int, deadline: int) -> None:
        messages: list[Message] = []
        try:
            while len(found) < limit:
                messages = [Message(self._claimant) for _ in range(min(limit - len(found), MANY))]
                until = 0 if found else deadline
                status = queue_receive(arena, self._slot, self._generation, messages, until)
                if status is not OK:
                    if found:
                        return
                    raise self._error(status)
                append_decoded(arena, found, messages)
        except BaseException:
            for message in messages:
                if message.went:
                    message_dropped(arena, message)
            raise

    def _tell_watch(self) -> None:
        """After a get: a watched queue may have become empty."""
        if self._watched:
            self._taken()

    def _taken(self) -> None:
        """Learn that a watched queue may have become empty."""
        raise NotImplementedError

    # --- The rest ---

    def qsize(self) -> int:
        """Return how many objects are in the queue, at some moment."""
        return queue_size(self._record())

    def _poll(self, timeout: float | None) -> bool:
        """Wait until a get would not; whether it would not."""
        return self._poll_side("_poll", GET_SIDE, timeout)

    def _poll_room(self, timeout: float | None) -> bool:
        """Wait until a put would not; whether it would not."""
        return self._poll_side("_poll_room", PUT_SIDE, timeout)

    def _poll_side(self, what: str, side: Side, timeout: float | None) -> bool:
        view, deadline = self._view(what), deadline_of(timeout)
        return queue_poll(view, self._slot, side, deadline, lambda: self._closed)

    def _shutdown(self, immediate: bool) -> None:
        """Refuse puts; True: drop what is queued."""
        view = self._view("shutdown")
        status = queue_shut(view, self._slot, self._generation, bool(immediate))
        if status is not OK:
            raise self._error(status)

    def _task_done(self) -> None:
        """One task is done.

        Raises:
            ValueError: called more often than items were put.
        """
        status = task_done(self._view("task_done"), self._slot, self._generation)
        if status is Status.EMPTY:
            raise ValueError("task_done() called too many times")
        if status is not OK:
            raise self._error(status)

    def _join_tasks(self, timeout: float | None) -> bool:
        """Wait until no task is open; whether that came true in time.

        Raises:
            OwnerDiedError: tasks died with their takers; told once.
        """
        view, deadline = self._view("join"), deadline_of(timeout)
        again = (Status.TIMEOUT, Status.INTERRUPTED, Status.BUSY)
        while True:
            status, lost = tasks_await(view, self._slot, self._generation, deadline)
            if status not in again or now() >= deadline:
                break
        if status is Status.LOST:
            raise OwnerDiedError(
                f"{lost} tasks were taken by processes that died before task_done()"
            )
        if status not in (OK, Status.TIMEOUT):
            raise self._error(status)
        return status is OK

    # --- Tasks of workers ---

    def _worker(self, number: int) -> View:
        if self._record().claims == NONE or not 0 <= number < PARTICIPANTS:
            raise ValueError(
                f"the queue notes no claims, or there is no such worker: number={number}"
            )
        return self._home().view

    def _claim(self, number: int) -> int | None:
        """Return the item that worker took last and that is not queued, or None."""
        item = claim_of(self._worker(number), self._slot, number)
        return None if item == NONE else item

    def _claim_as(self, number: int) -> None:
        """Note this process's gets under a worker's number."""
        view = self._worker(number)
        self._claimant = number
        queue_claims(view, self._record())[number] = NONE

    def _queued(self, item: int) -> bool:
        """Return whether the item is still queued, at some moment."""
        return queue_has_item(self._record(), item)

    def _cancel(self, item: int) -> bool:
        """Take a queued item back; whether it was still queued."""
        status = queue_cancel(self._view("_cancel"), self._slot, self._generation, item)
        if status not in (OK, Status.EMPTY):
            raise self._error(status)
        return status is OK


def _full_as_queue(error: ShmFullError) -> QueueFullError:
    """Return the error as one that is a queue.Full as well."""
    return QueueFullError(str(error), error.asked, error.free)


def append_decoded(arena: Arena, found: list[Any], messages: list[Message]) -> None:
    """Decode the messages that came, but those that their putters took back."""
    for message in messages:
        if message.went and message.kind & PAYLOAD_CANCELLED:
            message_dropped(arena, message)
        elif message.went:
            found.append(message_decode(arena, message))


def send_handle(queue: MessageQueue) -> bool | None:
    """Let the message in the making carry a queue.

    Returns:
        True; None: there is no message; False: it goes through another arena.
    """
    if not isinstance(queue, MessageQueue):
        raise TypeError("takes a MessageQueue")
    draft = sending.draft
    if draft is None:
        return None
    if draft.arena is not queue._arena:
        return False
    number = draft_alloc(draft, 0, KIND_HANDLE)
    draft.arena.view.blocks[number].link = queue._slot
    return True
