"""The hash of keys: numbers that the GNU C++ library gave."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from tests.support.named import BACKENDS, using
from zeroipc import Map, Memory
from zeroipc._core.named.hash import hash_bytes, hash_key

KNOWN = {
    b"a": 0x454DDEE488C1ED6B,
    struct.pack("<d", 1.0): 0x7461A4504ECE7B9B,
    bytes(range(13)): 0x90080E86D769BFB4,
    bytes(range(200, 232)): 0x5E9A1703DA34FE88,
}


@pytest.mark.parametrize("key", KNOWN)
def test_bytes_hash_as_in_cpp(key: bytes) -> None:
    assert hash_bytes(key) == KNOWN[key]


@pytest.mark.parametrize(
    "code, key, hashed",
    [
        ("i", -1, (2**64 - 1) * 2654435761 % 2**64),
        ("I", 2**32 - 1, (2**32 - 1) * 2654435761),
        ("b", -3, (2**64 - 3) * 2654435761 % 2**64),
        ("?", True, 2654435761),
        ("Q", 2**63, 2**63),
        ("d", 1.0, KNOWN[struct.pack("<d", 1.0)]),
    ],
)
def test_numbers_hash_as_in_cpp(code: str, key: Any, hashed: int) -> None:
    assert hash_key(code, struct.pack("<" + code, key)) == hashed


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "dtype, key, hashed",
    [
        ("i4", -1, (2**64 - 1) * 2654435761),
        ("i1", -3, (2**64 - 3) * 2654435761),
        ("u8", 2**63 + 5, 5 * 2654435761 + 2**63),
        ("?", True, 2654435761),
        ("S1", b"a", KNOWN[b"a"]),
        ("f8", 1.0, KNOWN[struct.pack("<d", 1.0)]),
        ("V13", bytes(range(13)), KNOWN[bytes(range(13))]),
        ("V32", bytes(range(200, 232)), KNOWN[bytes(range(200, 232))]),
    ],
)
def test_a_key_goes_where_its_hash_says(
    memory: Memory, backend: str, dtype: str, key: Any, hashed: int
) -> None:
    with using(backend):
        found = Map(memory, "found", 1009, dtype, "u1")
        found[key] = 1
    entry = memory.entry("found")
    nbytes = (entry.size - 16) // 1009
    at = 16 + hashed % 2**64 % 1009 * nbytes
    assert memory.view(entry)[at] == 1
