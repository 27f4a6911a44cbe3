"""A ring of elements in a named segment, first in first out: one producer, one consumer.

Callers   one producer and one consumer at a time, in any process, thread and language
Progress  try_ forms never wait; others sleep until there is room, an element
Crash     nothing is torn: what a dying producer had not published was never there, what a dying
          consumer had not given back is still there; another may take its place
Bytes     RING, then the elements, see _core/named/layout.py
Source    SPECIFICATION.md, "Ring"

The protocol is in _core/named/ring.py. Many elements move at the price of one, and windows let
them be made and used where they lie, without a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import index
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import _backend
from ._core.named.element import Element, check_out, items_of
from ._core.named.layout import RING
from ._core.status import OK, Status
from ._elements import Elements
from ._form import load, store
from ._structure import COUNT_MAX, checked_capacity, checked_limit, moved_or_why
from ._waiting import deadline_of
from .errors import DTypeError, IntruderError, SegmentFormatError, WaitTimeoutError
from .table import Entry, Part

Window = tuple[int, int]


def ring_size(capacity: int, element: Element) -> int:
    """Return *capacity*, or raise CapacityError if a ring cannot have so many elements."""
    return checked_capacity(index(capacity), 1, COUNT_MAX // element.nbytes)


def ring_part(name: str, capacity: int, element: Element) -> Part:
    """Return what is to be added to a segment for a new ring of *capacity* elements.

    Raises:
        CapacityError: it has fewer than 1, or more bytes than the format can say.
    """
    nbytes = ring_size(capacity, element) * element.nbytes

    def prepare(view: memoryview) -> None:
        store(view, RING.write_pos, 0)
        store(view, RING.read_pos, 0)
        store(view, RING.capacity, nbytes)
        store(view, RING.elem_size, element.nbytes)

    return Part(name, RING.nbytes + nbytes, prepare)


def ring_capacity(view: memoryview, entry: Entry, element: Element) -> int:
    """Return how many elements a stored ring can hold, checked against its dtype and size.

    Raises:
        SegmentFormatError: it is not a ring.
        DTypeError: its elements have another size.
    """
    if entry.size < RING.nbytes:
        raise SegmentFormatError(f"not a ring: its size must be at least {RING.nbytes}: {entry}")
    nbytes, elem_size = load(view, RING.capacity), load(view, RING.elem_size)
    if elem_size == 0 or nbytes == 0 or nbytes % elem_size or RING.nbytes + nbytes > entry.size:
        raise SegmentFormatError(
            f"not a ring: its capacity must be a multiple of {elem_size} bytes, from 1, and fit "
            f"its size: capacity={nbytes}, {entry}"
        )
    if elem_size != element.nbytes:
        raise DTypeError(
            f"ring {entry.name!r} has elements of {elem_size} bytes: "
            f"dtype={element.dtype} has {element.nbytes}"
        )
    return nbytes // elem_size


class Ring(Elements):
    """Elements of one dtype on their way from one producer to one consumer.

    `write`, `read` and `read_into` move many elements, `push` and `pop` one. They wait for ever
    by default, and raise TimeoutError when a *timeout* in seconds is over; their `try_` forms
    never wait. `reserve` and `peek` give windows on the ring's own memory.

    Args:
        mem: the segment.
        name: of the ring in the segment, 1 to 31 bytes.
        capacity: most elements, from 1. When given and the ring is missing, it is created; when
            it exists, it must have that capacity.
        dtype: of an element. The segment does not record it, so it must always be given.

    Raises:
        StructureNotFoundError: there is no such ring, and no *capacity*.
        DTypeError: *dtype* cannot be shared, or has not the size of the existing elements.
        CapacityError: *capacity* is out of range, or not that of the existing ring.
        SegmentFormatError: what is stored is not a ring.
        SegmentFullError, TableFullError, NameTooLongError: it cannot be created.

    >>> with Memory("/example", 4096) as mem:
    ...     samples = Ring(mem, "samples", 100, np.float64)
    ...     samples.write([0.5, 1.5, 2.5])
    ...     with samples.peek(2) as window:
    ...         window.sum()
    ...     samples.pop(), samples.try_pop()
    ...     mem.unlink()
    np.float64(2.0)
    (2.5, None)
    """

    _size = staticmethod(ring_size)
    _part = staticmethod(ring_part)
    _stored_capacity = staticmethod(ring_capacity)

    def _begin(self, offset: int, element: Element) -> None:
        self._items = self._bell(offset + RING.write_pos.offset)
        self._room = self._bell(offset + RING.read_pos.offset)
        nbytes = self.capacity * element.nbytes
        self._core = _backend.named.Ring(
            self._buf, offset, nbytes, element, self._items, self._room
        )

    # --- one element ---

    def try_push(self, value: Any) -> bool:
        """Write *value* if there is room now; return whether there was.

        Raises:
            DTypeError, OutOfRangeError: the dtype cannot hold *value*.
        """
        return not self._is_not_now(self._core.try_push(value))

    def try_pop(self, default: Any = None) -> Any:
        """Return the first element, or *default* if there is none now."""
        value = self._core.try_pop()
        return default if self._is_not_now(value) else value

    def push(self, value: Any, timeout: float | None = None) -> None:
        """Write *value*, waiting for room.

        Raises:
            WaitTimeoutError: there was none within *timeout* seconds.
            DTypeError, OutOfRangeError: the dtype cannot hold *value*.
        """
        if self._core.try_push(value) is not OK:
            attempt = partial(self._core.try_push, value)
            if self._wait(attempt, self._room, timeout) is not OK:
                raise self._late("room", timeout)

    def pop(self, timeout: float | None = None) -> Any:
        """Return the first element, waiting for one.

        Raises:
            WaitTimeoutError: there was none within *timeout* seconds.
        """
        value = self._core.try_pop()
        if type(value) is Status:
            value = self._wait(self._core.try_pop, self._items, timeout)
            if type(value) is Status:
                raise self._late("element", timeout)
        return value

    # --- many elements ---

    def try_write(self, values: ArrayLike) -> int:
        """Write those of *values*, shape (n,), that there is room for now; return how many.

        Raises:
            DTypeError, OutOfRangeError: the dtype cannot hold them.
        """
        items = items_of(values, self.dtype)
        return self._moved(self._core.write, items) if len(items) else 0

    def write(self, values: ArrayLike, timeout: float | None = None) -> None:
        """Write all *values*, shape (n,), in order; they may be more than the capacity.

        Raises:
            WaitTimeoutError: there was no room for all within *timeout* seconds; its
                attribute `done` says how many were written.
            DTypeError, OutOfRangeError: the dtype cannot hold them.
        """
        items = items_of(values, self.dtype)
        done = self._moved(self._core.write, items) if len(items) else 0
        if done == len(items):
            return
        deadline = deadline_of(timeout)
        while done < len(items):
            attempt = partial(moved_or_why, self._core.write, items[done:])
            moved = self._wait_till(attempt, self._room, deadline)
            if type(moved) is Status:
                raise WaitTimeoutError(
                    f"{self._title} had no room for {len(items) - done} elements", done
                )
            done += moved

    def try_read(self, limit: int) -> np.ndarray[Any, Any]:
        """Return up to *limit* elements, those that are there now, shape (n,)."""
        out = self._empty(limit)
        return out[: self._moved(self._core.read, out)]

    def read(self, limit: int, timeout: float | None = None) -> np.ndarray[Any, Any]:
        """Return from 1 to *limit* elements, those that are there, shape (n,).

        Waits for the first.

        Raises:
            WaitTimeoutError: there was none within *timeout* seconds.
            CapacityError: *limit* is below 1.
        """
        out = self._empty(limit)
        return out[: self.read_into(out, timeout)]

    def read_into(self, out: np.ndarray[Any, Any], timeout: float | None = None) -> int:
        """Read elements into *out*, shape (n,), contiguous, of this dtype; return how many.

        Waits for the first; at most n, those that are there. Raises as `read`.
        """
        check_out(out, self.dtype)
        if not out.size:
            return 0
        moved: int | Status = self._moved(self._core.read, out)
        if not moved:
            moved = self._wait(partial(moved_or_why, self._core.read, out), self._items, timeout)
        if type(moved) is Status:
            raise self._late("element", timeout)
        return int(moved)

    def _empty(self, limit: int) -> np.ndarray[Any, Any]:
        return np.empty(min(checked_limit(limit), self.capacity), self.dtype)

    def _late(self, what: str, timeout: float | None) -> WaitTimeoutError:
        return WaitTimeoutError(f"{self._title} had no {what} for {timeout} seconds")

    # --- windows ---

    @contextmanager
    def reserve(self, limit: int, timeout: float | None = None) -> Iterator[np.ndarray[Any, Any]]:
        """Give a window to write up to *limit* elements where they will lie, shape (n,).

        It has from 1 to *limit*, those that there is room for in a row: fewer before the end of
        the ring's memory. Waits for the first. When the block ends all of the window is
        published; when an exception ends it, nothing is. It is nobody's after that.

        Raises:
            WaitTimeoutError: there was no room within *timeout* seconds.
            CapacityError: *limit* is below 1.
            IntruderError: at the end: somebody else has written to the ring meanwhile.
        """
        at, many = self._window(self._core.reserve, limit, self._room, timeout, "room")
        yield np.frombuffer(self._buf, self.dtype, many, at)
        self._close_window(self._core.commit(at, many), "written to")

    @contextmanager
    def peek(self, limit: int, timeout: float | None = None) -> Iterator[np.ndarray[Any, Any]]:
        """Give a window on the first elements, at most *limit*, shape (n,), read-only.

        It has from 1 to *limit*, those that lie in a row: fewer before the end of the ring's
        memory. Waits for the first. When the block ends all of them are taken out; when an
        exception ends it, they stay. The window is nobody's after that: copy what must last.

        Raises:
            WaitTimeoutError: there was no element within *timeout* seconds.
            CapacityError: *limit* is below 1.
            IntruderError: at the end: somebody else has read from the ring meanwhile.
        """
        at, many = self._window(self._core.peek, limit, self._items, timeout, "element")
        window = np.frombuffer(self._buf, self.dtype, many, at)
        window.flags.writeable = False
        yield window
        self._close_window(self._core.consume(at, many), "read from")

    def _window(
        self,
        look: Callable[[int], tuple[Status, int, int]],
        limit: int,
        bell: Any,
        timeout: float | None,
        what: str,
    ) -> Window:
        most = min(checked_limit(limit), self.capacity)
        found = _looked(look, most)
        if type(found) is Status:
            found = self._wait(partial(_looked, look, most), bell, timeout)
        if type(found) is Status:
            raise self._late(what, timeout)
        return found  # type: ignore[return-value]

    def _close_window(self, status: Status, how: str) -> None:
        if status is not OK:
            self._is_not_now(status)
            raise IntruderError(f"{self._title} was {how} by somebody else during a window")

    # --- queries ---

    def __len__(self) -> int:
        """Return how many elements there are, at some moment."""
        return int(self._core.size())

    def __bool__(self) -> bool:
        return True  # `if ring:` asks whether there is one

    def empty(self) -> bool:
        """Return whether there is no element, at some moment."""
        return len(self) == 0

    def full(self) -> bool:
        """Return whether there is no room, at some moment."""
        return len(self) == self.capacity

    # --- lifetime ---

    def _facts(self) -> str:
        return f"size={len(self)}/{self.capacity}, dtype={self.dtype}"


def _looked(look: Callable[[int], tuple[Status, int, int]], limit: int) -> Window | Status:
    """Return where a window begins and how many elements it has, or why there is none."""
    status, at, many = look(limit)
    return (at, many) if status is OK else status
