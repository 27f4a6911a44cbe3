"""A set of values in a named segment.

Callers   any number of readers and writers, in any process, thread and language
Progress  lock-free, but for a wait while somebody is in the midst of adding or removing the
          same value, or, to add one, an entry of its chain: some nanoseconds, unless it was stopped
Crash     one that dies in the midst of a change leaves its entry claimed: who needs it gets
          StalledError after a second, and repair() mends it; between operations nothing is torn
Bytes     SET, then entries of state and value, see _core/named/layout.py
Source    SPECIFICATION.md, "Set"

The protocol is that of a map whose values have no bytes, in _core/named/entries.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSet
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from ._core.named.element import Element, element_of
from ._core.named.layout import SET
from ._core.status import Status
from ._hashed import Elements, Hashed, new_part, packed
from .errors import DTypeError, OutOfRangeError
from .memory import Memory


class Set(Hashed, MutableSet[Any]):
    """Values without order or repetition, as in a `set`, of one dtype and a fixed capacity.

    What `Map` says of its keys is true of the values here: how they are equal, what iterating is
    worth while others change the set, and that of two processes that add one value while a
    third removes another, both may, so that it has to be removed twice. Operators such as `|`
    give a plain `set`.

    Args:
        mem: the segment.
        name: of the set in the segment, 1 to 31 bytes.
        capacity: most values, from 1. When given and the set is missing, it is created; when it
            exists, it must have that capacity.
        dtype: of a value. The segment does not record it, so it must always be given.

    Raises:
        StructureNotFoundError: there is no such set, and no *capacity*.
        DTypeError: *dtype* cannot be shared, or does not fit the existing entries.
        CapacityError: *capacity* is out of range, or not that of the existing set.
        SegmentFormatError: what is stored is not a set.
        SegmentFullError, TableFullError, NameTooLongError: it cannot be created.

    All operations raise DTypeError or OutOfRangeError for a value that the dtype cannot hold
    (only `in` answers False), and StalledError when another process is stuck.

    >>> with Memory("/example", 4096) as mem:
    ...     seen = Set(mem, "seen", 16, np.int64)
    ...     seen.insert(7), seen.insert(7), 7 in seen, seen | {8}
    ...     mem.unlink()
    (True, False, True, {7, 8})
    """

    _kind = "set"

    def __init__(
        self,
        mem: Memory,
        name: str,
        capacity: int | None = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        self._take(element_of(dtype))
        self._find_or_create(mem, name, capacity, _elements(self._element))

    @classmethod
    def create(cls, mem: Memory, name: str, capacity: int, dtype: DTypeLike) -> Self:
        """Create a set that must not exist.

        Raises:
            NameExistsError: the name is taken. Else as the constructor.
        """
        made = cls.__new__(cls)
        made._take(element_of(dtype))
        elements = _elements(made._element)
        made._attach(mem, mem.add(*new_part(name, capacity, elements)), elements)
        return made

    @classmethod
    def open(cls, mem: Memory, name: str, dtype: DTypeLike) -> Self:
        """Open a set that must exist; raises as the constructor."""
        return cls(mem, name, None, dtype)

    def _take(self, element: Element) -> None:
        self._element, self.dtype = element, element.dtype

    # --- one value ---

    def __contains__(self, value: object) -> bool:
        try:
            found = self._core.find(value)
        except (DTypeError, OutOfRangeError):
            return False
        if type(found) is Status:
            found = self._settled(found, self._core.find, value)
        return found is True

    def add(self, value: Any) -> None:
        """Add *value*, which may be there already.

        Raises:
            NoRoomError: it is not there, and all entries are in use.
        """
        self._insert(value, None, False)

    def insert(self, value: Any) -> bool:
        """Add *value*; return whether it is new. Raises as `add`."""
        return self._insert(value, None, False)

    def try_insert(self, value: Any) -> bool:
        """Add *value* if that can be done now; return whether it is in the set.

        False: all entries are in use, or another process is writing one that this one needs.
        """
        return type(self._core.insert(value, None, False)) is not Status

    def erase(self, value: Any) -> bool:
        """Remove *value*; return whether it was there. Of several, exactly one gets True."""
        return type(self._erase(value)) is not Status

    def discard(self, value: Any) -> None:
        """Remove *value*, which need not be there."""
        self._erase(value)

    def remove(self, value: Any) -> None:
        """Remove *value*.

        Raises:
            KeyError: it is not there.
        """
        if not self.erase(value):
            raise KeyError(value)

    def pop(self) -> Any:
        """Remove some value and return it.

        Raises:
            KeyError: the set is empty.
        """
        for value in self:
            if self.erase(value):
                return value
        raise KeyError(f"{self._title} is empty")

    # --- many values ---

    def update(self, *others: Iterable[Any]) -> None:
        """Add all values of the *others*, sequences, sets or arrays of shape (n,).

        Raises:
            NoRoomError: not all fitted in; its attribute `done` says how many of one did.
        """
        for other in others:
            values = other if isinstance(other, np.ndarray) else tuple(other)
            self._insert_many(packed(values, self._element))

    def __iter__(self) -> Iterator[Any]:
        """Yield the values, in no order; see `Map` for what that is worth meanwhile."""
        return (value for value, _ in self._scan())

    def copy(self) -> set[Any]:
        """Return a plain set with what is in this one."""
        return set(self)

    @classmethod
    def _from_iterable(cls, values: Iterable[Any]) -> set[Any]:
        """Return the results of operators."""
        return set(values)

    # --- lifetime ---

    def _reopen(self) -> tuple[Any, ...]:
        return (self.dtype,)

    def _facts(self) -> str:
        return f"size={len(self)}/{self.capacity}, dtype={self.dtype}"


def _elements(element: Element) -> Elements:
    return Elements({SET.elem_size: element.nbytes}, element)
