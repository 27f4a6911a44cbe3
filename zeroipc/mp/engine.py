"""The one worker engine: tasks out, results back, deaths noticed.

        submit ──► backlog ──► task ring ──► worker 0..n-1
                                                │
        future ◄── collector ◄── result ring ◄──┘

- **Backlog.** Tasks that have not been sent. Whoever submits or collects moves them into
  the ring while it has room: enough to keep the workers busy, not so much that a cancelled
  or broken pool has wasted it.
- **Collector.** A role, held by one thread at a time: take messages from the result ring
  and finish futures. The caller of `result()` takes it if it is free, and so gets its
  result without another thread being woken.
- **Manager thread** (manager.py). Normally asleep. It notices deaths by the workers'
  sentinels, collects when somebody watches a future without asking for its result, or when
  results lie for a while, replaces workers that retired, and ends the engine.

Locks: `lock` guards the states of futures and the tables; nothing of the user's runs under
it. `_collecting` is the collector's role. `_sending` is held while the backlog is moved.
A death: the task ring says which item each worker took last, so the task is known.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import traceback
from collections import deque
from concurrent.futures._base import PENDING, RUNNING
from queue import Empty
from typing import TYPE_CHECKING, Any

from ..errors import ShmFullError
from .calls import Packer
from .crew import Crew, obituary
from .futures import SENDING, UNSENT, TaskFuture
from .queues import SimpleQueue, TaskQueue
from .worker import Retired, Start

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures.process import BrokenProcessPool

RING_TASKS = 256
RING_NBYTES = 4 << 20
"""Most tasks, and their bytes, in the ring; but always enough to keep the workers busy."""
SLICE = 1.0
"""Longest wait of a collecting caller: what should wake it may have died."""
TICK = 0.1
"""Seconds within which a collecting manager notices a death or a call."""


class Engine:
    """Workers and what they work on.

    Args:
        context: starts the processes.
        max_workers: how many at most.
        initializer, initargs: called in each worker first.
        tasks_per_worker: after how many tasks a worker is replaced; None: never.
    """

    def __init__(
        self,
        context: Any,
        max_workers: int,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        tasks_per_worker: int | None = None,
    ) -> None:
        self.tasks = TaskQueue()
        self.results: Any = SimpleQueue()
        self.broken: BaseException | None = None
        self.closing = False
        self.thread: threading.Thread | None = None
        self.lock = threading.RLock()
        self.count = 0
        self._packer = Packer(by_value=context.get_start_method(allow_none=False) != "fork")
        packed = None if initializer is None else self._packer.pack(initializer)
        self.crew = Crew(
            context,
            max_workers,
            lambda n: Start(self.tasks, self.results, n, packed, initargs, tasks_per_worker),
        )
        self._pending: dict[int, TaskFuture[Any]] = {}
        self._backlog: deque[TaskFuture[Any]] = deque()
        self._by_item: dict[int, TaskFuture[Any]] = {}
        self._sent_nbytes = 0
        self._demand = 0  # tasks handed in for which no worker has answered
        self._watched = 0  # unfinished futures that somebody watches
        self._passive = 0  # threads that wait for the collector
        self._collecting = threading.RLock()
        self._role_wanted = False
        self._sending = threading.Lock()
        self._asleep = False
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)
        os.set_blocking(self._wake_reader, False)

    # --- Submitting -----------------------------------------------------------------------

    def submit(self, fn: Any, args: Any, kwargs: Any) -> TaskFuture[Any]:
        """Hand in a call; never blocks. The caller has checked that the engine is open."""
        with self.lock:
            future: TaskFuture[Any] = TaskFuture(self, self.count, (fn, args, kwargs))
            self._pending[self.count] = future
            self.count += 1
            self._demand += 1
            if self.thread is None:
                self._start()
            elif not self.crew.forks:
                self.crew.grow(self._demand)
        self._backlog.append(future)
        self.refill()
        if self._asleep:
            self.wake()
        return future

    def _start(self) -> None:
        """Start the manager, and under fork all workers before it: threads do not fork well."""
        from .manager import Manager

        for _ in range(self.crew.size if self.crew.forks else 1):
            self.crew.grow(self.crew.size)
        self.thread = Manager(self)
        self.thread.start()

    def _room(self) -> bool:
        queued = self.tasks.qsize()
        return queued <= self.crew.size or (
            queued < RING_TASKS and self._sent_nbytes < RING_NBYTES
        )

    def refill(self) -> None:
        """Move the backlog into the ring, as far as there is room."""
        while self._backlog and self._room():
            if not self._sending.acquire(blocking=False):
                return  # whoever has it looks again after letting go
            try:
                while self._backlog and self._room():
                    if not self._send(self._backlog.popleft()):
                        return
            finally:
                self._sending.release()

    def _send(self, future: TaskFuture[Any]) -> bool:
        """Put one task into the ring; whether to go on with the next."""
        with self.lock:
            call = future.call
            if call is None or future._state != PENDING:
                return True
            future.item = SENDING
        try:
            task = (future.number, self._packer.pack(call[0]), call[1], call[2])
            item, nbytes = self.tasks._put_task(task)
        except ShmFullError as error:
            future.item = UNSENT
            if self._by_item:  # their end frees memory
                self._backlog.appendleft(future)
                return False
            self._end(future, None, error)
        except Exception as error:
            self._end(future, None, error)
        else:
            with self.lock:
                future.call = None
                future.item, future.nbytes = item, nbytes
                if not future.is_done():
                    self._by_item[item] = future
                    self._sent_nbytes += nbytes
        return True

    def _remove(self, future: TaskFuture[Any]) -> None:
        """Take a task off the tables. Needs the lock."""
        self._pending.pop(future.number, None)
        if future.item is not None and self._by_item.pop(future.item, None) is not None:
            self._sent_nbytes -= future.nbytes
        future.call = None

    def _end(self, future: TaskFuture[Any], value: Any, error: BaseException | None) -> None:
        """Take a task off the tables and finish its future."""
        with self.lock:
            self._remove(future)
        future.finish(value, error)

    # --- Collecting -------------------------------------------------------------------------

    def wait_for(self, future: TaskFuture[Any], timeout: float | None) -> None:
        """Wait until *future* is done, collecting if nobody else does."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not future.is_done():
            if not self._role_wanted and self._collecting.acquire(blocking=False):
                try:
                    self._collect(future, deadline)
                finally:
                    self._collecting.release()
                if self._passive:
                    self.wake()
            else:
                self._wait_passively(future, deadline)
            if deadline is not None and time.monotonic() >= deadline:
                return

    def _collect(self, future: TaskFuture[Any], deadline: float | None) -> None:
        """Collect until *future* is done, time is over, or the manager wants the role."""
        while not future.is_done() and not self._role_wanted:
            left = SLICE if deadline is None else min(SLICE, deadline - time.monotonic())
            if left < 0:
                return
            self._take_one(True, left)

    def _wait_passively(self, future: TaskFuture[Any], deadline: float | None) -> None:
        with self.lock:
            self._passive += 1
        try:
            future.wait_passively(deadline)
        finally:
            with self.lock:
                self._passive -= 1

    def poll(self, future: TaskFuture[Any]) -> None:
        """Collect what is there without waiting, and note whether a worker has *future*."""
        self.collect_waiting()
        with self.lock:
            item = future.item
            sent = future._state == PENDING and item is not None and item != SENDING
            if sent and not self.tasks._queued(item):
                future._state = RUNNING

    def collect_waiting(self) -> None:
        """Collect what lies there, unless somebody is collecting."""
        if self._collecting.acquire(blocking=False):
            try:
                while self._take_one(False, None):
                    pass
            finally:
                self._collecting.release()

    def collect_while_wanted(self) -> None:
        """Collect for a tick, as long as nobody else does and somebody watches."""
        if not self._collecting.acquire(blocking=False):
            return
        try:
            end = time.monotonic() + TICK
            while self.busy and self.wanted and time.monotonic() < end:
                self._take_one(True, TICK / 2)
        finally:
            self._collecting.release()

    def _take_one(self, block: bool, timeout: float | None) -> bool:
        """Take one message from the result ring; whether there was one. Needs the role."""
        try:
            message = self.results.get(block, timeout)
        except Empty:
            return False
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._break("a result could not be unpickled", error)
            return True
        if type(message) is tuple:
            number, good, value = message
            self._demand -= 1
            future = self._pending.get(number)
            if future is not None:
                self._end(future, value if good else None, None if good else value)
            if self._backlog:
                self.refill()
        elif type(message) is Retired:
            self.crew.retire(message.pid)
        return True

    # --- Cancelling and watching ----------------------------------------------------------------

    def cancel(self, future: TaskFuture[Any]) -> bool:
        """Cancel *future* unless a worker has taken it; whether it is cancelled."""
        with self.lock:
            if future.is_done():
                return future.cancelled()
            if future.item == SENDING:
                return False
            if future.item is not None and not self.tasks._cancel(future.item):
                future._state = RUNNING
                return False
            self._remove(future)
        future.finish_cancelled()
        if self.closing:
            self.wake()
        return True

    def watch(self, change: int) -> None:
        """Count the unfinished futures that somebody watches: the manager collects for them."""
        with self.lock:
            self._watched += change
        if change > 0:
            self.wake()

    # --- Deaths -------------------------------------------------------------------------------------

    def _break(self, what: str, cause: BaseException | None = None) -> None:
        """Fail everything that is pending; the manager ends the workers."""
        text = (
            "A process in the process pool was terminated abruptly while the future was "
            f"running or pending: {what}"
        )
        remote = None if cause is None else "".join(traceback.format_exception(cause))
        with self.lock:
            self.broken = self.broken or _broken(text, remote)
            pending = list(self._pending.values())
            self._backlog.clear()
        for future in pending:
            self._end(future, None, _broken(text, remote))
        self.wake()

    def reap(self) -> None:
        """Deal with workers that have ended. The manager's."""
        ended = self.crew.ended()
        if not ended or self.broken is not None:
            return
        self._role_wanted = True
        self.results.put(None)  # wakes whoever collects
        with self._collecting:
            self._role_wanted = False
            while self._take_one(False, None):  # what they sent before they died counts
                pass
            for process in ended:
                if self.crew.is_retired(process):
                    with self.lock:
                        self.crew.forget(process)
                        self.crew.grow(self._demand)
                elif self.broken is None and not (self.closing and process.exitcode == 0):
                    self._break(obituary(process) + self._last_words(process))

    def _last_words(self, process: Any) -> str:
        item = self.tasks._claim(self.crew.number(process))
        future = None if item is None else self._by_item.get(item)
        if future is None:
            return ""
        name = getattr(future.fn, "__qualname__", repr(future.fn))
        return f" while it ran task {future.number}, {name}"

    # --- The manager's view, and the end ------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether tasks are pending and can still end."""
        return bool(self._pending) and self.broken is None

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for results without collecting them."""
        return bool(self._watched or self._passive or self._backlog or self.closing)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do but to end the workers."""
        return self.broken is not None or (self.closing and not self._pending)

    def await_event(self, timeout: float | None) -> None:
        """Sleep until a worker ends, `wake` is called, or *timeout*; None: for long."""
        with self.lock:
            self._asleep = timeout is None
            if self._asleep and (self._pending or self.closing):
                timeout = 0
        poll = select.poll()
        for fd in (self._wake_reader, *self.crew.sentinels()):
            poll.register(fd, select.POLLIN)
        poll.poll(None if timeout is None else timeout * 1000)
        self._asleep = False
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_reader, 4096)

    def wake(self) -> None:
        """Have the manager look."""
        with contextlib.suppress(OSError):  # full: it will look anyway; closed: it is gone
            os.write(self._wake_writer, b"w")

    def close(self, cancel_pending: bool) -> None:
        """Take no more tasks; the manager ends the workers when all are done.

        Args:
            cancel_pending: cancel what is queued, but for one task for each worker: it has
                that or is just starting up for it.
        """
        with self.lock:
            self.closing = True
            pending = list(self._pending.values())[len(self.crew.processes) :]
        if cancel_pending:
            for future in pending:
                self.cancel(future)
        self.wake()

    def end(self) -> None:
        """End the workers: kindly, or at once when the engine is broken. The manager's."""
        self.tasks._shutdown(self.broken is not None)
        self.crew.end(at_once=self.broken is not None)
        self.tasks.close()
        for fd in (self._wake_reader, self._wake_writer):
            os.close(fd)
        self._wake_reader = self._wake_writer = -1


def _broken(text: str, remote: str | None) -> BrokenProcessPool:
    """Return an exception of its own for each future: raising one adds to its traceback."""
    # Not at the top: it loads half of multiprocessing, and is seldom needed.
    from concurrent.futures.process import BrokenProcessPool, _RemoteTraceback

    error = BrokenProcessPool(text)
    if remote is not None:
        error.__cause__ = _RemoteTraceback(f'\n"""\n{remote}"""')  # type: ignore[arg-type]
    return error
