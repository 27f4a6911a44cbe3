"""The core's words: both backends give the same answers, bytes and errors."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.named import BACKENDS, MIXED, MODULES, crew
from zeroipc import DTypeError, Memory, OutOfRangeError

INTEGERS = {"B": (0, 8), "i": (1, 32), "I": (0, 32), "q": (1, 64), "Q": (0, 64)}
FETCH = ["fetch_add", "fetch_sub", "fetch_and", "fetch_or", "fetch_xor"]


@pytest.fixture(params=BACKENDS)
def make_word(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return the constructor of a backend's words."""
    return import_module(MODULES[request.param]).Word  # type: ignore[no-any-return]


def wrapped(code: str, value: int) -> int:
    signed, bits = INTEGERS[code]
    low = -(2 ** (bits - 1)) if signed else 0
    return int((value - low) % 2**bits + low)


@pytest.mark.parametrize("code", INTEGERS)
def test_integers_wrap_around(make_word: Callable[..., Any], code: str) -> None:
    buf = memoryview(bytearray(64))
    word = make_word(buf, 16, code, None)
    top = wrapped(code, 2 ** (INTEGERS[code][1] - 1) - 1)
    word.store(top)
    assert word.fetch_add(1) == top
    assert word.load() == wrapped(code, top + 1)
    assert word.fetch_sub(2**70 + 1) == wrapped(code, top + 1)
    assert word.exchange(5) == top
    assert (word.fetch_or(8), word.fetch_and(12), word.fetch_xor(1)) == (5, 13, 12)
    assert word.compare_exchange(12, 7) is False
    assert word.compare_exchange(13, 7) is True
    assert word.load() == 7
    assert bytes(buf) == bytes(16) + b"\x07" + bytes(47)


def test_floats(make_word: Callable[..., Any]) -> None:
    word = make_word(memoryview(bytearray(8)), 0, "d", None)
    assert (word.fetch_add(1.5), word.fetch_sub(0.25), word.load()) == (0.0, 1.5, 1.25)
    assert word.compare_exchange(1.25, -0.0)
    assert not word.compare_exchange(0.0, 1.0)  # other bits
    for name in FETCH[2:]:
        with pytest.raises(DTypeError):
            getattr(word, name)(1)


def test_refuses_what_does_not_fit(make_word: Callable[..., Any]) -> None:
    buf = memoryview(bytearray(16))
    word = make_word(buf, 4, "i", None)
    for value, error in ((2**31, OutOfRangeError), (1.0, DTypeError), ("1", DTypeError)):
        for change in (word.store, word.exchange, lambda v: word.compare_exchange(0, v)):
            with pytest.raises(error, match="value must"):
                change(value)
    with pytest.raises(DTypeError):
        word.fetch_add(1.5)
    for offset, code in ((2, "i"), (12, "q"), (16, "i"), (-4, "i"), (4, "d"), (0, "x")):
        with pytest.raises(ValueError):
            make_word(buf, offset, code, None)
    assert bytes(buf) == bytes(16)


@given(
    code=st.sampled_from(sorted(INTEGERS)),
    steps=st.lists(st.tuples(st.sampled_from(FETCH), st.integers(-(2**65), 2**65)), max_size=8),
)
def test_twins_agree(code: str, steps: list[tuple[str, int]]) -> None:
    bufs = [memoryview(bytearray(16)) for _ in MIXED]
    words = [
        import_module(MODULES[backend]).Word(buf, 8, code, None)
        for backend, buf in zip(MIXED, bufs, strict=True)
    ]
    for name, value in steps:
        assert len({getattr(word, name)(value) for word in words}) == 1
    assert bytes(bufs[0]) == bytes(bufs[1])


@pytest.mark.parametrize("code", ["B", "I", "q", "d"])
def test_no_addition_is_lost(memory: Memory, code: str) -> None:
    start = memory.add("words", 16, lambda view: None).offset

    def work(at: int, count: int) -> None:
        from zeroipc import _backend

        word = _backend.named.Word(memory.buf, at, code, None)
        for _ in range(count):
            word.fetch_add(1)

    with crew() as others:
        for number in range(4):  # two neighbours in one word, for bytes
            others.start(work, start + (number % 2 if code == "B" else 0), 20_000)
        others.results()
    total = import_module(MODULES["pure"]).Word(memory.buf, start, code, None).load()
    assert total == (40_000 % 256 if code == "B" else 80_000)
