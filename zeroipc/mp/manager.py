"""The manager thread of an engine; see engine.py for what it does and when."""

from __future__ import annotations

import threading
import time
import weakref

from .engine import DEEP_SLEEP, LOOK, Engine

_managers: weakref.WeakSet[Manager] = weakref.WeakSet()


class Manager(threading.Thread):
    """Runs until its engine is closed and idle, or broken."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(name="zeroipc-manager")
        self.engine = engine
        _managers.add(self)

    def run(self) -> None:
        engine = self.engine
        active = time.monotonic()
        count = -1
        while not engine.finished:
            if engine.wanted and not engine.idle:
                engine.collect_for_watchers()
                engine.await_event(0 if engine.wanted else LOOK)
            elif not engine.idle or engine.count != count:
                count, active = engine.count, time.monotonic()
                engine.await_event(LOOK)
            else:
                quiet = time.monotonic() - active > DEEP_SLEEP
                engine.await_event(None if engine.sleep(quiet) else LOOK)
                engine.sleep(False)
            engine.collect_old()
            engine.reap()
        engine.end()


def _close_all() -> None:
    """At interpreter exit, before threads are joined: work is finished, then all ends."""
    for manager in list(_managers):
        manager.engine.close(cancel_pending=False)


# concurrent.futures registers its own the same way: atexit proper runs too late.
threading._register_atexit(_close_all)  # type: ignore[attr-defined]
