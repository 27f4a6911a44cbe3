"""How a layout is written down: fields, their offsets, and the record they make.

A `Layout` is a list of named fields, each naturally aligned, in the order in which
they are declared, like a C struct. It knows facts and checks, and has no behaviour:
`LATCH.count.offset`, `LATCH.nbytes`. `layout.py` holds the layouts themselves.
"""

from __future__ import annotations

from typing import Any, NamedTuple

LINE = 64
"""Bytes of a cache line on x86-64 and most aarch64: words that different sides write
are kept this far apart, or each write would stall the other side's reads."""


class Field(NamedTuple):
    """One field: its name, C type, width and alignment in bytes, and what it means."""

    name: str
    ctype: str
    nbytes: int
    align: int
    doc: str = ""
    length: int = 1
    offset: int = -1

    @property
    def end(self) -> int:
        """The offset just behind the field."""
        return self.offset + self.nbytes * self.length


def _scalar(ctype: str, nbytes: int) -> Any:
    def declare(name: str, doc: str = "", *, count: int = 1, line: bool = False) -> Field:
        return Field(name, ctype, nbytes, LINE if line else nbytes, doc, count)

    return declare


U8 = _scalar("uint8_t", 1)
U16 = _scalar("uint16_t", 2)
U32 = _scalar("uint32_t", 4)
I32 = _scalar("int32_t", 4)
U64 = _scalar("uint64_t", 8)


def Chars(name: str, nbytes: int, doc: str = "") -> Field:  # noqa: N802 - reads as a type
    """Declare *nbytes* raw bytes."""
    return Field(name, "char", 1, 1, doc, nbytes)


def Mutex(name: str, doc: str = "") -> Field:  # noqa: N802 - reads as a type
    """Declare a robust process-shared pthread mutex: it begins a cache line.

    48 bytes hold glibc's mutex on every architecture (40 on x86-64, 48 on aarch64).
    """
    return Field(name, "zi_mutex", 48, LINE, doc)


class Layout:
    """A record of fields at fixed offsets; each field is an attribute.

    Args:
        name: the C name of the record, in lower case.
        fields: in order; each is placed at the next multiple of its alignment.
        nbytes: the size of the record; by default the end of the last field, rounded
            up to the largest alignment.
        doc: one sentence for the specification.
    """

    def __init__(
        self, name: str, fields: tuple[Field, ...], *, nbytes: int = 0, doc: str = ""
    ) -> None:
        self.name = name
        self.doc = doc
        self.fields: tuple[Field, ...] = ()
        end = 0
        for field in fields:
            placed = field._replace(offset=round_up(end, field.align))
            self.fields += (placed,)
            end = placed.end
        self.align = max(field.align for field in fields)
        self.nbytes = nbytes or round_up(end, self.align)
        if self.nbytes < end:
            raise ValueError(f"{name}: fields end at {end}, beyond nbytes={nbytes}")

    def __getattr__(self, name: str) -> Field:
        fields: tuple[Field, ...] = self.__dict__.get("fields", ())
        for field in fields:
            if field.name == name:
                return field
        raise AttributeError(name)


def round_up(value: int, align: int) -> int:
    """Return *value* rounded up to a multiple of *align*."""
    return -(-value // align) * align
