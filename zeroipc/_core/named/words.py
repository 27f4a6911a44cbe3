"""The one door to the shared words of named structures, which change by compare-and-swap.

A word is loaded and stored as an item of a `memoryview.cast`, which CPython moves in one
piece. Compare-and-swap is what Python lacks: `swap.py` finds it. All else is made of it.
"""

from __future__ import annotations

import ctypes

from ..atomics import release
from .swap import cas32, cas64

U32_MASK = 2**32 - 1
U64_MASK = 2**64 - 1


class Words:
    """The bytes of a segment as words of each size, by their offset in bytes."""

    def __init__(self, buf: memoryview) -> None:
        self.u8 = buf
        self.u32 = buf[: len(buf) // 4 * 4].cast("I")
        self.u64 = buf[: len(buf) // 8 * 8].cast("Q")
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(buf))

    def load8(self, at: int) -> int:
        """Return a byte; acquires."""
        return self.u8[at]

    def load32(self, at: int) -> int:
        """Return a word of 32 bits; acquires."""
        return self.u32[at >> 2]

    def load64(self, at: int) -> int:
        """Return a word of 64 bits; acquires."""
        return self.u64[at >> 3]

    def store8(self, at: int, value: int) -> None:
        """Store a byte; releases."""
        release()
        self.u8[at] = value

    def store32(self, at: int, value: int) -> None:
        """Store a word of 32 bits; releases."""
        release()
        self.u32[at >> 2] = value & U32_MASK

    def store64(self, at: int, value: int) -> None:
        """Store a word of 64 bits; releases."""
        release()
        self.u64[at >> 3] = value & U64_MASK

    def cas8(self, at: int, expected: int, desired: int) -> bool:
        """Store *desired* if the byte is *expected*; return whether it was. Both ways."""
        start, shift = at & ~3, 8 * (at & 3)
        while self.load8(at) == expected:  # the swap fails when a neighbour changes
            word = self.load32(start)
            if word >> shift & 0xFF == expected and self.cas32(
                start, word, word & ~(0xFF << shift) | desired << shift
            ):
                return True
        return False

    def cas32(self, at: int, expected: int, desired: int) -> bool:
        """Store *desired* if the word is *expected*; return whether it was. Both ways."""
        return cas32(self.address + at, expected & U32_MASK, desired & U32_MASK)

    def cas64(self, at: int, expected: int, desired: int) -> bool:
        """Store *desired* if the word is *expected*; return whether it was. Both ways."""
        return cas64(self.address + at, expected & U64_MASK, desired & U64_MASK)

    def add32(self, at: int, delta: int) -> int:
        """Add to a word, modulo its width; return what it was."""
        while True:
            old = self.load32(at)
            if self.cas32(at, old, old + delta):
                return old


def signed32(value: int) -> int:
    """Return a word of 32 bits as a signed number."""
    return ((value + 2**31) & U32_MASK) - 2**31
