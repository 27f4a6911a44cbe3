"""The parts of `multiprocessing` that are passed through, as the standard library's own modules.

`zeroipc.mp.util` must be `multiprocessing.util` itself and not a look-alike: its state (finalizers,
the list of children, the authentication key) exists once in a process. Loading them all up front
would double the time that `import multiprocessing` takes, hence a finder, asked after all others:
a file in zeroipc/mp wins, and what no file of ours stands for is the standard library's.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

OURS = "zeroipc.mp."
THEIRS = "multiprocessing."


class StandardModules:
    """Finds `zeroipc.mp.X` where only `multiprocessing.X` exists, and loads the latter."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(OURS):
            return None
        found = importlib.util.find_spec(THEIRS + fullname.removeprefix(OURS))
        # A found spec must carry a loader and a loader these two methods: the class is its own.
        return found and ModuleSpec(fullname, cls)  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        return None

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Put the real module, and the submodules that it brought along, in place of *module*."""
        ours = module.__name__
        theirs = THEIRS + ours.removeprefix(OURS)
        importlib.import_module(theirs)
        for name, loaded in list(sys.modules.items()):
            if name == theirs or name.startswith(theirs + "."):
                sys.modules[ours + name.removeprefix(theirs)] = loaded


def names_of(ours: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module of ours that stands for one of `multiprocessing`.

    Names that the module *ours* ("zeroipc.mp.queues") does not define are the standard library's;
    `dir` lists them too.
    """
    module = sys.modules[ours]
    theirs = THEIRS + ours.removeprefix(OURS)

    def __dir__() -> list[str]:
        return sorted({*vars(module), *dir(importlib.import_module(theirs))})

    def __getattr__(name: str) -> Any:
        if name == "__path__":  # every import from the module asks for it: it is no package
            raise AttributeError(f"module {ours!r} has no attribute {name!r}")
        return getattr(importlib.import_module(theirs), name)

    vars(module)["__dir__"] = __dir__
    return __getattr__


if StandardModules not in sys.meta_path:
    sys.meta_path.append(StandardModules)
