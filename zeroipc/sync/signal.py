"""A signal in a named segment: a value with a version, which others watch.

Callers   any number, in any process, thread and language
Progress  get, set and update take turns, each for the length of a copy; wait sleeps
Crash     the mutex of one that died is taken over: `recovered`; if it was in the midst of a set,
          the value may be half old and half new, under the old version, until the next set
Bytes     SIGNAL and the value, a SEMAPHORE and a marker, see _core/named/layout.py
Source    SPECIFICATION.md, "Signal"

Get:  lock; copy version and value; unlock
Set:  lock; write the value; version + 1; unlock
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from numpy.typing import DTypeLike

from .. import _backend
from .._core.fields import round_up
from .._core.named.element import Element, element_of
from .._core.named.layout import SEMAPHORE, SIGNAL
from .._core.status import Status
from .._structure import Structure
from ..errors import DTypeError, WaitTimeoutError
from ..memory import Memory
from ..table import Entry, Part
from ._parts import check_size, entries_of, permits, zeros
from .mutex import Mutex


class Signal(Structure):
    """A value that is set, and watched: every change moves its `version`.

    `for value in signal` gives the value and then each later one, as it comes; who is slow
    misses some.

    Args:
        mem: the segment.
        name: of the signal in the segment, 1 to 25 bytes. It is created if it is missing.
        dtype: of the value. The segment does not record it, so it must always be given.
        initial: its first value, by default all zeros; when the signal exists, its value stays.

    Raises:
        DTypeError: *dtype* cannot be shared, or has not the size of the existing value.
        OutOfRangeError: *dtype* cannot hold *initial*.
        SegmentFormatError: what is stored is not a signal.
        SegmentFullError, TableFullError, NameTooLongError: it cannot be created.

    >>> with Memory("/example", 4096) as mem:
    ...     level = Signal(mem, "level", "f8", 0.5)
    ...     level.set(2.0)
    ...     level.update(lambda value: value / 8)
    ...     level.read()
    ...     mem.unlink()
    0.25
    (2, 0.25)
    """

    def __init__(self, mem: Memory, name: str, dtype: DTypeLike, initial: Any = None) -> None:
        element = element_of(dtype)
        self._attach(mem, mem.find_or_add_all(_parts(name, element, initial)), element)

    @classmethod
    def create(cls, mem: Memory, name: str, dtype: DTypeLike, initial: Any = None) -> Self:
        """Create a signal that must not exist.

        Raises:
            NameExistsError: the name is taken. Else as the constructor.
        """
        element = element_of(dtype)
        made = cls.__new__(cls)
        made._attach(mem, mem.add_all(_parts(name, element, initial)), element)
        return made

    @classmethod
    def open(cls, mem: Memory, name: str, dtype: DTypeLike) -> Self:
        """Open a signal that must exist.

        Raises:
            StructureNotFoundError: it does not. Else as the constructor.
        """
        element = element_of(dtype)
        found = cls.__new__(cls)
        found._attach(mem, entries_of(mem, _parts(name, element, None)), element)
        return found

    def _attach(self, mem: Memory, entries: Sequence[Entry], element: Element) -> None:
        state, mutex, marker = entries
        check_size("signal", mutex, SEMAPHORE.nbytes)
        check_size("signal", marker, 1)
        if state.size not in (SIGNAL.nbytes + element.nbytes, _nbytes(element)):
            raise DTypeError(
                f"signal {marker.name!r} has a value of at most {state.size - SIGNAL.nbytes} "
                f"bytes: dtype={element.dtype} has {element.nbytes}"
            )
        self._hold(mem, marker.name)
        self.dtype = element.dtype
        self._element = element
        self._value = mem.view(state)[SIGNAL.nbytes : SIGNAL.nbytes + element.nbytes]
        self._mutex = Mutex.open(mem, mutex.name)
        self._changed = self._bell(state.offset)
        self._core = _backend.named.Word(self._buf, state.offset, "Q", self._changed)

    def read(self) -> tuple[int, Any]:
        """Return the version and the value that goes with it."""
        with self._mutex:
            version, raw = self._core.load(), bytes(self._value)
        return version, self._element.unpack(raw)

    def get(self) -> Any:
        """Return the value."""
        return self.read()[1]

    def set(self, value: Any) -> None:
        """Set the value, and wake those who watch.

        Raises:
            DTypeError, OutOfRangeError: the dtype cannot hold *value*.
        """
        raw = self._element.pack(value)
        with self._mutex:
            self._write(raw)

    def update(self, function: Callable[[Any], Any]) -> Any:
        """Set the value to what *function* makes of it; return that.

        Other processes are not kept out while *function* runs: it is called again when one has
        changed the value meanwhile. Raises as `set`.
        """
        while True:
            version, value = self.read()
            raw = self._element.pack(function(value))
            with self._mutex:
                if self._core.load() == version:
                    self._write(raw)
                    return self._element.unpack(raw)

    def _write(self, raw: bytes) -> None:
        self._core.load()  # raises when closed
        self._value[:] = raw
        # [signal.version] release; pairs with wait: the value before its version
        self._core.fetch_add(1)

    @property
    def value(self) -> Any:
        """The value."""
        return self.get()

    @value.setter
    def value(self, value: Any) -> None:
        self.set(value)

    @property
    def version(self) -> int:
        """How often the value was set, modulo 2^64."""
        return int(self._core.load())

    @property
    def recovered(self) -> bool:
        """Whether the last get or set found that another had died in one: see the module."""
        return self._mutex.recovered

    def wait(self, version: int | None = None, timeout: float | None = None) -> int:
        """Wait until the version is not *version*, by default that of now; return the new one.

        Raises:
            WaitTimeoutError: it was for *timeout* seconds.
        """
        seen = self.version if version is None else version

        def newer() -> int | Status:
            # [signal.version] acquire
            found = self.version
            return Status.EMPTY if found == seen else found

        found = self._wait(newer, self._changed, timeout)
        if isinstance(found, Status):
            raise WaitTimeoutError(f"{self._title} was at version {seen} for {timeout} seconds")
        return found

    def __iter__(self) -> Iterator[Any]:
        while True:
            version, value = self.read()
            yield value
            self.wait(version)

    def repair(self) -> None:
        """Free the mutex, whoever seems to hold it; for when nobody else uses the signal."""
        self._mutex.repair()

    def close(self) -> None:
        """Let go of the signal, which stays; closing twice is fine."""
        super().close()
        self._mutex.close()

    def _reopen(self) -> tuple[Any, ...]:
        return (self.dtype,)

    def _facts(self) -> str:
        return f"version={self.version}, dtype={self.dtype}"


def _nbytes(element: Element) -> int:
    return round_up(SIGNAL.nbytes + element.nbytes, 8)


def _parts(name: str, element: Element, initial: Any) -> list[Part]:
    raw = bytes(element.nbytes) if initial is None else element.pack(initial)

    def prepare(view: memoryview) -> None:
        view[:] = (bytes(SIGNAL.nbytes) + raw).ljust(_nbytes(element), b"\0")

    return [
        Part(f"{name}_state", _nbytes(element), prepare),
        permits(f"{name}_mtx", 1, 1),
        zeros(name, 1),  # says that all parts are there
    ]
