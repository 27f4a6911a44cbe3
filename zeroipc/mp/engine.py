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
- **Manager thread.** Normally asleep. It notices deaths by the workers' sentinels, collects
  when somebody watches a future without asking for its result, or when results lie for a
  while, replaces workers that retired, and ends the engine.

Locks: `lock` guards the states of futures and the tables; nothing of the user's runs under
it. `_collecting` is the collector's role. `_sending` is held while the backlog is moved.
A death: the task ring says which item each worker took last, so the task is known.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections import deque
from concurrent.futures import Future
from concurrent.futures._base import CANCELLED, PENDING, RUNNING
from concurrent.futures.process import BrokenProcessPool, _RemoteTraceback
from multiprocessing import connection
from queue import Empty
from typing import TYPE_CHECKING, Any

from ..errors import ShmFullError
from .calls import Packer
from .futures import SENDING, UNSENT, TaskFuture
from .queues import SimpleQueue, TaskQueue
from .worker import Retired, Start, run_worker

if TYPE_CHECKING:
    from collections.abc import Callable

RING_TASKS = 256
RING_NBYTES = 4 << 20
"""Most tasks, and their bytes, in the ring; but always enough to keep the workers busy."""
LOOK = 0.02
"""Seconds that results may lie before the manager collects them."""
DEEP_SLEEP = 1.0
"""Seconds without work after which the manager sleeps until it is woken."""
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
        self.context = context
        self.max_workers = max_workers
        self.tasks = TaskQueue()
        self.results: Any = SimpleQueue()
        self.processes: dict[int, Any] = {}
        self.broken: BaseException | None = None
        self.thread: threading.Thread | None = None
        self.lock = threading.RLock()
        self._forks = context.get_start_method(allow_none=False) == "fork"
        self._packer = Packer(by_value=not self._forks)
        self._initializer = None if initializer is None else self._packer.pack(initializer)
        self._initargs = initargs
        self._limit = tasks_per_worker
        self._numbers: dict[int, int] = {}  # pid to worker number
        self._retired: set[int] = set()
        self._pending: dict[int, TaskFuture[Any]] = {}
        self._backlog: deque[TaskFuture[Any]] = deque()
        self._by_item: dict[int, TaskFuture[Any]] = {}
        self.count = 0
        self._sent_nbytes = 0
        self._collecting = threading.RLock()
        self._collected_by_caller = False
        self._role_wanted = False
        self._passive = 0
        self._watched = 0
        self._demand = 0  # tasks handed in for which no worker has answered
        self._sending = threading.Lock()
        self.closing = False
        self._asleep = False
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)
        os.set_blocking(self._wake_reader, False)

    # --- Submitting -----------------------------------------------------------------------

    def submit(self, fn: Any, args: Any, kwargs: Any) -> TaskFuture[Any]:
        """Hand in a call; never blocks. The caller has checked that the engine is open."""
        with self.lock:
            number = self.count
            self.count += 1
            future: TaskFuture[Any] = TaskFuture(self, number, (fn, args, kwargs))
            self._pending[number] = future
            self._demand += 1
            if self.thread is None:
                self._start()
            elif not self._forks and len(self.processes) < min(self.max_workers, self._demand):
                self._start_worker()
        self._backlog.append(future)
        self._refill()
        if self._asleep:
            self.wake()
        return future

    def _room(self) -> bool:
        queued = self.tasks.qsize()
        return queued <= self.max_workers or (
            queued < RING_TASKS and self._sent_nbytes < RING_NBYTES
        )

    def _refill(self) -> None:
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
            if len(self._by_item) > 0:  # their end frees memory
                self._backlog.appendleft(future)
                return False
            self._end(future, None, error)
        except Exception as error:
            self._end(future, None, error)
        else:
            future.call = None
            with self.lock:
                future.item, future.nbytes = item, nbytes
                if not future.is_done():
                    self._by_item[item] = future
                    self._sent_nbytes += nbytes
        return True

    def _end(self, future: TaskFuture[Any], value: Any, error: BaseException | None) -> None:
        """Take a task off the tables and finish its future."""
        with self.lock:
            self._pending.pop(future.number, None)
            if future.item is not None and self._by_item.pop(future.item, None) is not None:
                self._sent_nbytes -= future.nbytes
            future.call = None
        future.finish(value, error)

    # --- Collecting -------------------------------------------------------------------------

    def wait_for(self, future: TaskFuture[Any], timeout: float | None) -> None:
        """Wait until *future* is done, collecting if nobody else does."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not future.is_done():
            if not self._role_wanted and self._collecting.acquire(blocking=False):
                try:
                    self._collected_by_caller = True
                    self._collect(future, deadline)
                finally:
                    self._collected_by_caller = False
                    self._collecting.release()
                if self._passive:
                    self.wake()
            else:
                with self.lock:
                    self._passive += 1
                try:
                    future.wait_passively(deadline)
                finally:
                    with self.lock:
                        self._passive -= 1
            if deadline is not None and time.monotonic() >= deadline:
                return

    def _collect(self, future: TaskFuture[Any], deadline: float | None) -> None:
        """Collect until *future* is done, time is over, or the manager wants the role."""
        while not future.is_done() and not self._role_wanted:
            left = DEEP_SLEEP if deadline is None else min(DEEP_SLEEP, deadline - time.monotonic())
            if left < 0:
                return
            self._take_one(True, left)

    def poll(self, future: TaskFuture[Any]) -> None:
        """Collect what is there without waiting, and note whether a worker has *future*."""
        if self._collecting.acquire(blocking=False):
            try:
                while not future.is_done() and self._take_one(False, None):
                    pass
            finally:
                self._collecting.release()
        with self.lock:
            item = future.item
            if future._state == PENDING and item is not None and item >= 0:
                if not self.tasks._queued(item):
                    future._state = RUNNING

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
                self._refill()
        elif type(message) is Retired:
            self._retired.add(message.pid)
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
            self._pending.pop(future.number, None)
            if future.item is not None and self._by_item.pop(future.item, None) is not None:
                self._sent_nbytes -= future.nbytes
            future.call = None
            quiet = future._watch is None
            if quiet:
                future._state = "CANCELLED_AND_NOTIFIED"
            else:
                self.unwatch()
        if not quiet:
            Future.cancel(future)
            if future._state == CANCELLED:
                future.set_running_or_notify_cancel()
        if self.closing:
            self.wake()
        return True

    def watch(self) -> None:
        """Count a future that somebody watches; the manager collects from now on."""
        with self.lock:
            self._watched += 1
        self.wake()

    def unwatch(self) -> None:
        """Count a watched future that is done."""
        with self.lock:
            self._watched -= 1

    # --- Workers ------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Start the manager, and under fork all workers before it: threads do not fork well."""
        for _ in range(self.max_workers if self._forks else 1):
            self._start_worker()
        from .manager import Manager

        self.thread = Manager(self)
        self.thread.start()

    def _start_worker(self) -> None:
        used = set(self._numbers.values())
        number = next(n for n in range(len(used) + 1) if n not in used)
        start = Start(
            self.tasks, self.results, number, self._initializer, self._initargs, self._limit
        )
        process = self.context.Process(target=run_worker, args=(start,))
        process.start()
        self.processes[process.pid] = process
        self._numbers[process.pid] = number

    def _break(self, what: str, cause: BaseException | None = None) -> None:
        """Fail everything that is pending; the manager ends the workers."""
        with self.lock:
            if self.broken is None:
                self.broken = BrokenProcessPool(
                    "A process in the process pool was terminated abruptly while the future "
                    f"was running or pending: {what}"
                )
                if cause is not None:
                    text = "".join(traceback.format_exception(cause))
                    self.broken.__cause__ = _RemoteTraceback(f'\n"""\n{text}"""')
            pending = list(self._pending.values())
            self._backlog.clear()
        for future in pending:
            error = BrokenProcessPool(*self.broken.args)
            error.__cause__ = self.broken.__cause__
            self._end(future, None, error)
        self.wake()

    def reap(self) -> None:
        """Deal with workers that have ended. The manager's."""
        dead = [process for process in list(self.processes.values()) if process.exitcode is not None]
        if not dead:
            return
        self._claim_role()
        try:
            while self._take_one(False, None):  # what they sent before they died counts
                pass
            for process in dead:
                if process.pid in self._retired:
                    self._replace(process)
                elif self.broken is None and not (self.closing and process.exitcode == 0):
                    self._break(self._obituary(process))
        finally:
            self._role_wanted = False
            self._collecting.release()

    def _claim_role(self) -> None:
        self._role_wanted = True
        if self._collected_by_caller:
            self.results.put(None)  # wakes it
        self._collecting.acquire()

    def _replace(self, process: Any) -> None:
        process.join()
        with self.lock:
            self._retired.discard(process.pid)
            del self.processes[process.pid], self._numbers[process.pid]
            if self.broken is None and len(self.processes) < min(self.max_workers, self._demand):
                self._start_worker()

    def _obituary(self, process: Any) -> str:
        """Say how a worker ended, and what it ran."""
        code = process.exitcode
        how = f"exited with status {code}"
        if code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        item = self.tasks._claim(self._numbers[process.pid])
        future = None if item is None else self._by_item.get(item)
        if future is None:
            return f"worker {process.pid} {how}"
        name = getattr(future.fn, "__qualname__", repr(future.fn))
        return f"worker {process.pid} {how} while it ran task {future.number}, {name}"

    # --- The end ------------------------------------------------------------------------------------------

    def close(self, cancel_pending: bool) -> None:
        """Take no more tasks; the manager ends the workers when all are done.

        Args:
            cancel_pending: cancel what is queued, but for one task for each worker: it has
                that or is just starting up for it.
        """
        with self.lock:
            self.closing = True
            pending = list(self._pending.values())[len(self.processes) :]
        if cancel_pending:
            for future in pending:
                self.cancel(future)
        self.wake()

    def wake(self) -> None:
        """Have the manager look."""
        try:
            os.write(self._wake_writer, b"w")
        except OSError:
            pass  # full: it will look anyway; or closed: it is gone

    @property
    def idle(self) -> bool:
        """Whether no task is pending."""
        return not self._pending

    @property
    def wanted(self) -> bool:
        """Whether the manager is to collect without a pause."""
        return bool(self._watched or self._backlog or self._passive or self.closing)

    @property
    def finished(self) -> bool:
        """Whether the manager can end the engine."""
        return self.broken is not None or (self.closing and self.idle)

    def sleep(self, asleep: bool) -> bool:
        """Note that the manager goes to sleep for long; whether it may."""
        self._asleep = asleep and self.idle and not self.closing
        return self._asleep

    def await_event(self, timeout: float | None) -> None:
        """Sleep until a worker ends, `wake` is called, or *timeout*. The manager's."""
        sentinels = [process.sentinel for process in list(self.processes.values())]
        if self._wake_reader in connection.wait([self._wake_reader, *sentinels], timeout):
            try:
                os.read(self._wake_reader, 4096)
            except BlockingIOError:
                pass

    def collect_for_watchers(self) -> None:
        """Collect as long as that is wanted and nothing else needs the manager."""
        if not self._collecting.acquire(blocking=False):
            return
        try:
            end = time.monotonic() + TICK
            while self.wanted and not self.idle and time.monotonic() < end and self.broken is None:
                self._take_one(True, TICK / 2)
        finally:
            self._collecting.release()

    def collect_old(self) -> None:
        """Collect what lies there, unless somebody is collecting."""
        if self._collecting.acquire(blocking=False):
            try:
                while self._take_one(False, None):
                    pass
            finally:
                self._collecting.release()
        self._refill()

    def end(self) -> None:
        """End the workers: kindly, or at once when the engine is broken."""
        self.tasks._shutdown(self.broken is not None)
        for process in self.processes.values():
            if self.broken is not None:
                process.terminate()
            process.join()
        self.tasks.close()
        os.close(self._wake_writer)
        os.close(self._wake_reader)
        self._wake_writer = self._wake_reader = -1
