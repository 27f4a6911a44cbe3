"""zeroipc.mp, through the names that multiprocessing and concurrent.futures use."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from importlib import import_module
from typing import Any

from benchmarks.rivals import zeroipc_structures
from benchmarks.rivals.base import Link, QueueLink, Rival, Step, Turns

# by name, so that the benchmarks of the other libraries run where it is not installed
mp: Any = import_module("zeroipc.mp")

FIRST_RESULT = """
import zeroipc.mp as mp
def start():
    global pool
    pool = mp.ProcessPoolExecutor(2, mp_context=mp.get_context({method!r}))
    return pool.submit(abs, -7).result()
def stop():
    pool.shutdown()
"""


class ZeroIPC(Rival):
    name = "zeroipc"

    def queue(self, depth: int, nbytes: int, producers: int = 1, consumers: int = 1) -> Link | None:
        return QueueLink(mp.get_context(self.method).Queue(depth), mp.empty)

    def context(self) -> Any | None:
        return mp.get_context(self.method)

    def pool(self, workers: int) -> Executor | None:
        pool: Executor = mp.ProcessPoolExecutor(workers, mp_context=mp.get_context(self.method))
        return pool

    def joblib_backend(self) -> str | None:
        return "zeroipc"

    def served(self, fn: Any) -> tuple[Callable[..., Any], Callable[[], Any]]:
        function = mp.Function(fn, workers=1, mp_context=mp.get_context(self.method))
        return function, function.close

    def floats(self, depth: int) -> Link | None:
        return zeroipc_structures.floats(depth)

    def operation(self, kind: str) -> Step | None:
        return zeroipc_structures.operation(kind)

    def turns(self, kind: str) -> tuple[Turns, Turns] | None:
        return zeroipc_structures.turns(kind)

    def names(self, count: int) -> tuple[Step, Step] | None:
        return zeroipc_structures.names(count)

    def first_result(self) -> str | None:
        return FIRST_RESULT.format(method=self.method)

    def import_line(self) -> str | None:
        return "import zeroipc.mp"


make = ZeroIPC
