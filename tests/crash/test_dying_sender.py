"""What a message only names goes with its killed sender; the error comes when that is seen dead."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

import zeroipc.mp as mp

MANY = 2000
"""Descriptors that the system closes between the one we watch and the end of the process."""


class Named:
    """Rebuilt by its receiver, who kills the sender and sees its end of a pipe close."""

    def __init__(self, end: int, filling: bytes = b"") -> None:
        self.end, self.filling = end, filling

    def __reduce__(self) -> Any:
        return fetch, (os.getpid(), self.end, self.filling)


def fetch(pid: int, end: int, filling: bytes) -> None:
    os.kill(pid, signal.SIGKILL)
    assert os.read(end, 1) == b""
    raise EOFError


def send(queue: Any, ends: tuple[int, int], nbytes: int) -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    for _ in range(MANY):
        os.dup(null)
    queue.put(Named(ends[0], bytes(nbytes)))
    signal.pause()


@pytest.mark.kill
@pytest.mark.parametrize("nbytes", [0, 100_000])
def test_who_asks_after_the_error_finds_the_sender_dead(nbytes: int) -> None:
    context = mp.get_context("fork")
    for _ in range(10):
        queue = context.Queue()
        ends = os.pipe()
        process = context.Process(target=send, args=(queue, ends, nbytes))
        process.start()
        os.close(ends[1])
        with pytest.raises(EOFError):
            queue.get()
        assert not process.is_alive()
        process.join()
        os.close(ends[0])
        queue.close()
