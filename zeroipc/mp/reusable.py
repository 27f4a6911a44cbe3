"""One executor for the whole program, warm as long as it is used, as `loky` has it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .._rlock import RLock
from .executor import ProcessPoolExecutor

if TYPE_CHECKING:
    from collections.abc import Callable

_lock = RLock()
_current: tuple[ProcessPoolExecutor, dict[str, Any]] | None = None


def get_reusable_executor(
    max_workers: int | None = None,
    context: Any = None,
    timeout: float | None = 10,
    kill_workers: bool = False,
    reuse: bool | str = "auto",
    initializer: Callable[..., object] | None = None,
    initargs: tuple[Any, ...] = (),
    **options: Any,
) -> ProcessPoolExecutor:
    """Return the executor that this program shares; makes it at first need.

    As long as it works and is asked for with the same arguments, it is the same one. When it is
    broken or shut down, or the arguments are others, it is replaced; what it had to do is done
    first. Arrays, which do not compare to true or false, are the same only if they are one object.

    Args:
        max_workers: how many processes; None for as many as there are CPUs, or for those of
            the executor that is there if *reuse* is True.
        context: starts the processes: a context, or the name of a start method; None for the
            default one.
        timeout: seconds after which a worker without a task leaves; None for never.
        kill_workers: whether the workers of an executor that is replaced are killed at once.
        reuse: "auto" as said; True: whatever its arguments were; False: always a new one.
        initializer, initargs: called in each worker before its first task.
        options: other arguments of ProcessPoolExecutor.

    Raises:
        ValueError, TypeError: as ProcessPoolExecutor.
    """
    global _current
    wanted = dict(
        options,
        max_workers=max_workers,
        mp_context=_context(context),
        idle_timeout=timeout,
        initializer=initializer,
        initargs=initargs,
    )
    with _lock:
        if _current is not None:
            executor, made = _current
            if _works(executor) and (reuse is True or (reuse == "auto" and same(made, wanted))):
                return executor
            _current = None
            if kill_workers:
                executor.kill_workers()
            executor.shutdown(wait=True)
        executor = ProcessPoolExecutor(**wanted)
        _current = executor, wanted
        return executor


def same(made: object, wanted: object) -> bool:
    """Return whether two executors are made alike; what cannot be compared, as arrays, is not."""
    try:
        return bool(made == wanted)
    except Exception:
        return False


def _forget() -> None:
    """In a forked child: the executor is the parent's, and nobody holds the lock."""
    global _current, _lock
    _current, _lock = None, RLock()


os.register_at_fork(after_in_child=_forget)


def _context(context: Any) -> Any:
    if not isinstance(context, str):
        return context
    from .context import _default_context

    return _default_context.get_context(context)


def _works(executor: ProcessPoolExecutor) -> bool:
    engine = executor._engine
    return engine.broken is None and not engine.closing
