"""One number in a named segment that changes in one piece.

Callers   any number, in any process and thread
Progress  no operation but wait ever waits
Crash     every operation is one step of the machine: nothing is ever half done
Bytes     ATOMIC_NBYTES, see _core/named/layout.py; ours alone, C++ programs know no such structure
Source    SPECIFICATION.md, "Atomic"; std::atomic
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from . import _backend
from ._core.named.element import Element, element_of
from ._core.named.layout import ATOMIC_NBYTES
from ._core.status import Status
from ._direct import DirectStructure
from .errors import DTypeError, SegmentFormatError, WaitTimeoutError
from .memory import Memory
from .table import Entry, Part

_KINDS = "iIqQd"
_Change = Callable[[Any], Any]


class Atomic(DirectStructure):
    """A number of 32 or 64 bits: read, written, exchanged, added to in one step.

    `a += 1` really is atomic: it changes the number and leaves `a` the same handle. Sums of
    integers wrap around.

    Args:
        mem: the segment.
        name: of the number in the segment, 1 to 31 bytes.
        dtype: int32, uint32, int64, uint64 or float64. The segment does not record it.
        initial: its first value. It is created if it is missing; when it exists, its value
            stays.

    Raises:
        DTypeError: *dtype* is another one.
        OutOfRangeError: *dtype* cannot hold *initial*.
        SegmentFormatError: what is stored is not an atomic.
        SegmentFullError, TableFullError, NameTooLongError: it cannot be created.

    >>> with Memory("/example", 4096) as mem:
    ...     hits = Atomic(mem, "hits")
    ...     hits += 2
    ...     hits.fetch_add(5), hits.value
    ...     mem.unlink()
    (2, 7)
    """

    __slots__ = {
        "compare_exchange": "Set the number to the second if it is the first; return whether.",
        "exchange": "Set the number; return what was there.",
        "fetch_add": "Add; return what was there.",
        "fetch_and": "Combine the bits by and; return what was there.",
        "fetch_or": "Combine the bits by or; return what was there.",
        "fetch_sub": "Subtract; return what was there.",
        "fetch_xor": "Combine the bits by xor; return what was there.",
        "load": "Return the number.",
        "store": "Set the number.",
    }
    _direct = tuple(__slots__)
    load: Callable[[], Any]
    store: Callable[[Any], None]
    exchange: _Change
    compare_exchange: Callable[[Any, Any], bool]
    fetch_add: _Change
    fetch_sub: _Change
    fetch_and: _Change
    fetch_or: _Change
    fetch_xor: _Change

    def __init__(
        self, mem: Memory, name: str, dtype: DTypeLike = np.int64, initial: Any = 0
    ) -> None:
        element = _element(dtype)
        self._attach(mem, mem.find_or_add(*_part(name, element, initial)), element)

    @classmethod
    def create(cls, mem: Memory, name: str, dtype: DTypeLike = np.int64, initial: Any = 0) -> Self:
        """Create a number that must not exist.

        Raises:
            NameExistsError: the name is taken. Else as the constructor.
        """
        element = _element(dtype)
        made = cls.__new__(cls)
        made._attach(mem, mem.add(*_part(name, element, initial)), element)
        return made

    @classmethod
    def open(cls, mem: Memory, name: str, dtype: DTypeLike = np.int64) -> Self:
        """Open a number that must exist.

        Raises:
            StructureNotFoundError: it does not. Else as the constructor.
        """
        found = cls.__new__(cls)
        found._attach(mem, mem.entry(name), _element(dtype))
        return found

    def _attach(self, mem: Memory, entry: Entry, element: Element) -> None:
        if entry.size != ATOMIC_NBYTES:
            raise SegmentFormatError(f"not an atomic: its size must be {ATOMIC_NBYTES}: {entry}")
        self._hold(mem, entry.name)
        self.dtype = element.dtype
        self._changed = self._bell(entry.offset)
        self._core = _backend.named.Word(self._buf, entry.offset, element.code, self._changed)
        self._expose()

    @property
    def value(self) -> Any:
        """The number."""
        return self.load()

    @value.setter
    def value(self, value: Any) -> None:
        self.store(value)

    def wait(self, expected: Any, timeout: float | None = None) -> Any:
        """Wait while the number is *expected*; return the other one that was found.

        Whoever changes the number wakes those who wait. One that changes it back at once may go
        unnoticed.

        Raises:
            WaitTimeoutError: it was *expected* for *timeout* seconds.
        """

        def attempt() -> Any:
            found = self._core.load()
            return Status.EMPTY if found == expected else found

        found = self._wait(attempt, self._changed, timeout)
        if type(found) is Status:
            raise WaitTimeoutError(f"{self._title} was {expected} for {timeout} seconds")
        return found

    def notify(self) -> None:
        """Let all who wait look again; changes do that by themselves."""
        self._changed.ring()

    # --- operators: each is one step ---

    def __iadd__(self, value: Any) -> Self:
        self.fetch_add(value)
        return self

    def __isub__(self, value: Any) -> Self:
        self.fetch_sub(value)
        return self

    def __iand__(self, value: Any) -> Self:
        self.fetch_and(value)
        return self

    def __ior__(self, value: Any) -> Self:
        self.fetch_or(value)
        return self

    def __ixor__(self, value: Any) -> Self:
        self.fetch_xor(value)
        return self

    def __int__(self) -> int:
        return int(self.load())

    def __float__(self) -> float:
        return float(self.load())

    def _reopen(self) -> tuple[Any, ...]:
        return (self.dtype,)

    def _facts(self) -> str:
        return f"value={self.load()}, dtype={self.dtype}"


def _element(dtype: DTypeLike) -> Element:
    element = element_of(dtype)
    if element.code not in _KINDS:
        raise DTypeError(
            f"dtype must be int32, uint32, int64, uint64 or float64: dtype={element.dtype}"
        )
    return element


def _part(name: str, element: Element, initial: Any) -> Part:
    raw = element.pack(initial)

    def prepare(view: memoryview) -> None:
        view[:] = raw.ljust(ATOMIC_NBYTES, b"\0")

    return Part(name, ATOMIC_NBYTES, prepare)
