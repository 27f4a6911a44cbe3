"""How many threads numerical libraries use inside a worker (BLAS, OpenMP, numexpr).

They read environment variables when they are loaded: so a worker that is spawned has them from
its first moment, and any worker for what it loads later. What a forked worker, or the main
module of one of a fork server, has loaded already is told through threadpoolctl, if that is
installed; otherwise it keeps its number of threads.
"""

from __future__ import annotations

import contextlib
import os
from importlib import import_module
from typing import TYPE_CHECKING

from .._rlock import RLock

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

_lock = RLock()


@contextlib.contextmanager
def environment(inner_threads: int | None) -> Iterator[None]:
    """Set the variables while a process is started; None: leave them."""
    if inner_threads is None:
        yield
        return
    with _lock:  # the variables are the whole process's
        before = {name: os.environ.get(name) for name in VARIABLES}
        _set_variables(inner_threads)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def limit_threads(inner_threads: int) -> None:
    """Limit the threads of what this process has loaded, as far as possible, and will load."""
    _set_variables(inner_threads)
    with contextlib.suppress(ImportError):
        import_module("threadpoolctl").threadpool_limits(inner_threads)


def _set_variables(inner_threads: int) -> None:
    os.environ.update(dict.fromkeys(VARIABLES, str(inner_threads)))


def _after_fork_in_child() -> None:
    global _lock
    _lock = RLock()  # another thread may have held it


os.register_at_fork(after_in_child=_after_fork_in_child)
