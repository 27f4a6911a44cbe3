"""`multiprocessing.sharedctypes` in the arena: RawValue, RawArray, Value, Array.

The objects and the wrappers with a lock are the standard library's, over memory of ours. It lives
until the last process that has it drops it; the standard library gives it to another value as soon
as its maker drops it.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Sequence
from multiprocessing import sharedctypes as standard
from typing import Any

from ..errors import ShmFullError
from .cells import Cell
from .handed import Handed
from .standard import names_of

__all__ = ["Array", "RawArray", "RawValue", "Value", "copy", "synchronized"]

__getattr__ = names_of(__name__)

_standard: Any = standard

MOST = 1 << 13
"""Locks are taken from the arena's first slots, so many: the lowest that is free comes first."""


def _new_value(type_: Any) -> Any:
    """Return a ctypes object of zeros in shared memory."""
    return _standard.rebuild_ctype(type_, Cell(ctypes.sizeof(type_)), None)


def _type_of(typecode_or_type: Any) -> Any:
    return _standard.typecode_to_type.get(typecode_or_type, typecode_or_type)


def RawValue(typecode_or_type: Any, *args: Any) -> Any:
    """Return a ctypes object in shared memory, without a lock.

    Args:
        typecode_or_type: a ctypes type, or a type code of the `array` module, or "c".
        args: of its constructor.
    """
    value = _new_value(_type_of(typecode_or_type))
    value.__init__(*args)
    return value


def RawArray(typecode_or_type: Any, size_or_initializer: int | Sequence[Any]) -> Any:
    """Return a ctypes array in shared memory, without a lock.

    Args:
        typecode_or_type: of its items, as in `RawValue`.
        size_or_initializer: how many items, all zero; or the items.
    """
    type_ = _type_of(typecode_or_type)
    if isinstance(size_or_initializer, int):
        return _new_value(type_ * size_or_initializer)
    array = _new_value(type_ * len(size_or_initializer))
    array.__init__(*size_or_initializer)
    return array


def Value(typecode_or_type: Any, *args: Any, lock: Any = True, ctx: Any = None) -> Any:
    """Return what `RawValue` does, with a lock around each access.

    Args:
        typecode_or_type, args: as in `RawValue`.
        lock: True for a recursive lock of its own, a lock, or False for none: the plain object.
        ctx: the context that makes the lock.

    Raises:
        AttributeError: *lock* is no lock.
    """
    return _locked(RawValue(typecode_or_type, *args), lock, ctx)


def Array(
    typecode_or_type: Any,
    size_or_initializer: int | Sequence[Any],
    *,
    lock: Any = True,
    ctx: Any = None,
) -> Any:
    """Return what `RawArray` does, with a lock around each access; else as `Value`."""
    return _locked(RawArray(typecode_or_type, size_or_initializer), lock, ctx)


def _locked(obj: Any, lock: Any, ctx: Any) -> Any:
    if lock is False:
        return obj
    if lock in (True, None):
        return synchronized(obj, None, ctx)
    if not hasattr(lock, "acquire"):
        raise AttributeError(f"{lock!r} has no method 'acquire'")
    return synchronized(obj, lock, ctx)


def copy(obj: Any) -> Any:
    """Return a copy of a ctypes object, in shared memory of its own."""
    new = _new_value(type(obj))
    ctypes.pointer(new)[0] = obj
    return new


def synchronized(obj: Any, lock: Any = None, ctx: Any = None) -> Any:
    """Return a wrapper that holds *lock* during each access to *obj*.

    Args:
        obj: a ctypes object in shared memory.
        lock: None for a recursive lock of its own.
        ctx: the context that makes it.
    """
    if ctx is None:
        from .context import _default_context

        ctx = _default_context.get_context()
    return _standard.synchronized(obj, lock or _new_lock(ctx), ctx)


def _new_lock(ctx: Any) -> Any:
    """Return a recursive lock; the standard library's when half of the arena's slots are taken.

    Slots are for queues before all, and thousands of values have a lock each.
    """
    with contextlib.suppress(ShmFullError):
        lock = ctx.RLock()
        if not isinstance(lock, Handed) or lock._handle[1] < MOST:
            return lock
    from multiprocessing.synchronize import RLock

    return type.__call__(RLock, ctx=ctx)  # calling the class makes one of ours after `install`
