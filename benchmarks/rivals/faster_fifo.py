"""faster-fifo: a byte ring in shared memory under one mutex, items pickled."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from benchmarks.rivals.base import Get, Lend, Link, Put, Rival

faster_fifo: Any = import_module("faster_fifo")
FOR_EVER = 1e6  # seconds; its calls give up after ten unless told otherwise
RECORD = 512  # bytes added to each item for its pickle's frame
DEFAULT_DEPTH = 10_000


class FasterFifo(Rival):
    name = "faster-fifo"

    def queue(self, depth: int, nbytes: int, producers: int = 1, consumers: int = 1) -> Link | None:
        room = (depth or DEFAULT_DEPTH) * (nbytes + RECORD)
        if depth == 0:
            room = min(room, 64 << 20)
        return FasterFifoLink(faster_fifo.Queue(max_size_bytes=room))


class FasterFifoLink(NamedTuple):
    queue: Any

    def writer(self) -> Put:
        return partial(self.queue.put, timeout=FOR_EVER)

    def reader(self) -> Get:
        return partial(self.queue.get, timeout=FOR_EVER)

    def lender(self) -> Lend | None:
        return None


make = FasterFifo
