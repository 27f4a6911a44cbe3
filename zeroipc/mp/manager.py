"""The manager thread of an engine; see engine.py for what it does and when."""

from __future__ import annotations

import threading
import time
import weakref

from .engine import Engine

LOOK = 0.02
"""Seconds that results may lie before the manager collects them."""
DEEP_SLEEP = 1.0
"""Seconds without work after which the manager sleeps until it is woken."""

_managers: weakref.WeakSet[Manager] = weakref.WeakSet()


class Manager(threading.Thread):
    """Runs until its engine is closed and has nothing left to do, or is broken."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(name="zeroipc-manager")
        self.engine = engine
        _managers.add(self)

    def run(self) -> None:
        """Look after the engine."""
        engine = self.engine
        worked, count = time.monotonic(), -1
        while not engine.finished:
            if engine.busy or engine.count != count:
                worked, count = time.monotonic(), engine.count
            if engine.busy and engine.wanted:
                engine.collect_while_wanted()
                engine.await_event(0 if engine.wanted else LOOK)
            else:
                engine.await_event(LOOK if time.monotonic() - worked < DEEP_SLEEP else None)
            engine.collect_waiting()
            engine.refill()
            engine.reap()
        engine.end()


def _close_all() -> None:
    """At interpreter exit, before threads are joined: work is finished, then all ends."""
    for manager in list(_managers):
        manager.engine.close(cancel_pending=False)


# concurrent.futures registers its own the same way: atexit proper runs too late.
threading._register_atexit(_close_all)  # type: ignore[attr-defined]
