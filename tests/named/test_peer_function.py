"""Functions that one implementation serves and another calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest

from tests.support.peer import Peer
from zeroipc import Function, Memory, RemoteError, ZeroIPCError

pytestmark = pytest.mark.usefixtures("backend")
StartPeer = Callable[..., Peer]
CALLS = 300


def triple(x: Any) -> Any:
    if x < 0:
        raise ValueError("below zero")
    return 3 * x + 1


@contextmanager
def served(function: Any) -> Iterator[None]:
    server = Thread(target=function.serve, args=(triple,))
    server.start()
    try:
        yield
    finally:
        function.stop()
        server.join()


@pytest.mark.parametrize("argument", ["i1", "i2", "i4", "i8", "f8"])
@pytest.mark.parametrize("result", ["i2", "i8", "f4"])
def test_both_make_the_same_bytes(memory: Memory, peer: Peer, argument: str, result: str) -> None:
    Function(memory, "ours", argument, result, slots=3)
    peer.ask("function.create", "theirs", argument, result, 3)
    assert peer.ask("bytes", "ours") == peer.ask("bytes", "theirs")
    theirs = Function.open(memory, "theirs", argument, result)
    peer.start("function.serve", "theirs", argument, result, 2)
    assert theirs(5) == 16
    with pytest.raises(RemoteError, match="below zero"):
        theirs(-1)
    peer.answer()


def test_the_peer_calls(memory: Memory, start_peer: StartPeer) -> None:
    peers = [start_peer(memory) for _ in range(2)]
    function = Function(memory, "triple", "i8", "f8", slots=4)
    with served(function):
        assert peers[0].ask("function.call", "triple", "i8", "f8", 7) == ["value", "22"]
        kind, *message = peers[0].ask("function.call", "triple", "i8", "f8", -7)
        assert kind == "error"
        assert "below zero" in " ".join(message)
        for number, peer in enumerate(peers):
            peer.start("function.call_range", "triple", "i8", "f8", 1000 * number, CALLS)
        for peer in peers:
            peer.answer()


@pytest.mark.parametrize("slots", [1, 8])
def test_the_peer_serves(memory: Memory, start_peer: StartPeer, slots: int) -> None:
    peers = [start_peer(memory) for _ in range(2)]
    function = Function(memory, "triple", "i4", "i8", slots=slots)
    for peer in peers:
        peer.start("function.serve", "triple", "i4", "i8", CALLS // 2)
    assert [function(x) for x in range(CALLS)] == [3 * x + 1 for x in range(CALLS)]
    for peer in peers:
        peer.answer()


def test_everybody_calls_and_serves(memory: Memory, start_peer: StartPeer) -> None:
    calling, serving = start_peer(memory), start_peer(memory)
    function = Function(memory, "triple", "i8", "i8", slots=2)
    calling.start("function.call_range", "triple", "i8", "i8", 0, CALLS)
    serving.start("function.serve", "triple", "i8", "i8", 10**9)
    with served(function):
        assert [function(x) for x in range(CALLS)] == [3 * x + 1 for x in range(CALLS)]
        calling.answer()
    serving.kill()  # idle: all calls were made and done


def test_calls_are_served_in_the_order_in_which_they_were_made(memory: Memory, peer: Peer) -> None:
    function = Function(memory, "triple", "i4", "i4", slots=2)
    first, second = function.submit(1), function.submit(2)
    peer.ask("function.serve", "triple", "i4", "i4", 1)
    assert first.result() == 4
    third = function.submit(3)  # into the first slot
    peer.ask("function.serve", "triple", "i4", "i4", 1)
    assert second.result() == 7
    assert not third.done()
    peer.ask("function.serve", "triple", "i4", "i4", 1)
    assert third.result() == 10
    fourth = function.submit(-1)
    peer.ask("function.post", "triple", "i4", "i4", 5)
    served: list[int] = []
    for _ in range(2):
        assert function.serve_one(lambda x: served.append(x) or x)  # type: ignore[func-returns-value]
    assert served == [-1, 5]
    assert fourth.result() == -1


def test_several_arguments_are_a_struct(memory: Memory, peer: Peer) -> None:
    function = Function(memory, "sum", ("i8", "i8"), "i8", slots=1)
    with ThreadPoolExecutor(1) as pool:
        server = pool.submit(function.serve_one, lambda a, b: a + b)
        assert peer.ask("function.call", "sum", "r2", "i8", 21) == ["value", "42"]
        assert server.result()


def test_a_call_fails_whose_server_is_killed(memory: Memory, peer: Peer) -> None:
    function = Function(memory, "triple", "i4", "i4", slots=1)
    peer.start("function.take", "triple", "i4", "i4")
    future = function.submit(1)
    peer.answer()
    peer.kill()
    with pytest.raises(ZeroIPCError):
        future.result()
    with served(function):
        assert function(2) == 7


@pytest.mark.parametrize("slots", [1, 2])
def test_the_slots_of_a_killed_client_are_used_again(
    memory: Memory, start_peer: StartPeer, slots: int
) -> None:
    function = Function(memory, "triple", "i4", "i4", slots=slots)
    for _ in range(slots):
        client = start_peer(memory)
        client.ask("function.post", "triple", "i4", "i4", 1)
        client.kill()
    future = function.submit(2)
    with served(function):
        assert future.result() == 7
