"""Streams in a named segment: values that one process emits and another reads, in order.

Callers   one producer and one consumer at a time, in any process, thread and language
Progress  try_ forms never wait; emit waits for room, next for a value
Crash     as a ring; a producer that dies after a value was written may leave sequence too low
Bytes     STREAM and a ring, see _core/named/layout.py
Source    SPECIFICATION.md, "Stream"

A stream is a ring that can be closed, and counts. Each value goes to one reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

from numpy.typing import DTypeLike

from . import _backend
from ._closable import Closable
from ._core.named.element import Element, element_of
from ._core.named.layout import STREAM
from ._core.status import OK, Status
from ._form import store
from .errors import (
    CapacityError,
    ClosedChannelError,
    SegmentFormatError,
    StructureNotFoundError,
    WaitTimeoutError,
)
from .flow import Flow
from .memory import Memory
from .ring import Ring, ring_part
from .table import Entry, Part


class Stream(Closable):
    """Values of one dtype from a producer to a consumer, possibly without end.

    Iterating reads until the stream is closed and nothing is left. `map`, `filter`, `take`,
    `skip`, `window`, `zip` and `fold` are those of `Flow`: they run where their result is
    asked for, and take values from the stream only then. `close` closes it for all; `detach`,
    or the end of a `with` block, lets go of this handle only.

    Args:
        mem: the segment.
        name: of the stream in the segment, 1 to 24 bytes.
        capacity: values that it holds until they are read, from 1. When given and the stream
            is missing, it is created; when it exists, it must have that capacity.
        dtype: of a value. The segment does not record it, so it must always be given.

    Raises:
        StructureNotFoundError: there is no such stream, and no *capacity*.
        DTypeError: *dtype* cannot be shared, or has not the size of the existing values.
        CapacityError: *capacity* is out of range, or not that of the existing stream.
        SegmentFormatError: what is stored is not a stream.
        SegmentFullError, TableFullError, NameTooLongError: it cannot be created.

    >>> with Memory("/example", 4096) as mem:
    ...     ticks = Stream(mem, "ticks", 8, "f8")
    ...     ticks.emit_all([1.0, 2.5, 4.0])
    ...     ticks.close()
    ...     ticks.filter(lambda tick: tick > 2).fold(lambda total, tick: total + tick, 0)
    ...     mem.unlink()
    6.5
    """

    def __init__(
        self,
        mem: Memory,
        name: str,
        capacity: int | None = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        element = element_of(dtype)
        if capacity is not None:
            mem.find_or_add_all(_parts(name, capacity, element))
        self._attach(mem, name, element, capacity)

    @classmethod
    def create(cls, mem: Memory, name: str, capacity: int, dtype: DTypeLike) -> Self:
        """Create a stream that must not exist.

        Raises:
            NameExistsError: the name is taken. Else as the constructor.
        """
        element = element_of(dtype)
        mem.add_all(_parts(name, capacity, element))
        made = cls.__new__(cls)
        made._attach(mem, name, element)
        return made

    @classmethod
    def open(cls, mem: Memory, name: str, dtype: DTypeLike) -> Self:
        """Open a stream that must exist; raises as the constructor."""
        found = cls.__new__(cls)
        found._attach(mem, name, element_of(dtype))
        return found

    def _attach(
        self, mem: Memory, name: str, element: Element, capacity: int | None = None
    ) -> None:
        header, buffer = _entries(mem, name)
        self._hold(mem, name)
        self._ring = Ring.open(mem, buffer.name, element.dtype)
        self.capacity = self._ring.capacity
        if capacity not in (None, self.capacity):
            raise CapacityError(
                f"stream {name!r} exists, and capacity must be {self.capacity}: capacity={capacity}"
            )
        self.dtype = element.dtype
        self._values, self._room = self._ring._items, self._ring._room
        word, at = _backend.named.Word, header.offset
        self._sequence = word(self._buf, at + STREAM.sequence.offset, "Q", None)
        self._subscribers = word(self._buf, at + STREAM.subscribers.offset, "I", None)
        self._watch_end(at + STREAM.closed.offset, self._values, self._room)

    # --- emitting ---

    def emit(self, value: Any, timeout: float | None = None) -> None:
        """Emit *value*, waiting for room.

        Raises:
            WaitTimeoutError: there was none within *timeout* seconds.
            ClosedChannelError: the stream is closed.
            DTypeError, OutOfRangeError: the dtype cannot hold *value*.
        """
        attempt = partial(self._attempt_emit, value)
        if attempt() is not OK and self._wait(attempt, self._room, timeout) is not OK:
            raise WaitTimeoutError(f"{self._title} had no room for {timeout} seconds")

    def try_emit(self, value: Any) -> bool:
        """Emit *value* if there is room now; return whether there was.

        Raises:
            ClosedChannelError, DTypeError, OutOfRangeError: as `emit`.
        """
        return not self._is_not_now(self._attempt_emit(value))

    def emit_all(self, values: Iterable[Any], timeout: float | None = None) -> None:
        """Emit one value after the other, perhaps of a generator without end.

        Args:
            timeout: for each of them, in seconds.

        Raises:
            As `emit`.
        """
        for value in values:
            self.emit(value, timeout)

    def _attempt_emit(self, value: Any) -> Status:
        if self._is_over():
            raise ClosedChannelError(f"{self._title} is closed")
        status: Status = self._ring._core.try_push(value)
        if status is OK:
            self._sequence.fetch_add(1)
        return status

    # --- reading ---

    def next(self, timeout: float | None = None) -> Any:
        """Return the next value, waiting for one.

        Raises:
            WaitTimeoutError: there was none within *timeout* seconds.
            ClosedChannelError: the stream is closed, and nothing is left.
        """
        value = self._attempt_next()
        if type(value) is Status:
            value = self._wait(self._attempt_next, self._values, timeout)
        if type(value) is Status:
            raise WaitTimeoutError(f"{self._title} had no value for {timeout} seconds")
        return value

    def try_next(self, default: Any = None) -> Any:
        """Return the next value, or *default* if there is none now.

        Raises:
            ClosedChannelError: the stream is closed, and nothing is left.
        """
        value = self._attempt_next()
        return default if self._is_not_now(value) else value

    def _attempt_next(self) -> Any:
        over = self._is_over()  # before the look: what was emitted before the end is found
        value = self._ring._core.try_pop()
        if value is Status.EMPTY and over:
            raise ClosedChannelError(f"{self._title} is closed, and nothing is left")
        return value

    def __iter__(self) -> Iterator[Any]:
        """Read until the stream is closed and nothing is left; counts as a subscriber."""
        with self.subscribe():
            while True:
                try:
                    value = self.next()
                except ClosedChannelError:
                    return
                yield value

    @contextmanager
    def subscribe(self) -> Iterator[Self]:
        """Count as a subscriber inside a `with` block."""
        self._subscribers.fetch_add(1)
        try:
            yield self
        finally:
            self._subscribers.fetch_sub(1)

    # --- what is made of it ---

    def flow(self) -> Flow[Any]:
        """Return a flow of the values that are still to be read."""
        return Flow(self)

    def map(self, function: Callable[[Any], Any]) -> Flow[Any]:
        """See `Flow.map`."""
        return self.flow().map(function)

    def filter(self, predicate: Callable[[Any], object]) -> Flow[Any]:
        """See `Flow.filter`."""
        return self.flow().filter(predicate)

    def take(self, count: int) -> Flow[Any]:
        """See `Flow.take`."""
        return self.flow().take(count)

    def skip(self, count: int) -> Flow[Any]:
        """See `Flow.skip`."""
        return self.flow().skip(count)

    def window(self, size: int, step: int | None = None) -> Flow[tuple[Any, ...]]:
        """See `Flow.window`."""
        return self.flow().window(size, step)

    def zip(self, *others: Iterable[Any]) -> Flow[tuple[Any, ...]]:
        """See `Flow.zip`."""
        return self.flow().zip(*others)

    def fold(self, function: Callable[[Any, Any], Any], start: Any) -> Any:
        """See `Flow.fold`."""
        return self.flow().fold(function, start)

    # --- queries ---

    @property
    def sequence(self) -> int:
        """How many values were emitted, at some moment."""
        return int(self._sequence.load())

    @property
    def subscribers(self) -> int:
        """How many say that they read, at some moment; those who died count too."""
        return int(self._subscribers.load())

    def __len__(self) -> int:
        """Return how many values are there to be read, at some moment."""
        return len(self._ring)

    def __bool__(self) -> bool:
        return True  # `if stream:` asks whether there is one

    def _reopen(self) -> tuple[Any, ...]:
        return (self.dtype,)

    def _facts(self) -> str:
        return f"size={len(self)}/{self.capacity}, dtype={self.dtype}"


def _parts(name: str, capacity: int, element: Element) -> list[Part]:
    """Return what is to be added to a segment for a new stream."""

    def prepare(view: memoryview) -> None:
        view[:] = bytes(len(view))
        store(view, STREAM.buffer_capacity, capacity)

    buffer = ring_part(f"{name}_buffer", capacity, element)
    return [Part(f"{name}_header", STREAM.nbytes, prepare), buffer]


def _entries(mem: Memory, name: str) -> tuple[Entry, Entry]:
    """Return the entries of a stream: its header and its buffer."""
    found = mem.find_all([f"{name}_header", f"{name}_buffer"])
    if found is None:
        raise StructureNotFoundError(f"segment {mem.name!r} has no stream of this name: {name!r}")
    header, buffer = found
    if header.size != STREAM.nbytes:
        raise SegmentFormatError(f"not a stream: its header must have {STREAM.nbytes}: {header}")
    return header, buffer
