"""Chooses, once per process, between the C extension and its pure-Python twin.

    backend     "native" or "pure"; also called name
    transport   the module that moves messages: zeroipc._native or zeroipc._core.transport
    named       the module of named structures: zeroipc._named or zeroipc._core.named.pure

The environment variable ZEROIPC_BACKEND says which: `native`, `pure`, or `auto` (the default),
which takes native where the extension is installed and says so in the log where it is not. The
choice is made on first access, so that importing the package stays cheap.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from functools import cache
from importlib import import_module
from types import ModuleType

from ._fingerprint import fingerprint
from .errors import BackendError

NATIVE = "zeroipc._native"
PURE = "zeroipc._core.transport"
NATIVE_NAMED = "zeroipc._named"
PURE_NAMED = "zeroipc._core.named.pure"
REMEDY = "install gcc, libc6-dev and python3-dev, then reinstall zeroipc"
BUILD_AGAIN = "build it again (pip install --editable . in its folder), or set ZEROIPC_BACKEND=pure"

backend: str
name: str
transport: ModuleType
named: ModuleType


def __getattr__(attribute: str) -> str | ModuleType:
    if attribute in ("backend", "name"):
        return chosen()
    if attribute == "transport":
        return import_module(NATIVE if chosen() == "native" else PURE)
    if attribute == "named":
        return extension(NATIVE_NAMED) if chosen() == "native" else import_module(PURE_NAMED)
    raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")


@cache
def chosen() -> str:
    """Return this process's backend; the environment is read once, on the first call."""
    return choose(os.environ.get("ZEROIPC_BACKEND", "auto"))


def choose(wanted: str) -> str:
    """Return the backend to use, "native" or "pure", for a value of ZEROIPC_BACKEND.

    Raises:
        BackendError: *wanted* is none of the three values, or it is native and the extension
            is absent or cannot be loaded, or the extension is not of this version of the code.
    """
    if wanted not in ("native", "pure", "auto"):
        raise BackendError(f"ZEROIPC_BACKEND must be native, pure or auto: {wanted!r}")
    if wanted == "pure":
        return "pure"
    try:
        extension(NATIVE)
    except BackendError:
        raise
    except ImportError as error:
        if wanted == "native":
            raise BackendError(
                f"ZEROIPC_BACKEND=native needs the C extension: {error}; {REMEDY}"
            ) from error
        log_fallback(error)
        return "pure"
    return "native"


def extension(name: str) -> ModuleType:
    """Return a module of the C extension.

    Raises:
        ImportError: it is absent or cannot be loaded.
        BackendError: it was built from an older or newer version than the Python code has.
    """
    module = import_module(name)
    built, beside = getattr(module, "_fingerprint", None), fingerprint()
    if beside not in (None, built):
        raise BackendError(
            f"{name} must be built from the code beside it: built from {built}, "
            f"now {beside}; {BUILD_AGAIN}"
        )
    return module


def log_fallback(error: ImportError) -> None:
    """Say in one line that the extension is missing; the parent's word is enough for a family."""
    level = logging.WARNING if multiprocessing.parent_process() is None else logging.INFO
    logging.getLogger("zeroipc").log(
        level, "works in pure Python, much slower: %s; %s", error, REMEDY
    )
