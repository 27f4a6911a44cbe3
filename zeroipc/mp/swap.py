"""`install`: `multiprocessing` itself gives what `zeroipc.mp` gives, in children too.

For programs that nobody wants to edit; `python -m zeroipc run` calls it before the program starts.
What is swapped, and where:

- the functions and contexts of `multiprocessing`: `multiprocessing.Queue`, `get_context("spawn")`;
- `ProcessPoolExecutor` in `concurrent.futures` and `concurrent.futures.process`;
- the classes behind them in `multiprocessing.queues` and its like, by a front (see `_Front`), so
  that ours are also what somebody makes who had imported a function of `multiprocessing` before;
- the functions of `multiprocessing.sharedctypes`.

What was made or derived before stays the standard library's, and so do Process, Manager and every
exception. Modules of the standard library that are not loaded yet are swapped when they are.

A forked child is swapped because its parent is. One that is spawned, or comes from the fork server,
is told by the preparation data that it unpickles before anything of the program (see `_Arrival`).
Nothing goes through the environment: other programs that are started notice nothing.
"""

from __future__ import annotations

import concurrent.futures
import functools
import importlib
import multiprocessing
import os
import sys
from importlib.machinery import ModuleSpec
from multiprocessing import context as standard
from typing import TYPE_CHECKING, Any

import zeroipc

from . import context

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping, Sequence
    from types import ModuleType

_FRONTED = {
    "multiprocessing.pool": ("zeroipc.mp.pool", ("Pool",)),
    "multiprocessing.synchronize": (
        "zeroipc.mp.synchronize",
        ("Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"),
    ),
    "multiprocessing.queues": ("zeroipc.mp.queues", ("JoinableQueue", "Queue", "SimpleQueue")),
}
"""Modules of the standard library, and whose classes of which names go in front of theirs."""
_FUNCTIONS = {
    "multiprocessing.sharedctypes": (
        "zeroipc.mp.sharedctypes",
        ("Array", "RawArray", "RawValue", "Value"),
    ),
}
"""As above, of functions. Those that ours are made of stay."""

_undo: list[tuple[MutableMapping[str, Any], str, Any]] = []
"""What was there before: (where, name, value)."""


def install() -> None:
    """Swap `multiprocessing` and `ProcessPoolExecutor`, here and in all processes started later.

    The second call does nothing. The earlier the better: a name of `concurrent.futures`, or an
    object that the program has taken before, stays what it is.
    """
    if _undo:
        return
    for name in multiprocessing.__all__:
        _put(vars(multiprocessing), name, getattr(context._default_context, name))
    _swap_contexts()
    sys.meta_path.insert(0, _Loaded)
    for name in _SWAPS:
        if name in sys.modules:
            _SWAPS[name](sys.modules[name])


def uninstall() -> None:
    """Put back what `install` swapped; what was made meanwhile stays ours."""
    while _undo:
        where, name, value = _undo.pop()
        where[name] = value
        if isinstance(value, type):
            value.__qualname__ = value.__name__
    if _Loaded in sys.meta_path:
        sys.meta_path.remove(_Loaded)


def _put(where: MutableMapping[str, Any], name: str, value: Any) -> None:
    _undo.append((where, name, where[name]))
    where[name] = value


def _swap_contexts() -> None:
    """Let the standard library's default context lead to ours, for who holds it already."""
    standard._default_context.get_all_start_methods()  # Python 3.14 finds its default only now
    for method, ours in context._concrete_contexts.items():
        _put(vars(standard)["_concrete_contexts"], method, ours)
    default = vars(standard._default_context)
    for name in ("_default_context", "_actual_context"):
        if default[name] is not None:
            method = default[name].get_start_method()
            _put(default, name, context._concrete_contexts.get(method, default[name]))


# --- Classes ----------------------------------------------------------------------------


class _Front(type):
    """What stands in `multiprocessing.queues` and its like in place of a class.

    Called, it makes one of ours. Else it is the standard library's class, from which it derives
    and to which it adds nothing: the queues of torch and loky, which derive from it and rest on
    private parts, go on as before. Instances of ours and of theirs are its instances.
    """

    def __call__(cls, *args: Any, **options: Any) -> Any:
        ours = cls._ours()
        return ours(*args, **options) if ours else super().__call__(*args, **options)

    def __instancecheck__(cls, instance: Any) -> bool:
        return cls.__subclasscheck__(type(instance))

    def __subclasscheck__(cls, other: type) -> bool:
        ours = cls._ours()
        if ours is None:
            return super().__subclasscheck__(other)
        return issubclass(other, (ours, cls.__bases__[0]))

    def _ours(cls) -> Any:
        """Return the class of ours behind a front; None for what derives from one."""
        module = vars(cls).get("_front_of")
        return module and getattr(importlib.import_module(module), cls.__name__)


def _put_fronts(module: ModuleType) -> None:
    ours, names = _FRONTED[module.__name__]
    for name in names:
        theirs = getattr(module, name)
        body = {"__module__": theirs.__module__, "__doc__": theirs.__doc__, "_front_of": ours}
        _put(vars(module), name, _Front(name, (theirs,), body))
        # What was made before must still be found by pickle.
        theirs.__qualname__ = f"{name}.__base__"


def _swap_functions(module: ModuleType) -> None:
    ours, names = _FUNCTIONS[module.__name__]
    for name in names:
        _put(vars(module), name, _calling(ours, name, getattr(module, name)))


def _calling(ours: str, name: str, theirs: Any) -> Any:
    """Return a function that calls one of ours; by name, for *ours* may be half loaded."""

    @functools.wraps(theirs)
    def call(*args: Any, **options: Any) -> Any:
        return getattr(importlib.import_module(ours), name)(*args, **options)

    return call


def _swap_executor(module: ModuleType) -> None:
    """Swap the executor, here and where `concurrent.futures` loads it on first use."""
    from .executor import ProcessPoolExecutor

    _put(vars(module), "ProcessPoolExecutor", ProcessPoolExecutor)
    names = vars(concurrent.futures)
    if "ProcessPoolExecutor" in names:
        _put(names, "ProcessPoolExecutor", ProcessPoolExecutor)


# --- Children ---------------------------------------------------------------------------


class _Arrival:
    """Goes to a child in its preparation data; unpickled there, it installs.

    That is before the child gets its parent's sys.path and runs the main module, so it brings the
    place of this package along, and is made of nothing that would have to be found already.
    """

    _CODE = """\
import importlib.machinery, importlib.util, sys
if "zeroipc" not in sys.modules:
    spec = importlib.machinery.PathFinder.find_spec("zeroipc", [{place!r}])
    sys.modules["zeroipc"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["zeroipc"])
import zeroipc.mp.swap
zeroipc.mp.swap.install()
"""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        place = os.path.dirname(os.path.abspath(zeroipc.__path__[0]))
        return exec, (self._CODE.format(place=place), {})


def _swap_preparation(spawn: ModuleType) -> None:
    """Add to what each child is told first that it is to install."""
    prepare = spawn.get_preparation_data

    def get_preparation_data(name: str) -> dict[str, Any]:
        return {**prepare(name), "zeroipc": _Arrival()}

    _put(vars(spawn), "get_preparation_data", get_preparation_data)


# --- Modules that are loaded later ------------------------------------------------------

_SWAPS: dict[str, Callable[[ModuleType], None]] = {
    **dict.fromkeys(_FRONTED, _put_fronts),
    **dict.fromkeys(_FUNCTIONS, _swap_functions),
    "concurrent.futures.process": _swap_executor,
    "multiprocessing.spawn": _swap_preparation,
}


class _Loaded:
    """Swaps the names of a module as soon as it has been loaded: a finder that asks the others."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _SWAPS:
            return None
        for finder in sys.meta_path:
            spec = None if finder is cls else finder.find_spec(fullname, path, target)
            if spec is not None:
                spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
                return spec
        return None


class _Loader:
    """Loads a module as *loader* does, gives it back, and swaps the module's names."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> Any:
        return self.loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        module.__spec__.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)
        _SWAPS[module.__name__](module)
