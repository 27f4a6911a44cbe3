"""The table at the start of a segment: which structure lies where.

Callers   readers in any process; one writer at a time (`Memory` holds the segment's lock)
Progress  reading never blocks, but may wait a moment for a peer that is adding a name
Crash     an entry counts only once it is complete; a writer that dies wastes some space
Bytes     TABLE and ENTRY, or TABLE_V1 and ENTRY_V1, see _core/layout.py
Source    SPECIFICATION.md, "Table"

A writer goes in this order, so that no reader ever sees half of it:

1. give the structure its first bytes, in space that nobody knows yet;
2. write the entry behind the last one;
3. move next_offset behind the structure;
4. add 1 to entry_count: now the name exists.

Nothing that is read is believed: every count, offset and size is compared with the
segment's bounds before use, because the segment may be damaged or hostile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from operator import index
from typing import NamedTuple

from ._core.fields import round_up
from ._core.layout import DEFAULT_SLOTS, ENTRY, MAGIC, MAX_ALIGN, TABLE, TABLE_V1
from ._core.named.directory import Directory
from ._form import (
    V1,
    V2,
    Form,
    check_magic,
    check_room,
    form_of,
    format_of,
    limit_of,
    load,
    store,
    stored_form,
    stored_slots,
)
from .errors import (
    CapacityError,
    InvalidNameError,
    NameExistsError,
    NameTooLongError,
    SegmentFormatError,
    SegmentFullError,
    TableFullError,
)

PEER_TIMEOUT = 0.1
"""Seconds to wait for a peer in C++ between counting an entry and filling it in."""

_POLL = 0.001
_NAME_MAX = ENTRY.entry_name.length - 1


class Entry(NamedTuple):
    """Where a structure lies: *offset* and *size* in bytes from the segment's start."""

    name: str
    offset: int
    size: int


class Part(NamedTuple):
    """What is to be added: *prepare* gives its bytes their first values."""

    name: str
    size: int
    prepare: Callable[[memoryview], object]


class Table:
    """The names in a segment. `Table.create` makes one, `Table.open` checks and reads one."""

    def __init__(self, buf: memoryview, form: Form, slots: int, memory_size: int) -> None:
        self._buf = buf
        self._form = form
        self.max_entries = slots
        self.memory_size = memory_size

    @classmethod
    def create(
        cls, buf: memoryview, *, version: int = 2, max_entries: int = DEFAULT_SLOTS
    ) -> Table:
        """Write an empty table at the start of *buf*, a zeroed segment; magic goes last.

        Raises:
            VersionError: *version* is neither 2 nor 1.
            CapacityError: *max_entries* is below 1, or the table does not fit.
        """
        form = form_of(version)
        check_room(form, len(buf), max_entries)
        table = cls(buf, form, max_entries, min(len(buf), limit_of(form)))
        store(buf, form.header.version, version)
        store(buf, form.header.entry_count, 0)
        store(buf, form.header.next_offset, form.end(max_entries))
        if form is V2:
            store(buf, TABLE.max_entries, max_entries)
            store(buf, TABLE.memory_size, len(buf))
        # [segment.ready] pairs with check_magic: whoever sees the magic sees the rest. On
        # x86-64 stores become visible in the order in which they are made.
        store(buf, form.header.magic, MAGIC)
        return table

    @classmethod
    def open(cls, buf: memoryview) -> Table:
        """Return the table at the start of *buf*, a whole segment, of any known form.

        Raises:
            SegmentNotReadyError: the magic word is not there yet.
            SegmentFormatError: it is foreign, truncated or damaged.
            VersionError: its version is neither 2 nor 1.
        """
        if len(buf) < TABLE_V1.nbytes:
            raise SegmentFormatError(f"truncated: a segment must have a header: size={len(buf)}")
        check_magic(load(buf, TABLE_V1.magic))
        form = stored_form(buf)
        if len(buf) < form.header.nbytes:
            raise SegmentFormatError(f"truncated: a segment must have a header: size={len(buf)}")
        memory_size = min(len(buf), limit_of(form))
        if form is not V1:
            memory_size = load(buf, TABLE.memory_size)
        if memory_size > len(buf):
            raise SegmentFormatError(
                f"truncated: the segment must have {memory_size} bytes: size={len(buf)}"
            )
        table = cls(buf, form, stored_slots(buf, form), memory_size)
        table.check()
        return table

    def check(self) -> None:
        """Raise SegmentFormatError unless the header makes sense.

        The invariant: table end <= next_offset <= memory_size, entry_count <= slots.
        """
        end, free = self._form.end(self.max_entries), self.next_offset
        if not end <= free <= self.memory_size:
            raise SegmentFormatError(
                f"damaged: next_offset must be from {end} to {self.memory_size}: {free}"
            )
        _ = self.entry_count

    @property
    def version(self) -> int:
        """The format version, 1 or 2."""
        return self._form.version

    @property
    def directory(self) -> Directory:
        """Where the entries are, for the core."""
        header, entry = self._form.header, self._form.entry
        return Directory(header.entry_count.offset, header.nbytes, entry.nbytes, self.max_entries)

    @property
    def entry_count(self) -> int:
        """The number of entries, at some moment."""
        count = load(self._buf, self._form.header.entry_count)
        if count > self.max_entries:
            raise SegmentFormatError(
                f"damaged: entry_count must be at most {self.max_entries}: {count}"
            )
        return count

    @property
    def next_offset(self) -> int:
        """The first byte that was never handed out, at some moment."""
        return load(self._buf, self._form.header.next_offset)

    def entries(self) -> list[Entry]:
        """Return the entries in the order of creation, as stored: *not* bounds-checked."""
        layout = self._form.entry
        start = self._form.header.nbytes
        raw = bytes(self._buf[start : start + self.entry_count * layout.nbytes])
        stored = (Entry(_text(name), *rest) for name, *rest in format_of(layout).iter_unpack(raw))
        # A peer in C++ counts an entry before it writes the name.
        return [entry for entry in stored if entry.name]

    def find(self, name: str) -> Entry | None:
        """Return the first entry called *name*, within the segment's bounds, or None.

        Raises:
            SegmentFormatError: the entry points outside the segment.
        """
        for _ in pauses():
            entry = next((entry for entry in self.entries() if entry.name == name), None)
            if entry is None or entry.offset:  # else a peer is just about to write it
                break
        if entry is not None:
            self._check_entry(entry)
        return entry

    def _check_entry(self, entry: Entry) -> None:
        start, stop = self._form.end(self.max_entries), self.memory_size
        sound = start <= entry.offset and entry.offset + entry.size <= stop
        if not sound or entry.offset % MAX_ALIGN:
            raise SegmentFormatError(
                f"damaged: a structure must start at a multiple of {MAX_ALIGN} and lie "
                f"from {start} to {stop}: {entry}"
            )

    def add(self, name: str, size: int, prepare: Callable[[memoryview], object]) -> Entry:
        """Add a structure of *size* bytes; the caller holds the segment's lock.

        Args:
            name: UTF-8, 1 to 31 bytes, no NUL.
            size: bytes, at least 0.
            prepare: gets the structure's bytes, which may hold anything, and gives them
                their first values, before anybody can find them. If it raises, nothing
                has been added.

        Raises:
            InvalidNameError, NameTooLongError: the name cannot be stored.
            NameExistsError, TableFullError, SegmentFullError: as they say; nothing has
                changed.
        """
        return self.add_all([Part(name, size, prepare)])[0]

    def add_all(self, parts: Sequence[Part]) -> list[Entry]:
        """Add the parts of one structure, in their order: all of them, or none.

        The caller holds the segment's lock.

        Raises:
            As `add`.
        """
        for part in parts:
            self._check_part(part)
        entries = self._place(parts)
        for part, entry in zip(parts, entries, strict=True):
            part.prepare(self._buf[entry.offset : entry.offset + entry.size])
        self._append(entries)
        return entries

    def _check_part(self, part: Part) -> None:
        _raw_name(part.name)
        if index(part.size) < 0:
            raise CapacityError(f"size must not be negative: size={part.size}")
        if self.find(part.name) is not None:
            raise NameExistsError(
                f"the segment already has a structure of this name: {part.name!r}"
            )

    def _place(self, parts: Sequence[Part]) -> list[Entry]:
        """Return where the parts will lie; raise unless there are bytes and slots for all."""
        self.check()
        entries, end = [], self.next_offset
        for part in parts:
            entries.append(Entry(part.name, round_up(end, MAX_ALIGN), part.size))
            end = entries[-1].offset + part.size
        names = ", ".join(repr(part.name) for part in parts)
        if end > self.memory_size:
            start = entries[0].offset
            raise SegmentFullError(
                f"the segment has no room for {names}: asked={end - start} bytes, "
                f"free={max(self.memory_size - start, 0)} bytes"
            )
        if self.entry_count + len(parts) > self.max_entries:
            raise TableFullError(
                f"the table has {self.max_entries} slots, {self.entry_count} of them taken: "
                f"no room for {names}"
            )
        return entries

    def _append(self, entries: Sequence[Entry]) -> None:
        buf, (_, header, layout) = self._buf, self._form
        count = self.entry_count
        for i, entry in enumerate(entries, count):
            base = header.nbytes + i * layout.nbytes
            start = base + layout.entry_name.offset
            raw = _raw_name(entry.name)
            buf[start : start + len(raw)] = raw
            store(buf, layout.offset, entry.offset, base)
            store(buf, layout.size, entry.size, base)
        # Before the count: a writer that dies in between wastes space, where the other
        # order would hand out the same bytes twice.
        store(buf, header.next_offset, entries[-1].offset + entries[-1].size)
        # [table.add] pairs with the load in entry_count: who counts an entry sees it whole,
        # and all parts of a structure.
        store(buf, header.entry_count, count + len(entries))


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _raw_name(name: str) -> bytes:
    """Return *name* as stored: NUL-padded bytes."""
    if not isinstance(name, str):
        raise TypeError(f"name must be a str: name={name!r}")
    try:
        raw = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise InvalidNameError(f"name must be encodable in UTF-8: name={name!r}") from error
    if not raw or b"\0" in raw:
        raise InvalidNameError(f"name must not be empty or contain NUL: name={name!r}")
    if len(raw) > _NAME_MAX:
        raise NameTooLongError(
            f"a structure's name must have at most {_NAME_MAX} bytes: name={name!r} has {len(raw)}"
        )
    return raw.ljust(ENTRY.entry_name.length, b"\0")


def pauses(seconds: float | None = None) -> Iterator[None]:
    """Yield at once, then after each pause, until *seconds*, or PEER_TIMEOUT, have passed."""
    deadline = time.monotonic() + (PEER_TIMEOUT if seconds is None else seconds)
    yield
    while time.monotonic() < deadline:
        time.sleep(_POLL)
        yield
