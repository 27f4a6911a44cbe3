"""What queues and stacks share: items of one dtype go in, while there is room, and come out."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._core.named.element import check_out, items_of
from ._core.status import OK, Status
from ._elements import Elements
from ._structure import checked_limit, moved_or_why
from ._waiting import deadline_of
from .errors import EmptyError, FullError, WaitTimeoutError


class Bounded(Elements):
    """A structure whose core has try_push, try_pop, push_many, pop_many and size."""

    capacity: int
    dtype: np.dtype[Any]
    _items: Any
    _room: Any

    # --- one item ---

    def try_push(self, value: Any) -> bool:
        """Push *value* if that is possible now; return whether it was.

        It is not while there is no room, and while another process is in the midst of a push or
        pop in the same slot: `push` waits for both.

        Raises:
            DTypeError, OutOfRangeError: the dtype cannot hold *value*.
            SegmentFormatError: damaged.
        """
        status = self._core.try_push(value)
        return status is OK or not self._is_not_now(status)

    def try_pop(self, default: Any = None) -> Any:
        """Return the next item, or *default* if there is none now.

        Also *default* while another process is in the midst of pushing or popping that item:
        `pop` waits for it.
        """
        value = self._core.try_pop()
        return default if self._is_not_now(value) else value

    def push(self, value: Any, timeout: float | None = None) -> None:
        """Push *value*, waiting for room.

        Raises:
            WaitTimeoutError: there was none within *timeout* seconds.
            StalledError: another process is stuck in the slot.
            DTypeError, OutOfRangeError: the dtype cannot hold *value*.
        """
        if self._core.try_push(value) is not OK and not self._push_late(value, timeout):
            raise WaitTimeoutError(f"{self._title} had no room for {timeout} seconds")

    def pop(self, timeout: float | None = None) -> Any:
        """Return the next item, waiting for one.

        Raises:
            WaitTimeoutError: there was none within *timeout* seconds.
            StalledError: another process is stuck in the slot.
        """
        value = self._core.try_pop()
        if type(value) is Status:
            value = self._wait(self._core.try_pop, self._items, timeout)
            if type(value) is Status:
                raise WaitTimeoutError(f"{self._title} had no item for {timeout} seconds")
        return value

    def _push_late(self, value: Any, timeout: float | None) -> bool:
        return self._wait(partial(self._core.try_push, value), self._room, timeout) is OK

    # --- as queue.Queue has it ---

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Push *item* as `queue.Queue.put`.

        Raises:
            FullError: there was no room; it is a `queue.Full`. Else as `push`.
        """
        if self._core.try_push(item) is not OK and not self._push_late(
            item, timeout if block else 0
        ):
            raise FullError(f"{self._title} is full")

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Pop an item as `queue.Queue.get`.

        Raises:
            EmptyError: there was none; it is a `queue.Empty`. Else as `pop`.
        """
        value = self._core.try_pop()
        if type(value) is Status and block:
            value = self._wait(self._core.try_pop, self._items, timeout)
        if type(value) is Status:
            raise EmptyError(f"{self._title} is empty")
        return value

    def put_nowait(self, item: Any) -> None:
        """Push *item* if there is room now; see `put`."""
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        """Pop an item if there is one now; see `get`."""
        return self.get(block=False)

    def qsize(self) -> int:
        """Return how many items there are, at some moment."""
        return int(self._core.size())

    def empty(self) -> bool:
        """Return whether there is no item, at some moment."""
        return self.qsize() == 0

    def full(self) -> bool:
        """Return whether there is no room, at some moment."""
        return self.qsize() == self.capacity

    __len__ = qsize

    def __bool__(self) -> bool:
        return True  # `if items:` asks whether there is such a thing, as for queue.Queue

    # --- many items ---

    def push_many(self, values: ArrayLike, timeout: float | None = None) -> None:
        """Push all *values*, an array of shape (n,), in order; others may push in between.

        Raises:
            WaitTimeoutError: there was no room for all within *timeout* seconds; its
                attribute `done` says how many were pushed. Else as `push`.
        """
        items = items_of(values, self.dtype)
        done = self._moved(self._core.push_many, items) if len(items) else 0
        if done == len(items):
            return
        deadline = deadline_of(timeout)
        while done < len(items):
            attempt = partial(moved_or_why, self._core.push_many, items[done:])
            moved = self._wait_till(attempt, self._room, deadline)
            if type(moved) is Status:
                raise WaitTimeoutError(
                    f"{self._title} had no room for {len(items) - done} items", done
                )
            done += moved

    def pop_many(self, limit: int, timeout: float | None = None) -> np.ndarray[Any, Any]:
        """Return from 1 to *limit* items, those that are there, shape (n,); wait for the first.

        Raises:
            As `pop`.
        """
        out = np.empty(min(checked_limit(limit), self.capacity), self.dtype)
        return out[: self.pop_into(out, timeout)]

    def pop_into(self, out: np.ndarray[Any, Any], timeout: float | None = None) -> int:
        """Pop items into *out*, shape (n,), contiguous, of this dtype; return how many.

        Waits for the first; at most n, those that are there. Raises as `pop`.
        """
        check_out(out, self.dtype)
        if not out.size:
            return 0
        moved: int | Status = self._moved(self._core.pop_many, out)
        if not moved:
            moved = self._wait(
                partial(moved_or_why, self._core.pop_many, out), self._items, timeout
            )
        if type(moved) is Status:
            raise WaitTimeoutError(f"{self._title} had no item for {timeout} seconds")
        return int(moved)

    # --- lifetime ---

    def _facts(self) -> str:
        return f"size={self.qsize()}/{self.capacity}, dtype={self.dtype}"
