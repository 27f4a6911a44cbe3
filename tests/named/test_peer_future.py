"""Futures set by one implementation and read by another."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any

import pytest

from tests.support.peer import Peer
from zeroipc import Future, Memory
from zeroipc.errors import RemoteError

pytestmark = pytest.mark.usefixtures("backend")
VALUES: list[tuple[str, Any]] = [("i1", -7), ("i4", -(2**31)), ("u8", 2**64 - 1), ("f8", 0.1)]
each_value = pytest.mark.parametrize("dtype, value", VALUES)


@each_value
@pytest.mark.parametrize("rounded", [0, 1])
def test_the_peer_creates_and_sets(
    memory: Memory, peer: Peer, dtype: str, value: Any, rounded: int
) -> None:
    peer.ask("future.create", "answer", dtype, rounded)
    future = Future(memory, "answer", dtype)
    assert not future.done()
    assert peer.number("future.set", "answer", dtype, value) == 1
    assert future.result() == value
    assert not future.try_set_result(0)


@each_value
def test_python_creates_and_sets(memory: Memory, peer: Peer, dtype: str, value: Any) -> None:
    future = Future(memory, "answer", dtype)
    future.set_result(value)
    kind, word = peer.ask("future.get", "answer", dtype)
    assert (kind, type(value)(word)) == ("value", value)
    assert peer.number("future.set", "answer", dtype, 0) == 0


@pytest.mark.parametrize("way", ["future.error", "future.error_first"])
def test_an_error_from_the_peer(
    memory: Memory, peer: Peer, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zeroipc.future.MESSAGE_PATIENCE", 60.0)
    futures = [Future(memory, f"answer-{i}", "i4") for i in range(30)]
    failures: list[RemoteError | None] = []
    reader = Thread(target=lambda: failures.extend(future.exception() for future in futures))
    reader.start()
    for future in futures:
        assert peer.ask(way, future.name, "i4", "a-reason") == ["1"]
    reader.join()
    assert ["a-reason" in str(failure) for failure in failures] == [True] * 30


def test_an_error_for_the_peer(memory: Memory, peer: Peer) -> None:
    Future(memory, "answer", "f8").set_exception("no luck")
    assert peer.ask("future.get", "answer", "f8") == ["error", "no", "luck"]


def test_both_wait_for_each_other(memory: Memory, start_peer: Callable[..., Peer]) -> None:
    """Python sleeps, the peer polls, and the peer wakes nobody."""
    setter, reader = start_peer(memory), start_peer(memory)
    with ThreadPoolExecutor(1) as pool:
        for i in range(30):
            first, second = (Future(memory, f"{name}-{i}", "i8") for name in ("first", "second"))
            waiter = pool.submit(first.result)
            reader.start("future.get", second.name, "i8")
            setter.ask("future.set", first.name, "i8", i)
            second.set_result(waiter.result() + 1)
            assert reader.answer() == ["value", str(i + 1)]


def test_exactly_one_sets_it(memory: Memory, start_peer: Callable[..., Peer]) -> None:
    peers = [start_peer(memory) for _ in range(2)]
    for i in range(50):
        future = Future(memory, f"answer-{i}", "i8")
        for number, peer in enumerate(peers):
            peer.start("future.set", future.name, "i8", number)
        ours = future.try_set_result(2)
        won = [peer.answer() == ["1"] for peer in peers] + [ours]
        assert sum(won) == 1
        assert won[future.result()]
