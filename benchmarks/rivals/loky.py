"""loky: the process pool of joblib and scikit-learn."""

from __future__ import annotations

from concurrent.futures import Executor
from importlib import import_module
from typing import Any

from benchmarks.rivals.base import Rival

loky: Any = import_module("loky")

FIRST_RESULT = """
import loky
def start():
    global pool
    pool = loky.ProcessPoolExecutor(2)
    return pool.submit(abs, -7).result()
def stop():
    pool.shutdown()
"""


class Loky(Rival):
    name = "loky"

    def pool(self, workers: int) -> Executor | None:
        # its own start method: a fresh interpreter per worker
        pool: Executor = loky.ProcessPoolExecutor(workers)
        return pool

    def joblib_backend(self) -> str | None:
        return "loky"

    def first_result(self) -> str | None:
        return FIRST_RESULT

    def import_line(self) -> str | None:
        return "import loky"


make = Loky
