"""Streams without values in a named segment: events that are counted.

Callers   any number that emit and that wait, in any process, thread and language
Progress  emit is one addition; next sleeps until there is another event
Crash     nothing is torn: an event was counted, or never was
Bytes     SIGNAL_STREAM, see _core/named/layout.py
Source    SPECIFICATION.md, "Stream"
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Self

from . import _backend
from ._closable import Closable
from ._core.named.layout import SIGNAL_STREAM
from ._core.status import Status
from .errors import ClosedChannelError, SegmentFormatError, WaitTimeoutError
from .memory import Memory
from .table import Entry


class EventStream(Closable):
    """A stream without values: events that are counted, by any number of processes.

    Found by its name, or created when it is missing.

    >>> with Memory("/example", 4096) as mem:
    ...     events = EventStream(mem, "events")
    ...     events.emit(), events.emit()
    ...     events.next(seen=0)
    ...     mem.unlink()
    (1, 2)
    2
    """

    def __init__(self, mem: Memory, name: str) -> None:
        self._attach(mem, mem.find_or_add(name, SIGNAL_STREAM.nbytes, _clear))

    @classmethod
    def create(cls, mem: Memory, name: str) -> Self:
        """Create a stream that must not exist.

        Raises:
            NameExistsError: the name is taken.
        """
        made = cls.__new__(cls)
        made._attach(mem, mem.add(name, SIGNAL_STREAM.nbytes, _clear))
        return made

    @classmethod
    def open(cls, mem: Memory, name: str) -> Self:
        """Open a stream that must exist.

        Raises:
            StructureNotFoundError: it does not.
            SegmentFormatError: what is stored is not an event stream.
        """
        found = cls.__new__(cls)
        found._attach(mem, mem.entry(name))
        return found

    def _attach(self, mem: Memory, entry: Entry) -> None:
        if entry.size != SIGNAL_STREAM.nbytes:
            raise SegmentFormatError(
                f"not an event stream: it must have {SIGNAL_STREAM.nbytes} bytes: {entry}"
            )
        self._hold(mem, entry.name)
        at = entry.offset + SIGNAL_STREAM.event_count.offset
        self._events = self._bell(at)
        self._count = _backend.named.Word(self._buf, at, "Q", self._events)
        self._watch_end(entry.offset + SIGNAL_STREAM.closed.offset, self._events)

    def emit(self) -> int:
        """Emit an event; return how many there were, with this one.

        Raises:
            ClosedChannelError: the stream is closed.
        """
        if self._is_over():
            raise ClosedChannelError(f"{self._title} is closed")
        return int(self._count.fetch_add(1)) + 1

    @property
    def count(self) -> int:
        """How many events there were, at some moment."""
        return int(self._count.load())

    def next(self, seen: int | None = None, timeout: float | None = None) -> int:
        """Return how many events there were, once it is another number than *seen*.

        Args:
            seen: by default how many there are now.

        Raises:
            WaitTimeoutError: there was no event within *timeout* seconds.
            ClosedChannelError: the stream is closed, and there was none.
        """
        known = self.count if seen is None else seen
        count = self._wait(partial(self._attempt_next, known), self._events, timeout)
        if type(count) is Status:
            raise WaitTimeoutError(f"{self._title} had no event for {timeout} seconds")
        return count

    def _attempt_next(self, known: int) -> int | Status:
        over = self._is_over()
        count = int(self._count.load())
        if count == known and over:
            raise ClosedChannelError(f"{self._title} is closed")
        return count if count != known else Status.EMPTY

    def __iter__(self) -> Iterator[int]:
        """Yield the number of each event from now on, until the stream is closed."""
        return self._after(self.count)

    def _after(self, known: int) -> Iterator[int]:
        while True:
            try:
                count = self.next(known)
            except ClosedChannelError:
                return
            yield from range(known + 1, count + 1)
            known = count

    def _facts(self) -> str:
        return f"count={self.count}"


def _clear(view: memoryview) -> None:
    view[:] = bytes(len(view))
