"""Channels in a named segment: values from senders to receivers, with or without a buffer.

Callers   any number of senders and receivers of ours; programs in other languages too if there
          is a buffer, else they must be alone on their side
Progress  try_ forms never wait, but for a moment when they hand over to a receiver that waits;
          send and recv sleep until there is room, a receiver, a value
Crash     with a buffer as a queue; without, a sender that dies leaves its value for the next
          receiver, or nothing, and what the dead held goes to whoever comes next
Bytes     CHANNEL, and a queue or CHANNEL_SLOT and a value, see _core/named/layout.py
Source    SPECIFICATION.md, "Channel"; Go's channels

A channel with a buffer is a queue that can be closed. Without one, a send ends when its value
was received; the steps are in _rendezvous.py.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, Self

from numpy.typing import DTypeLike

from ._closable import Closable
from ._core.fields import round_up
from ._core.named.element import Element, element_of
from ._core.named.layout import CHANNEL, CHANNEL_SLOT
from ._core.status import OK, Status
from ._form import load, store
from ._rendezvous import Offer, Rendezvous
from ._waiting import deadline_of
from .errors import (
    CapacityError,
    ClosedChannelError,
    DTypeError,
    SegmentFormatError,
    StructureNotFoundError,
    WaitTimeoutError,
)
from .memory import Memory
from .queue import Queue, queue_part, rounded
from .table import Entry, Part

HANDOVER = 0.02
"""Seconds for which `try_send` waits for a receiver that says that it waits."""
_SELECT_AT = 0
"""What `select` watches: the bell of this offset rings when any channel gets a value."""


class Channel(Closable):
    """Values of one dtype from senders to receivers.

    `close` closes it for all: what is buffered can still be received, then iterating ends and
    `recv` raises ClosedChannelError. `detach`, or the end of a `with` block, lets go of this
    handle only.

    Args:
        mem: the segment.
        name: of the channel in the segment, 1 to 24 bytes.
        capacity: values that the buffer holds, from 2, rounded up to a power of two; or 0 for
            none. When given and the channel is missing, it is created; when it exists, it must
            have that capacity.
        dtype: of a value. The segment does not record it, so it must always be given.

    Raises:
        StructureNotFoundError: there is no such channel, and no *capacity*.
        DTypeError: *dtype* cannot be shared, or has not the size of the existing values.
        CapacityError: *capacity* is out of range, or not that of the existing channel.
        SegmentFormatError: what is stored is not a channel.
        SegmentFullError, TableFullError, NameTooLongError: it cannot be created.

    >>> with Memory("/example", 4096) as mem:
    ...     words = Channel(mem, "words", 4, "S8")
    ...     words.send(b"hello")
    ...     words.send(b"world")
    ...     words.close()
    ...     list(words)
    ...     mem.unlink()
    [b'hello', b'world']
    """

    def __init__(
        self,
        mem: Memory,
        name: str,
        capacity: int | None = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        element = element_of(dtype)
        wanted = capacity if capacity in (None, 0) else rounded(capacity)
        if wanted is not None and mem.find(f"{name}_header") is None:
            mem.find_or_add_all(_parts(name, wanted, element))
        self._attach(mem, name, element, wanted)

    @classmethod
    def create(cls, mem: Memory, name: str, capacity: int, dtype: DTypeLike) -> Self:
        """Create a channel that must not exist.

        Raises:
            NameExistsError: the name is taken. Else as the constructor.
        """
        element = element_of(dtype)
        mem.add_all(_parts(name, rounded(capacity) if capacity else 0, element))
        made = cls.__new__(cls)
        made._attach(mem, name, element)
        return made

    @classmethod
    def open(cls, mem: Memory, name: str, dtype: DTypeLike) -> Self:
        """Open a channel that must exist; raises as the constructor."""
        found = cls.__new__(cls)
        found._attach(mem, name, element_of(dtype))
        return found

    def _attach(
        self, mem: Memory, name: str, element: Element, capacity: int | None = None
    ) -> None:
        header, line = _entries(mem, name)
        stored = load(mem.view(header), CHANNEL.capacity)
        if capacity not in (None, stored):
            raise CapacityError(
                f"channel {name!r} exists, and capacity must be {stored}: capacity={capacity}"
            )
        self._hold(mem, name)
        self.capacity = stored
        self.dtype = element.dtype
        self._element = element
        self._any = self._bell(_SELECT_AT)
        self._line: Queue | Rendezvous
        if stored:
            self._line = Queue.open(mem, line.name, element.dtype)
            self._values, self._room = self._line._items, self._line._room
        else:
            _check_slot(line, element)
            self._values = self._room = self._bell(line.offset)
            self._line = Rendezvous(mem, header, line, element, self._values, self._any)
        closed_at = header.offset + CHANNEL.closed.offset
        self._watch_end(closed_at, self._values, self._room, self._any)

    # --- sending ---

    def send(self, value: Any, timeout: float | None = None) -> None:
        """Send *value*, waiting for room in the buffer, or for a receiver to take it.

        Without a buffer, a receiver in another language may get a value whose send is just
        timing out.

        Raises:
            WaitTimeoutError: there was none within *timeout* seconds.
            ClosedChannelError: the channel is closed.
            StalledError: another process is stuck in it.
            DTypeError, OutOfRangeError: the dtype cannot hold *value*.
        """
        if isinstance(self._line, Rendezvous):
            sent = self._hand_over(self._line, self._element.pack(value), timeout)
        else:
            attempt = partial(self._attempt_push, value)
            sent = attempt() is OK or self._wait(attempt, self._room, timeout) is OK
        if not sent:
            raise WaitTimeoutError(f"{self._title} took nothing for {timeout} seconds")

    def try_send(self, value: Any) -> bool:
        """Send *value* if there is room, or a receiver that waits, now; return whether it is so.

        Raises:
            ClosedChannelError, DTypeError, OutOfRangeError: as `send`.
        """
        if not isinstance(self._line, Rendezvous):
            return not self._is_not_now(self._attempt_push(value))
        raw = self._element.pack(value)
        self._check_open()
        return self._line.is_awaited() and self._hand_over(self._line, raw, HANDOVER)

    def _attempt_push(self, value: Any) -> Status:
        self._check_open()
        status: Status = self._line._core.try_push(value)  # type: ignore[union-attr]
        if status is OK:
            self._any.ring()
        return status

    def _hand_over(self, slot: Rendezvous, raw: bytes, timeout: float | None) -> bool:
        """Offer a value until it is received, or time is over; return whether it was received."""
        self._check_open()
        offer = Offer(slot, raw)
        closed: ClosedChannelError | None = None
        try:
            self._wait(partial(self._attempt_offer, offer), self._values, timeout)
        except ClosedChannelError as error:
            closed = error
        finally:
            received = offer.end()
        if closed is not None and not received:
            raise closed
        return received

    def _attempt_offer(self, offer: Offer) -> Status:
        status = offer.attempt()
        if status is not OK:
            self._check_open()
        return status

    def _check_open(self) -> None:
        if self._is_over():
            raise ClosedChannelError(f"{self._title} is closed")

    # --- receiving ---

    def recv(self, timeout: float | None = None) -> Any:
        """Return the next value, waiting for one.

        Raises:
            WaitTimeoutError: there was none within *timeout* seconds.
            ClosedChannelError: the channel is closed, and nothing is left.
            StalledError: another process is stuck in it.
        """
        value = self._attempt_recv()
        if type(value) is Status:
            with self._waiting_receiver():
                value = self._wait(self._attempt_recv, self._values, timeout)
        if type(value) is Status:
            raise WaitTimeoutError(f"{self._title} had nothing for {timeout} seconds")
        return value

    def try_recv(self, default: Any = None) -> Any:
        """Return the next value, or *default* if there is none now.

        Raises:
            ClosedChannelError: the channel is closed, and nothing is left.
        """
        value = self._attempt_recv()
        return default if self._is_not_now(value) else value

    def __iter__(self) -> Iterator[Any]:
        """Receive until the channel is closed and nothing is left."""
        while True:
            try:
                value = self.recv()
            except ClosedChannelError:
                return
            yield value

    def _attempt_recv(self) -> Any:
        over = self._is_over()  # before the look: what was sent before the end is found
        if isinstance(self._line, Rendezvous):
            value = Status.EMPTY if over else self._line.try_recv()
        else:
            value = self._line._core.try_pop()
        if value is Status.EMPTY and over:
            raise ClosedChannelError(f"{self._title} is closed, and nothing is left")
        return value

    def _waiting_receiver(self) -> Any:
        return self._line.receiver() if isinstance(self._line, Rendezvous) else ExitStack()

    # --- the rest ---

    def __len__(self) -> int:
        """Return how many values the buffer holds, at some moment."""
        return 0 if isinstance(self._line, Rendezvous) else len(self._line)

    def __bool__(self) -> bool:
        return True  # `if channel:` asks whether there is one

    def repair(self) -> int:
        """Make the channel usable again after deaths, when nobody else is using it.

        Returns:
            How many buffered values were lost.
        """
        return self._line.repair()

    def _reopen(self) -> tuple[Any, ...]:
        return (self.dtype,)

    def _facts(self) -> str:
        return f"size={len(self)}/{self.capacity}, dtype={self.dtype}"


def select(*channels: Channel, timeout: float | None = None) -> tuple[Channel, Any]:
    """Return the first channel that has a value, and the value, waiting for one.

    Looks at the channels in random order, so that none starves. Those without a buffer should
    have no peers that only try to send: they may go ahead on several at once.

    Args:
        channels: those of the first one's segment wake this process, others are looked at
            every few milliseconds.
        timeout: seconds; None waits for ever.

    Raises:
        WaitTimeoutError: there was none within *timeout* seconds.
        ClosedChannelError: all are closed, and nothing is left.
        StalledError: a process is stuck in every one that is not empty.
    """
    if not channels:
        raise ValueError("select must have at least one channel")
    order = random.sample(channels, len(channels))
    with ExitStack() as receiving:
        for channel in order:
            receiving.enter_context(channel._waiting_receiver())
        first = channels[0]
        found = first._wait_till(partial(_first, order), first._any, deadline_of(timeout))
    if type(found) is Status:
        raise WaitTimeoutError(f"no channel had anything for {timeout} seconds")
    return found  # type: ignore[return-value]


def _first(channels: list[Channel]) -> tuple[Channel, Any] | Status:
    """Return the first value there is, BUSY or EMPTY; raises if all channels are closed."""
    answers, error = [], ClosedChannelError("no channel")
    for channel in channels:
        try:
            value = channel._attempt_recv()
        except ClosedChannelError as over:
            error = over
            continue
        if type(value) is not Status:
            return channel, value
        answers.append(value)
    if not answers:
        raise error
    return next((answer for answer in answers if answer is not Status.BUSY), Status.BUSY)


def _parts(name: str, capacity: int, element: Element) -> list[Part]:
    """Return what is to be added to a segment for a new channel."""

    def prepare(view: memoryview) -> None:
        view[:] = bytes(len(view))
        store(view, CHANNEL.capacity, capacity)

    def clear(view: memoryview) -> None:
        view[:] = bytes(len(view))

    header = Part(f"{name}_header", CHANNEL.nbytes, prepare)
    if capacity:
        return [header, queue_part(f"{name}_buffer", capacity, element)]
    return [header, Part(f"{name}_slot", _slot_nbytes(element), clear)]


def _entries(mem: Memory, name: str) -> tuple[Entry, Entry]:
    """Return the entries of a channel: its header, and its buffer or slot."""
    header = mem.find(f"{name}_header")
    if header is None:
        raise StructureNotFoundError(f"segment {mem.name!r} has no channel of this name: {name!r}")
    if header.size != CHANNEL.nbytes:
        raise SegmentFormatError(f"not a channel: its header must have {CHANNEL.nbytes}: {header}")
    buffered = load(mem.view(header), CHANNEL.capacity) != 0
    found = mem.find_all([header.name, f"{name}_buffer" if buffered else f"{name}_slot"])
    assert found is not None  # the header is there
    return found[0], found[1]


def _slot_nbytes(element: Element) -> int:
    start = round_up(CHANNEL_SLOT.nbytes, element.align)
    return round_up(start + element.nbytes, element.align)


def _check_slot(slot: Entry, element: Element) -> None:
    if slot.size != _slot_nbytes(element):
        raise DTypeError(
            f"a slot for {element.dtype} must have {_slot_nbytes(element)} bytes: {slot}"
        )
