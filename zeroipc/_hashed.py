"""What maps and sets share: entries found by hash, their checks, waiting and repair."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from operator import index
from typing import Any, NamedTuple

import numpy as np

from . import _backend
from ._core.fields import Field
from ._core.named.element import GENERIC, Element, items_of
from ._core.named.entries_shape import (
    HEADER_NBYTES,
    STATE_NBYTES,
    Shape,
    entries_clear,
    entries_nbytes,
    entries_repair,
    shape_of,
)
from ._core.named.layout import MAP
from ._core.status import Status
from ._form import load, store
from ._structure import Structure, checked_capacity
from .errors import CapacityError, DTypeError, NoRoomError, SegmentFormatError
from .memory import Memory
from .table import Entry, Part

MISSING: Any = object()


class Elements(NamedTuple):
    """What the entries hold, and what the header says of its size."""

    sizes: dict[Field, int]
    key: Element
    value: Element | None = None

    @property
    def shape(self) -> Shape:
        """Where state, key and value lie in an entry."""
        return shape_of(self.key, self.value)


class Hashed(Structure):
    """A map, or a set, which is a map whose values have no bytes."""

    capacity: int
    _kind: str

    def _find_or_create(
        self, mem: Memory, name: str, capacity: int | None, elements: Elements
    ) -> None:
        if capacity is None:
            self._attach(mem, mem.entry(name), elements)
        else:
            entry = mem.find_or_add(*new_part(name, capacity, elements))
            self._attach(mem, entry, elements, index(capacity))

    def _attach(
        self, mem: Memory, entry: Entry, elements: Elements, capacity: int | None = None
    ) -> None:
        stored = _stored_capacity(mem.view(entry), entry, elements, self._kind)
        if capacity not in (None, stored):
            raise CapacityError(
                f"{self._kind} {entry.name!r} exists, and capacity must be {stored}: "
                f"capacity={capacity}"
            )
        self._hold(mem, entry.name)
        self._entry, self._shape = entry, elements.shape
        self.capacity = stored
        self._changed = self._bell(entry.offset + MAP.size.offset)
        self._core = _backend.named.Entries(
            self._buf, entry.offset, stored, elements.key, elements.value, self._changed
        )

    # --- waiting: only for somebody who is in the midst of an operation ---

    def _settled(self, answer: Any, attempt: Callable[..., Any], *args: Any) -> Any:
        """Return the first answer of an attempt that is not BUSY, beginning with *answer*.

        Raises:
            StalledError: another process is stuck in an entry that this one needs.
            SegmentFormatError: an entry is damaged.
        """
        if answer is Status.BUSY or answer is Status.DAMAGED:
            wrapped = partial(_wrapped, attempt, args)
            (answer,) = self._wait(wrapped, self._changed, None)  # type: ignore[misc]
        return answer

    def _erase(self, key: Any) -> Any:
        """Return the value of the erased key, or EMPTY."""
        value = self._core.erase(key)
        if type(value) is Status:
            value = self._settled(value, self._core.erase, key)
        return value

    def _insert(self, key: Any, value: Any, replace: bool) -> bool:
        """Return whether the key is new."""
        added = self._core.insert(key, value, replace)
        if type(added) is Status:
            added = self._settled(added, self._core.insert, key, value, replace)
            if type(added) is Status:
                raise NoRoomError(f"{self._title} has {self.capacity} entries, all in use")
        return bool(added)

    def _insert_many(
        self, keys: np.ndarray[Any, Any], values: np.ndarray[Any, Any] | None = None
    ) -> None:
        """Insert or replace keys; both are the bytes of elements, shape (n, nbytes)."""
        done = 0
        while done < len(keys):
            rest = b"" if values is None else values[done:]
            attempt = partial(self._try_many, keys[done:], rest)
            moved = self._settled(attempt(), attempt)
            if type(moved) is Status:
                raise NoRoomError(f"{self._title} has {self.capacity} entries, all in use", done)
            done += moved

    def _try_many(self, keys: Any, values: Any) -> int | Status:
        status, done = self._core.insert_many(keys, values)
        return done or status  # type: ignore[no-any-return]

    def _scan(self) -> Iterator[tuple[Any, Any]]:
        """Yield the entries one by one; each is whole, all together are of no one moment."""
        at, scan = 0, self._core.scan
        while True:
            found = scan(at)
            if type(found) is Status:
                found = self._settled(found, scan, at)
                if type(found) is Status:
                    return
            at, key, value = found
            yield key, value

    # --- the whole ---

    def __len__(self) -> int:
        """Return how many keys there are, at some moment."""
        return int(self._core.size())

    def clear(self) -> None:
        """Make it as new, when nobody else is using it."""
        entries_clear(self._mem.view(self._entry), self.capacity, self._shape)

    def repair(self) -> int:
        """Make it usable again after deaths, when nobody else is using it.

        Entries that were being written or erased by the dead are gone, all others stay.

        Returns:
            How many entries were lost.
        """
        return entries_repair(self._mem.view(self._entry), self.capacity, self._shape)


def _wrapped(attempt: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Return the answer of an attempt in a tuple, or why to wait."""
    answer = attempt(*args)
    return answer if answer is Status.BUSY or answer is Status.DAMAGED else (answer,)


def packed(values: Any, element: Element) -> np.ndarray[Any, Any]:
    """Return the bytes of elements, a sequence or array, as an array of shape (n, nbytes).

    Raises:
        DTypeError, OutOfRangeError: the dtype cannot hold them.
    """
    raw = None
    plain = element.code != GENERIC  # structs one by one: pack leaves padding zero
    if plain or (not element.dtype.fields and getattr(values, "dtype", None) == element.dtype):
        with suppress(DTypeError):  # NumPy makes floats of [0, 2**64 - 1]
            raw = items_of(values, element.dtype).view(np.uint8)
    if raw is None:
        raw = np.frombuffer(b"".join(map(element.pack, values)), np.uint8)
    return raw.reshape(-1, element.nbytes)


def new_part(name: str, capacity: int, elements: Elements) -> Part:
    """Return what is to be added to a segment for a new map or set."""
    count = checked_capacity(index(capacity))

    def prepare(view: memoryview) -> None:
        np.frombuffer(view, np.uint8)[:] = 0
        store(view, MAP.capacity, count)
        for field, nbytes in elements.sizes.items():
            store(view, field, nbytes)

    return Part(name, entries_nbytes(count, elements.shape), prepare)


def _stored_capacity(view: memoryview, entry: Entry, elements: Elements, kind: str) -> int:
    """Return the capacity, checked with the sizes of elements against the dtypes and the entry."""
    if entry.size < HEADER_NBYTES:
        raise SegmentFormatError(f"not a {kind}: its size must be at least 16: {entry}")
    capacity = load(view, MAP.capacity)
    stored = {field: load(view, field) for field in elements.sizes}
    nbytes, rest = divmod(entry.size - HEADER_NBYTES, max(capacity, 1))
    if capacity == 0 or rest or nbytes < STATE_NBYTES + sum(stored.values()):
        raise SegmentFormatError(
            f"not a {kind}: {capacity} entries of {sum(stored.values())} bytes and a state "
            f"must fill its size: {entry}"
        )
    for field, size in elements.sizes.items():
        if stored[field] != size:
            raise DTypeError(
                f"{kind} {entry.name!r} has {field.name}={stored[field]}: "
                f"the dtype given has {size} bytes"
            )
    if nbytes != elements.shape.nbytes:
        raise DTypeError(
            f"{kind} {entry.name!r} has entries of {nbytes} bytes: the dtypes given, with their "
            f"alignment, make {elements.shape.nbytes}"
        )
    return capacity
