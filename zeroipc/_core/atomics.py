"""The one door to shared words.

A word is read or written by one item of a `memoryview.cast`: CPython copies an aligned item
of 1, 2, 4 or 8 bytes with a single move. Nothing here reads, changes and writes in one step,
and nothing needs it: words change under a lock, or have a single writer.

A process may be killed after any instruction, and an interpreter makes the stores of a
program in the order written; the death of a process is precise. For other processes on
machines that reorder stores, `_STORES_DRIFT` puts a fence before each one.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
from typing import Any, ClassVar

from .fields import Field, Layout

_STORES_DRIFT = platform.machine() not in ("x86_64", "i686", "i386", "AMD64")
_UNITS = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}

_libc = ctypes.PyDLL(None)
_counter = ctypes.create_string_buffer(64)
_libc.sem_init(_counter, 0, 0)
_post, _trywait = _libc.sem_post, _libc.sem_trywait


def fence() -> None:
    """Make every store before it visible before any load after it is done.

    Posting a private semaphore releases, waiting for it acquires; what is before the first
    cannot drift behind the last. Whatever interrupts this leaves the count too high at most.
    """
    for _ in range(2):
        _post(_counter)
        _trywait(_counter)


def release() -> None:
    """Make every store before it visible before any store after it, where that is not given.

    Stores to fields that do not repeat need no help: each comes with this.
    """
    if _STORES_DRIFT:
        fence()


class Mapping:
    """The bytes of an arena as words of each size."""

    def __init__(self, file: mmap.mmap) -> None:
        self.file = file
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(file))
        self.u8 = memoryview(file)
        words = self.u8[: len(file) // 8 * 8]
        self.u16 = words.cast("H")
        self.u32 = words.cast("I")
        self.u64 = words.cast("Q")


class Record:
    """A record of a layout in shared memory; each field is an attribute, of one load or store.

    A field that repeats is a memoryview of its words, a mutex is its address. Subclasses
    name their layout, and annotate its fields for readers and type checkers.
    """

    layout: ClassVar[Layout]

    def __init_subclass__(cls, layout: Layout) -> None:
        cls.layout = layout
        for field in layout.fields:
            setattr(cls, field.name, _attribute(field))

    def __init__(self, mapping: Mapping, at: int) -> None:
        self.mapping = mapping
        self.at = at

    def address(self, field: Field) -> int:
        """Return where a field lies in this process."""
        return self.mapping.address + self.at + field.offset

    def clear(self) -> None:
        """Set all bytes to zero."""
        nbytes = self.layout.nbytes
        self.mapping.u8[self.at : self.at + nbytes] = bytes(nbytes)


def _attribute(field: Field) -> Any:
    if field.ctype == "zi_mutex":
        return property(lambda record: record.mapping.address + record.at + field.offset)
    unit, offset = field.nbytes, field.offset
    words = _UNITS[unit]
    if field.length > 1:
        return property(lambda record: _words_at(record, words, unit, offset, field.length))
    return property(*_accessors(unit, offset))


def _words_at(record: Record, words: str, unit: int, offset: int, count: int) -> memoryview:
    first = (record.at + offset) // unit
    found: memoryview = getattr(record.mapping, words)[first : first + count]
    return found


def _accessors(unit: int, offset: int) -> tuple[Any, Any]:
    """Return how a word of *unit* bytes at *offset* is loaded and stored."""
    shift, ahead = unit.bit_length() - 1, offset // unit

    # Nothing is called between the subscript and the return: no signal handler can run between
    # a store and the statement after it, and callers rely on that.
    if unit == 4:

        def load(record: Record) -> int:
            return record.mapping.u32[(record.at >> 2) + ahead]

        def store(record: Record, value: int) -> None:
            record.mapping.u32[(record.at >> 2) + ahead] = value

    elif unit == 8:

        def load(record: Record) -> int:
            return record.mapping.u64[(record.at >> 3) + ahead]

        def store(record: Record, value: int) -> None:
            record.mapping.u64[(record.at >> 3) + ahead] = value

    else:
        words = _UNITS[unit]

        def load(record: Record) -> int:
            word: int = getattr(record.mapping, words)[(record.at >> shift) + ahead]
            return word

        def store(record: Record, value: int) -> None:
            getattr(record.mapping, words)[(record.at >> shift) + ahead] = value

    def store_in_order(record: Record, value: int) -> None:
        release()
        store(record, value)

    return load, store_in_order if _STORES_DRIFT else store
