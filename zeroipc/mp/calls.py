"""How a call travels to a worker: (number, callable, args, kwargs).

A function that pickle names travels as that pickle, made once in the caller and loaded
once in each worker. What pickle refuses, a lambda or a closure, or what only an
interactive session has, goes through cloudpickle, anew each time: it may have changed.
"""

from __future__ import annotations

import pickle
import sys
from functools import lru_cache
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any

from ..errors import UnpicklableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Packed = bytes | tuple[bytes]
"""A pickle to keep, or, in a tuple, one to use once."""

_NAMED = (FunctionType, BuiltinFunctionType, type)
_REFUSALS = (pickle.PicklingError, AttributeError, TypeError)


class Packer:
    """Packs callables for workers; remembers the last one, which is usually the next.

    Args:
        by_value: whether what an interactive `__main__` has defined must travel by value,
            because workers are fresh interpreters that do not have it.
    """

    def __init__(self, by_value: bool) -> None:
        self._by_value = by_value
        self._last: tuple[object, bytes] = (None, b"")

    def pack(self, fn: Any) -> Packed:
        """Return the callable, packed.

        Raises:
            UnpicklableError: neither pickle nor cloudpickle can pickle it.
            Exception: what its own `__reduce__` raises.
        """
        last = self._last
        if fn is last[0]:
            return last[1]
        if self._by_value and _is_interactive(fn):
            return (_cloud(fn),)
        try:
            data = pickle.dumps(fn)
        except _REFUSALS:
            return (_cloud(fn),)
        if not isinstance(fn, _NAMED):
            return (data,)
        self._last = fn, data
        return data


def unpack(packed: Packed) -> Callable[..., Any]:
    """Return the callable."""
    if isinstance(packed, bytes):
        return _named(packed)
    fn: Callable[..., Any] = pickle.loads(packed[0])
    return fn


@lru_cache(maxsize=256)
def _named(data: bytes) -> Callable[..., Any]:
    fn: Callable[..., Any] = pickle.loads(data)
    return fn


def _cloud(fn: Any) -> bytes:
    import cloudpickle

    try:
        data: bytes = cloudpickle.dumps(fn)
    except _REFUSALS as error:
        raise UnpicklableError(f"cannot pickle the callable {fn!r}: {error}") from error
    return data


def _is_interactive(fn: Any) -> bool:
    """Return whether *fn* is, or may refer to, what only an interactive session has."""
    main = sys.modules["__main__"]
    if getattr(main, "__file__", None) or getattr(main, "__spec__", None):
        return False
    return not isinstance(fn, _NAMED) or fn.__module__ == "__main__"


class Chunk:
    """A callable that applies another to a chunk of argument tuples.

    Args:
        fn: the other, for messages.
        packed: the same, packed.
    """

    def __init__(self, fn: Any, packed: Packed) -> None:
        self._packed = packed
        self.__qualname__ = getattr(fn, "__qualname__", repr(fn))

    def __call__(self, chunk: Iterable[tuple[Any, ...]]) -> list[Any]:
        fn = unpack(self._packed)
        return [fn(*args) for args in chunk]
