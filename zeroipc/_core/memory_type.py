"""The type Memory of the pure backend: bytes of the arena that processes share, over memory.py."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

from .arena_type import Arena
from .hold import Hold, hold_attach
from .layout import ROLE_MEMORY
from .memory import memory_offset


class Memory:
    """Bytes of an arena that processes share."""

    _arena: Arena | None = None
    _slot = _generation = 0
    _bytes: Any
    """A ctypes array: see Block for why."""

    def _attach(self, arena: Arena, slot: int, generation: int) -> None:
        """Hold the memory.

        Raises:
            ClosedError: it is gone already.
        """
        if not isinstance(arena, Arena) or self._arena is not None:
            raise TypeError("_attach() takes an Arena, once")
        hold = hold_attach(arena, slot, generation, ROLE_MEMORY)
        kind = _bytes_class(arena.view.memories[slot].nbytes)
        self._bytes = kind.from_buffer(arena.view.mapping.file, memory_offset(arena.view, slot))
        self._bytes.keep = _Keep(arena, hold)
        self._arena, self._slot, self._generation = arena, slot, generation

    @property
    def _handle(self) -> tuple[Arena | None, int, int]:
        """(arena, slot, generation)."""
        return self._arena, self._slot, self._generation

    @property
    def buffer(self) -> memoryview:
        """The bytes, as a writable memoryview that keeps them."""
        self._check()
        return memoryview(self._bytes).cast("B") if self.nbytes else memoryview(bytearray())

    @property
    def nbytes(self) -> int:
        """How many there are."""
        self._check()
        return ctypes.sizeof(self._bytes)

    def _check(self) -> None:
        if self._arena is None:
            raise RuntimeError("the memory is not attached")


class _Keep:
    """Keeps a hold, and the arena from being left while the bytes may be used."""

    __slots__ = ("_arena", "_hold")

    def __init__(self, arena: Arena, hold: Hold) -> None:
        self._arena, self._hold = arena, hold
        arena.kept += 1

    def __del__(self) -> None:
        self._arena.kept -= 1


@lru_cache(maxsize=512)
def _bytes_class(nbytes: int) -> Any:
    body = {"_type_": ctypes.c_ubyte, "_length_": nbytes, "__module__": __name__}
    return type("Bytes", (ctypes.Array,), body)
