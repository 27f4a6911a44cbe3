"""The manager thread of an engine; see engine.py for what it does and when."""

from __future__ import annotations

import select
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine import Engine
    from .futures import TaskFuture

LOOK_MIN = 0.02
LOOK_MAX = 0.32
"""Seconds between looks at results that nobody waits for; longer while there are none."""
DEEP_SLEEP = 1.0
"""Seconds without work after which the manager sleeps until it is woken."""
TICK = 0.1
"""Seconds within which a collecting manager notices a death or a call."""


class Manager(threading.Thread):
    """Runs until its engine is closed and has nothing left to do, or is broken.

    Args:
        engine: what it looks after.
        mask: signals to block, for it is started with more of them blocked.
    """

    def __init__(self, engine: Engine, mask: set[Any]) -> None:
        super().__init__(name="zeroipc-manager", daemon=engine.daemon)
        self.engine = engine
        self._mask = mask

    def run(self) -> None:
        """Look after the engine, then end it."""
        if not self.engine.admit(self):
            return
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        self.engine.bell.wait(LOOK_MIN)  # who started us goes on: a first result comes sooner
        try:
            self._look_after()
        except BaseException as error:  # nobody may wait for a thread that is gone
            self.engine.fail("the thread that looks after the workers failed", error)
        finally:
            self._end()

    def _look_after(self) -> None:
        engine = self.engine
        pause, count, worked = LOOK_MIN, -1, 0.0
        while not self._finished():
            engine.sender.refill()  # what fits need not be waited for
            if self._wanted():
                self._collect()
                self._sleep(LOOK_MIN if engine.crew.retires() else 0)
                pause = LOOK_MIN
            elif engine.pending or time.monotonic() < worked + DEEP_SLEEP:
                self._sleep(pause)
            else:
                self._sleep(None)
            if engine.collector.collect_waiting() or engine.count != count:
                pause, count, worked = LOOK_MIN, engine.count, time.monotonic()
            else:
                pause = min(2 * pause, LOOK_MAX)
            engine.deliver()
            engine.limits.enforce()
            engine.deaths.reap()
            if engine.doubtful:
                self._resolve_doubt()

    def _finished(self) -> bool:
        """Return whether nothing is left to do but to end the workers."""
        engine = self.engine
        with engine.lock:
            return engine.broken is not None or (
                engine.closing and not engine.pending and not engine.outbox
            )

    def _wanted(self) -> bool:
        """Return whether somebody waits for results without collecting them."""
        engine = self.engine
        return bool(
            engine.pending
            and engine.broken is None
            and (engine.watched or engine.sender.backlog or engine.closing)
        )

    def _sleep(self, timeout: float | None) -> None:
        """Sleep until a worker ends, the bell rings, or *timeout*; None: for long."""
        engine = self.engine
        with engine.lock:
            engine.asleep = timeout is None
            if engine.asleep and (engine.pending or engine.outbox or engine.closing):
                timeout = 0
        poll = select.poll()
        for fd in (engine.bell.fd, *engine.crew.sentinels()):
            poll.register(fd, select.POLLIN)
        timeout = engine.limits.patience(timeout)
        poll.poll(None if timeout is None else timeout * 1000)
        engine.asleep = False
        engine.bell.clear()

    # --- Results ----------------------------------------------------------------------------

    def _collect(self) -> None:
        """Collect for a tick, as long as nobody else does, somebody watches and no worker retires.

        Its place is to be filled as soon as it has ended.
        """
        engine = self.engine
        if not engine.collector.try_take():
            self._sleep(LOOK_MIN)
            return
        try:
            tick = engine.limits.patience(TICK) or 0.0
            end = time.monotonic() + tick
            while self._wanted() and time.monotonic() < end and not engine.crew.retires():
                engine.collector.take_some(tick / 2)
                engine.deliver()
        finally:
            engine.collector.give_back()

    # --- Losses ------------------------------------------------------------------------------

    def _resolve_doubt(self) -> None:
        """Fail the tasks whose result a signal handler's exception has lost.

        A worker clears its claim after it has sent the result. So the result of what is
        neither queued nor claimed had been sent before we looked at the claims.
        """
        engine = self.engine
        taken = [f for f in engine.doubtful if not engine.tasks._queued(f.item)]
        claims = {engine.tasks._claim(number) for number in range(engine.crew.size)}
        with engine.collector.taken_over():
            for future in taken:
                if future.item not in claims:
                    engine.end(future, None, _lost(future))
            with engine.lock:
                for future in list(engine.pending.values()):
                    if future.is_done():  # it was finished and then not taken off the table
                        engine.remove(future)
                engine.doubtful = [f for f in engine.doubtful if f.number in engine.pending]

    def _end(self) -> None:
        """End the workers: kindly, or at once when the engine is broken."""
        engine = self.engine
        engine.deliver()
        if engine.broken is not None:  # first: one that was stopped may hold the queue's lock
            engine.crew.end(at_once=True)
        engine.tasks._shutdown(True)
        engine.crew.end(at_once=False)
        engine.tasks.close()
        engine.bell.close()


def _lost(future: TaskFuture[Any]) -> RuntimeError:
    return RuntimeError(
        f"the result of task {future.number} is lost: a signal handler raised an exception "
        "while it was being unpickled"
    )
