"""A once in a named segment: something that is done by one, while the others wait.

Callers   any number, in any process, thread and language
Progress  call runs the function, or sleeps until who runs it is done
Crash     one that dies while it runs the function leaves it running for ever: the others get
          StalledError when their time is over, and repair() lets it be run again
Bytes     ONCE, see _core/named/layout.py
Source    SPECIFICATION.md, "Once"; std::call_once

call: 1. DONE: return   2. claim: compare-and-swap PENDING -> RUNNING   3. run   4. DONE, also
if it raised. Who does not get the claim waits while it is RUNNING.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .. import _backend
from .._core.named.layout import ONCE, ONCE_DONE, ONCE_PENDING, ONCE_RUNNING
from .._core.status import OK, Status
from ..errors import StalledError
from ..memory import Memory
from ..table import Entry, Part
from ._parts import Named, check_size, zeros

PATIENCE = 60.0
"""Seconds after which `call` takes who runs the function for dead."""


class Once(Named):
    """What must be done once, by whoever comes first.

    Args:
        mem: the segment.
        name: of the once in the segment, 1 to 31 bytes. It is created if it is missing.

    Raises:
        SegmentFormatError: what is stored is not a once.
        SegmentFullError, TableFullError, NameTooLongError: it cannot be created.

    >>> with Memory("/example", 4096) as mem:
    ...     setup = Once(mem, "setup")
    ...     setup.call(lambda: print("setting up")), setup.call(lambda: print("again"))
    ...     mem.unlink()
    setting up
    (True, False)
    """

    @staticmethod
    def _parts(name: str) -> list[Part]:
        return [zeros(name, ONCE.nbytes)]

    def _attach(self, mem: Memory, entries: Sequence[Entry]) -> None:
        (entry,) = entries
        check_size("once", entry, ONCE.nbytes)
        self._hold(mem, entry.name)
        self._ended = self._bell(entry.offset)
        self._core = _backend.named.Word(self._buf, entry.offset, "I", self._ended)

    def call(self, function: Callable[[], object], timeout: float | None = PATIENCE) -> bool:
        """Run *function* unless somebody has; return whether this call did.

        While another runs it, wait until it is done. If *function* raises, it counts as
        done, and the exception is raised here.

        Raises:
            StalledError: the other was not done after *timeout* seconds, by default a minute;
                it is dead, or slow.
        """
        # [once.done] acquire: what the function did is visible
        if self._core.load() == ONCE_DONE:
            return False
        if self._core.compare_exchange(ONCE_PENDING, ONCE_RUNNING):
            try:
                function()
            finally:
                self._core.store(ONCE_DONE)  # [once.done] release
            return True
        if self._wait(self._attempt, self._ended, timeout) is not OK:
            raise StalledError(
                f"{self._title}: another process has run it for {timeout} seconds, or is dead; "
                "when nobody runs it, repair() lets it be run again"
            )
        return False

    @property
    def done(self) -> bool:
        """Whether it was done, at some moment."""
        return bool(self._core.load() == ONCE_DONE)

    def reset(self) -> None:
        """Let it be done once more; who waits is let go."""
        self._core.store(ONCE_PENDING)

    def repair(self) -> bool:
        """Let it be run again if who ran it died; return whether it was running."""
        return bool(self._core.compare_exchange(ONCE_RUNNING, ONCE_PENDING))

    def _attempt(self) -> Status:
        state = self._core.load()
        if state > ONCE_DONE:
            return Status.DAMAGED
        return Status.EMPTY if state == ONCE_RUNNING else OK

    def _facts(self) -> str:
        return "done" if self.done else "not done"
