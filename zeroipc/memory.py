"""A named segment of shared memory, with a table of the structures in it.

Callers   any number of processes and threads
Progress  finding never blocks; creating structures takes turns
Crash     a creator that dies leaves no half-made structure behind, at most lost space
Bytes     a table, then the structures, see SPECIFICATION.md
Source    SPECIFICATION.md, "Segments"

Creation of a segment:

1. create the name exclusively and reserve its pages: the first word is 0;
2. write the table; the magic word goes last.

Opening: find the name, wait for the magic word, check the table against the size.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from operator import index
from types import TracebackType
from typing import Any, Self

from . import _segment
from ._core.layout import DEFAULT_SLOTS, TABLE
from ._core.named.layout import WAIT_NAME
from ._form import check_magic, check_room, form_of
from ._segment import Segment
from .errors import (
    CapacityError,
    ClosedError,
    InvalidNameError,
    SegmentExistsError,
    SegmentFormatError,
    SegmentNotFoundError,
    SegmentNotReadyError,
    StructureNotFoundError,
)
from .table import Entry, Part, Table, pauses

READY_TIMEOUT = 5.0
"""Seconds to wait for a segment in the making, counted from its last sign of progress."""

RESERVED_PREFIX = "zeroipc-"
"""Names that begin like this belong to zeroipc.mp."""

_POLL = 0.001
WAIT_ENTRY = WAIT_NAME.decode()


class Memory:
    """A segment that any process finds by name, until somebody unlinks it.

    `Memory(name, size)` opens the segment or creates it; `Memory(name)` only opens it.
    It outlives this process, and pickles as its name.

    Args:
        name: with or without a leading "/"; at most 255 bytes, no other slash.
        size: bytes of the segment; an existing one must have at least as many.
        version: 2, or 1 for old programs; counts on creation only.
        max_entries: how many structures it can hold; counts on creation only. C++
            programs know only of 64 unless they are told.

    Raises:
        SegmentNotFoundError: no *size* was given and there is no such segment.
        SegmentFormatError, SegmentNotReadyError, VersionError: there is, but it cannot
            be used.
        CapacityError: *size* is too small for the table, or larger than the existing
            segment.
        ShmFullError: there is too little shared memory.
        InvalidNameError: the name cannot be used.

    >>> with Memory("/example", 4096) as mem:
    ...     mem.names()
    ...     mem.unlink()
    []
    """

    def __init__(
        self,
        name: str,
        size: int | None = None,
        *,
        version: int = 2,
        max_entries: int = DEFAULT_SLOTS,
    ) -> None:
        if size is None:
            self._hold(*_open(name, READY_TIMEOUT))
        else:
            self._hold(*_open_or_create(name, size, version, max_entries))

    @classmethod
    def create(
        cls,
        name: str,
        size: int,
        *,
        version: int = 2,
        max_entries: int = DEFAULT_SLOTS,
        mode: int = 0o666,
    ) -> Self:
        """Create a segment that must not exist; *mode* is its file mode before the umask.

        Raises:
            SegmentExistsError: the name is taken. Else as the constructor.
        """
        memory = cls.__new__(cls)
        memory._hold(*_create(name, size, version, max_entries, mode))
        return memory

    @classmethod
    def open(cls, name: str, *, timeout: float = READY_TIMEOUT) -> Self:
        """Open a segment that must exist.

        Args:
            timeout: seconds to wait for one that somebody is still making.

        Raises:
            SegmentNotReadyError: it was not finished, and did not grow, for *timeout*.
                Else as the constructor.
        """
        memory = cls.__new__(cls)
        memory._hold(*_open(name, timeout))
        return memory

    @staticmethod
    def remove(name: str) -> None:
        """Unlink a segment without opening it, for instance a damaged one.

        Raises:
            SegmentNotFoundError: there is no such segment.
        """
        _segment.unlink(name)

    def _hold(self, segment: Segment, table: Table) -> None:
        self._segment = segment
        self._table: Table | None = table

    # --- discovery ---

    def names(self) -> list[str]:
        """Return the names of the structures, in the order of creation, at some moment.

        Where processes wait is no structure, so ".wait" is not among them.
        """
        return [entry.name for entry in self.table.entries() if entry.name != WAIT_ENTRY]

    def find(self, name: str) -> Entry | None:
        """Return the table's entry for *name*, or None.

        Raises:
            SegmentFormatError: the entry points outside the segment.
        """
        return self.table.find(name)

    def entry(self, name: str) -> Entry:
        """Return the table's entry for *name*.

        Raises:
            StructureNotFoundError: there is none.
            SegmentFormatError: the entry points outside the segment.
        """
        entry = self.find(name)
        if entry is None:
            raise StructureNotFoundError(
                f"segment {self.name!r} has no structure of this name: {name!r}"
            )
        return entry

    def __contains__(self, name: object) -> bool:
        return any(entry.name == name for entry in self.table.entries())

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.table.entries())

    # --- what structures are made with ---

    def add(self, name: str, size: int, prepare: Callable[[memoryview], object]) -> Entry:
        """Create a structure that must not exist; see `Table.add`."""
        with self._segment.locked():
            return self.table.add(name, size, prepare)

    def find_or_add(self, name: str, size: int, prepare: Callable[[memoryview], object]) -> Entry:
        """Find a structure, or create it: among our processes exactly one does."""
        entry = self.find(name)
        if entry is not None:
            return entry
        with self._segment.locked():
            return self.find(name) or self.table.add(name, size, prepare)

    def add_all(self, parts: Sequence[Part]) -> list[Entry]:
        """Create a structure of several parts, all or none; see `Table.add_all`."""
        with self._segment.locked():
            return self.table.add_all(parts)

    def find_or_add_all(self, parts: Sequence[Part]) -> list[Entry]:
        """Find a structure of several parts, or create it: exactly one process does."""
        names = [part.name for part in parts]
        found = self.find_all(names)
        if found is not None:
            return found
        with self._segment.locked():
            return self.find_all(names) or self.table.add_all(parts)

    def find_all(self, names: Sequence[str]) -> list[Entry] | None:
        """Return the entries of all parts of a structure, or None if there is none of them.

        Raises:
            SegmentFormatError: some are missing: their creator died, or did not fit them in.
        """
        missing: list[str] = []
        for _ in pauses():  # a peer may be about to add the rest
            entries = [self.find(name) for name in names]
            missing = [name for name, entry in zip(names, entries, strict=True) if entry is None]
            if not missing:
                return [entry for entry in entries if entry is not None]
            if len(missing) == len(names):
                return None
        raise SegmentFormatError(
            f"segment {self.name!r} has only a part of this structure: {missing} missing"
        )

    def view(self, entry: Entry) -> memoryview:
        """Return the bytes of a structure, writable; they stay valid after `close`."""
        return self.buf[entry.offset : entry.offset + entry.size]

    # --- queries ---

    @property
    def name(self) -> str:
        """The segment's name, without a leading slash."""
        return self._segment.name

    @property
    def size(self) -> int:
        """Bytes of the segment."""
        return self._segment.size

    @property
    def version(self) -> int:
        """The format version, 1 or 2."""
        return self.table.version

    @property
    def buf(self) -> memoryview:
        """All the segment's bytes, writable."""
        return self._segment.buf

    @property
    def table(self) -> Table:
        """The table of names.

        Raises:
            ClosedError: the memory was closed here.
        """
        if self._table is None:
            raise ClosedError(f"memory {self.name!r} is closed")
        return self._table

    # --- lifetime ---

    def close(self) -> None:
        """Detach this handle. Arrays made from it stay valid; closing twice is fine."""
        self._table = None
        self._segment.close()

    def unlink(self) -> None:
        """Remove the name, also after `close`; the bytes go when nobody uses them.

        Raises:
            SegmentNotFoundError: the name was gone already.
        """
        self._segment.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[Any, ...]]:
        return type(self).open, (self.name,)

    def __repr__(self) -> str:
        if self._table is None:
            return f"<Memory {self.name!r}, closed>"
        return (
            f"<Memory {self.name!r}, size={self.size}, version={self.version}, "
            f"entries={self.table.entry_count}/{self.table.max_entries}>"
        )


def _open_or_create(name: str, size: int, version: int, slots: int) -> tuple[Segment, Table]:
    while True:  # each turn somebody else created or unlinked the name in between
        try:
            segment, table = _open(name, READY_TIMEOUT)
        except SegmentNotFoundError:
            try:
                return _create(name, size, version, slots, 0o666)
            except SegmentExistsError:
                continue
        if table.memory_size < index(size):
            segment.close()
            raise CapacityError(
                f"segment {segment.name!r} exists, and size must be at most "
                f"{table.memory_size}: size={size}"
            )
        return segment, table


def _create(name: str, size: int, version: int, slots: int, mode: int) -> tuple[Segment, Table]:
    check_room(form_of(version), index(size), slots)
    if _segment.bare_name(name).startswith(RESERVED_PREFIX):
        raise InvalidNameError(
            f"names that begin with {RESERVED_PREFIX!r} belong to zeroipc.mp: name={name!r}"
        )
    segment = Segment(name, True, size, mode=mode)
    try:
        return segment, Table.create(segment.buf, version=version, max_entries=slots)
    except BaseException:  # Ctrl-C: a name without a table would only be in the way
        segment.close()
        segment.unlink()
        raise


def _open(name: str, timeout: float) -> tuple[Segment, Table]:
    segment = _await_ready(name, timeout)
    try:
        segment.reserve_holes()
        return segment, Table.open(segment.buf)
    except BaseException:
        segment.close()
        raise


def _await_ready(name: str, timeout: float) -> Segment:
    """Attach once the magic word is there."""
    # Reserving a large segment takes a while: the time counts from the last growth seen.
    deadline, seen = time.monotonic() + timeout, 0
    while True:
        try:
            return _attach_ready(name)
        except SegmentNotReadyError as error:
            if error.nbytes > seen:
                deadline, seen = time.monotonic() + timeout, error.nbytes
            if time.monotonic() >= deadline:
                raise
        time.sleep(_POLL)


def _attach_ready(name: str) -> Segment:
    segment = Segment(name)
    try:
        # Through the file: touching the mapping of a page not yet reserved may be SIGBUS.
        word = os.pread(segment.fd, TABLE.magic.nbytes, TABLE.magic.offset)
        if len(word) < TABLE.magic.nbytes:
            raise SegmentFormatError(
                f"truncated: segment {segment.name!r} must have a header: size={segment.size}"
            )
        check_magic(int.from_bytes(word, "little"))
        return segment
    except SegmentNotReadyError as error:
        nbytes = _segment.reserved_nbytes(segment.fd)
        segment.close()
        raise SegmentNotReadyError(
            f"segment {segment.name!r} is still being made, or its creator died: "
            f"then unlink it; {nbytes} bytes reserved so far",
            nbytes,
        ) from error
    except BaseException:
        segment.close()
        raise
