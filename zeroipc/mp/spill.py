"""Where an unbounded queue keeps what the arena cannot hold: in this process, for a while.

`put` of an unbounded queue never blocks. When the arena is full its items are pickled, as
`put` always does, and wait here in order until a thread has put them. Only then does the
end of the process wait, as the standard library's queues always do.
"""

from __future__ import annotations

import os
import pickle
import queue as standard
import threading
from collections import deque
from multiprocessing import util
from multiprocessing.reduction import ForkingPickler
from typing import Any

from .._core.pickling import unpicklable
from .._core.signals import held_back
from .._rlock import RLock
from ..errors import ClosedError, ShmFullError

PAUSE = 0.05
"""Seconds between tries while there is no memory; what wakes a waiter may have died."""

_WRAPPING = 1 << 16
"""Bytes that a spilled pickle may grow by when it is put at last."""

_local = threading.local()


class Unpickled:
    """A pickle that turns into its object again when it is received."""

    def __init__(self, data: bytes, queues: list[Any]) -> None:
        self.data = data
        self.queues = queues
        """Queues that the pickle names; they live at least until it is put."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (self.data, self.queues)


def _unpickle(data: bytes, queues: list[Any]) -> Any:
    return pickle.loads(data)  # *queues* have been attached and so still exist


def collects(queue: Any) -> bool:
    """Keep *queue* if this thread is pickling an object to be spilled; return whether it is."""
    queues = getattr(_local, "queues", None)
    if queues is None:
        return False
    queues.append(queue)
    return True


def freeze(obj: object) -> Unpickled:
    """Return the pickle of *obj* with the queues inside it.

    Raises:
        UnpicklableError: with the path from *obj* to what cannot be pickled.
    """
    outer = getattr(_local, "queues", None)
    queues: list[Any] = []
    _local.queues = queues
    try:
        return Unpickled(bytes(ForkingPickler.dumps(obj)), queues)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise unpicklable(obj, error) from error
    finally:
        _local.queues = outer


class Spill:
    """The items of one queue that wait for memory, and the thread that puts them.

    It is of the process that made it; a forked child makes its own.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._items: deque[Unpickled] = deque()
        self._changed = threading.Condition(RLock())
        self._abandoned = False
        self._finalizer: util.Finalize | None = None
        """Makes the end of the process wait; there while the thread is."""

    def put(self, queue: Any, obj: object) -> None:
        """Add *obj* behind what waits already.

        Raises:
            UnpicklableError: nothing was added.
            ShmFullError: its pickle is too large ever to be put.
        """
        item = freeze(obj)
        limit = queue._handle[0].limit
        if len(item.data) + _WRAPPING > limit - limit // 16:
            raise ShmFullError(
                "a message must be smaller than the arena by a sixteenth: "
                f"asked={len(item.data)} bytes, limit={limit}; send it in parts",
                asked=len(item.data),
            )
        with self._changed:
            if self._finalizer is None:
                run = threading.Thread(
                    target=self._run, args=(queue,), name="zeroipc-spill", daemon=True
                )
                with held_back():
                    run.start()
                    self._finalizer = util.Finalize(None, self.join, exitpriority=-5)
            self._items.append(item)  # at last: where no thread starts nothing is added
            queue._spilling = True

    def join(self) -> None:
        """Wait until nothing is left here, or it was abandoned."""
        with self._changed:
            self._changed.wait_for(lambda: self._abandoned or self._finalizer is None)

    def abandon(self) -> None:
        """Give up what is left when the process ends."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def _run(self, queue: Any) -> None:
        while self._more(queue):
            if _put(queue, self._items[0]):
                self._items.popleft()

    def _more(self, queue: Any) -> bool:
        """Return whether there is something to put; otherwise the thread is done."""
        with self._changed:
            if self._items:
                return True
            queue._spilling = False
            assert self._finalizer is not None
            self._finalizer.cancel()
            self._finalizer = None
            self._changed.notify_all()
            return False


def _put(queue: Any, item: Unpickled) -> bool:
    """Put one item past the spill; whether it is done with."""
    try:
        queue._put_now(item, PAUSE)
    except (ShmFullError, standard.Full, TimeoutError):
        return False
    except ClosedError:  # shut down: nobody can get it any more
        return True
    return True
