"""Elements of a dtype that the user chose, to bytes and back.

Numbers of the machine's own types are packed here and in element.c to the same bytes, with
the same messages; everything else goes through NumPy, in both backends.

    what goes in                    what comes out
    integer, float, bool dtypes     int, float, bool
    bytes and str dtypes            bytes and str, without trailing NULs, as NumPy has it
    the rest                        what NumPy gives for an item of an array
"""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Callable
from operator import index
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ...errors import DTypeError, OutOfRangeError
from ..layout import MAX_ALIGN

GENERIC = "V"
_CODES = {
    **{f"i{n}": code for n, code in zip((1, 2, 4, 8), "bhiq", strict=True)},
    **{f"u{n}": code for n, code in zip((1, 2, 4, 8), "BHIQ", strict=True)},
    "f4": "f",
    "f8": "d",
    "b1": "?",
}


class Element(NamedTuple):
    """How elements of one dtype are stored: size and alignment in bytes.

    `code` is that of the module struct, or GENERIC; `pack` gives exactly `nbytes` bytes and
    `unpack` takes them.
    """

    dtype: np.dtype[Any]
    code: str
    nbytes: int
    align: int
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]


def element_of(dtype: DTypeLike | None) -> Element:
    """Return how elements of *dtype* are stored.

    Raises:
        DTypeError: it cannot be shared.
    """
    checked = checked_dtype(dtype)
    code = _CODES.get(f"{checked.kind}{checked.itemsize}", GENERIC)
    if not checked.isnative or checked.fields or checked.subdtype:
        code = GENERIC
    pack, unpack = _through_numpy(checked) if code == GENERIC else through_struct(code)
    if checked.kind == "S":
        pack, unpack = _plain_bytes(checked.itemsize, pack)
    return Element(checked, code, checked.itemsize, checked.alignment, pack, unpack)


def checked_dtype(dtype: DTypeLike | None) -> np.dtype[Any]:
    """Return *dtype* as a dtype that can be shared.

    Raises:
        DTypeError: it is missing, unknown, holds objects, or its elements have no bytes or
            an alignment above 8.
    """
    if dtype is None:
        raise DTypeError("dtype must be given: a segment does not record it")
    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise DTypeError(f"dtype must be one that NumPy knows: dtype={dtype!r}") from error
    if found.hasobject:
        raise DTypeError(f"dtype must not contain Python objects: dtype={found}")
    if found.itemsize == 0:
        raise DTypeError(f"dtype must have at least one byte: dtype={found}")
    if found.alignment > MAX_ALIGN:
        raise DTypeError(
            f"dtype must have an alignment of at most {MAX_ALIGN}: "
            f"dtype={found} has {found.alignment}"
        )
    return found


def through_struct(code: str) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    """Return how a number of this code of the module struct is packed and unpacked."""
    form = struct.Struct("<" + code)

    def unpack(raw: bytes) -> Any:
        return form.unpack(raw)[0]

    if code == "?":
        return lambda value: form.pack(bool(value)), unpack
    if code in "fd":
        narrow = ctypes.c_float if code == "f" else ctypes.c_double
        return lambda value: form.pack(narrow(_float(value)).value), unpack
    bits = 8 * form.size
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if code.islower() else (0, 2**bits - 1)
    return lambda value: form.pack(_integer(value, low, high)), unpack


def _float(value: Any) -> float:
    try:
        return math.ldexp(value, 0)  # float() would also take a str
    except TypeError:
        raise DTypeError(f"value must be a number: value={value!r}") from None


def _integer(value: Any, low: int, high: int) -> int:
    try:
        number = index(value)
    except TypeError:
        raise DTypeError(f"value must be an integer: value={value!r}") from None
    if not low <= number <= high:
        raise OutOfRangeError(f"value must be from {low} to {high}: value={number}")
    return number


def _through_numpy(dtype: np.dtype[Any]) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    plain = dtype.kind in "SUcfiub" and not dtype.subdtype
    check = _check_strings if _has_strings(dtype) else None

    def pack(value: Any) -> bytes:
        holder = np.zeros(1, dtype)  # zeros: padding is part of a key
        try:
            if check is not None:
                check(value, dtype)
            holder[0] = value
        except OutOfRangeError:
            raise
        except OverflowError as error:
            raise OutOfRangeError(f"value must fit {dtype}: value={value!r}") from error
        except (TypeError, ValueError) as error:
            raise DTypeError(f"value must be of {dtype}: value={value!r}") from error
        return holder.tobytes()

    def unpack(raw: bytes) -> Any:
        value = np.frombuffer(raw, dtype)[0]
        return value.item() if plain else value

    return pack, unpack


def _plain_bytes(
    nbytes: int, otherwise: Callable[[Any], bytes]
) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    """Return what NumPy does with bytes, sooner: they are the keys of many maps."""

    def pack(value: Any) -> bytes:
        if type(value) is bytes and len(value) <= nbytes:
            return value.ljust(nbytes, b"\0")
        return otherwise(value)

    return pack, lambda raw: raw.rstrip(b"\0")


def _has_strings(dtype: np.dtype[Any]) -> bool:
    """Return whether NumPy might cut a part of what is stored as *dtype*."""
    if dtype.fields:
        return any(_has_strings(kind) for kind, *_ in dtype.fields.values())
    return dtype.base.kind in "SU"


def _check_strings(value: Any, dtype: np.dtype[Any]) -> None:
    """Raise if NumPy would cut a string of *value* to make it fit *dtype*.

    Raises:
        OutOfRangeError: it would.
        TypeError: there is something else where a string belongs.
    """
    if dtype.names:
        parts = value.item() if isinstance(value, np.void) else value
        if isinstance(parts, tuple):  # else NumPy will refuse it
            for name, part in zip(dtype.names, parts, strict=False):
                _check_strings(part, dtype[name])
    elif dtype.subdtype:
        for part in np.asarray(value).ravel().tolist():
            _check_strings(part, dtype.base)
    elif dtype.kind in "SU":
        longest = dtype.itemsize // (4 if dtype.kind == "U" else 1)
        if len(value) > longest:
            raise OutOfRangeError(f"value must have at most {longest} items: value={value!r}")


def items_of(values: ArrayLike, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return *values* as a contiguous array of the dtype, shape (n,), without losing anything.

    Raises:
        DTypeError: they are of another kind.
        OutOfRangeError: they are integers that the dtype cannot hold, or strings longer than it.
    """
    if dtype.subdtype:
        return _arrays_of(values, dtype)
    if _has_strings(dtype) and getattr(values, "dtype", None) != dtype:
        values = _uncut(values, dtype)
    elif dtype.kind not in "biuf" and not isinstance(values, np.ndarray):
        values = np.array(values, dtype)
    given = np.asarray(values)
    if given.size == 0:
        return np.empty(0, dtype)
    integers = given.dtype.kind in "iu" and dtype.kind in "iu"
    if not integers and not np.can_cast(given.dtype, dtype, "same_kind"):
        raise DTypeError(f"values must be of {dtype}: dtype={given.dtype}")
    items = np.ascontiguousarray(given, dtype).reshape(-1)
    if integers and given.dtype != dtype and (items != given.reshape(-1)).any():
        raise OutOfRangeError(f"values must fit {dtype}: from {given.min()} to {given.max()}")
    return items


def check_out(out: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> None:
    """Raise unless *out* has the shape (n,) and the dtype, which may be one of arrays.

    Raises:
        DTypeError: it has not.
    """
    if np.dtype((out.dtype, out.shape[1:])) != dtype:
        raise DTypeError(f"out must have dtype {dtype}: dtype={out.dtype}, shape={out.shape}")


def _arrays_of(values: ArrayLike, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return *values*, shape (n, *dtype.shape), as n items that NumPy takes for raw bytes."""
    shape = np.shape(values)
    if shape[1:] != dtype.shape:
        raise DTypeError(f"values must have the shape (n, *{dtype.shape}): shape={shape}")
    return items_of(np.ravel(values), dtype.base).view(f"V{dtype.itemsize}")


def _uncut(values: Any, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return *values*, strings or structures with strings, as an array of *dtype*."""
    try:
        each = values.ravel().tolist() if isinstance(values, np.ndarray) else list(values)
        for value in each:
            _check_strings(value, dtype)
        return np.array(each, dtype)
    except (TypeError, ValueError) as error:
        if isinstance(error, OutOfRangeError):
            raise
        raise DTypeError(f"values must be of {dtype}: {error}") from error
