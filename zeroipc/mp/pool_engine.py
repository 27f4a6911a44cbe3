"""The engine of a `Pool`: its tasks are parts of jobs, its workers are there from the start.

    jobs ──► tasks ──► Engine (engine.py) ──► outcomes ──► jobs (pool_results.py)

- **Task**: what a future is to an executor. When it is done it hands its outcome to its job.
- **Feeder**: a thread for each `imap` over an iterable that runs code of the user's, which may
  block or raise. It draws an item when those before it have gone into shared memory, but for a
  few small ones: what the pool has drawn and not begun is bounded, as by the standard library's
  pipe. While arrays fill half of the arena and nobody fetches results, it waits for that as well.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, PENDING
from functools import partial
from typing import TYPE_CHECKING, Any

from .._core.signals import held_back
from ..errors import ClosedError
from .deaths import prepare_for_interrupts
from .engine import Engine
from .futures import UNSENT
from .pool_worker import begin, run_pool_call
from .sender import BURST, RING_NBYTES, RING_TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .pool_results import ApplyResult, IMapIterator

Call = tuple[Any, Iterable[Any], Mapping[str, Any]]
"""A callable, its arguments, its keyword arguments."""

ROOM_LOOK = 0.1
"""Longest wait of a feeder for room without a look: memory comes back without a message."""


class PoolTask:
    """A task of an `Engine` that is the part *index* of a job.

    Attributes:
        fn: the user's function, for messages.
    """

    terms = batch = None
    _watch: bool | None = None
    __slots__ = ("_state", "call", "fn", "index", "item", "job", "nbytes", "number")

    def __init__(self, job: ApplyResult | IMapIterator, index: int, call: Call, fn: Any) -> None:
        self.job = job
        self.index = index
        self.call: Call | None = call
        self.fn = fn
        self.item: int | None = UNSENT
        self.nbytes = 0
        self.number = -1
        self._state = PENDING

    def is_done(self) -> bool:
        """Return whether it has ended."""
        return self._state != PENDING

    def cancelled(self) -> bool:
        """Return whether it was cancelled."""
        return self._state == CANCELLED_AND_NOTIFIED

    def settle(self, value: Any, error: BaseException | None) -> bool:
        """Hand in the outcome; whether no callback is due. Needs the engine's lock."""
        self._state = FINISHED
        job = self.job
        if job._engine.hungry:
            job._engine.tell_feeders()
        if job._set(self.index, (True, value) if error is None else (False, error)):
            if job.wants_call():
                return False
            job.finish()
        return True

    def tell(self, value: Any, error: BaseException | None) -> None:
        """Run the callback that is due. The manager's."""
        job: Any = self.job
        job.call_back()
        with job._engine.lock:
            job.finish()
        job._engine.collector.nudge()

    def disown(self, error: BaseException) -> None:
        """In a forked child: fail the job, whose workers are the parent's."""
        self.job.abandon(error)


class WatchedTask(PoolTask):
    """A task of a job with callbacks, for which the manager has to collect."""

    _watch = True
    __slots__ = ()


class PoolEngine(Engine):
    """An engine whose workers are daemons, all started at once, and replaced when they end.

    Args:
        make_process: makes a worker; called as the standard library's `Pool.Process`.
        context, size, initializer, initargs, limit: as `Engine` has them.

    Attributes:
        jobs: those that are not done, by their number.
        hungry: whether a feeder waits for room.
    """

    daemon = survives_interrupts = True
    run_call = staticmethod(run_pool_call)

    def __init__(
        self,
        make_process: Callable[..., Any],
        context: Any,
        size: int,
        initializer: Callable[..., object] | None,
        initargs: Iterable[Any],
        limit: int | None,
    ) -> None:
        self._make = partial(make_process, context)
        first, args = (None, ()) if initializer is None else (begin, (initializer, initargs))
        super().__init__(context, size, first, args, limit, on_death="respawn")
        self.jobs: dict[int, Any] = {}
        self.hungry = False
        self._feeders: set[Feeder] = set()
        self._close_when_fed = self._prepared = False
        self._start()

    def make_process(self, target: Any, args: Any) -> Any:
        """Return a worker's process, not started."""
        process = self._make(target=target, args=args)
        process.name = process.name.replace("Process", "PoolWorker")
        process.daemon = True
        return process

    @property
    def first_workers(self) -> int:
        """All of them."""
        return self.crew.size

    @property
    def demand(self) -> int:
        """How many workers there should be: all, until only what was handed in is left."""
        return len(self.pending) if self.closing else self.crew.size

    def hand_in(self, tasks: Sequence[PoolTask]) -> None:
        """Take on *tasks*; never blocks.

        Raises:
            ClosedError: the pool was terminated.
            BrokenProcessPool: its workers cannot be started.
        """
        self._enter(tasks)
        self.sender.refill()
        if self.asleep:
            self.bell.ring()

    def hand_in_one(self, task: PoolTask) -> None:
        """Take on *task*, of a feeder; as `hand_in`, but busy workers get it a little later.

        Whoever collects the next result sends it.
        """
        self._enter((task,))
        if len(self.sender.backlog) >= BURST or self.tasks.qsize() <= self.crew.size:
            self.sender.refill()
        if self.asleep:
            self.bell.ring()

    def _enter(self, tasks: Sequence[PoolTask]) -> None:
        with self.lock:
            self.check_open()
            before, self.count = self.count, self.count + len(tasks)
            _number(tasks, before)
            self.sender.backlog.extend(tasks)  # type: ignore[arg-type]
            self.pending.update(zip(range(before, self.count), tasks, strict=True))  # type: ignore[arg-type]
            if tasks and tasks[0]._watch:
                told = bool(self.watched)  # the manager collects already
                self.watched.update(tasks)  # type: ignore[arg-type]
                if not told:
                    self.bell.ring()
        if before and not self._prepared:  # not before the first: its result should not wait
            self._prepared = True
            prepare_for_interrupts()

    def look(self) -> None:
        """Collect what is there, without waiting."""
        self.collector.collect_waiting()

    # --- Feeders ----------------------------------------------------------------------------

    def feed(self, job: IMapIterator, calls: Iterator[Call], fn: Any) -> None:
        """Have *calls*, which may block, drawn and handed in by a thread."""
        feeder = Feeder(self, job, calls, fn)
        with self.lock:
            self._feeders.add(feeder)
        try:
            with held_back() as feeder.mask:
                feeder.start()
        except BaseException as error:
            with self.lock:
                job.abandon(error)
            self.fed(feeder)
            raise

    def tell_feeders(self) -> None:
        """Wake the feeders if there is room for more. Needs the lock."""
        low = max(RING_TASKS // 2, 2 * self.crew.size)
        if len(self.sender.backlog) <= BURST and len(self.sender.by_item) <= low:
            self.hungry = False
            for feeder in self._feeders:
                feeder.room.set()

    def fed(self, feeder: Feeder) -> None:
        """Note that *feeder* has handed in everything."""
        with self.lock:
            self._feeders.discard(feeder)
            closes = self._close_when_fed and not self._feeders
        if closes:
            super().close(cancel_pending=False)

    # --- The end ----------------------------------------------------------------------------

    def close(self, cancel_pending: bool) -> None:
        """Take no more jobs; the manager ends the workers when all are done."""
        with self.lock:
            self._close_when_fed = True
            feeds = bool(self._feeders)
        if not feeds:
            super().close(cancel_pending)

    def terminate(self) -> None:
        """Drop all jobs, without their callbacks, kill the workers, and wait for that."""
        with self.lock:
            self.broken = self.broken or ClosedError("the pool was terminated")
            self.sender.backlog.clear()
            self._abandon_all(self.broken)
        for feeder in list(self._feeders):
            feeder.stop()
        self.collector.nudge()
        self.bell.ring()
        self.join()

    def _abandon_all(self, error: BaseException) -> None:
        """Have every job and task end with an error. Needs the lock."""
        for job in list(self.jobs.values()):
            job.abandon(error)
        for task in list(self.pending.values()):
            self.end(task, None, error)

    def join(self) -> None:
        """Wait for the end of all threads, but for a feeder that sticks in the user's code."""
        feeders = list(self._feeders)
        me = threading.current_thread()  # a callback may end the pool
        if self.thread is not None and self.thread is not me:
            self.thread.join()
        for feeder in feeders:
            feeder.await_end()

    def disown(self) -> None:
        """In a forked child: everything belongs to the parent."""
        super().disown()
        self._feeders.clear()


class Feeder(threading.Thread):
    """Hands in the calls of an `imap` as there is room.

    Args:
        calls: what to hand in; drawing the next may block or raise.
        fn: the user's function, for messages.

    Attributes:
        room: is set when there may be room for more.
        mask: signals to block, for it is started with more of them blocked.
    """

    mask: set[Any]

    def __init__(self, engine: PoolEngine, job: IMapIterator, calls: Any, fn: Any) -> None:
        super().__init__(name="zeroipc-feeder", daemon=True)
        self._engine, self._job, self._calls, self._fn = engine, job, calls, fn
        self._stopped = self._drawing = False
        self.room = threading.Event()

    def run(self) -> None:
        """Feed; an error of the iterable is the last outcome of the job."""
        job, index = self._job, 0
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)
        try:
            for call in iter(self._draw, None):
                self._engine.hand_in_one(PoolTask(job, index, call, self._fn))
                index += 1
        except BaseException as error:
            with self._engine.lock:
                job._set(index, (False, error))
            index += 1
        finally:
            self._calls = None
            job._set_length(index)
            self._engine.fed(self)

    def _draw(self) -> Call | None:
        """Return the next call when there is room for it; None when there are no more."""
        while not self._stopped and not self._has_room():
            self.room.wait(ROOM_LOOK)
        self._drawing = True
        try:
            return None if self._stopped else next(self._calls, None)
        finally:
            self._drawing = False

    def _has_room(self) -> bool:
        engine, sender = self._engine, self._engine.sender
        most = BURST if sender.nbytes < RING_NBYTES // 2 else 1
        if len(sender.backlog) >= most:
            sender.refill()
        crowded = bool(self._job._items) and engine.collector._is_crowded()
        with engine.lock:
            if len(sender.backlog) < most and (not crowded or engine._close_when_fed):
                return True
            engine.hungry = True
            self.room.clear()
        return False

    def stop(self) -> None:
        """Have it end before it draws again."""
        self._stopped = True
        self.room.set()

    def await_end(self) -> None:
        """Wait for its end, unless it sticks in the user's code."""
        while self is not threading.current_thread() and self.is_alive() and not self._drawing:
            self.join(ROOM_LOOK)


def _number(tasks: Sequence[PoolTask], start: int) -> None:
    for number, task in enumerate(tasks, start):
        task.number = number
