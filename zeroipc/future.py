"""A future in a named segment: a value that is set once, by anybody, and read by all.

Callers   any number of setters, of whom the first wins, and readers, in any process
Progress  setting, done and try_result never wait; result and exception sleep until it is set
Crash     a setter that dies between claiming and publishing leaves it COMPUTING: readers get
          StalledError after a second, and repair() lets somebody else set it
Bytes     FUTURE, the value, a message, see _core/named/layout.py
Source    SPECIFICATION.md, "Future"; concurrent.futures.Future

Set:  1. claim: state PENDING -> COMPUTING   2. write the value, or the message
      3. completion_time   4. publish: state = READY, or ERROR
Read: 1. state must be READY, or ERROR   2. read the value, or the message

Peers in C++ publish ERROR before the message. They write completion_time last: a reader that
sees ERROR without it looks again for a moment.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, Self

from numpy.typing import DTypeLike

from . import _backend
from ._core.fields import round_up
from ._core.named.element import Element, element_of
from ._core.named.layout import (
    ERROR_NBYTES,
    FUTURE,
    FUTURE_COMPUTING,
    FUTURE_ERROR,
    FUTURE_PENDING,
    FUTURE_READY,
)
from ._core.named.message import message_of, message_text
from ._core.status import Status
from ._eventual import Eventual, settled
from ._structure import Structure
from .errors import AlreadySetError, DTypeError, RemoteError, SegmentFormatError, WaitTimeoutError
from .memory import Memory
from .table import Entry, Part, pauses

MESSAGE_PATIENCE = 0.01
"""Seconds to look again for the message of a peer that publishes ERROR first."""

_STATES = {
    FUTURE_PENDING: "pending",
    FUTURE_COMPUTING: "computing",
    FUTURE_READY: "ready",
    FUTURE_ERROR: "error",
}


class Future(Structure, Eventual[Any]):
    """A value of one dtype that comes later, or the reason why it does not.

    Found by its name, or created when it is missing. It can be awaited; `then` and `gather`
    say what follows from it.

    Args:
        mem: the segment.
        name: of the future in the segment, 1 to 31 bytes.
        dtype: of the value.

    Raises:
        DTypeError: *dtype* cannot be shared, or the existing future is not of its size.
        SegmentFullError, TableFullError, NameTooLongError: it cannot be created.

    >>> with Memory("/example", 4096) as mem:
    ...     answer = Future(mem, "answer", "i4")
    ...     answer.set_result(42)
    ...     answer.result(), answer.then(lambda value: value + 1).result()
    ...     mem.unlink()
    (42, 43)
    """

    def __init__(self, mem: Memory, name: str, dtype: DTypeLike) -> None:
        element = element_of(dtype)
        self._attach(mem, mem.find_or_add(*_part(name, element)), element)

    @classmethod
    def create(cls, mem: Memory, name: str, dtype: DTypeLike) -> Self:
        """Create a future that must not exist.

        Raises:
            NameExistsError: the name is taken. Else as the constructor.
        """
        element = element_of(dtype)
        made = cls.__new__(cls)
        made._attach(mem, mem.add(*_part(name, element)), element)
        return made

    @classmethod
    def open(cls, mem: Memory, name: str, dtype: DTypeLike) -> Self:
        """Open a future that must exist.

        Raises:
            StructureNotFoundError: it does not. Else as the constructor.
        """
        found = cls.__new__(cls)
        found._attach(mem, mem.entry(name), element_of(dtype))
        return found

    def _attach(self, mem: Memory, entry: Entry, element: Element) -> None:
        message_at = FUTURE.nbytes + element.nbytes
        if entry.size not in (message_at + ERROR_NBYTES, _nbytes(element)):  # old ones: the first
            raise DTypeError(
                f"a future of {element.dtype} must have {_nbytes(element)} bytes: {entry}"
            )
        self._hold(mem, entry.name)
        self.dtype = element.dtype
        self._element = element
        view = mem.view(entry)
        self._value = view[FUTURE.nbytes : message_at]
        self._message = view[message_at : message_at + ERROR_NBYTES]
        word, at = _backend.named.Word, entry.offset
        self._set = self._bell(at + FUTURE.state.offset)
        self._core = word(self._buf, at + FUTURE.state.offset, "I", self._set)
        self._waiters = word(self._buf, at + FUTURE.waiters.offset, "I", None)
        self._time = word(self._buf, at + FUTURE.completion_time.offset, "Q", None)

    # --- setting it ---

    def try_set_result(self, value: Any) -> bool:
        """Set *value* if nothing was set before; return whether this call did.

        Raises:
            DTypeError, OutOfRangeError: the dtype cannot hold *value*.
        """
        return self._publish(self._value, self._element.pack(value), FUTURE_READY)

    def try_set_exception(self, error: BaseException | str) -> bool:
        """Say why there will be no value, if nothing was set before; return whether it was so.

        Args:
            error: its class and text are shared, at most 255 bytes of UTF-8; a str as it is.
        """
        return self._publish(self._message, message_of(error), FUTURE_ERROR)

    def set_result(self, value: Any) -> None:
        """Set *value*.

        Raises:
            AlreadySetError: something was set before. Else as `try_set_result`.
        """
        self._must(self.try_set_result(value))

    def set_exception(self, error: BaseException | str) -> None:
        """Say why there will be no value; see `try_set_exception`.

        Raises:
            AlreadySetError: something was set before.
        """
        self._must(self.try_set_exception(error))

    def _must(self, was_set: bool) -> None:
        if not was_set:
            raise AlreadySetError(f"{self._title} must not have been set: it is {self.state}")

    def _publish(self, place: memoryview, raw: bytes, state: int) -> bool:
        if not self._core.compare_exchange(FUTURE_PENDING, FUTURE_COMPUTING):
            return False
        try:
            place[:] = raw
            self._time.store(time.monotonic_ns())
        except BaseException:  # Ctrl-C: as if nobody had claimed it
            self._core.store(FUTURE_PENDING)
            raise
        self._core.store(state)  # [future.published] release; pairs with _settled
        return True

    # --- reading it ---

    def done(self) -> bool:
        """Return whether it has a value, or never will."""
        return self._core.load() in (FUTURE_READY, FUTURE_ERROR)

    def try_result(self, default: Any = None) -> Any:
        """Return the value, or *default* while there is none.

        Raises:
            RemoteError: there will be none.
        """
        return self._outcome() if self.done() else default

    def result(self, timeout: float | None = None) -> Any:
        """Return the value, waiting for it.

        Raises:
            WaitTimeoutError: it was not set within *timeout* seconds.
            RemoteError: there will be none; the text says why.
            StalledError: a process is stuck in setting it.
        """
        self._await_set(timeout)
        return self._outcome()

    def exception(self, timeout: float | None = None) -> RemoteError | None:
        """Return why there is no value, or None when there is one, waiting for either.

        Raises:
            WaitTimeoutError, StalledError: as `result`.
        """
        self._await_set(timeout)
        return None if self._core.load() == FUTURE_READY else self._failure()

    def __await__(self) -> Generator[Any, None, Any]:
        yield from settled(self._settled, self._title).__await__()
        return self._outcome()

    @property
    def state(self) -> str:
        """What it is at this moment: "pending", "computing" (being set), "ready" or "error".

        Raises:
            SegmentFormatError: the stored state is none of these.
        """
        state = self._core.load()
        if state not in _STATES:
            raise SegmentFormatError(f"damaged: {self._title} must have a state up to 3: {state}")
        return _STATES[state]

    def _settled(self) -> bool | Status:
        state = self._core.load()  # [future.published] acquire
        if state in (FUTURE_READY, FUTURE_ERROR):
            return True
        if state == FUTURE_PENDING:
            return Status.EMPTY
        return Status.BUSY if state == FUTURE_COMPUTING else Status.DAMAGED

    def _await_set(self, timeout: float | None) -> None:
        if self.done():
            return
        self._waiters.fetch_add(1)
        try:
            answer = self._wait(self._settled, self._set, timeout)
        finally:
            self._waiters.fetch_sub(1)
        if answer is not True:
            raise WaitTimeoutError(f"{self._title} was not set for {timeout} seconds")

    def _outcome(self) -> Any:
        if self._core.load() == FUTURE_ERROR:
            raise self._failure()
        return self._element.unpack(bytes(self._value))

    def _failure(self) -> RemoteError:
        for _ in pauses(MESSAGE_PATIENCE):
            if self._time.load():
                break
        return RemoteError(message_text(bytes(self._message)) or f"{self._title} failed")

    def repair(self) -> bool:
        """Let somebody else set what a dead process was setting, when nobody else is.

        Returns:
            Whether it was so.
        """
        return bool(self._core.compare_exchange(FUTURE_COMPUTING, FUTURE_PENDING))

    # --- lifetime ---

    def _reopen(self) -> tuple[Any, ...]:
        return (self.dtype,)

    def _facts(self) -> str:
        return f"{self.state}, dtype={self.dtype}"


def _nbytes(element: Element) -> int:
    return round_up(FUTURE.nbytes + element.nbytes + ERROR_NBYTES, 8)


def _part(name: str, element: Element) -> Part:
    """Return what is to be added to a segment for a new future."""

    def prepare(view: memoryview) -> None:
        view[:] = bytes(len(view))

    return Part(name, _nbytes(element), prepare)
