"""How joblib's batches of calls travel to the workers, and their results back.

Everything is pickled by cloudpickle, both ways, since a joblib program may define its
functions and classes anywhere, in `__main__` without a guard too. The bytes of arrays are
left out of the pickle and cross in blocks of the arena. A large array that many batches
name, such as the samples of a grid search, is copied once, into a file in memory that every
worker maps; each sees a private, writable copy. An array that is mapped from a file
already is mapped from there again, as joblib has it.

Crash     files in memory belong to descriptors: they are gone when their processes are
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import uuid
import weakref
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np
from joblib._memmapping_reducer import _get_backing_memmap, _reduce_memmap_backed

from ..errors import UnpicklableError
from .worker import portable

if TYPE_CHECKING:
    from collections.abc import Callable

    Array = np.ndarray[Any, Any]

_INLINE_NBYTES = 4096
"""Buffers below this are copied into the pickle."""
_WRITE_NBYTES = 1 << 30
"""Most bytes of one write; Linux stops at 2 GB."""

Packed = tuple[bytes, list[Any]]
"""A pickle, and the buffers that were left out of it."""


class SharedCopy:
    """A copy of an array in a file in memory, which lives as long as this object.

    Raises:
        OSError: there is no memory for it, or no descriptor.
    """

    def __init__(self, array: Array) -> None:
        self.name = f"zeroipc-joblib-{uuid.uuid4().hex}"
        self.fd = os.memfd_create(self.name)
        weakref.finalize(self, os.close, self.fd)
        self.dtype, self.shape = array.dtype, array.shape
        self.order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        rows = array.T if self.order == "F" else np.ascontiguousarray(array)
        left = rows.reshape(-1).view(np.uint8).data
        while left.nbytes:
            left = left[os.write(self.fd, left[:_WRITE_NBYTES]) :]

    def reduced(self, writes_shared: bool) -> tuple[Callable[..., Array], tuple[Any, ...]]:
        """Return how to map it in another process."""
        how = os.getpid(), self.fd, self.name, self.dtype, self.shape, self.order, writes_shared
        return mapped, how


def mapped(
    pid: int, fd: int, name: str, dtype: Any, shape: Any, order: Any, writes_shared: bool
) -> Array:
    """Map the copy that process *pid* has open as *fd*.

    Raises:
        RuntimeError: that is not the file of this *name* any more.
    """
    own = os.open(f"/proc/{pid}/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
    try:
        if os.readlink(f"/proc/self/fd/{own}") != f"/memfd:{name} (deleted)":
            raise RuntimeError(f"the call of this array must not have ended: file={name}")
        memory = mmap.mmap(own, 0, mmap.MAP_SHARED if writes_shared else mmap.MAP_PRIVATE)
    finally:
        os.close(own)
    return np.ndarray(shape, dtype, buffer=memory, order=order)


class Sharing:
    """Which arrays of one call of `Parallel` are shared, and their copies.

    Args:
        nbytes: smallest array that is; None for none.
        mode: joblib's `mmap_mode`. "r+" and "w+": what a worker writes, all see.
    """

    def __init__(self, nbytes: int | None, mode: str | None) -> None:
        self._nbytes = None if mode is None else nbytes
        self._writes_shared = mode in ("r+", "w+")
        self._copies: dict[int, tuple[weakref.ref[Array], SharedCopy]] = {}

    def reduce(self, array: Array, used: list[SharedCopy]) -> Any:
        """Return how another process gets *array*, and note its copy in *used*, if it has one."""
        backing = _get_backing_memmap(array)
        if isinstance(backing, np.memmap):
            return _reduce_memmap_backed(array, backing)
        if (
            self._nbytes is None
            or type(array) is not np.ndarray
            or array.nbytes <= self._nbytes
            or array.dtype.hasobject
        ):
            return NotImplemented
        copy = self._copy_of(array)
        used.append(copy)
        return copy.reduced(self._writes_shared)

    def end(self) -> None:
        """Forget all copies; those that travel live until they have arrived."""
        self._copies.clear()

    def _copy_of(self, array: Array) -> SharedCopy:
        key, copies = id(array), self._copies
        known = copies.get(key)
        if known is None or known[0]() is not array:
            forget = weakref.ref(array, lambda ref: _forget(copies, key, ref))
            known = copies[key] = forget, SharedCopy(array)
        return known[1]


def _forget(copies: dict[int, Any], key: int, ref: object) -> None:
    if key in copies and copies[key][0] is ref:
        del copies[key]


class _Pickler(cloudpickle.Pickler):
    def __init__(self, file: Any, buffers: list[Any], sharing: Sharing | None, used: Any) -> None:
        def stays_in(buffer: pickle.PickleBuffer) -> bool:
            if buffer.raw().nbytes < _INLINE_NBYTES:
                return True
            buffers.append(buffer)
            return False

        super().__init__(file, protocol=5, buffer_callback=stays_in)
        self._sharing, self._used = sharing, used

    def reducer_override(self, obj: Any) -> Any:
        if self._sharing is not None and isinstance(obj, np.ndarray):
            reduced = self._sharing.reduce(obj, self._used)
            if reduced is not NotImplemented:
                return reduced
        return super().reducer_override(obj)


def pack(obj: Any, sharing: Sharing | None = None) -> tuple[Packed, list[SharedCopy]]:
    """Pickle *obj*; return that, and the copies that must live until it has been unpickled.

    Raises:
        UnpicklableError: *obj* cannot be pickled.
    """
    file = io.BytesIO()
    buffers: list[pickle.PickleBuffer] = []
    used: list[SharedCopy] = []
    try:
        _Pickler(file, buffers, sharing, used).dump(obj)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise UnpicklableError(f"cannot pickle a {type(obj).__name__}: {error}") from error
    return (file.getvalue(), buffers), used


def unpack(packed: Packed) -> Any:
    """Return the object."""
    return pickle.loads(packed[0], buffers=packed[1])


def run_batch(packed: Packed) -> tuple[bool, Packed]:
    """Call a batch; return whether it returned, and what it returned or raised. A worker's."""
    try:
        returned, outcome = True, unpack(packed)()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        returned, outcome = False, portable(error)
    return returned, pack(outcome)[0]


def outcome_of(result: tuple[bool, Packed]) -> Any:
    """Return what a batch returned, or raise what it raised."""
    returned, packed = result
    outcome = unpack(packed)
    if returned:
        return outcome
    raise outcome
