"""Compare-and-swap without a compiler: through libatomic, or a few bytes of machine code."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform

import pytest

from zeroipc._core.named import swap

WAYS = {"libatomic": swap.from_libatomic(), "machine code": swap.from_machine_code()}
COUNT = 30_000


@pytest.fixture(params=WAYS)
def both(request: pytest.FixtureRequest) -> tuple[swap.Swap, swap.Swap]:
    found = WAYS[request.param]
    if found is None:
        pytest.skip(f"no {request.param} on this {platform.machine()}")
    return found


def test_one_of_the_ways_is_there() -> None:
    assert any(WAYS.values())
    assert callable(swap.cas32)
    assert callable(swap.cas64)


@pytest.mark.parametrize("width", [4, 8])
def test_swaps_only_what_is_expected(both: tuple[swap.Swap, swap.Swap], width: int) -> None:
    cas, top = both[width == 8], 2 ** (8 * width) - 1
    words = (ctypes.c_uint32 if width == 4 else ctypes.c_uint64) * 3
    three = words(1, top, 2)
    at = ctypes.addressof(three) + width
    assert cas(at, 0, 5) is False
    assert list(three) == [1, top, 2]
    assert cas(at, top, 5) is True
    assert cas(at, 5, top - 1) is True
    assert list(three) == [1, top - 1, 2]


def test_both_ways_work_on_one_word() -> None:
    """Two processes count on one word, each in its own way: no step is lost."""
    ways = [way for way in WAYS.values() if way is not None]
    shared = mmap.mmap(-1, mmap.PAGESIZE)
    word = ctypes.c_uint64.from_buffer(shared)
    children = []
    for number in range(2):
        child = os.fork()
        if child == 0:
            count_up(ways[number % len(ways)][1], word)
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    assert word.value == 2 * COUNT


def count_up(cas: swap.Swap, word: ctypes.c_uint64) -> None:
    at = ctypes.addressof(word)
    for _ in range(COUNT):
        while not cas(at, old := word.value, old + 1):
            pass
