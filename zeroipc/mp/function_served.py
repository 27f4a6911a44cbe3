"""What a worker of a `Function` does: it has the callable, runs a call, and answers who asked.

A worker's process serves one function. What stands here is the same in all its threads.
"""

from __future__ import annotations

import importlib
import sys
import threading
import weakref
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ..errors import ClosedError
from .calls import Packer, _is_interactive, unpack
from .queues import SimpleQueue
from .worker import run_call

if TYPE_CHECKING:
    from collections.abc import Callable

    from .functions import Function

token = b""
"""Which function this process serves; empty: it is no worker."""
_serve: Callable[..., Any]

functions: weakref.WeakSet[Function[Any]] = weakref.WeakSet()
"""All of this process."""


def begin(mark: bytes, load: Callable[[], Callable[..., Any]]) -> None:
    """Be a worker of the function with that token: the initializer."""
    global token, _serve
    token = mark
    for function in functions:
        function._become_worker()
    _serve = load()


def call(*args: Any, **kwargs: Any) -> Any:
    """Call the callable that this process serves."""
    return _serve(*args, **kwargs)


_local = threading.local()


def loader(call: Any, by_name: bool, context: Any) -> Callable[[], Any]:
    """Return what gives a worker the callable.

    Args:
        call: the callable.
        by_name: whether its name leads to the function that was made of it.
        context: starts the worker.

    Raises:
        UnpicklableError: it cannot be sent.
    """
    if context.get_start_method(allow_none=False) == "fork":
        return lambda: call
    if by_name and not _is_interactive(call):
        return partial(load_by_name, call.__module__, call.__qualname__)
    _local.by_value = True
    try:
        return partial(unpack, Packer(by_value=True).pack(call))
    finally:
        _local.by_value = False


def is_packing_by_value() -> bool:
    """Return whether this thread is pickling what a worker is given."""
    return getattr(_local, "by_value", False)


def find(module: str, qualname: str) -> Any:
    """Return what a module, loaded if need be, has under a dotted name; None: nothing."""
    try:
        if module not in sys.modules:
            importlib.import_module(module)
        return attrgetter(qualname)(sys.modules[module])
    except (AttributeError, ImportError):  # local to a function, for one
        return None


def load_by_name(module: str, qualname: str) -> Any:
    """Return the callable of the decorated function of that name."""
    return find(module, qualname).__wrapped__


def run_function_call(call: tuple[Any, ...], results: Any) -> None:
    """Run a call and send its outcome to whoever asked; drop it if that one is gone."""
    if len(call) == 4:  # the owner
        run_call(call, results)
    elif (answers := queue_at(results._handle[0], call[4])) is not None:
        run_call(call[:4], answers)
        if answers._spilling:  # a call has ended when its outcome is in shared memory
            answers._own_overflow().join()


def queue_at(arena: Any, address: tuple[int, int]) -> Any:
    """Return the queue of that slot and generation; None: all who had it are gone.

    It is not held for longer than needed: what is sent to the dead goes with the last holder.
    """
    queue: Any = SimpleQueue.__new__(SimpleQueue)
    try:
        queue._attach(arena, *address)
    except ClosedError:
        return None
    return queue
