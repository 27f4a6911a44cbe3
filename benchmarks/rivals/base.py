"""The small interface that every rival gives; a method that returns None says "no such thing".

A link is a queue before anyone has opened it. It is made in the host, travels to the peers, and
each process opens the end it needs, because sockets and shared-memory ports do not survive a fork.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, NamedTuple, Protocol

import numpy as np

Put = Callable[[Any], Any]
Get = Callable[[], Any]
Lend = Callable[[int, str], np.ndarray[Any, Any]]  # length, dtype


Step = Callable[[int], None]


class Turns(Protocol):
    """One side of two that take turns."""

    def open(self) -> tuple[Callable[[], Any], Callable[[], Any]]:
        """Open it in this process: how to give the turn, how to wait for it."""


class Link(Protocol):
    """One direction: many writers, many readers, each item delivered once."""

    def writer(self) -> Put:
        """Open the sending end in this process."""

    def reader(self) -> Get:
        """Open the receiving end in this process."""

    def lender(self) -> Lend | None:
        """How to make arrays that are sent without a copy; None where there are none."""


class End(Protocol):
    """One end of a two-way connection."""

    def open(self) -> tuple[Put, Get]:
        """Open it in this process: how to send, how to receive."""


class Rival:
    """A library under test; a rival overrides what its library has."""

    name: str

    def __init__(self, method: str) -> None:
        self.method = method

    def queue(self, depth: int, nbytes: int, producers: int = 1, consumers: int = 1) -> Link | None:
        """A queue of at most *depth* items of up to *nbytes* each; depth 0: the library's default.

        Args:
            depth: items that may wait in the queue.
            nbytes: size of the largest item, for libraries that want to know.
            producers, consumers: how many processes will open each end.
        """
        return None

    def two_queues(self, nbytes: int) -> tuple[End, End] | None:
        """A request queue and an answer queue, as the two ends see them."""
        there, back = self.queue(0, nbytes), self.queue(0, nbytes)
        if there is None or back is None:
            return None
        return LinkedEnd(there, back), LinkedEnd(back, there)

    def pipe(self, nbytes: int) -> tuple[End, End] | None:
        """What this library's users take between a parent and one worker."""
        return self.two_queues(nbytes)

    def context(self) -> Any | None:
        """A context of multiprocessing or its like, whose objects any process may use."""
        return None

    def pool(self, workers: int) -> Executor | None:
        """A pool of worker processes with the interface of concurrent.futures."""
        return None

    def served(self, fn: Any) -> tuple[Callable[..., Any], Callable[[], Any]] | None:
        """A function served by one other process: how to call it, and how to end that."""
        return None

    def joblib_backend(self) -> str | None:
        """The name of the library's backend for joblib, registered."""
        return None

    def floats(self, depth: int) -> Link | None:
        """A queue for float64 alone, of at most *depth* items."""
        return self.queue(depth, 8)

    def operation(self, kind: str) -> Step | None:
        """One uncontended operation on a shared structure; ``scenarios/named.py`` has the kinds.

        Each call checks what it reads; its argument counts the calls.
        """
        return None

    def turns(self, kind: str) -> tuple[Turns, Turns] | None:
        """Two sides that take turns by means of *kind*, "event" or "condition"."""
        return None

    def names(self, count: int) -> tuple[Step, Step] | None:
        """How to find the last of *count* names, and to add one more, each at most 200 times."""
        return None

    def first_result(self) -> str | None:
        """Source that imports the library and defines start() and stop().

        start() makes a pool of two workers and returns its result of abs(-7); stop() ends it.
        """
        return None

    def import_line(self) -> str | None:
        """The statement whose time is the library's import time."""
        return None


class LinkedEnd(NamedTuple):
    """An end made of two links."""

    out: Link
    back: Link

    def open(self) -> tuple[Put, Get]:
        return self.out.writer(), self.back.reader()


class QueueLink(NamedTuple):
    """A link over an object with put() and get() that any process may use as it is."""

    queue: Any
    lend: Lend | None = None

    def writer(self) -> Put:
        put: Put = self.queue.put
        return put

    def reader(self) -> Get:
        get: Get = self.queue.get
        return get

    def lender(self) -> Lend | None:
        return self.lend
