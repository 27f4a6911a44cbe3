"""The hash of a key of a map or set: the one of programs in C++ that share them."""

from __future__ import annotations

from .layout import HASH_MULTIPLIER, HASH_MURMUR, HASH_SEED
from .words import U64_MASK

_INTEGERS = "bhiqBHIQ?"


def _fold(value: int) -> int:
    return value ^ (value >> 47)


def hash_bytes(key: bytes) -> int:
    """Return `std::hash` of the GNU C++ library, for the bytes of a string."""
    nbytes = len(key)
    hashed = HASH_SEED ^ (nbytes * HASH_MURMUR & U64_MASK)
    whole = nbytes & ~7
    for at in range(0, whole, 8):
        word = int.from_bytes(key[at : at + 8], "little") * HASH_MURMUR & U64_MASK
        hashed = (hashed ^ _fold(word) * HASH_MURMUR) * HASH_MURMUR & U64_MASK
    if nbytes > whole:
        hashed = (hashed ^ int.from_bytes(key[whole:], "little")) * HASH_MURMUR & U64_MASK
    return _fold(_fold(hashed) * HASH_MURMUR & U64_MASK)


def hash_key(code: str, key: bytes) -> int:
    """Return the hash of a key; *code* is that of the module struct for a number."""
    if code in _INTEGERS:
        number = int.from_bytes(key, "little", signed=code.islower())
        return number * HASH_MULTIPLIER & U64_MASK
    return hash_bytes(key)
