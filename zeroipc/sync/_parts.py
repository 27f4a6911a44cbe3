"""What the synchronisation structures have in common: parts that are added, entries checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from .._core.named.layout import SEMAPHORE
from .._form import store
from .._structure import Structure
from ..errors import SegmentFormatError, StructureNotFoundError
from ..memory import Memory
from ..table import Entry, Part


class Named(Structure):
    """A structure that needs nothing but a name: its constructor opens it or creates it."""

    def __init__(self, mem: Memory, name: str) -> None:
        self._attach(mem, mem.find_or_add_all(self._parts(name)))

    @classmethod
    def create(cls, mem: Memory, name: str) -> Self:
        """Create one that must not exist.

        Raises:
            NameExistsError: the name is taken. Else as the constructor.
        """
        made = cls.__new__(cls)
        made._attach(mem, mem.add_all(cls._parts(name)))
        return made

    @classmethod
    def open(cls, mem: Memory, name: str) -> Self:
        """Open one that must exist.

        Raises:
            StructureNotFoundError: it does not. Else as the constructor.
        """
        found = cls.__new__(cls)
        found._attach(mem, entries_of(mem, cls._parts(name)))
        return found

    @staticmethod
    def _parts(name: str) -> list[Part]:
        raise NotImplementedError

    def _attach(self, mem: Memory, entries: Sequence[Entry]) -> None:
        raise NotImplementedError


def entries_of(mem: Memory, parts: Sequence[Part]) -> list[Entry]:
    """Return the entries of a structure that must exist.

    Raises:
        StructureNotFoundError: it does not.
        SegmentFormatError: some of its parts are missing.
    """
    found = mem.find_all([part.name for part in parts])
    if found is None:
        raise StructureNotFoundError(
            f"segment {mem.name!r} has no structure of this name: {parts[-1].name!r}"
        )
    return found


def zeros(name: str, nbytes: int) -> Part:
    """Return a part that begins with zeros."""

    def prepare(view: memoryview) -> None:
        view[:] = bytes(nbytes)

    return Part(name, nbytes, prepare)


def permits(name: str, count: int, max_count: int) -> Part:
    """Return a part that is a semaphore."""

    def prepare(view: memoryview) -> None:
        view[:] = bytes(SEMAPHORE.nbytes)
        store(view, SEMAPHORE.count, count)
        store(view, SEMAPHORE.max_count, max_count)

    return Part(name, SEMAPHORE.nbytes, prepare)


def reset_permits(view: memoryview, count: int) -> None:
    """Give a semaphore *count* permits, and nobody who holds it or waits."""
    store(view, SEMAPHORE.owner, 0)
    store(view, SEMAPHORE.waiting, 0)
    store(view, SEMAPHORE.count, count)


def check_size(kind: str, entry: Entry, *nbytes: int) -> None:
    """Raise SegmentFormatError unless an entry has one of these sizes."""
    if entry.size not in nbytes:
        sizes = " or ".join(map(str, nbytes))
        raise SegmentFormatError(f"not a {kind}: its size must be {sizes}: {entry}")


def loads(view: memoryview, *fields: Any) -> list[int]:
    """Return signed words of 32 bits."""
    words = view.cast("i")
    return [words[field.offset // 4] for field in fields]
