"""Damaged and hostile segments: an exception of ours, or sound access; never a crash."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest

from tests.support.golden import golden_bytes, golden_names, write_segment
from zeroipc import (
    Array,
    Memory,
    SegmentFormatError,
    SegmentNotReadyError,
    VersionError,
    ZeroIPCError,
    table,
)

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for peers that are not there."""
    monkeypatch.setattr(table, "PEER_TIMEOUT", 0.0)


def use_everything(mem: Memory) -> None:
    """Do all that can be done with a segment; each step may refuse."""
    names = mem.names()
    for name in names:
        for dtype in (np.uint8, np.int16, np.int32, np.float64, "V24"):
            with suppress(ZeroIPCError):
                array = Array(mem, name, dtype=dtype)
                array.view(np.uint8).sum()  # touches every byte
                array[-1] = array[0]
    with suppress(ZeroIPCError):
        Array(mem, "new", 4, np.int32)[:] = 1
        assert Array(mem, "new", dtype=np.int32).tolist() == [1, 1, 1, 1]


def attempt(name: str, content: bytes) -> type[ZeroIPCError] | None:
    """Open *content* as a segment and use it; return the refusal, if there was one."""
    write_segment(name, content)
    try:
        with Memory.open(name, timeout=0) as mem:
            use_everything(mem)
    except ZeroIPCError as error:
        return type(error)
    return None


@pytest.mark.parametrize("golden", golden_names("array"))
def test_truncated_anywhere(golden: str, segment_name: str) -> None:
    content = golden_bytes(golden)
    refusals = {size: attempt(segment_name, content[:size]) for size in range(len(content))}
    Memory.remove(segment_name)
    assert refusals.pop(0) is SegmentNotReadyError
    if golden.startswith("v2"):  # which records its size
        assert set(refusals.values()) == {SegmentFormatError}
    else:
        behind = {size: refusal for size, refusal in refusals.items() if size < 704}
        assert set(behind.values()) == {SegmentFormatError}


def flips(content: bytes, upto: int) -> Iterator[bytes]:
    for position in range(upto):
        for mask in (0x01, 0x10, 0x80, 0xFF):
            changed = bytearray(content)
            changed[position] ^= mask
            yield bytes(changed)


@pytest.mark.parametrize("golden", golden_names("array"))
def test_every_byte_of_the_table_changed(golden: str, segment_name: str) -> None:
    content = golden_bytes(golden)
    refusals = [attempt(segment_name, changed) for changed in flips(content, 840)]
    Memory.remove(segment_name)
    assert len(refusals) == 840 * 4
    assert set(refusals[:16]) == {SegmentFormatError}  # magic
    assert set(refusals[16:32]) <= {VersionError, SegmentFormatError, None}  # version
    assert VersionError in refusals[16:32]


@pytest.mark.parametrize("version", [1, 2])
def test_random_bytes_behind_a_good_start(version: int, segment_name: str) -> None:
    random_bytes = random.Random(version).randbytes
    start = struct.pack("<II", 0x5A49504D, version)
    for size in (16, 40, 300, 5000):
        for _ in range(100):
            attempt(segment_name, start + random_bytes(size))
    Memory.remove(segment_name)


EXTREMES = (0, 1, 7, 31, 2**31 - 1, 2**31, 2**32 - 1)


@pytest.mark.parametrize("golden", golden_names("array"))
def test_extreme_words_everywhere(golden: str, segment_name: str) -> None:
    content = golden_bytes(golden)
    for position in range(0, 840, 4):
        for value in EXTREMES:
            word = struct.pack("<I", value)
            attempt(segment_name, content[:position] + word + content[position + 4 :])
    Memory.remove(segment_name)


def test_random_bytes(segment_name: str) -> None:
    random_bytes = random.Random(0).randbytes
    refusals = {attempt(segment_name, random_bytes(size)) for size in range(1, 500)}
    Memory.remove(segment_name)
    assert refusals == {SegmentFormatError}


def test_magic_0_is_not_ready_and_says_what_to_do(segment_name: str) -> None:
    write_segment(segment_name, bytes(4096))
    with pytest.raises(SegmentNotReadyError, match="unlink it") as unready:
        Memory.open(segment_name, timeout=0)
    assert unready.value.nbytes == 4096
    Memory.remove(segment_name)


@pytest.mark.parametrize(
    ("offset", "size"), [(2**64 - 8, 16), (4096, 1), (0, 48), (804, 16), (792, 8)]
)
def test_entry_outside_its_bounds(offset: int, size: int, segment_name: str) -> None:
    content = bytearray(golden_bytes("v2_array_int32"))
    struct.pack_into("<QQ", content, 64, offset, size)
    write_segment(segment_name, bytes(content))
    with Memory(segment_name) as mem:
        assert mem.names() == ["numbers"]
        with pytest.raises(SegmentFormatError, match="a structure must"):
            Array(mem, "numbers", dtype=np.int32)
        with pytest.raises(SegmentFormatError, match="a structure must"):
            mem.find("numbers")
        mem.unlink()
