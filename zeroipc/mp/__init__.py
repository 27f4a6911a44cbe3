"""`multiprocessing`, with queues, locks and a process pool in shared memory.

    import zeroipc.mp as multiprocessing

Every public name of the running Python's `multiprocessing` is here, its submodules too; ours take
the place of the queues, Pool, locks, semaphores, events, conditions and barriers. Beyond it:

    ProcessPoolExecutor     takes the place of `concurrent.futures.ProcessPoolExecutor`
    Function, function      a callable, or a decorator, whose calls run in worker processes
    empty, asarray          arrays that already live in shared memory and are sent without a copy
    get_reusable_executor   one executor for the whole program, warm as long as it is used
    worker_resource         what the worker that runs a task has loaded
    install, uninstall      let `multiprocessing` itself give all this: no program need be edited

Nothing but `multiprocessing` and the base of `concurrent.futures` is imported until it is needed.
"""

import concurrent.futures  # noqa: F401 - most programs need it, and a pool then starts sooner
import importlib
import importlib.util
import multiprocessing
import typing

from zeroipc.mp.context import _default_context
from zeroipc.mp.joblib_hook import register as _register_joblib

if typing.TYPE_CHECKING:  # what __all__ and __getattr__ give, spelled out for type checkers
    from multiprocessing import (  # isort: skip
        Array as Array,
        AuthenticationError as AuthenticationError,
        BufferTooShort as BufferTooShort,
        Manager as Manager,
        Pipe as Pipe,
        Process as Process,
        ProcessError as ProcessError,
        RawArray as RawArray,
        RawValue as RawValue,
        TimeoutError as TimeoutError,
        Value as Value,
        active_children as active_children,
        allow_connection_pickling as allow_connection_pickling,
        cpu_count as cpu_count,
        current_process as current_process,
        freeze_support as freeze_support,
        get_all_start_methods as get_all_start_methods,
        get_logger as get_logger,
        get_start_method as get_start_method,
        log_to_stderr as log_to_stderr,
        parent_process as parent_process,
        reducer as reducer,
        set_executable as set_executable,
        set_forkserver_preload as set_forkserver_preload,
        set_start_method as set_start_method,
    )

    from zeroipc.mp.executor import ProcessPoolExecutor as ProcessPoolExecutor
    from zeroipc.mp.functions import Function as Function
    from zeroipc.mp.functions import function as function
    from zeroipc.mp.resources import worker_resource as worker_resource
    from zeroipc.mp.reusable import get_reusable_executor as get_reusable_executor
    from zeroipc.mp.swap import install as install
    from zeroipc.mp.swap import uninstall as uninstall
    from zeroipc.mp.transport import asarray as asarray
    from zeroipc.mp.transport import empty as empty

    Barrier = _default_context.Barrier
    BoundedSemaphore = _default_context.BoundedSemaphore
    Condition = _default_context.Condition
    Event = _default_context.Event
    JoinableQueue = _default_context.JoinableQueue
    Lock = _default_context.Lock
    Pool = _default_context.Pool
    Queue = _default_context.Queue
    RLock = _default_context.RLock
    Semaphore = _default_context.Semaphore
    SimpleQueue = _default_context.SimpleQueue
    get_context = _default_context.get_context

__all__ = list(multiprocessing.__all__)
globals().update((name, getattr(_default_context, name)) for name in __all__)

_register_joblib()

_ADDED = {
    "Function": "zeroipc.mp.functions",
    "ProcessPoolExecutor": "zeroipc.mp.executor",
    "asarray": "zeroipc.mp.transport",
    "empty": "zeroipc.mp.transport",
    "function": "zeroipc.mp.functions",
    "get_reusable_executor": "zeroipc.mp.reusable",
    "install": "zeroipc.mp.swap",
    "uninstall": "zeroipc.mp.swap",
    "worker_resource": "zeroipc.mp.resources",
}


def __getattr__(name: str) -> typing.Any:
    """Load, on first use, what we add, a submodule, or a minor name such as SUBDEBUG."""
    if name in _ADDED:
        value = getattr(importlib.import_module(_ADDED[name]), name)
    elif not name.startswith("_") and importlib.util.find_spec(f"{__name__}.{name}"):
        value = importlib.import_module(f"{__name__}.{name}")
    elif hasattr(multiprocessing, name):
        value = getattr(multiprocessing, name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, value)


def __dir__() -> list[str]:
    return sorted({*globals(), *_ADDED, *dir(multiprocessing)})
