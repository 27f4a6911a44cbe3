"""`multiprocessing.queues` on shared memory: Queue, JoinableQueue, SimpleQueue.

The interface is the standard library's. What differs, each for the better:

- an object is pickled in `put`, and what cannot be pickled raises there, not in a thread;
- no feeder thread: what was put is delivered even if its producer is killed, and
  `join_thread` and `cancel_join_thread` have something to do only after the arena was full;
- a queue can be put into another queue;
- `put_many`, `get_many`, and `shutdown` (as `queue.Queue` has it since Python 3.13).
"""

from __future__ import annotations

import itertools
import time
from multiprocessing import context
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .._backend import transport as core
from .._core.layout import NOTE_CLAIMS, NOTE_NOTHING, NOTE_TASKS
from . import transport
from .spill import Spill
from .standard import names_of

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")

__all__ = ["JoinableQueue", "Queue", "SimpleQueue"]

__getattr__ = names_of(__name__)


class _SharedQueue(core.MessageQueue):  # type: ignore[misc, name-defined]
    """What the three queues have in common: being made, being sent, being freed."""

    def _create(self, maxsize: int, noting: int) -> None:
        home = transport.home()
        slot, generation = home.arena.create_queue(maxsize, noting, b"")
        self._attach(home.arena, slot, generation)

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the queue to a child being started, or with the message being put.

        Raises:
            RuntimeError: there is neither.
        """
        arena, slot, generation = self._handle
        popen = context.get_spawning_popen()
        if popen is not None:
            keep_for(popen, self)
        elif core.send_handle(self) is None:
            context.assert_spawning(self)
        address = transport.arena_of(arena.token).address()
        return _rebuild, (type(self), address, slot, generation, self.__getstate__())

    def __getstate__(self) -> dict[str, Any]:
        return {}

    _spill_thread: Spill | None = None

    def _spill(self, obj: Any) -> None:
        """Keep *obj*, which did not fit into the arena, in a thread that puts it later."""
        if self._spill_thread is None:
            self._spill_thread = Spill(self)
        self._spill_thread.put(obj)


def _rebuild(
    cls: type[_SharedQueue],
    address: transport.Address,
    slot: int,
    generation: int,
    state: dict[str, Any],
) -> _SharedQueue:
    queue = cls.__new__(cls)
    queue._attach(transport.attach(address).arena, slot, generation)
    queue.__dict__.update(state)
    return queue


def keep_for(popen: Any, queue: _SharedQueue) -> None:
    """Keep *queue* alive for the child that *popen* starts, which has yet to attach."""
    popen.__dict__.setdefault("_zeroipc_queues", []).append(queue)


class Queue(_SharedQueue, Generic[T]):
    """A first-in first-out queue that any number of processes and threads put to and get from.

    Callers: any. Progress: `put` waits only for room, `get` only for an item. Crash: a
    killed process takes with it what it had not put yet and what it had got.

    Args:
        maxsize: most items in the queue; zero or less for no bound.
        ctx: the context, accepted for compatibility; all contexts share one arena.

    Raises:
        ShmFullError: no memory is left for another queue.
    """

    def __init__(self, maxsize: int = 0, *, ctx: Any = None) -> None:
        self._create(max(maxsize, 0), NOTE_NOTHING)

    def empty(self) -> bool:
        """Return whether the queue is empty, at some moment."""
        return bool(self.qsize() == 0)

    def full(self) -> bool:
        """Return whether the queue holds `maxsize` items, at some moment."""
        return bool(0 < self._maxsize <= self.qsize())

    def put_many(
        self, items: Iterable[T], block: bool = True, timeout: float | None = None
    ) -> int:
        """Put *items* in order; return how many went in before the time was over.

        Args:
            items: any iterable; it is read as far as there is room.
            block: whether to wait for room.
            timeout: seconds for all of them; None for ever.

        Raises:
            queue.Full: not even the first went in.
            ValueError: the queue is closed.
        """
        from queue import Full

        end = None if timeout is None else time.monotonic() + timeout
        count = 0
        try:
            for item in items:
                left = None if end is None else max(0.0, end - time.monotonic())
                self.put(item, block, left)
                count += 1
        except Full:
            if count == 0:
                raise
        return count

    def shutdown(self, immediate: bool = False) -> None:
        """Refuse further puts, in every process; gets take what is left, then raise.

        Args:
            immediate: drop what is queued; blocked calls raise at once.

        `put`, and `get` when nothing is left, then raise `ShutDown`: `queue.ShutDown` where
        Python has it (3.13), and always a `zeroipc.ClosedError`.
        """
        self._shutdown(immediate)

    def close(self) -> None:
        """Close this process's handle: later calls of `put` and `get` here raise ValueError."""
        self._closed = True

    def join_thread(self) -> None:
        """Wait until everything put here is in shared memory.

        That is so at once, unless the arena was full.

        Raises:
            AssertionError: the queue is not closed.
        """
        assert self._closed, f"Queue {self!r} not closed"
        if self._spill_thread is not None:
            self._spill_thread.join()

    def cancel_join_thread(self) -> None:
        """Let this process end without waiting for what did not fit into the arena."""
        if self._spill_thread is not None:
            self._spill_thread.abandon()


class JoinableQueue(Queue[T]):
    """A queue that counts tasks: each item put is one, until `task_done` is called for it."""

    def __init__(self, maxsize: int = 0, *, ctx: Any = None) -> None:
        self._create(max(maxsize, 0), NOTE_TASKS)

    def task_done(self) -> None:
        """Say that one item got from the queue has been dealt with.

        Raises:
            ValueError: called more often than items were put.
        """
        self._task_done()

    def join(self) -> None:
        """Block until every item put has been dealt with.

        Raises:
            OwnerDiedError: a process died between `get` and `task_done`; told once, with
                the count. The lost items do not count any more.
        """
        self._join_tasks(None)


class _End:
    """What `SimpleQueue._reader` and `_writer` are asked for: whether they are closed."""

    closed = False


class SimpleQueue(_SharedQueue, Generic[T]):
    """An unbounded queue with `put`, `get`, `empty` and `close` only.

    Raises:
        ShmFullError: no memory is left for another queue.
    """

    def __init__(self, *, ctx: Any = None) -> None:
        self._create(0, NOTE_NOTHING)
        self._reader = _End()
        self._writer = _End()

    def empty(self) -> bool:
        """Return whether the queue is empty, at some moment."""
        return bool(self.qsize() == 0)

    def close(self) -> None:
        """Close this process's handle: later calls of `put` and `get` here raise ValueError."""
        self._closed = True
        self._reader.closed = self._writer.closed = True


class TaskQueue(_SharedQueue):
    """The queue of an engine's tasks: it notes which item each worker took last."""

    def __init__(self) -> None:
        self._create(0, NOTE_CLAIMS)

    def close(self) -> None:
        """Close this process's handle."""
        self._closed = True

    def join_thread(self) -> None:
        """Do nothing: what was put is in shared memory. For code that treats it as a Queue."""
