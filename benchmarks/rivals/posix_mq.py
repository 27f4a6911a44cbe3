"""POSIX message queues through posix_ipc: the kernel's own queue, for pickles of a few KB."""

from __future__ import annotations

import pickle
from importlib import import_module
from typing import Any, NamedTuple

from benchmarks.rivals.base import Get, Lend, Link, Put, Rival

posix_ipc: Any = import_module("posix_ipc")
DEPTH = 10  # what the kernel grants without privileges
LARGEST = 8192  # bytes; the same


class PosixMQ(Rival):
    name = "posix-mq"

    def queue(self, depth: int, nbytes: int, producers: int = 1, consumers: int = 1) -> Link | None:
        if nbytes > LARGEST or self.method != "fork":  # the descriptor is inherited, not named
            return None
        queue = posix_ipc.MessageQueue(
            None, posix_ipc.O_CREX, max_messages=DEPTH, max_message_size=LARGEST
        )
        queue.unlink()
        return PosixMQLink(queue)


class PosixMQLink(NamedTuple):
    queue: Any

    def writer(self) -> Put:
        send = self.queue.send
        return lambda item: send(pickle.dumps(item))

    def reader(self) -> Get:
        receive = self.queue.receive
        return lambda: pickle.loads(receive()[0])

    def lender(self) -> Lend | None:
        return None


make = PosixMQ
