"""A map from keys to values in a named segment.

Callers   any number of readers and writers, in any process, thread and language
Progress  lock-free, but for a wait while somebody is in the midst of writing the same key,
          or, to store a new one, an entry of its chain: some nanoseconds, unless it was stopped
Crash     one that dies in the midst of a change leaves its entry claimed: who needs it gets
          StalledError after a second, and repair() mends it; a value is never torn
Bytes     MAP, then entries of state, key and value, see _core/named/layout.py
Source    SPECIFICATION.md, "Map"

The protocol is in _core/named/entries.py.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, MutableMapping, ValuesView
from itertools import chain
from typing import Any, Self

from numpy.typing import ArrayLike, DTypeLike

from ._core.named.element import element_of
from ._core.named.layout import MAP, MAP_VALUE_MAX
from ._core.status import Status
from ._hashed import MISSING, Elements, Hashed, new_part, packed
from .errors import CapacityError, DTypeError, OutOfRangeError
from .memory import Memory


class Map(Hashed, MutableMapping[Any, Any]):
    """Values by key, as in a `dict`, of two dtypes and a fixed capacity.

    Keys are integers, floats, bytes, str or structs; floats are equal by ==, so NaN is never
    found, structs by their bytes. Values have at most 8 bytes. Keys are found by their hash,
    the quicker the more entries are free; an erased entry is used again, but still costs a look.

    Every single operation is one step for all other processes. What goes over the whole map,
    such as `items()`, sees each entry whole, but not all at one moment: keys that come or go
    meanwhile may be seen or not. When one key is inserted by two processes while a third erases
    another one, it may get two entries: then one of them counts, and erasing it uncovers the
    other. Let each key be inserted by one process at a time to be sure that it does not happen.

    Args:
        mem: the segment.
        name: of the map in the segment, 1 to 31 bytes.
        capacity: most keys, from 1. When given and the map is missing, it is created; when it
            exists, it must have that capacity.
        key_dtype, value_dtype: the segment does not record them, so they must always be given.
            For structs that C++ shares, use `np.dtype([...], align=True)`.

    Raises:
        StructureNotFoundError: there is no such map, and no *capacity*.
        DTypeError: a dtype cannot be shared, is too large, or does not fit the existing entries.
        CapacityError: *capacity* is out of range, or not that of the existing map.
        SegmentFormatError: what is stored is not a map.
        SegmentFullError, TableFullError, NameTooLongError: it cannot be created.

    All operations on keys and values raise DTypeError or OutOfRangeError for one that its
    dtype cannot hold (only `in` answers False), and StalledError when another process is stuck.

    >>> with Memory("/example", 4096) as mem:
    ...     ages = Map(mem, "ages", 16, "S8", np.int32)
    ...     ages[b"ada"] = 36
    ...     ages[b"ada"], b"bob" in ages, dict(ages.items())
    ...     mem.unlink()
    (36, False, {b'ada': 36})
    """

    _kind = "map"

    def __init__(
        self,
        mem: Memory,
        name: str,
        capacity: int | None = None,
        key_dtype: DTypeLike | None = None,
        value_dtype: DTypeLike | None = None,
    ) -> None:
        self._take(_elements(key_dtype, value_dtype))
        self._find_or_create(mem, name, capacity, self._elements)

    @classmethod
    def create(
        cls, mem: Memory, name: str, capacity: int, key_dtype: DTypeLike, value_dtype: DTypeLike
    ) -> Self:
        """Create a map that must not exist.

        Raises:
            NameExistsError: the name is taken. Else as the constructor.
        """
        made = cls.__new__(cls)
        made._take(_elements(key_dtype, value_dtype))
        made._attach(mem, mem.add(*new_part(name, capacity, made._elements)), made._elements)
        return made

    @classmethod
    def open(cls, mem: Memory, name: str, key_dtype: DTypeLike, value_dtype: DTypeLike) -> Self:
        """Open a map that must exist; raises as the constructor."""
        return cls(mem, name, None, key_dtype, value_dtype)

    def _take(self, elements: Elements) -> None:
        assert elements.value is not None
        self._elements, self._value = elements, elements.value
        self.key_dtype, self.value_dtype = elements.key.dtype, elements.value.dtype

    # --- one key ---

    def __getitem__(self, key: Any) -> Any:
        """Return the value of *key*.

        Raises:
            KeyError: it is not there.
        """
        value = self._core.find(key)
        if type(value) is Status:
            value = self._settled(value, self._core.find, key)
            if type(value) is Status:
                raise KeyError(key)
        return value

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of *key*, or *default* if it is not there."""
        value = self._core.find(key)
        if type(value) is Status:
            value = self._settled(value, self._core.find, key)
            if type(value) is Status:
                return default
        return value

    def __contains__(self, key: object) -> bool:
        try:
            return self.get(key, MISSING) is not MISSING
        except (DTypeError, OutOfRangeError):
            return False

    def __setitem__(self, key: Any, value: Any) -> None:
        """Give *key* this value, whether it is there or not.

        Raises:
            NoRoomError: it is not there, and all entries are in use.
        """
        self._insert(key, value, True)

    def insert(self, key: Any, value: Any) -> bool:
        """Give *key* this value; return whether it is new. Raises as `map[key] = value`."""
        return self._insert(key, value, True)

    def try_insert(self, key: Any, value: Any) -> bool:
        """Give *key* this value if that can be done now; return whether it was done.

        False: all entries are in use, or another process is writing one that this one needs.
        """
        return type(self._core.insert(key, value, True)) is not Status

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Return the value of *key*, which is first inserted with *default* if it is not there.

        Raises:
            NoRoomError: it is not there, and all entries are in use.
        """
        while True:  # again when somebody erased it in between
            if self._insert(key, default, False):
                return self._value.unpack(self._value.pack(default))
            value = self.get(key, MISSING)
            if value is not MISSING:
                return value

    find = get

    def erase(self, key: Any) -> bool:
        """Erase *key*; return whether it was there."""
        return type(self._erase(key)) is not Status

    def __delitem__(self, key: Any) -> None:
        """Erase *key*.

        Raises:
            KeyError: it is not there.
        """
        if not self.erase(key):
            raise KeyError(key)

    def pop(self, key: Any, default: Any = MISSING) -> Any:
        """Erase *key* and return its value, or *default* if it is not there.

        Of several that pop one key, exactly one gets its value.

        Raises:
            KeyError: it is not there, and no *default* was given.
        """
        value = self._erase(key)
        if type(value) is not Status:
            return value
        if default is MISSING:
            raise KeyError(key)
        return default

    def popitem(self) -> tuple[Any, Any]:
        """Erase some key; return it and its value.

        Raises:
            KeyError: the map is empty.
        """
        for key in self:
            value = self._erase(key)
            if type(value) is not Status:
                return key, value
        raise KeyError(f"{self._title} is empty")

    # --- many keys ---

    def update(self, other: Any = (), /, **more: Any) -> None:
        """Insert all of a mapping, or of (key, value) pairs, one after the other.

        Raises:
            NoRoomError: not all fitted in; its attribute `done` says how many did.
        """
        pairs = other.items() if isinstance(other, Mapping) else _pairs(other)
        keys, values = tuple(zip(*chain(pairs, more.items()), strict=True)) or ((), ())
        self.insert_many(keys, values)

    def insert_many(self, keys: ArrayLike, values: ArrayLike) -> None:
        """Insert *keys* with their *values*, sequences or arrays of shape (n,), in order.

        Raises:
            As `update`; and CapacityError: there are not as many values as keys.
        """
        raw_keys = packed(keys, self._elements.key)
        raw_values = packed(values, self._value)
        if len(raw_keys) != len(raw_values):
            raise CapacityError(
                f"keys and values must be as many: {len(raw_keys)} and {len(raw_values)}"
            )
        self._insert_many(raw_keys, raw_values)

    def __iter__(self) -> Iterator[Any]:
        """Yield the keys, in no order; see the class for what that is worth meanwhile."""
        return (key for key, _ in self._scan())

    def items(self) -> ItemsView[Any, Any]:
        """Return a view of the keys and values."""
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        """Return a view of the values."""
        return _Values(self)

    def copy(self) -> dict[Any, Any]:
        """Return a plain dict with what is in the map."""
        return dict(self._scan())

    # --- lifetime ---

    def _reopen(self) -> tuple[Any, ...]:
        return (self.key_dtype, self.value_dtype)

    def _facts(self) -> str:
        return f"size={len(self)}/{self.capacity}, dtypes={self.key_dtype}: {self.value_dtype}"


class _Items(ItemsView[Any, Any]):
    _mapping: Map

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return self._mapping._scan()  # not by key: that may be gone when its value is asked for


class _Values(ValuesView[Any]):
    _mapping: Map

    def __iter__(self) -> Iterator[Any]:
        return (value for _, value in self._mapping._scan())


def _pairs(other: Any) -> Any:
    if hasattr(other, "keys"):  # as dict.update has it
        return ((key, other[key]) for key in other.keys())  # noqa: SIM118
    return other


def _elements(key_dtype: DTypeLike | None, value_dtype: DTypeLike | None) -> Elements:
    key, value = element_of(key_dtype), element_of(value_dtype)
    if value.nbytes > MAP_VALUE_MAX:
        raise DTypeError(
            f"a map's value must have at most {MAP_VALUE_MAX} bytes: "
            f"dtype={value.dtype} has {value.nbytes}"
        )
    return Elements({MAP.key_size: key.nbytes, MAP.value_size: value.nbytes}, key, value)
