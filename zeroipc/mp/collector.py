"""The collector's role: take messages from the result ring and finish futures.

One thread at a time has it. The caller of `result()` takes it if it is free, and so gets his
result without another thread being woken; who finds it taken sleeps until his result is
there or the role is free. The manager has it when somebody watches a future without asking
for its result, and can ask for it at any time.
"""

from __future__ import annotations

import contextlib
import itertools
import pickle
import threading
import time
from collections import deque
from queue import Empty
from typing import TYPE_CHECKING, Any, Protocol

from .._core.signals import is_from_handler
from .deaths import prepare_for_interrupts
from .worker import Failed, Ready, Retired

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .engine import Engine

_PLAIN = frozenset((type(None), bool, int, float, complex, str, bytes))
"""Types of results that are never in shared memory."""
BATCH = 32
"""Most messages that are taken in one step."""
SLICE = 1.0
"""Longest wait in `result()` without a look: what should wake it may have died."""
FIRST_SLICE = 0.02
"""The first wait, after which it is a long one."""
ASKING = 0.32
"""Longest wait of the manager for the role without a look."""


class Awaited(Protocol):
    """What a thread can wait for: a future, or a job of a pool."""

    def is_done(self) -> bool: ...
    def add_bell(self, bell: Any) -> None: ...
    def remove_bell(self, bell: Any) -> None: ...


class Collector:
    """Who has the role of an engine's collector, who waits for it, and what he does.

    Attributes:
        holder: the thread that has the role, by its ident.
        wanted: whether the manager asks for it.
        answered: for how many tasks a worker has sent an outcome, or died.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.holder: int | None = None
        self.wanted = False
        self.answered = 0
        self._waits = False
        self._bells: dict[Any, None] = {}
        self._inbox: deque[Any] = deque()

    # --- The role -------------------------------------------------------------------------

    def wait_for(self, future: Awaited, timeout: float | None) -> None:
        """Wait until *future* is done, collecting if nobody else does."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._collect_for(future, deadline):
            return
        bell = threading.Lock()
        bell.acquire()
        try:
            with self.engine.lock:
                future.add_bell(bell)
                self._bells[bell] = None
            # The role may have become free before the bell was there, so look again.
            self._wait_for_bell(bell, future, deadline)
        finally:
            with self.engine.lock:
                self._bells.pop(bell, None)
                future.remove_bell(bell)
            self.offer()

    def _wait_for_bell(self, bell: Any, future: Awaited, deadline: float | None) -> None:
        while not self._collect_for(future, deadline):
            left = SLICE if deadline is None else deadline - time.monotonic()
            bell.acquire(timeout=max(0.0, min(SLICE, left)))

    def _collect_for(self, future: Awaited, deadline: float | None) -> bool:
        """Collect, if nobody does, until *future* is done or time is over; whether so."""
        me, mine = threading.get_ident(), False
        try:
            with self.engine.lock:
                mine = self.holder is None and not self.wanted
                if mine:
                    self.holder = me
            if self.holder == me:  # a signal handler may come here again
                self._collect_until(future, deadline)
        finally:
            if mine:
                self.holder = None  # before a call, in which a signal handler may raise
                self._waits = False
                if self._bells or self.wanted:
                    self.offer()
        return future.is_done() or (deadline is not None and time.monotonic() >= deadline)

    def _collect_until(self, future: Awaited, deadline: float | None) -> None:
        if deadline is not None:  # even with no time at all, what is there counts
            self._take_all()
        self._waits = True  # before the look: who finishes it looks afterwards
        longest = FIRST_SLICE
        while not future.is_done() and not self.wanted:
            left = longest if deadline is None else min(longest, deadline - time.monotonic())
            if left <= 0:
                return
            if not self.take_some(left):
                prepare_for_interrupts()  # there is time now
                longest = SLICE

    def collect_waiting(self) -> bool:
        """Collect what lies there, unless somebody is collecting; whether there was anything."""
        me, mine = threading.get_ident(), False
        try:
            with self.engine.lock:
                mine = self.holder is None and self.engine.results is not None
                if mine:
                    self.holder = me
            return self.holder == me and self._take_all()
        finally:
            if mine:
                self.give_back()

    def try_take(self) -> bool:
        """Take the role if nobody has it; return whether this thread has it. The manager's."""
        me = threading.get_ident()
        with self.engine.lock:
            if self.holder is None:
                self.holder = me
            return self.holder == me

    def give_back(self) -> None:
        """Let somebody else have the role."""
        self.holder = None  # before a call, in which a signal handler may raise
        self.offer()

    @contextlib.contextmanager
    def taken_over(self) -> Iterator[None]:
        """Take the role from whoever has it, and collect what is there. The manager's."""
        self.wanted = True
        self.nudge()
        while not self.try_take():
            self.engine.bell.wait(ASKING)  # who has it rings
        self.wanted = False
        try:
            self.collect_waiting()
            yield
        finally:
            self.give_back()

    def offer(self) -> None:
        """Wake somebody who waits for the role, which is free."""
        if self.wanted:
            self.engine.bell.ring()
        elif self._bells:
            with self.engine.lock:
                bell = next(iter(self._bells), None)
            if bell is not None:
                with contextlib.suppress(RuntimeError):  # rung already
                    bell.release()

    def nudge(self) -> None:
        """Wake whoever collects: something has changed without a message."""
        if self._waits:
            self.engine.results.put(None)

    def disown(self) -> None:
        """In a forked child: who waits and who collects are the parent's threads."""
        self.holder = None
        self.wanted = self._waits = False
        self._bells.clear()
        self._inbox.clear()

    # --- Messages -------------------------------------------------------------------------

    def _take_all(self) -> bool:
        """Take as many messages as there are at this moment. Needs the role."""
        waiting = left = self.engine.results.qsize() + len(self._inbox)
        while left > 0 and (taken := self.take_some(0)):
            left -= taken
        return bool(waiting)

    def take_some(self, timeout: float) -> int:
        """Take what is there, waiting *timeout* seconds for it at most. Needs the role.

        Returns:
            How many messages that were: more than a few are left for the next call.
        """
        inbox, taken, error = self._inbox, 0, None
        try:
            if not inbox:
                error = self._receive(timeout)
            while inbox:
                taken += self._finish_plain() or self._deal_with_next()
            if error is not None:
                self.engine.fail("a result could not be unpickled", error)
            if self.engine.sender.backlog:  # what has ended makes room for others
                self.engine.sender.refill()
        except BaseException:  # of a signal handler: a message may be lost
            self.engine.doubt()
            raise
        return taken

    def _receive(self, timeout: float) -> BaseException | None:
        """Wait for messages and put them into the inbox; return the error of unpickling one."""
        results = self.engine.results
        count = min(results.qsize(), BATCH) or 1
        if not results._poll(timeout):
            return None
        try:  # in one step, for a signal handler may raise after any other
            self._inbox.extend(map(results.get, itertools.repeat(False, count)))
        except Empty:
            pass
        except (Exception, SystemExit) as error:
            if is_from_handler(error):
                raise
            return error
        return None

    def _finish_plain(self) -> int:
        """Finish the tasks whose plain results come first; return how many."""
        with self.engine.lock:
            taken, rings = self._finish_in_turn()
        if rings:
            self.engine.bell.ring()
        return taken

    def _finish_in_turn(self) -> tuple[int, bool]:
        inbox, engine, taken, rings = self._inbox, self.engine, 0, False
        while inbox:
            message = inbox[0]
            if type(message) is not tuple or type(message[2]) not in _PLAIN:
                break
            self.answered += 1
            future = engine.pending.get(message[0])
            if future is not None and engine.finish(future, message[2], None):
                rings = True
            self._drop(message)
            taken += 1
        return taken, rings

    def _deal_with_next(self) -> int:
        """Deal with the first message, which is no plain result; return 1, or 0: it is gone."""
        if not self._inbox:  # a signal handler has dealt with it
            return 0
        message = self._inbox[0]
        if type(message) is tuple:
            self._finish(*message)
        elif message is not None:
            self._hear(message)
        self._drop(message)
        return 1

    def _drop(self, message: Any) -> None:
        if self._inbox and self._inbox[0] is message:  # a signal handler may have dealt with it
            self._inbox.popleft()

    def _finish(self, number: int, good: bool, value: Any) -> None:
        """Finish a task with what it returned or raised."""
        self.answered += 1
        if self._is_crowded():
            value = _moved_out(value)
        future = self.engine.pending.get(number)
        if future is not None:
            outcome = (value, None) if good else (None, value)
            self.engine.end(future, *outcome)

    def _is_crowded(self) -> bool:
        """Return whether results that the program keeps might leave no room for others."""
        figures = self.engine.results._handle[0].stats()
        return bool(figures["reserved"] > figures["limit"] // 2)

    def _hear(self, message: Any) -> None:
        """Deal with what a worker or another process says about itself."""
        if type(message) is Ready:
            self.engine.deaths.came_up(message.pid)
        elif type(message) is Retired:
            self.engine.crew.retire(message.pid)
        elif type(message) is Failed:
            self.engine.fail(f"the initializer of worker {message.pid} raised", message.error)
        else:  # a message of or to the clients of a function
            message.tell(self.engine)


def _moved_out(value: Any) -> Any:
    """Return a copy of a result whose arrays are not in shared memory, if it can be copied."""
    try:
        return pickle.loads(pickle.dumps(value, 5))
    except Exception:
        return value
