"""How a call travels to a worker: (number, callable, args, kwargs).

A function that pickle names travels as that pickle, made once in the caller and loaded
once in each worker. What pickle refuses, a lambda or a closure, or a function that only an
interactive session has, goes through cloudpickle, anew each time: it may have changed.
"""

from __future__ import annotations

import pickle
import sys
from functools import lru_cache
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_NAMED = (FunctionType, BuiltinFunctionType, type)


class Packer:
    """Packs callables for workers; remembers the last one, which is usually the next.

    Args:
        by_value: whether functions of an interactive `__main__` must travel by value,
            because workers are fresh interpreters that do not have it.
    """

    def __init__(self, by_value: bool) -> None:
        self._by_value = by_value
        self._last: object = None
        self._pickle = b""

    def pack(self, fn: Any) -> bytes | tuple[bytes]:
        """Return a pickle to keep, or, in a tuple, one to use once.

        Raises:
            Exception: neither pickle nor cloudpickle can pickle it.
        """
        if fn is self._last:
            return self._pickle
        if not isinstance(fn, _NAMED):
            return (_dumps(fn),)
        if self._by_value and _only_interactive(fn):
            return (_cloud(fn),)
        try:
            named = pickle.dumps(fn)
        except (pickle.PicklingError, AttributeError, TypeError):
            return (_cloud(fn),)
        self._last, self._pickle = fn, named
        return named


def unpack(packed: bytes | tuple[bytes]) -> Callable[..., Any]:
    """Return the callable."""
    if isinstance(packed, bytes):
        return _named(packed)
    fn: Callable[..., Any] = pickle.loads(packed[0])
    return fn


@lru_cache(maxsize=256)
def _named(data: bytes) -> Callable[..., Any]:
    fn: Callable[..., Any] = pickle.loads(data)
    return fn


def _dumps(fn: Any) -> bytes:
    try:
        return pickle.dumps(fn)
    except (pickle.PicklingError, AttributeError, TypeError):
        return _cloud(fn)


def _cloud(fn: Any) -> bytes:
    import cloudpickle

    data: bytes = cloudpickle.dumps(fn)
    return data


def _only_interactive(fn: Any) -> bool:
    main = sys.modules["__main__"]
    return fn.__module__ == "__main__" and not (
        getattr(main, "__file__", None) or getattr(main, "__spec__", None)
    )


class Chunk:
    """A callable that applies another to a chunk of argument tuples."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn
        self.__qualname__ = getattr(fn, "__qualname__", repr(fn))

    def __call__(self, chunk: Iterable[tuple[Any, ...]]) -> list[Any]:
        return [self.fn(*args) for args in chunk]

    def __reduce__(self) -> tuple[Any, ...]:
        return _chunk, (_dumps(self.fn),)


def _chunk(data: bytes) -> Chunk:
    return Chunk(pickle.loads(data))
