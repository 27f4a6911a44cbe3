"""kill -9 of who has shared values: the others keep them, and nothing leaks."""

from __future__ import annotations

import gc
import multiprocessing
import signal
from typing import Any

import pytest

import zeroipc.mp as mp
from zeroipc.mp import cells, transport

pytestmark = pytest.mark.kill
METHODS = multiprocessing.get_all_start_methods()


def hold(conn: Any, array: Any, value: Any) -> None:
    own = mp.RawArray("d", 5000)
    while True:
        array[0] += 1
        value.value += 1
        own[0] += 1
        conn.send(array[0])


def live_blocks() -> int:
    gc.collect()
    transport.home().arena.sweep()
    cells.SharedMemory(8)  # making one reclaims others
    return int(transport.home().arena.stats()["blocks_live"])


@pytest.mark.parametrize("method", METHODS)
def test_holder_is_killed(method: str) -> None:
    context = mp.get_context(method)
    mp.RawValue("i")  # takes memory for more
    before = live_blocks()
    array, value = context.RawArray("d", 5000), context.RawValue("i")
    receiver, sender = context.Pipe(False)
    child = context.Process(target=hold, args=(sender, array, value))
    child.start()
    sender.close()
    for _ in range(20):
        seen = receiver.recv()
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert array[0] >= seen
    assert value.value in (array[0], array[0] - 1)
    receiver.close()
    del array, value, child, receiver, sender
    assert live_blocks() <= before
