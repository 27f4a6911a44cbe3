"""Where an unbounded queue keeps what the arena cannot hold: in this process, for a while.

`put` of an unbounded queue never blocks. When the arena is full its items are pickled, as
`put` always does, and wait here in order until a thread has put them. Only then does the
end of the process wait, as the standard library's queues always do.
"""

from __future__ import annotations

import pickle
import threading
from collections import deque
from multiprocessing import util
from multiprocessing.reduction import ForkingPickler
from typing import Any

from ..errors import ClosedError, ShmFullError
from .._core.pickling import unpicklable

PAUSE = 0.05
"""Seconds between tries while there is no memory; what wakes a waiter may have died."""


class Unpickled:
    """A pickle that turns into its object again when it is received."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (self.data,)


class Spill:
    """The items of one queue that wait for memory, and the thread that puts them."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self._items: deque[Unpickled] = deque()
        self._ready = threading.Condition()
        self._abandoned = False
        self._thread: threading.Thread | None = None
        self._finalizer = util.Finalize(self, self.join, exitpriority=-5)
        util.register_after_fork(self, Spill._forget)

    def put(self, obj: object) -> None:
        """Add *obj* behind what waits already.

        Raises:
            UnpicklableError: nothing was added.
        """
        try:
            item = Unpickled(bytes(ForkingPickler.dumps(obj)))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise unpicklable(obj, error) from error
        with self._ready:
            self._items.append(item)
            self._queue._spilling = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="zeroipc-spill", daemon=True)
                self._thread.start()

    def join(self) -> None:
        """Wait until nothing is left here, or it was abandoned."""
        with self._ready:
            self._ready.wait_for(lambda: self._abandoned or self._thread is None)

    def abandon(self) -> None:
        """Give up what is left when the process ends."""
        with self._ready:
            self._abandoned = True
            self._ready.notify_all()

    def _run(self) -> None:
        while True:
            with self._ready:
                if not self._items:
                    self._queue._spilling = False
                    self._thread = None
                    self._ready.notify_all()
                    return
                item = self._items[0]
            if self._put(item):
                self._items.popleft()

    def _put(self, item: Unpickled) -> bool:
        """Put one item past the spill; whether it is done with."""
        try:
            self._queue._put_now(item, PAUSE)
        except ShmFullError:
            return False
        except ClosedError:  # shut down: nobody can get it any more
            return True
        return True

    def _forget(self) -> None:
        """After a fork: the items and the thread are the parent's."""
        self._items.clear()
        self._thread = None
        self._queue._spilling = False
