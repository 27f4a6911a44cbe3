"""Makes the joblib backend "zeroipc" known, before or after joblib is imported.

joblib has no entry points, and neither package should load the other: whoever comes second
tells joblib of a function that loads the backend when somebody asks for it.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_PARALLEL = "joblib.parallel"


def make_backend(**options: Any) -> Any:
    """Return a new backend; the first call loads it, and registers it itself."""
    from .joblib_backend import ZeroIPCBackend

    return ZeroIPCBackend(**options)


class _WhenImported:
    """Waits, once, for the import of joblib's module, and registers after it has run."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if name != _PARALLEL:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        loader: Any = spec and spec.loader
        if loader is not None:
            run = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                loader.exec_module = run
                run(module)
                module.register_parallel_backend("zeroipc", make_backend)

            loader.exec_module = exec_module
        return spec


def register() -> None:
    """Register now if joblib is there, else when it is imported."""
    if parallel := sys.modules.get(_PARALLEL):
        parallel.register_parallel_backend("zeroipc", make_backend)
    else:
        sys.meta_path.insert(0, _WhenImported())
