"""Named structures of either backend in one process, and processes that work on them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

from zeroipc import _backend

MODULES = {"native": _backend.NATIVE_NAMED, "pure": _backend.PURE_NAMED}
NO_NATIVE = pytest.mark.skipif(
    find_spec(_backend.NATIVE_NAMED) is None, reason="the C extension is not built"
)
_WANTED = os.environ.get("ZEROIPC_BACKEND", "auto")
BACKENDS = [
    pytest.param(name, marks=NO_NATIVE if name == "native" else ())
    for name in MODULES
    if _WANTED in ("auto", name)
]
"""Those to test: both, unless ZEROIPC_BACKEND chooses."""
MIXED = ["native" if find_spec(_backend.NATIVE_NAMED) else "pure", "pure"]
"""Both backends, where both are there: processes take them in turn."""


@contextlib.contextmanager
def using(backend: str) -> Iterator[None]:
    """Let structures be made with a backend, whatever ZEROIPC_BACKEND says."""
    before = vars(_backend).get("named")
    _backend.named = import_module(MODULES[backend])
    try:
        yield
    finally:
        if before is None:
            del _backend.named
        else:
            _backend.named = before


class Crew:
    """Forked processes, each with a backend of its own, whose results are collected."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("fork")
        self._running: list[tuple[Any, Any]] = []

    def start(self, function: Callable[..., Any], *args: Any, backend: str | None = None) -> Any:
        """Run ``function(*args)`` in a new process; backends come in turn unless given."""
        chosen = backend or MIXED[len(self._running) % 2]
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_run, args=(theirs, chosen, function, args))
        process.start()
        theirs.close()
        self._running.append((process, ours))
        return process

    def results(self) -> list[Any]:
        """Wait for all; return what they returned, in the order of their start.

        Raises:
            AssertionError: one of them failed, or was killed.
        """
        found = []
        for process, ours in self._running:
            try:
                good, value = ours.recv()
            except EOFError:
                good, value = False, "the process ended without a result"
            process.join()
            assert good, value
            found.append(value)
        self._running.clear()
        return found

    def end(self) -> None:
        """Kill whoever still runs."""
        for process, _ in self._running:
            process.kill()
            process.join()


def _run(pipe: Any, backend: str, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    with using(backend):
        try:
            pipe.send((True, function(*args)))
        except BaseException as error:
            pipe.send((False, repr(error)))
            raise


@contextlib.contextmanager
def crew() -> Iterator[Crew]:
    """Give a `Crew` whose processes do not outlive the block."""
    made = Crew()
    try:
        yield made
    finally:
        made.end()
