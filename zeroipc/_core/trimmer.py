"""The trimmer: a thread that exists while there may be idle memory to give back."""

from __future__ import annotations

import atexit
import os
import threading
import weakref

from .alloc import arena_trim
from .arena import View
from .orphan import servants
from .shrink import queues_shrink
from .signals import held_back

KEEP = 24 << 20
"""Free bytes that stay warm when all is idle."""
IDLE_MAX = 32 << 20
"""Reserved bytes from which on the trimmer stays."""
TRIM_PERIOD = 0.5
TRIM_IDLE = 2
TRIM_PATIENCE = 4


class Trimmer:
    """Gives the idle memory of an arena back."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        _trimmers.add(self)

    def start(self) -> None:
        """Start the thread unless it runs."""
        if self._thread is None and not self._stop.is_set():
            try:
                with held_back():
                    run = threading.Thread(target=self._run, name="zeroipc-trim", daemon=True)
                    self._thread = run
                    run.start()
            except RuntimeError:  # the interpreter is shutting down
                self._thread = None

    def end(self) -> None:
        """Stop the thread for good."""
        self._stop.set()
        if self._thread not in (None, threading.current_thread()):
            self._thread.join()

    def _run(self) -> None:
        servants.add(threading.get_ident())
        quiet = 0
        while quiet < TRIM_PATIENCE and not self._stop.wait(TRIM_PERIOD):
            count = queues_shrink(self._view)
            while not self._stop.is_set():
                once = arena_trim(self._view, KEEP, TRIM_IDLE, 0)
                count += once
                if once == 0:
                    break
            quiet = 0 if count or self._view.arena.reserved > IDLE_MAX else quiet + 1
        servants.discard(threading.get_ident())
        self._thread = None


_trimmers: weakref.WeakSet[Trimmer] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """End the threads while they can run: later, Python 3.13 would wait for one for ever."""
    for trimmer in list(_trimmers):
        trimmer.end()


os.register_at_fork(after_in_child=_trimmers.clear)  # the parent's: a lock of theirs may be held
