"""What queues, stacks, rings and pools share: a capacity, and elements of one dtype."""

from __future__ import annotations

from abc import ABC, abstractmethod
from operator import index
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from ._core.named.element import Element, element_of
from ._structure import Structure
from .errors import CapacityError
from .memory import Memory
from .table import Entry, Part


class Elements(Structure, ABC):
    """A structure that has room for so many elements; found by its name, or created.

    Subclasses say how one is laid out, what a stored one has room for, and what they hold.
    """

    capacity: int
    dtype: np.dtype[Any]

    def __init__(
        self,
        mem: Memory,
        name: str,
        capacity: int | None = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        element = element_of(dtype)
        if capacity is None:
            self._attach(mem, mem.entry(name), element)
        else:
            size = self._size(index(capacity), element)
            entry = mem.find_or_add(*self._part(name, size, element))
            self._attach(mem, entry, element, size)

    @classmethod
    def create(cls, mem: Memory, name: str, capacity: int, dtype: DTypeLike) -> Self:
        """Create one that must not exist.

        Raises:
            NameExistsError: the name is taken. Else as the constructor.
        """
        element = element_of(dtype)
        part = cls._part(name, cls._size(index(capacity), element), element)
        made = cls.__new__(cls)
        made._attach(mem, mem.add(*part), element)
        return made

    @classmethod
    def open(cls, mem: Memory, name: str, dtype: DTypeLike) -> Self:
        """Open one that must exist; raises as the constructor."""
        found = cls.__new__(cls)
        found._attach(mem, mem.entry(name), element_of(dtype))
        return found

    def _attach(
        self, mem: Memory, entry: Entry, element: Element, capacity: int | None = None
    ) -> None:
        stored = self._stored_capacity(mem.view(entry), entry, element)
        if capacity not in (None, stored):
            kind = type(self).__name__.lower()
            raise CapacityError(
                f"{kind} {entry.name!r} exists, and capacity must be {stored}: capacity={capacity}"
            )
        self._hold(mem, entry.name)
        self._entry = entry
        self.capacity = stored
        self.dtype = element.dtype
        self._begin(entry.offset, element)

    @staticmethod
    @abstractmethod
    def _size(capacity: int, element: Element) -> int:
        """Return what a new one has room for; raises CapacityError."""

    @staticmethod
    @abstractmethod
    def _part(name: str, capacity: int, element: Element) -> Part:
        """Return what is to be added to a segment for a new one."""

    @staticmethod
    @abstractmethod
    def _stored_capacity(view: memoryview, entry: Entry, element: Element) -> int:
        """Return what a stored one has room for; raises unless it is one, of such elements."""

    @abstractmethod
    def _begin(self, offset: int, element: Element) -> None:
        """Make the core, of what is at an offset of the segment."""

    def _reopen(self) -> tuple[Any, ...]:
        return (self.dtype,)
