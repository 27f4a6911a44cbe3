"""What is computed once, by whoever first wants it, and then read by all: the steps.

Force:  1. COMPUTED: read the value. ERROR: raise. COMPUTING: wait
        2. claim: state PENDING -> COMPUTING   3. compute
        4. write the value, or the message   5. publish: state = COMPUTED, or ERROR
Reset:  state COMPUTED -> PENDING
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import _backend
from ._core.named.element import Element
from ._core.named.layout import LAZY_COMPUTED, LAZY_COMPUTING, LAZY_ERROR, LAZY_PENDING
from ._core.status import Status
from ._structure import Structure
from .errors import RemoteError, SegmentFormatError, WaitTimeoutError
from .memory import Memory
from .table import Entry

_STATES = {
    LAZY_PENDING: "pending",
    LAZY_COMPUTING: "computing",
    LAZY_COMPUTED: "computed",
    LAZY_ERROR: "error",
}


class Deferred(Structure):
    """A value of one element, with a state in front; `Lazy` and `LazyBool` say what it is."""

    def _watch(self, mem: Memory, entry: Entry, element: Element, cached_at: int) -> None:
        self._hold(mem, entry.name)
        self._element = element
        self._cached = mem.view(entry)[cached_at : cached_at + element.nbytes]
        self._ended = self._bell(entry.offset)
        self._core = _backend.named.Word(self._buf, entry.offset, "I", self._ended)

    def _way(self) -> Callable[[], bytes] | None:
        """Return what computes the value's bytes, or None when this process cannot."""
        raise NotImplementedError

    def _fail(self, error: Exception) -> None:
        """Write down why there is no value."""
        raise NotImplementedError

    def _computing(self) -> Status:
        """Return EMPTY while somebody who lives computes it, BUSY if that is not known."""
        return Status.BUSY

    def _count_one(self) -> None:
        """Count a computation."""

    # --- the value ---

    def force(self, timeout: float | None = None) -> Any:
        """Return the value, computing it if nobody did; wait while another process does.

        Raises:
            WaitTimeoutError: there was none within *timeout* seconds, which do not bound the
                computation when it happens here.
            RemoteError: it failed before; the text says why.
            StalledError: who computes it died; see `repair`.
            What computing it raises, here and now.
        """
        value = self._attempt()
        if type(value) is Status:
            value = self._wait(self._attempt, self._ended, timeout)
        if type(value) is Status:
            raise WaitTimeoutError(f"{self._title} was not computed for {timeout} seconds")
        return value

    @property
    def value(self) -> Any:
        """The value, or None while it is not computed."""
        value = self._read()
        return None if type(value) is Status else value

    @property
    def state(self) -> str:
        """What it is at this moment: "pending", "computing", "computed" or "error".

        Raises:
            SegmentFormatError: the stored state is none of these.
        """
        state = self._core.load()
        if state not in _STATES:
            raise SegmentFormatError(f"damaged: {self._title} must have a state up to 3: {state}")
        return _STATES[state]

    @property
    def error(self) -> str | None:
        """Why it could not be computed, or None."""
        return self._message() if self._core.load() == LAZY_ERROR else None

    def reset(self) -> bool:
        """Forget the value, so that it is computed again; return whether there was one."""
        return bool(self._core.compare_exchange(LAZY_COMPUTED, LAZY_PENDING))

    def repair(self) -> bool:
        """Let somebody else compute what a dead process was computing.

        Call it when nobody else is computing it.

        Returns:
            Whether it was so.
        """
        return bool(self._core.compare_exchange(LAZY_COMPUTING, LAZY_PENDING))

    def _message(self) -> str:
        return f"{self._title} could not be computed"

    def _read(self) -> Any:
        # [lazy.computed] acquire. Again afterwards: a reset lets others write the value.
        if self._core.load() != LAZY_COMPUTED:
            return Status.EMPTY
        raw = bytes(self._cached)
        return self._element.unpack(raw) if self._core.load() == LAZY_COMPUTED else Status.EMPTY

    def _attempt(self) -> Any:
        state = self._core.load()
        if state == LAZY_COMPUTED:
            return self._read()
        if state == LAZY_ERROR:
            raise RemoteError(self._message())
        if state == LAZY_COMPUTING:
            return self._computing()
        if state != LAZY_PENDING:
            return Status.DAMAGED
        way = self._way()
        if way is not None and self._core.compare_exchange(LAZY_PENDING, LAZY_COMPUTING):
            return self._compute(way)
        return Status.EMPTY

    def _compute(self, way: Callable[[], bytes]) -> Any:
        try:
            raw = way()
            self._cached[:] = raw
            self._core.store(LAZY_COMPUTED)  # [lazy.computed] release; pairs with _read
        except Exception as error:
            self._fail(error)
            self._core.store(LAZY_ERROR)
            raise
        except BaseException:  # Ctrl-C: as if nobody had tried
            self._core.store(LAZY_PENDING)
            raise
        self._count_one()
        return self._element.unpack(raw)

    def _facts(self) -> str:
        return self.state
