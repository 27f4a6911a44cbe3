"""A fixed number of elements of one dtype in a named segment, as a NumPy array.

Callers   any number of processes and threads; elements have no lock
Progress  element access is NumPy's own, at NumPy's speed
Crash     a writer that dies may leave part of its elements written
Bytes     ARRAY, then the elements, see _core/layout.py
Source    SPECIFICATION.md, "Array"
"""

from __future__ import annotations

from operator import index
from typing import Any, Self, SupportsIndex

import numpy as np
from numpy.typing import DTypeLike

from ._core.layout import ARRAY, ARRAY_C
from ._core.named.element import checked_dtype
from ._form import load, store
from .errors import CapacityError, DTypeError, SegmentFormatError
from .memory import Memory
from .table import Entry


class Array(np.ndarray[Any, np.dtype[Any]]):
    """Elements in shared memory: find them by name, or create them.

    It is an ordinary one-dimensional `numpy.ndarray` over the segment: slices and reshaped
    views share the memory; results of arithmetic are plain arrays and scalars. It stays valid
    after `Memory.close`. Pickling it pickles its contents, as a plain array.

    Args:
        mem: the segment.
        name: of the array in the segment, 1 to 31 bytes.
        capacity: number of elements, at least 1. When given and the array is missing, it
            is created, all zero; when it exists, it must have exactly that many.
        dtype: of one element. The segment does not record it, so it must always be given;
            no objects, alignment at most 8.

    Raises:
        StructureNotFoundError: there is no such array, and no *capacity*.
        DTypeError: *dtype* cannot be shared, or not be that of the existing array.
        CapacityError: *capacity* is below 1, or not that of the existing array.
        SegmentFormatError: what is stored is not an array.
        SegmentFullError, TableFullError, NameTooLongError: it cannot be created.

    >>> with Memory("/example", 4096) as mem:
    ...     Array(mem, "squares", 3, np.int64)[:] = [1, 4, 9]
    ...     Array(mem, "squares", dtype=np.int64)[2]
    ...     mem.unlink()
    np.int64(9)
    """

    def __new__(
        cls,
        mem: Memory,
        name: str,
        capacity: int | None = None,
        dtype: DTypeLike | None = None,
    ) -> Self:
        """Find or create the array, as the class says."""
        element = checked_dtype(dtype)
        capacity = None if capacity is None else index(capacity)
        if capacity is None:
            entry = mem.entry(name)
        else:
            entry = _find_or_create(mem, name, capacity, element)
        count, start = _elements(mem.view(entry), entry, capacity, element)
        return super().__new__(cls, (count,), element, mem.buf, entry.offset + start)

    def __array_wrap__(
        self, array: np.ndarray[Any, Any], context: Any = None, return_scalar: bool = False
    ) -> Any:
        # Results of arithmetic: NumPy would call them Arrays, and sums 0-d Arrays.
        if array is self:  # a += 1, or out=a
            return array
        return array.view(np.ndarray) if array.ndim else array[()]

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return np.asarray(self).__reduce_ex__(protocol)

    def __reduce__(self) -> Any:
        return np.asarray(self).__reduce__()


def _find_or_create(mem: Memory, name: str, capacity: int, element: np.dtype[Any]) -> Entry:
    if capacity < 1:
        raise CapacityError(f"capacity must be at least 1: capacity={capacity}")

    def prepare(view: memoryview) -> None:
        np.frombuffer(view, np.uint8)[:] = 0
        store(view, ARRAY.capacity, capacity)

    return mem.find_or_add(name, ARRAY.nbytes + capacity * element.itemsize, prepare)


def _elements(
    view: memoryview, entry: Entry, capacity: int | None, element: np.dtype[Any]
) -> tuple[int, int]:
    """Return how many elements an array has and where they start in *view*."""
    if entry.size < ARRAY.nbytes:
        raise SegmentFormatError(f"not an array: its size must be at least 8: {entry}")
    count = load(view, ARRAY.capacity)
    if count < 1 or count > entry.size:
        raise SegmentFormatError(
            f"not an array: its capacity must be from 1 to its size: capacity={count}, {entry}"
        )
    if capacity is not None and capacity != count:
        raise CapacityError(
            f"array {entry.name!r} exists, and capacity must be {count}: capacity={capacity}"
        )
    nbytes = count * element.itemsize
    if entry.size == ARRAY.nbytes + nbytes:
        return count, ARRAY.nbytes
    if entry.size == ARRAY_C.nbytes + nbytes and load(view, ARRAY_C.elem_size) == element.itemsize:
        return count, ARRAY_C.nbytes
    raise _misfit(entry, count, element)


def _misfit(entry: Entry, count: int, element: np.dtype[Any]) -> DTypeError | SegmentFormatError:
    itemsize, rest = divmod(entry.size - ARRAY.nbytes, count)
    if rest:
        return SegmentFormatError(
            f"not an array: its size must be 8 + capacity * itemsize: capacity={count}, {entry}"
        )
    return DTypeError(
        f"array {entry.name!r} has elements of {itemsize} bytes: "
        f"dtype={element} has {element.itemsize}"
    )
