"""Lazy values made by one implementation and computed by another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.peer import Peer
from zeroipc import Lazy, LazyBool, Memory

pytestmark = pytest.mark.usefixtures("backend")
CONSTANT, ADD, MULTIPLY, NEGATE = range(4)
MAKE: list[Callable[..., Lazy]] = [
    lambda mem, dtype, a, b: Lazy.constant(mem, "ours", dtype, a),
    lambda mem, dtype, a, b: Lazy.add(mem, "ours", dtype, a, b),
    lambda mem, dtype, a, b: Lazy.multiply(mem, "ours", dtype, a, b),
    lambda mem, dtype, a, b: Lazy.negate(mem, "ours", dtype, a),
]
CASES: list[tuple[str, int, Any, Any, Any]] = [
    ("i4", CONSTANT, -7, 0, -7),
    ("i4", ADD, 2**31 - 1, 2, -(2**31) + 1),
    ("i4", MULTIPLY, 65537, 65537, 131073),
    ("i4", NEGATE, 5, 0, -5),
    ("i1", ADD, 100, 100, -56),
    ("u2", MULTIPLY, 300, 300, 300 * 300 % 2**16),
    ("i8", NEGATE, -(2**63), 0, -(2**63)),
    ("u8", ADD, 2**64 - 1, 2, 1),
    ("f4", ADD, 0.5, 0.25, 0.75),
    ("f8", MULTIPLY, 0.1, 3.0, 0.1 * 3.0),
    ("f8", NEGATE, 1e300, 0.0, -1e300),
]
each_case = pytest.mark.parametrize("dtype, op, a, b, result", CASES)


@each_case
def test_the_peer_creates(
    memory: Memory, peer: Peer, dtype: str, op: int, a: Any, b: Any, result: Any
) -> None:
    peer.ask("lazy.create", "theirs", dtype, op, a, b)
    lazy = Lazy.open(memory, "theirs", dtype)
    assert lazy.value == (result if op == CONSTANT else None)
    assert lazy.force() == result
    assert peer.ask("lazy.force", "theirs", dtype)[0] == "value"
    assert peer.number("lazy.count", "theirs", dtype) == (op != CONSTANT)


@each_case
def test_python_creates(
    memory: Memory, peer: Peer, dtype: str, op: int, a: Any, b: Any, result: Any
) -> None:
    lazy = MAKE[op](memory, dtype, a, b)
    peer.ask("lazy.create", "theirs", dtype, op, a, 0 if op in (CONSTANT, NEGATE) else b)
    assert peer.ask("bytes", "ours") == peer.ask("bytes", "theirs")
    _, word = peer.ask("lazy.force", "ours", dtype)
    assert type(result)(word) == result
    assert lazy.force() == result
    Lazy.open(memory, "theirs", dtype).force()
    assert peer.ask("bytes", "ours") == peer.ask("bytes", "theirs")


def test_it_is_computed_once(make_memory: Callable[..., Memory], start_peer: Any) -> None:
    memory = make_memory(max_entries=100)
    peers = [start_peer(memory) for _ in range(2)]
    for i in range(80):
        lazy = Lazy.add(memory, f"sum-{i}", "i8", i, 1)
        for peer in peers:
            peer.start("lazy.force", lazy.name, "i8")
        assert lazy.force() == i + 1
        for peer in peers:
            assert peer.answer() == ["value", str(i + 1)]
        assert lazy.count == 1


def test_both_compute_what_was_reset(memory: Memory, peer: Peer) -> None:
    lazy = Lazy.multiply(memory, "product", "i8", 6, 7)
    for turn in range(5):
        assert peer.ask("lazy.force", "product", "i8") == ["value", "42"]
        assert lazy.force() == 42
        assert lazy.count == turn + 1
        assert lazy.reset()


@pytest.mark.parametrize("a", [False, True])
@pytest.mark.parametrize("b", [False, True])
def test_truth_values(memory: Memory, peer: Peer, a: bool, b: bool) -> None:
    ours = [
        LazyBool.constant(memory, "ours-0", a),
        LazyBool.and_(memory, "ours-1", a, b),
        LazyBool.or_(memory, "ours-2", a, b),
        LazyBool.xor(memory, "ours-3", a, b),
        LazyBool.not_(memory, "ours-4", a),
    ]
    wanted = [a, a and b, a or b, a != b, not a]
    for op in range(5):
        peer.ask("boolean.create", f"theirs-{op}", op, int(a), 0 if op in (0, 4) else int(b))
        assert peer.ask("bytes", f"ours-{op}") == peer.ask("bytes", f"theirs-{op}")
        assert LazyBool.open(memory, f"theirs-{op}").force() == wanted[op]
        assert peer.number("boolean.force", f"ours-{op}") == wanted[op]
        assert ours[op].force() == wanted[op]
        assert peer.ask("bytes", f"ours-{op}") == peer.ask("bytes", f"theirs-{op}")
