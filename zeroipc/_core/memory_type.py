"""The type Memory of the pure backend: bytes of the arena that processes share, over memory.py."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

from .arena_type import Arena
from .hold import Slot
from .layout import ROLE_MEMORY
from .memory import memory_offset


class Memory(Slot):
    """Bytes of an arena that processes share."""

    _bytes: Any
    """A ctypes array: see Block for why. It has the hold: views of it keep the memory."""

    def _attach(self, arena: Arena, slot: int, generation: int) -> None:
        """Hold the memory.

        Raises:
            ClosedError: it is gone already.
        """
        self._attach_as(ROLE_MEMORY, arena, slot, generation)
        kind = _bytes_class(arena.view.memories[slot].nbytes)
        self._bytes = kind.from_buffer(arena.view.mapping.file, memory_offset(arena.view, slot))
        self._bytes.keep = self._keep

    @property
    def buffer(self) -> memoryview:
        """The bytes, as a writable memoryview that keeps them."""
        return memoryview(self._bytes).cast("B") if self.nbytes else memoryview(bytearray())

    @property
    def nbytes(self) -> int:
        """How many there are."""
        return self._home().view.memories[self._slot].nbytes


@lru_cache(maxsize=512)
def _bytes_class(nbytes: int) -> Any:
    body = {"_type_": ctypes.c_ubyte, "_length_": nbytes, "__module__": __name__}
    return type("Bytes", (ctypes.Array,), body)
