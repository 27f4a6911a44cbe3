"""The thread that gives the results of calls to their `concurrent.futures.Future`.

It runs while calls are under way, and sleeps between their ends.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ._calls import Call, Outcome
from ._core.signals import held_back
from ._core.status import Status
from ._rlock import RLock

Settle = Callable[["Future[Any]", Outcome], None]


class Collector:
    """Calls under way and their futures.

    Args:
        wait: calls an attempt until it answers something other than "not now".
        settle: sets a future's result from a call's outcome.
    """

    def __init__(self, wait: Callable[[Callable[[], Any]], object], settle: Settle) -> None:
        self._wait = wait
        self._settle = settle
        self._lock = RLock()
        self._pending: dict[Call, Future[Any]] = {}
        self._running = False
        self._pid = os.getpid()

    def is_of_this_process(self) -> bool:
        """Return whether it was made here; a forked child has its parent's, without the thread."""
        return self._pid == os.getpid()

    def add(self, call: Call) -> Future[Any]:
        """Return a future for *call*.

        Raises:
            RuntimeError: no thread can be started.
        """
        future: Future[Any] = Future()
        with self._lock:
            if not self._running:
                with held_back():
                    threading.Thread(target=self._run, name="zeroipc-calls", daemon=True).start()
                    self._running = True
            self._pending[call] = future  # at last: where no thread starts nothing is added
        return future

    def _run(self) -> None:
        while True:
            try:
                self._wait(self._collect)
            except Exception as error:
                self._fail_all(error)
            with self._lock:
                if not self._pending:
                    self._running = False
                    return

    def _collect(self) -> bool | Status:
        """Settle the futures of calls that have ended; EMPTY if there was none."""
        with self._lock:
            pending = list(self._pending.items())
        ended = [call for call, future in pending if self._look_at(call, future)]
        with self._lock:
            for call in ended:
                del self._pending[call]
        return True if ended or not pending else Status.EMPTY

    def _look_at(self, call: Call, future: Future[Any]) -> bool:
        """Return whether nothing more is to be done for a call."""
        if future.done() and not future.cancelled():  # the user has set it
            call.give_up()
            return True
        outcome = Status.EMPTY if future.cancelled() else call.attempt()
        begins = not future.running() and (
            outcome is not Status.EMPTY or future.cancelled() or call.is_running()
        )
        if begins and not future.set_running_or_notify_cancel():
            call.give_up()
            return True
        if isinstance(outcome, Status):
            return False
        self._settle(future, outcome)
        return True

    def _fail_all(self, error: Exception) -> None:
        with self._lock:
            pending, self._pending = self._pending, {}
        for call, future in pending.items():
            call.give_up()
            if future.running() or future.set_running_or_notify_cancel():
                future.set_exception(error)
