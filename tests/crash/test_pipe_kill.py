"""kill -9 of those at the ends of a pipe: nothing is lost, doubled or mixed up, nothing leaks."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import random
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest

import zeroipc.mp as mp
from zeroipc.mp import lane, transport

pytestmark = pytest.mark.kill
METHODS = multiprocessing.get_all_start_methods()
NBYTES = lane.LARGE
KILLS = {"fork": 12}
"""How many senders; fewer of those that take long to start."""


@pytest.fixture(autouse=True)
def no_survivors() -> Iterator[None]:
    """End the children of a test that failed, so that it hangs nobody."""
    yield
    for child in multiprocessing.active_children():
        child.kill()
        child.join()


def payload_of(number: int) -> Any:
    """Return something that goes through the pipe, or in shared memory: copied, moved, in parts."""
    if number % 4 == 0:
        return number
    array = mp.empty(NBYTES, np.uint8) if number % 4 == 1 else np.empty(NBYTES, np.uint8)
    array[:] = number % 251
    return [array, number] if number % 4 == 2 else array


def is_payload_of(number: int, payload: Any) -> bool:
    if number % 4 == 0:
        return bool(payload == number)
    array = payload[0] if number % 4 == 2 else payload
    return bool((array == number % 251).all())


def send_for_ever(conn: Any, who: int) -> None:
    for number in count():
        conn.send((who, number, payload_of(number)) if number % 4 else (who, number, number))


def receive_for_ever(conn: Any) -> None:
    conn.send("ready")
    while True:
        conn.recv()


def live_blocks_of_the_living() -> int:
    arena = transport.home().arena
    gc.collect()
    arena.sweep()
    mp.SimpleQueue()  # reclaims queues that nobody has
    return int(arena.stats()["blocks_live"])


@pytest.mark.parametrize("method", METHODS)
def test_senders_are_killed(method: str) -> None:
    """Two at a time share an end, as nobody's lock could survive: small writes are whole."""
    context = mp.get_context(method)
    receiver, sender = context.Pipe(False)
    before = live_blocks_of_the_living()
    numbers: dict[int, int] = {}
    children = []
    kills = KILLS.get(method, 3)
    for who in range(kills):
        child = context.Process(target=send_for_ever, args=(sender, who))
        child.start()
        children.append(child)
        while numbers.get(who, 0) < random.randrange(1, 60):
            take_one(receiver, numbers)
        if len(children) == 2:
            children.pop(0).kill()
    sender.close()
    children[0].kill()
    take_rest(receiver, numbers)
    for child in multiprocessing.active_children():
        child.join()
    assert len(numbers) == kills
    receiver.close()
    del receiver, sender, child, children
    assert live_blocks_of_the_living() <= before


def take_one(receiver: Any, numbers: dict[int, int]) -> None:
    who, number, payload = receiver.recv()
    assert number == numbers.get(who, -1) + 1
    assert is_payload_of(number, payload)
    numbers[who] = number


def take_rest(receiver: Any, numbers: dict[int, int]) -> None:
    """Receive until the end, which may come amid a message, as in any pipe."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            take_one(receiver, numbers)


@pytest.mark.parametrize("method", METHODS)
def test_receivers_are_killed(method: str) -> None:
    context = mp.get_context(method)
    before = live_blocks_of_the_living()
    for _ in range(KILLS.get(method, 3)):
        receiver, sender = context.Pipe()
        child = context.Process(target=receive_for_ever, args=(receiver,))
        child.start()
        receiver.close()
        assert sender.recv() == "ready"  # a child that dies before holds all for some seconds
        deadline = time.monotonic() + random.random() / 50
        for number in count(1):
            if time.monotonic() > deadline:
                child.kill()
            try:
                sender.send(payload_of(number))
            except (BrokenPipeError, ConnectionResetError):
                break
        child.join()
        del receiver, sender, child
    assert live_blocks_of_the_living() <= before + 1
