"""Makes CPython's own test modules see another module as `multiprocessing`.

Python imports this file at start-up because run_cpython_suite.py puts its folder on PYTHONPATH, so
spawned children and test scripts have it too. It replaces builtins.__import__ by one that looks at
who is importing: a module of CPython's test suite that says `import multiprocessing` gets a
stand-in that answers from CONFORMANCE_MODULE; every other importer, the standard library and the
module under test included, gets the real thing. No CPython file is copied or changed.

Environment (all set by the runner):
  CONFORMANCE_MODULE    the module in place of multiprocessing; empty: replace nothing
  CONFORMANCE_EXECUTOR  "module:Class" in place of concurrent.futures' executor
  CONFORMANCE_SCRIPTS   "1": __main__ of test scripts is substituted as well
  CONFORMANCE_TEST_DIR  a further folder to find `test.…` modules in
"""

import builtins
import importlib
import os
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MODULE = os.environ.get("CONFORMANCE_MODULE", "")
EXECUTOR = os.environ.get("CONFORMANCE_EXECUTOR", "")
TEST_DIR = os.environ.get("CONFORMANCE_TEST_DIR", "")

FUTURES_TESTS = "test.test_concurrent_futures"
TESTS = ("test._test_multiprocessing", FUTURES_TESTS, "test.test_multiprocessing_main_handling")
# the standard library's own helper processes run as __main__ too
HELPERS = (
    "multiprocessing.spawn",
    "multiprocessing.forkserver",
    "multiprocessing.resource_tracker",
)
SCRIPTS = os.environ.get("CONFORMANCE_SCRIPTS") == "1" and not any(
    helper in word for word in sys.orig_argv for helper in HELPERS
)

_stand_ins: dict[str, "StandIn"] = {}
_original_import = builtins.__import__


class StandIn(types.ModuleType):
    """Looks a name up in the module under test, then in the real module."""

    _real: types.ModuleType
    _own: types.ModuleType | None

    def __init__(self, real_name: str) -> None:
        super().__init__(real_name)
        self.__dict__["_real"] = real = importlib.import_module(real_name)
        self.__dict__["_own"] = own_module(real_name)
        for name in ("__file__", "__path__", "__spec__", "__package__"):
            if hasattr(real, name):
                self.__dict__[name] = getattr(real, name)

    def __getattr__(self, name: str) -> Any:
        full = f"{self.__name__}.{name}"
        if full == "concurrent.futures.ProcessPoolExecutor":
            where, _, what = EXECUTOR.partition(":")
            return getattr(importlib.import_module(where), what)
        if self._own is None or not hasattr(self._own, name):
            if is_replaced(full) and importable(full):
                return stand_in(full)
            return getattr(self._real, name)
        value = getattr(self._own, name)
        is_submodule = isinstance(value, types.ModuleType) and is_replaced(full)
        return stand_in(full) if is_submodule and importable(full) else value

    def __setattr__(self, name: str, value: object) -> None:
        is_own = self._own is not None and hasattr(self._own, name)
        setattr(self._own if is_own else self._real, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._real, name)

    def __dir__(self) -> list[str]:
        return sorted({*dir(self._own or self._real), *dir(self._real)})


def importable(name: str) -> bool:
    try:
        importlib.import_module(name)
        return True
    except ImportError:
        return False


def own_module(real_name: str) -> types.ModuleType | None:
    """The part of the module under test that stands for REAL_NAME, or None."""
    if not is_replaced(real_name) or real_name.startswith("concurrent"):
        return None
    tail = real_name.removeprefix("multiprocessing")
    if importable(MODULE + tail):
        return sys.modules[MODULE + tail]
    value = getattr(sys.modules[MODULE], tail[1:], None)
    return value if isinstance(value, types.ModuleType) else None


def is_replaced(name: str) -> bool:
    return name.split(".")[0] == "multiprocessing" or name in ("concurrent", "concurrent.futures")


def stand_in(name: str) -> StandIn:
    if name not in _stand_ins:
        _stand_ins[name] = StandIn(name)
    return _stand_ins[name]


def is_test(importer: Mapping[str, object] | None) -> bool:
    name = str((importer or {}).get("__name__"))
    is_script = SCRIPTS and name in ("__main__", "__mp_main__")
    return name in TESTS or name.startswith(FUTURES_TESTS + ".") or is_script


def complete_support() -> None:
    """Give an older test.support what a newer suite (TEST_DIR) asks of it."""
    support = sys.modules["test.support"]
    if hasattr(support, "Py_GIL_DISABLED"):
        return
    added = vars(support)
    added["Py_GIL_DISABLED"] = False
    added["requires_gil_enabled"] = lambda reason: lambda test: test
    for name in ("check_sanitizer", "skip_if_sanitizer"):
        added[name] = without_thread(added[name])


def without_thread(old: Callable[..., Any]) -> Callable[..., Any]:
    """OLD, that does not know the `thread` argument of newer Pythons yet."""

    def newer(*args: object, thread: bool = False, **options: object) -> Any:
        return old(*args, **{"memory": True, **options})

    return newer


def substituting_import(
    name: str,
    globals: Mapping[str, object] | None = None,
    locals: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> types.ModuleType:
    module = _original_import(name, globals, locals, fromlist or (), level)
    if TEST_DIR and name == "test" and is_test(globals):
        complete_support()
    if level or not is_replaced(name) or not is_test(globals):
        return module
    return stand_in(name if fromlist else name.split(".")[0])


if MODULE:
    builtins.__import__ = substituting_import
if TEST_DIR:
    importlib.import_module("test").__path__.append(TEST_DIR)
