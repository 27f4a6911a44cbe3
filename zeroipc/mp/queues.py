"""`multiprocessing.queues` on shared memory: Queue, JoinableQueue, SimpleQueue.

The interface is the standard library's. What differs, each for the better:

- an object is pickled in `put`, and what cannot be pickled raises there, not in a thread;
- no feeder thread: what was put is delivered even if its producer is killed, and
  `join_thread` and `cancel_join_thread` have something to do only after the arena was full;
- a `get` without timeout that nobody can ever answer, because the parent process was killed
  and all who have the queue wait in such a `get`, raises OwnerDiedError and does not hang;
- a queue can be put into another queue;
- `put_many`, `get_many`, `shutdown` (as `queue.Queue` has it since Python 3.13), and a name
  by which unrelated programs of the same user share a queue.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .._backend import transport as core
from ..errors import ClosedQueueError
from ..errors import ShutDown as ShutDown
from . import transport
from .bridge import Bridged
from .handed import Handed
from .standard import names_of

if TYPE_CHECKING:
    from .spill import Spill

T = TypeVar("T")

_MAXSIZE_MAX = (1 << 31) - 1

__all__ = ["JoinableQueue", "Queue", "SimpleQueue"]

__getattr__ = names_of(__name__)


class _SharedQueue(Handed, Bridged, core.MessageQueue):  # type: ignore[misc, name-defined]
    """What the three queues have in common: being made, and keeping what does not fit."""

    def _create(self, maxsize: int, noting: int, named: bool = False) -> None:
        home = transport.home()
        slot, generation = home.arena.create_queue(maxsize, noting, named)
        self._attach(home.arena, slot, generation)

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedQueueError(f"Queue {self!r} is closed")

    _overflow: Spill | None = None

    def _own_overflow(self) -> Spill:
        """Return where this process keeps what does not fit; a parent's is not ours."""
        if self._overflow is None or self._overflow.pid != os.getpid():
            from .spill import Spill

            self._overflow = Spill()
        return self._overflow

    def _spill(self, obj: Any) -> None:
        """Keep *obj*, which did not fit into the arena, in a thread that puts it later."""
        self._own_overflow().put(self, obj)


class Queue(_SharedQueue, Generic[T]):
    """A first-in first-out queue that any number of processes and threads put to and get from.

    Callers: any. Progress: `put` waits only for room, `get` only for an item. Crash: a
    killed process takes with it what it had not put yet and what it had got.

    Args:
        maxsize: most items in the queue; zero or less for no bound.
        ctx: the context, accepted for compatibility; all contexts share one arena.
        name: attach to the queue that a process of this user made by this name, or make it.
            It goes with its last holder. At most 200 bytes, without "/".

    Raises:
        CapacityError: the queue of this name has another maxsize, and *maxsize* is not 0.
        OverflowError: *maxsize* is above 2**31 - 1, as in the standard library.
        ShmFullError: no memory is left for another queue.
        TypeError: the queue of this name is of another class.
    """

    _noting = core.NOTE_NOTHING

    def __init__(self, maxsize: int = 0, *, ctx: Any = None, name: str | None = None) -> None:
        maxsize = max(maxsize, 0)
        if maxsize > _MAXSIZE_MAX:
            raise OverflowError(f"maxsize must be at most {_MAXSIZE_MAX}: maxsize={maxsize}")
        if name is None:
            self._create(maxsize, self._noting)
        else:
            from .named import open_or_create

            open_or_create(self, name, maxsize)

    def empty(self) -> bool:
        """Return whether the queue is empty, at some moment.

        Raises:
            OSError: the queue is closed, and this process has put something before; so the
                standard library has it, whose `close` does nothing until then.
        """
        if self._used:
            self._check_open()
        return bool(self.qsize() == 0)

    def full(self) -> bool:
        """Return whether the queue holds `maxsize` items, at some moment."""
        return bool(0 < self._maxsize <= self.qsize())

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
        self._close_ends()

    def join_thread(self) -> None:
        """Wait until everything put here is in shared memory.

        That is so at once, unless the arena was full.

        Raises:
            AssertionError: the queue is not closed.
        """
        assert self._closed, f"Queue {self!r} not closed"
        self._own_overflow().join()

    def cancel_join_thread(self) -> None:
        """Let this process end without waiting for what did not fit into the arena."""
        self._own_overflow().abandon()


class JoinableQueue(Queue[T]):
    """A queue that counts tasks: each item put is one, until `task_done` is called for it."""

    _noting = core.NOTE_TASKS

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
        self._own_overflow().join()
        self._join_tasks(None)


class SimpleQueue(_SharedQueue, Generic[T]):
    """An unbounded queue with `put`, `get`, `empty` and `close` only.

    Raises:
        ShmFullError: no memory is left for another queue.
    """

    def __init__(self, *, ctx: Any = None) -> None:
        self._create(0, core.NOTE_NOTHING)

    def empty(self) -> bool:
        """Return whether the queue is empty, at some moment.

        Raises:
            OSError: the queue is closed.
        """
        self._check_open()
        return bool(self.qsize() == 0)

    def close(self) -> None:
        """Close this process's handle: later calls here raise an OSError and ValueError."""
        self._closed = True
        self._close_ends()


class TaskQueue(_SharedQueue):
    """The queue of an engine's tasks: it notes which item each worker took last."""

    def __init__(self) -> None:
        self._create(0, core.NOTE_CLAIMS)

    def close(self) -> None:
        """Close this process's handle."""
        self._closed = True

    def join_thread(self) -> None:
        """Do nothing: what was put is in shared memory. For code that treats it as a Queue."""
