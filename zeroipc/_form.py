"""The three forms of a table, and how its integers are read and written.

    version 2           TABLE, ENTRY        records slots and size
    version 1           TABLE_V1, ENTRY_V1  offsets of 32 bits; records neither
    version 1, wide     TABLE, ENTRY        the fields of version 2 under number 1

Which one a segment has is found out from its bytes, none of which is believed.
"""

from __future__ import annotations

import struct
from operator import index
from typing import Literal, NamedTuple

from ._core.fields import Field, Layout
from ._core.layout import DEFAULT_SLOTS, ENTRY, ENTRY_V1, MAGIC, TABLE, TABLE_V1
from .errors import CapacityError, SegmentFormatError, SegmentNotReadyError, VersionError

_CODES: dict[int, Literal["I", "Q"]] = {4: "I", 8: "Q"}


class Form(NamedTuple):
    """How a table is laid out: which version number, header and entries."""

    version: int
    header: Layout
    entry: Layout

    def end(self, slots: int) -> int:
        """Return the first byte behind a table of *slots* entries."""
        return self.header.nbytes + slots * self.entry.nbytes


V2 = Form(2, TABLE, ENTRY)
V1 = Form(1, TABLE_V1, ENTRY_V1)
V1_WIDE = Form(1, TABLE, ENTRY)  # releases that had version 2's fields under number 1


def load(buf: memoryview, field: Field, base: int = 0) -> int:
    """Return an integer field of the record at *base*, read in one piece."""
    start = base + field.offset
    return int(buf[start : start + field.nbytes].cast(_CODES[field.nbytes])[0])


def store(buf: memoryview, field: Field, value: int, base: int = 0) -> None:
    """Write an integer field of the record at *base*, in one piece."""
    start = base + field.offset
    buf[start : start + field.nbytes].cast(_CODES[field.nbytes])[0] = value


def check_magic(magic: int) -> None:
    """Raise unless *magic*, a segment's first word, says that it is one of ours."""
    if magic == 0:
        raise SegmentNotReadyError("the segment is still being made, or its creator died")
    if magic != MAGIC:
        raise SegmentFormatError(f"not a ZeroIPC segment: magic must be {MAGIC:#x}: {magic:#x}")


def form_of(version: int) -> Form:
    """Return the form in which we write *version*.

    Raises:
        VersionError: *version* is neither 2 nor 1.
    """
    if version not in (1, 2):
        raise VersionError(f"version must be 1 or 2: version={version}")
    return V2 if version == 2 else V1


def check_room(form: Form, size: int, slots: int) -> None:
    """Raise CapacityError unless a table of *slots* slots fits *size* bytes."""
    if index(slots) < 1:
        raise CapacityError(f"max_entries must be at least 1: max_entries={slots}")
    if form.end(slots) > size:
        raise CapacityError(
            f"size must be at least {form.end(slots)}, the table's, for "
            f"max_entries={slots}: size={size}"
        )
    if form is V1 and size > limit_of(V1):
        raise CapacityError(f"version 1 must have at most {limit_of(V1)} bytes: size={size}")


def stored_form(buf: memoryview) -> Form:
    version = load(buf, TABLE_V1.version)
    if version == 1 and _looks_wide(buf):
        return V1_WIDE
    if version not in (1, 2):
        raise VersionError(f"the segment's version must be 1 or 2: version={version}")
    return form_of(version)


def _looks_wide(buf: memoryview) -> bool:
    """Tell which form of version 1 this is, by the words where the first name would be."""
    if len(buf) < TABLE.nbytes or load(buf, TABLE.memory_size) != len(buf):
        return False
    return TABLE.nbytes <= load(buf, TABLE.next_offset) <= len(buf)


def stored_slots(buf: memoryview, form: Form) -> int:
    if form is not V1:
        slots = load(buf, TABLE.max_entries)
        if slots or form is V2:
            return slots or DEFAULT_SLOTS
    # Not recorded: the slots end where the first structure starts.
    end = load(buf, form.header.next_offset)
    if load(buf, form.header.entry_count) and len(buf) >= form.end(1):
        end = load(buf, form.entry.offset, form.header.nbytes)
    return max(end - form.header.nbytes, 0) // form.entry.nbytes


def limit_of(form: Form) -> int:
    """Return the largest offset that the form can store."""
    return int(2 ** (8 * form.entry.offset.nbytes) - 1)


def format_of(layout: Layout) -> struct.Struct:
    # "<" has no padding; none is needed, since all fields are naturally aligned.
    parts = (f"{field.length}{_CODES.get(field.nbytes, 's')}" for field in layout.fields)
    return struct.Struct("<" + "".join(parts))
