"""Lazy values: computed once, by one process, and read by all."""

from __future__ import annotations

import doctest
import os
import pickle
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zeroipc.lazy
from tests.support.golden import (
    differing,
    golden_bytes,
    golden_facts,
    golden_names,
    read_segment,
    write_segment,
)
from tests.support.leaks import PREFIX
from tests.support.named import MIXED, crew, using
from zeroipc import (
    ClosedError,
    DTypeError,
    Lazy,
    LazyBool,
    Memory,
    NameExistsError,
    OutOfRangeError,
    RemoteError,
    SegmentFormatError,
    StalledError,
    StructureNotFoundError,
    WaitTimeoutError,
)
from zeroipc._core.named.element import element_of
from zeroipc._core.named.holder import own_tag
from zeroipc._core.named.layout import LAZY_CHAIN, LAZY_COMPUTING, LAZY_EXTERNAL
from zeroipc._core.named.lazy_parts import lazy_parts

pytestmark = pytest.mark.usefixtures("backend")


def word(memory: Memory, name: str, at: int) -> memoryview:
    return memory.view(memory.entry(name))[at : at + 4].cast("I")


def struct_of(kind: str, count: int) -> np.dtype[Any]:
    return np.dtype([("field", kind, count)], align=True)


@pytest.mark.parametrize(
    ("dtype", "parts"),
    [
        ("u1", (4, 8, 16, 17, 276, 280)),
        ("i4", (4, 8, 16, 20, 276, 280)),
        ("f8", (8, 16, 32, 40, 296, 304)),
        ("V3", (4, 8, 16, 19, 276, 280)),
        ("V5", (4, 8, 20, 25, 284, 288)),
        (struct_of("i4", 3), (4, 8, 32, 44, 300, 304)),
        (struct_of("i4", 5), (4, 8, 48, 68, 324, 328)),
        (struct_of("i8", 2), (8, 16, 48, 64, 320, 328)),
        (struct_of("i8", 3), (8, 16, 64, 88, 344, 352)),
    ],
)
def test_parts_lie_where_cpp_puts_them(dtype: Any, parts: tuple[int, ...]) -> None:
    assert lazy_parts(element_of(dtype)) == parts


def test_a_function_runs_once_and_only_when_forced(memory: Memory) -> None:
    ran: list[int] = []

    def work() -> int:
        ran.append(1)
        return 42

    answer = Lazy(memory, "answer", "i4", work)
    other = Lazy.open(memory, "answer", "i4")
    assert (answer.state, answer.value, answer.count, ran) == ("pending", None, 0, [])
    with pytest.raises(WaitTimeoutError):
        other.force(timeout=0.01)  # it has no function
    assert (answer.force(), other.force(0), answer.force(), ran) == (42, 42, 42, [1])
    assert (answer.state, other.value, answer.count, answer.error) == ("computed", 42, 1, None)
    assert answer.reset()
    assert not answer.reset()
    assert (answer.force(), answer.count, ran) == (42, 2, [1, 1])


@pytest.mark.parametrize(
    ("dtype", "made", "wanted"),
    [
        ("i4", ("constant", -7), -7),
        ("i4", ("add", 2**31 - 1, 1), -(2**31)),
        ("u1", ("multiply", 20, 13), 4),
        ("i8", ("negate", -(2**63)), -(2**63)),
        ("f8", ("multiply", 0.5, 3.0), 1.5),
        ("f4", ("negate", 0.25), -0.25),
        ("c16", ("add", 1j, 2.0), 2 + 1j),
    ],
)
def test_operations(memory: Memory, dtype: str, made: tuple[Any, ...], wanted: Any) -> None:
    operation, *operands = made
    value = getattr(Lazy, operation)(memory, "value", dtype, *operands)
    assert value.state == ("computed" if operation == "constant" else "pending")
    assert Lazy(memory, "value", dtype).force() == wanted
    assert (value.value, value.count) == (wanted, operation != "constant")
    assert value.reset()
    assert value.force() == wanted


@given(a=st.integers(0, 255), b=st.integers(0, 255))
def test_backends_compute_the_same_bytes(a: int, b: int) -> None:
    name = f"{PREFIX}lazy"
    found = []
    for backend in MIXED:
        with Memory.create(name, 8192) as mem, using(backend):
            try:
                assert Lazy.add(mem, "sum", "u1", a, b).force() == (a + b) % 256
                assert Lazy.multiply(mem, "product", "u1", a, b).force() == a * b % 256
                found.append(bytes(mem.buf))
            finally:
                mem.unlink()
    assert found[0] == found[1]


@pytest.mark.parametrize("a", [False, True])
@pytest.mark.parametrize("b", [False, True])
def test_truth_values(memory: Memory, a: bool, b: bool) -> None:
    made = {
        "and": (LazyBool.and_(memory, "and", a, b), a and b),
        "or": (LazyBool.or_(memory, "or", a, b), a or b),
        "xor": (LazyBool.xor(memory, "xor", a, b), a != b),
        "not": (LazyBool.not_(memory, "not", a), not a),
        "constant": (LazyBool.constant(memory, "constant", a), a),
    }
    for name, (value, wanted) in made.items():
        assert value.value is (a if name == "constant" else None)
        assert LazyBool.open(memory, name).force() is wanted
        assert value.reset()
        assert pickle.loads(pickle.dumps(value)).force() is wanted
    view = memory.view(memory.entry("xor"))
    assert bytes(view) == bytes([2, 0, 0, 0, 3, 0, 0, 0, a, b, 0, 0, a != b, 0, 0, 0])


def test_a_failure_is_kept(memory: Memory) -> None:
    ran: list[int] = []

    def fail() -> int:
        ran.append(1)
        raise KeyError("lost")

    answer = Lazy(memory, "answer", "i4", fail)
    with pytest.raises(KeyError):
        answer.force()
    for handle in (answer, Lazy.open(memory, "answer", "i4")):
        with pytest.raises(RemoteError, match="KeyError: 'lost'"):
            handle.force()
        assert (handle.state, handle.error, handle.value) == ("error", "KeyError: 'lost'", None)
        assert not handle.reset()
    assert ran == [1]


def test_a_value_that_does_not_fit_is_a_failure(memory: Memory) -> None:
    answer = Lazy(memory, "answer", "u1", lambda: 256)
    with pytest.raises(OutOfRangeError):
        answer.force()
    with pytest.raises(RemoteError, match="from 0 to 255"):
        answer.force()


def test_an_interrupt_leaves_it_to_others(memory: Memory) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    answer = Lazy(memory, "answer", "u1", interrupted)
    with pytest.raises(KeyboardInterrupt):
        answer.force()
    assert Lazy(memory, "answer", "u1", lambda: 3).force() == 3


def test_opens_only_what_fits(memory: Memory) -> None:
    with pytest.raises(StructureNotFoundError):
        Lazy(memory, "answer", "i4")
    Lazy.create(memory, "answer", "i4", lambda: 1)
    with pytest.raises(NameExistsError):
        Lazy.create(memory, "answer", "i4", lambda: 1)
    with pytest.raises(DTypeError, match="304 bytes"):
        Lazy(memory, "answer", "f8")
    with pytest.raises(DTypeError, match="LazyBool"):
        Lazy(memory, "answer", bool)
    with pytest.raises(DTypeError, match="16 bytes"):
        LazyBool(memory, "answer")
    with pytest.raises(DTypeError, match="to add"):
        Lazy.add(memory, "text", "S4", b"a", b"b")
    assert Lazy.constant(memory, "text", "S4", b"a").force() == b"a"


def test_closes_pickles_and_shows_itself(memory: Memory) -> None:
    with Lazy.constant(memory, "answer", "i4", 5) as answer:
        assert repr(answer) == "<Lazy 'answer', computed, dtype=int32>"
        assert pickle.loads(pickle.dumps(answer)).force() == 5
    with pytest.raises(ClosedError):
        answer.force()


# --- deaths and damage ---


def test_a_peer_that_died_computing_stalls_others_until_repair(memory: Memory) -> None:
    total = Lazy.add(memory, "sum", "i4", 1, 2)
    word(memory, "sum", 0)[0] = LAZY_COMPUTING
    with pytest.raises(StalledError, match="'sum'"):
        total.force()
    assert total.repair()
    assert total.force() == 3


def test_the_death_of_who_computes_is_noticed_at_once(memory: Memory) -> None:
    answer = Lazy(memory, "answer", "i4", lambda: 4)
    with crew() as others:
        victim = others.start(compute_for_ever, memory.name)
        while word(memory, "answer", 12)[0] == 0:
            os.sched_yield()
        with pytest.raises(WaitTimeoutError):
            answer.force(timeout=1.2)  # it lives, however long it takes
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
    with pytest.raises(StalledError, match="has died"):
        answer.force()
    assert answer.repair()
    assert answer.force() == 4
    assert word(memory, "answer", 12)[0] == 0


def compute_for_ever(name: str) -> Any:
    return Lazy(Memory(name), "answer", "i4", signal.pause).force()


@pytest.mark.parametrize(("at", "damage"), [(0, 4), (4, 6), (4, 2**32 - 1)])
def test_damaged_words(memory: Memory, at: int, damage: int) -> None:
    values = Lazy.add(memory, "value", "i4", 1, 2), LazyBool.or_(memory, "truth", True, True)
    for value, name in zip(values, ("value", "truth"), strict=True):
        word(memory, name, at)[0] = damage
        with pytest.raises(SegmentFormatError, match="damaged"):
            value.force()


@pytest.mark.parametrize("op", [LAZY_CHAIN, LAZY_EXTERNAL])
def test_waits_for_what_only_others_can_compute(memory: Memory, op: int) -> None:
    value = Lazy.add(memory, "value", "i4", 1, 2)
    word(memory, "value", 4)[0] = op
    with pytest.raises(WaitTimeoutError):
        value.force(timeout=0.01)
    word(memory, "value", 16)[0] = 9
    word(memory, "value", 0)[0] = 2
    assert value.force() == 9


# --- several processes ---


def test_exactly_one_process_computes(memory: Memory) -> None:
    with crew() as others:
        for _ in range(4):
            others.start(force_all, memory.name, 40)
        results = others.results()
    for i in range(40):
        computed = {part[i] for part in results}
        assert len(computed) == 1, "all see the value of the one that computed it"
        assert Lazy.open(memory, f"v{i}", "i8").count == 1
    assert own_tag() not in {value for part in results for value in part}


def force_all(name: str, count: int) -> list[int]:
    mem = Memory(name)
    return [Lazy(mem, f"v{i}", "i8", own_tag).force() for i in range(count)]


# --- bytes ---


@pytest.mark.parametrize("golden", golden_names("lazy"))
def test_golden_segments(golden: str, segment_name: str) -> None:
    write_segment(segment_name, golden_bytes(golden))
    with Memory(segment_name) as mem:
        for known in golden_facts(golden)["structures"]:
            value = Lazy(mem, known["name"], known["type"])
            assert (value.force(), value.count) == (known["cached"], known["compute_count"])
        mem.unlink()


@pytest.mark.parametrize("golden", golden_names("lazy"))
def test_golden_bytes(golden: str, make_memory: Callable[..., Memory]) -> None:
    facts = golden_facts(golden)
    mem = make_memory(facts["segment_size"], max_entries=facts["table"]["word_at_12"])
    for known in facts["structures"]:
        Lazy.constant(mem, known["name"], known["type"], known["cached"])
    assert differing(golden, read_segment(mem.name)) == []


def test_the_examples() -> None:
    assert doctest.testmod(zeroipc.lazy).failed == 0
