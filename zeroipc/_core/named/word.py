"""Word: one shared number at an offset of a segment."""

from __future__ import annotations

import struct
from collections.abc import Callable
from operator import and_, index, or_, xor
from typing import Any

from ...errors import DTypeError
from .bell import Bell
from .element import through_struct
from .structure import Structure

_NBYTES = {"B": 1, "i": 4, "I": 4, "q": 8, "Q": 8, "d": 8}


class Word(Structure):
    """One shared number, of the code of the module struct, one of BiIqQd.

    Every change rings the bell.
    """

    def __init__(self, buf: memoryview, offset: int, code: str, bell: Bell | None) -> None:
        if code not in _NBYTES:
            raise ValueError(f"code must be one of {''.join(_NBYTES)}: {code}")
        nbytes = _NBYTES[code]
        super().__init__(buf, offset & ~7, (offset & 7) + nbytes, bell)
        if offset % nbytes:
            raise ValueError(f"a word must be aligned: offset={offset}")
        self._at = offset
        self._code = code
        self._pack, self._unpack = through_struct(code)
        self._nbytes = nbytes
        self._mask = 2 ** (8 * nbytes) - 1

    def load(self) -> Any:
        """Return the number; acquires."""
        return self._value(self._load())

    def store(self, value: Any) -> None:
        """Store a number; releases."""
        bits = self._bits(value)
        if self._nbytes == 8:
            self._words.store64(self._at, bits)
        elif self._nbytes == 4:
            self._words.store32(self._at, bits)
        else:
            self._words.store8(self._at, bits)
        self._ring(0)

    def exchange(self, value: Any) -> Any:
        """Store a number; return what was there."""
        bits = self._bits(value)
        return self._change(lambda old: bits)

    def compare_exchange(self, expected: Any, desired: Any) -> bool:
        """Store *desired* if the bits are those of *expected*; return whether they were."""
        swapped = self._swap(self._bits(expected), self._bits(desired))
        if swapped:
            self._ring(0)
        return swapped

    def fetch_add(self, value: Any) -> Any:
        """Add, modulo the width; return what was there."""
        return self._sum(value, 1)

    def fetch_sub(self, value: Any) -> Any:
        """Subtract, modulo the width; return what was there."""
        return self._sum(value, -1)

    def fetch_and(self, value: Any) -> Any:
        """Combine the bits by and; return what was there."""
        return self._combine(and_, value)

    def fetch_or(self, value: Any) -> Any:
        """Combine the bits by or; return what was there."""
        return self._combine(or_, value)

    def fetch_xor(self, value: Any) -> Any:
        """Combine the bits by xor; return what was there."""
        return self._combine(xor, value)

    # --- bits: a number as the unsigned number of its word ---

    def _bits(self, value: Any) -> int:
        return int.from_bytes(self._pack(value), "little")

    def _value(self, bits: int) -> Any:
        return self._unpack(bits.to_bytes(self._nbytes, "little"))

    def _load(self) -> int:
        if self._nbytes == 8:
            return self._words.load64(self._at)
        return self._words.load32(self._at) if self._nbytes == 4 else self._words.load8(self._at)

    def _swap(self, expected: int, desired: int) -> bool:
        if self._nbytes == 8:
            return self._words.cas64(self._at, expected, desired)
        if self._nbytes == 4:
            return self._words.cas32(self._at, expected, desired)
        return self._words.cas8(self._at, expected, desired)

    def _change(self, operation: Callable[[int], int]) -> Any:
        while True:
            old = self._load()
            if self._swap(old, operation(old) & self._mask):
                self._ring(0)
                return self._value(old)

    def _sum(self, value: Any, sign: int) -> Any:
        if self._code == "d":
            other = sign * struct.unpack("<d", self._pack(value))[0]
            return self._change(lambda old: self._bits(self._value(old) + other))
        operand = sign * _integer(value)
        return self._change(lambda old: old + operand)

    def _combine(self, operation: Callable[[int, int], int], value: Any) -> Any:
        if self._code == "d":
            raise DTypeError("bits of a float have no such operation")
        operand = _integer(value) & self._mask
        return self._change(lambda old: operation(old, operand))


def _integer(value: Any) -> int:
    try:
        return index(value)
    except TypeError:
        raise DTypeError(f"value must be an integer: value={value!r}") from None
