"""An event in a named segment: some wait until another says that it has happened.

Callers   any number, in any process, thread and language
Progress  set, clear and is_set never wait; wait sleeps until the event is set
Crash     one that dies while it waits leaves `waiting` too high: pulse then waits a second for
          it, until somebody calls repair(); the rest is single steps
Bytes     EVENT and, as NAME_sem, SEMAPHORE, see _core/named/layout.py
Source    SPECIFICATION.md, "Event"; threading.Event

              manual: for all who wait                automatic: for one who waits
    set       signaled = 1                            signaled = 1, and a permit is given
    wait      waiting + 1; signaled is 1; - 1         takes a permit; signaled = 0
    clear     signaled = 0                            signaled = 0; permits stay
    pulse     set; until nobody waits; clear          the same
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from .. import _backend
from .._core.named.layout import EVENT, EVENT_AUTOMATIC, EVENT_MANUAL, SEMAPHORE
from .._core.status import OK, Status
from .._form import load, store
from .._structure import Structure
from .._waiting import deadline_of
from ..errors import CapacityError, SegmentFormatError
from ..memory import Memory
from ..table import Entry, Part
from ._parts import check_size, entries_of, permits
from .semaphore import Semaphore

PULSE_PATIENCE = 1.0
"""Seconds that `pulse` gives those who wait to notice it."""


class Event(Structure):
    """Something that happens; `set`, `clear`, `is_set` and `wait` are those of `threading.Event`.

    A manual event stays set for all, until it is cleared. An automatic one lets one waiter go
    each time it is set; what nobody waits for yet is kept for later ones.

    Args:
        mem: the segment.
        name: of the event in the segment, 1 to 27 bytes. It is created if it is missing.
        manual: whether it is manual, the default, or automatic. An existing event must be so,
            if this is given.

    Raises:
        CapacityError: the existing event is of the other sort.
        SegmentFormatError: what is stored is not an event.
        SegmentFullError, TableFullError, NameTooLongError: it cannot be created.

    >>> with Memory("/example", 4096) as mem:
    ...     started = Event(mem, "started")
    ...     started.wait(timeout=0)
    ...     started.set()
    ...     started.wait()
    ...     mem.unlink()
    False
    True
    """

    def __init__(self, mem: Memory, name: str, manual: bool | None = None) -> None:
        self._attach(mem, mem.find_or_add_all(_parts(name, manual)), manual)

    @classmethod
    def create(cls, mem: Memory, name: str, manual: bool = True) -> Self:
        """Create an event that must not exist.

        Raises:
            NameExistsError: the name is taken. Else as the constructor.
        """
        made = cls.__new__(cls)
        made._attach(mem, mem.add_all(_parts(name, manual)), manual)
        return made

    @classmethod
    def open(cls, mem: Memory, name: str) -> Self:
        """Open an event that must exist.

        Raises:
            StructureNotFoundError: it does not. Else as the constructor.
        """
        found = cls.__new__(cls)
        found._attach(mem, entries_of(mem, _parts(name, None)), None)
        return found

    def _attach(self, mem: Memory, entries: Sequence[Entry], manual: bool | None) -> None:
        entry, permits_entry = entries
        check_size("event", entry, EVENT.nbytes)
        check_size("event", permits_entry, SEMAPHORE.nbytes)
        mode = load(mem.view(entry), EVENT.mode)
        if mode not in (EVENT_AUTOMATIC, EVENT_MANUAL):
            raise SegmentFormatError(f"not an event: mode must be 0 or 1: mode={mode}, {entry}")
        self.manual = mode == EVENT_MANUAL
        if manual not in (None, self.manual):
            raise CapacityError(
                f"event {entry.name!r} exists, and manual must be {self.manual}: manual={manual}"
            )
        self._hold(mem, entry.name)
        self._permits = Semaphore.open(mem, permits_entry.name)
        self._happened = self._bell(entry.offset + EVENT.signaled.offset)
        self._noticed = self._bell(entry.offset + EVENT.waiting.offset)
        self._core = self._word(entry, EVENT.signaled, self._happened)
        self._waiting = self._word(entry, EVENT.waiting, self._noticed)

    def _word(self, entry: Entry, field: Any, bell: Any) -> Any:
        return _backend.named.Word(self._buf, entry.offset + field.offset, "I", bell)

    def set(self) -> None:
        """Let those who wait go: all, or one if the event is automatic."""
        self._core.store(1)  # [event.signaled] release; pairs with is_set
        if not self.manual:
            self._permits.release()

    def clear(self) -> None:
        """Let nobody go any more. An automatic event keeps what it was set for before."""
        self._core.store(0)

    def is_set(self) -> bool:
        """Return whether the event is set, at some moment."""
        return bool(self._core.load())  # [event.signaled] acquire

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the event is set; return whether it was within *timeout* seconds."""
        if self.manual:
            return self.is_set() or self._wait_noticed(timeout)
        self._core.load()  # raises when closed
        happened = self._permits._acquire_till(deadline_of(timeout))
        if happened:
            self._core.store(0)
        return happened

    def _wait_noticed(self, timeout: float | None) -> bool:
        self._waiting.fetch_add(1)
        try:
            return self._wait(self._attempt, self._happened, timeout) is OK
        finally:
            self._waiting.fetch_sub(1)

    def _attempt(self) -> Status:
        return OK if self.is_set() else Status.EMPTY

    def pulse(self) -> bool:
        """Set the event, clear it when nobody waits any more; return whether all noticed.

        Those who wait have a second to notice: one that died would never.
        """
        self.set()
        noticed = self._wait(self._attempt_pulse, self._noticed, PULSE_PATIENCE) is OK
        self.clear()
        return noticed

    def _attempt_pulse(self) -> Status:
        return OK if self._waiting.load() == 0 else Status.EMPTY

    signal = set
    reset = clear

    def repair(self) -> None:
        """Forget those who died while they waited; for when nobody waits."""
        self._waiting.store(0)

    def _facts(self) -> str:
        kind = "manual" if self.manual else "automatic"
        return f"{kind}, {'set' if self.is_set() else 'not set'}"


def _parts(name: str, manual: bool | None) -> list[Part]:
    mode = EVENT_AUTOMATIC if manual is False else EVENT_MANUAL

    def prepare(view: memoryview) -> None:
        view[:] = bytes(EVENT.nbytes)
        store(view, EVENT.mode, mode)

    return [Part(name, EVENT.nbytes, prepare), permits(f"{name}_sem", 0, 0)]
