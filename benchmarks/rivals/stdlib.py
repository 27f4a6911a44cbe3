"""multiprocessing and concurrent.futures: the baseline of every ratio."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.managers import BaseManager
from typing import Any, NamedTuple

from benchmarks.rivals import stdlib_structures
from benchmarks.rivals.base import End, Get, Link, Put, QueueLink, Rival, Step, Turns

FIRST_RESULT = """
import multiprocessing
def start():
    global pool
    pool = multiprocessing.get_context({method!r}).Pool(2)
    return pool.apply(abs, (-7,))
def stop():
    pool.terminate()
"""


class Stdlib(Rival):
    name = "stdlib"

    def queue(self, depth: int, nbytes: int, producers: int = 1, consumers: int = 1) -> Link | None:
        return QueueLink(multiprocessing.get_context(self.method).Queue(depth))

    def pipe(self, nbytes: int) -> tuple[End, End] | None:
        ours, theirs = multiprocessing.get_context(self.method).Pipe()
        return PipeEnd(ours), PipeEnd(theirs)

    def context(self) -> Any | None:
        return multiprocessing.get_context(self.method)

    def pool(self, workers: int) -> Executor | None:
        return ProcessPoolExecutor(workers, multiprocessing.get_context(self.method))

    def joblib_backend(self) -> str | None:
        return "multiprocessing"

    def served(self, fn: Any) -> tuple[Callable[..., Any], Callable[[], Any]]:
        manager = CalleeManager(ctx=multiprocessing.get_context(self.method))
        manager.start()
        return manager.Callee(fn).call, manager.shutdown  # type: ignore[attr-defined]

    def operation(self, kind: str) -> Step | None:
        return stdlib_structures.operation(multiprocessing.get_context(self.method), kind)

    def turns(self, kind: str) -> tuple[Turns, Turns] | None:
        return stdlib_structures.turns(multiprocessing.get_context(self.method), kind)

    def first_result(self) -> str | None:
        return FIRST_RESULT.format(method=self.method)

    def import_line(self) -> str | None:
        return "import multiprocessing"


class Callee:
    """What a manager's process serves."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._fn = fn

    def call(self, *args: Any) -> Any:
        return self._fn(*args)


class CalleeManager(BaseManager):
    """A manager of callees."""


CalleeManager.register("Callee", Callee)


class PipeEnd(NamedTuple):
    connection: Connection

    def open(self) -> tuple[Put, Get]:
        return self.connection.send, self.connection.recv


make = Stdlib
