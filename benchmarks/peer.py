"""The other end of a scenario, in a process of its own.

The host (the process that measures) and its peers talk over a plain pipe beside the link under
test, so that starting, warming up and stopping are never timed and never depend on the rival:

1. the peer opens its end of the link and calls ``cue()``: it is ready and waits;
2. the host calls ``ready()`` on every peer, starts its clock and calls ``go()``;
3. steps 1 and 2 repeat for each phase: warm-up, the timed one, and last a wait for the host to
   have received everything, because some libraries drop what a closed end has not delivered;
4. the peer's function returns a value; its process stays until the host leaves the ``with``.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

Cue = Callable[[], None]


class PeerError(RuntimeError):
    """A peer's function raised; the message is its traceback."""


class Peer:
    """A process that runs ``target(cue, *args)``; a context manager that ends it."""

    def __init__(self, method: str, target: Callable[..., Any], *args: Any) -> None:
        context = multiprocessing.get_context(method)
        self._control, theirs = context.Pipe()
        # multiprocessing types its contexts one by one, without Process on their common base
        process: Any = context
        self._process = process.Process(target=_run, args=(theirs, target, args), daemon=True)
        self._process.start()
        theirs.close()

    def ready(self) -> int:
        """Wait until the peer calls its cue; give the CPU it was on."""
        return int(self._expect("ready"))

    def go(self) -> None:
        """Let the peer go on after its cue."""
        self._control.send("go")

    def result(self) -> tuple[Any, int]:
        """Wait for the end of the peer's function; give its value and the CPU it ended on."""
        value, cpu = self._expect("done")
        return value, cpu

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._control.send("end")
        else:
            self._process.kill()
        self._process.join()
        self._control.close()

    def _expect(self, what: str) -> Any:
        kind, value = self._control.recv()
        if kind == "error":
            raise PeerError(value)
        if kind != what:
            raise PeerError(f"a peer must answer {what!r} next: answer={kind!r}")
        return value


def _run(control: Connection, target: Callable[..., Any], args: tuple[Any, ...]) -> None:
    def cue() -> None:
        control.send(("ready", current_cpu()))
        if control.recv() == "end":
            raise SystemExit

    try:
        value = target(cue, *args)
        control.send(("done", (value, current_cpu())))
        control.recv()  # the host has what it wants
    except Exception:
        # also on the terminal: the host may be waiting on the link under test, not on us
        traceback.print_exc(file=sys.stderr)
        control.send(("error", traceback.format_exc()))


def current_cpu() -> int:
    """The CPU this thread runs on, -1 where the platform cannot say."""
    getcpu = getattr(ctypes.CDLL(None), "sched_getcpu", None)
    return -1 if getcpu is None else int(getcpu())


def pin(cpus: list[int], placement: str, side: int) -> None:
    """Place this process: "free" anywhere, "same" all on one CPU, "apart" side i on the i-th."""
    if placement == "same":
        os.sched_setaffinity(0, {cpus[0]})
    elif placement == "apart":
        os.sched_setaffinity(0, {cpus[side % len(cpus)]})
