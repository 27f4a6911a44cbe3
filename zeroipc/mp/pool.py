"""`multiprocessing.pool` on shared memory: Pool, and what its calls return.

The interface is the standard library's; the work is done by the engine that executors have,
whose docstring (engine.py) draws the flow of the data. What differs, each for the better:

- a worker that dies fails the task that it ran, with WorkerDiedError, and another takes its
  place; with the standard library, who waits for that task waits for ever;
- an initializer that raises breaks the pool; there workers are started without end;
- a callable that pickle refuses (a lambda, a closure) is sent by cloudpickle;
- an `imap` over an iterable that blocks holds up no other call;
- whoever waits for a job when the pool is terminated gets ClosedError; there he waits for ever.

`ThreadPool` is the standard library's own.
"""

from __future__ import annotations

import itertools
import os
import warnings
from multiprocessing import pool as standard
from multiprocessing import util
from multiprocessing.pool import CLOSE, INIT, RUN, TERMINATE, ThreadPool
from typing import TYPE_CHECKING, Any

from .._backend import transport as core
from .context import _default_context
from .pool_engine import PoolEngine, PoolTask, WatchedTask
from .pool_results import ApplyResult, IMapIterator, IMapUnorderedIterator, MapResult
from .pool_worker import map_chunk, starmap_chunk
from .standard import names_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from .pool_engine import Call

__all__ = ["Pool", "ThreadPool"]

__getattr__ = names_of(__name__)

AsyncResult = ApplyResult
WORKERS_MAX = core.PARTICIPANTS - 1
"""Most workers of a pool: so many processes share an arena, beside this one."""
PLAIN = frozenset((list, tuple, range))
"""Types of iterables that run no code of the user's."""


class Pool(standard.Pool):
    """Runs calls in worker processes, which are daemons and start at once.

    Args:
        processes: how many; None for the number of CPUs this process may use.
        initializer, initargs: called in each worker before its first task.
        maxtasksperchild: after how many tasks a worker is replaced; None for never.
        context: starts the processes, ours or the standard library's; None for the default.

    Raises:
        ValueError: *processes* is below 1 or above WORKERS_MAX, or *maxtasksperchild* is no
            positive integer.
        TypeError: *initializer* is not callable.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
    ) -> None:
        self._state = INIT  # first: __del__ looks at it
        if processes is None:
            processes = len(os.sched_getaffinity(0))
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if processes > WORKERS_MAX:
            raise ValueError(f"processes must be <= {WORKERS_MAX}: processes={processes}")
        if maxtasksperchild is not None and (
            not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0
        ):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._ctx = context or _default_context.get_context()
        self._processes, self._maxtasksperchild = processes, maxtasksperchild
        self._initializer, self._initargs = initializer, initargs
        self._engine = engine = PoolEngine(
            self.Process, self._ctx, processes, initializer, initargs, maxtasksperchild
        )
        self._terminate = util.Finalize(self, engine.terminate, exitpriority=15)
        self._state = RUN

    # --- One call -----------------------------------------------------------------------------

    def apply(
        self, func: Callable[..., Any], args: Iterable[Any] = (), kwds: Mapping[str, Any] = {}
    ) -> Any:
        """Return `func(*args, **kwds)`, called by a worker."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> ApplyResult:
        """As `apply`, but return at once what will have the outcome.

        Args:
            callback: called, in a thread of the pool, with what *func* returned.
            error_callback: called with what it raised.

        Raises:
            ValueError: the pool was closed.
        """
        self._check_running()
        job = ApplyResult(self, callback, error_callback)
        self._hand_in(job, _tasks(job, [(func, args, kwds)], func))
        return job

    # --- Many, all results at once ------------------------------------------------------------

    def map(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = None
    ) -> list[Any]:
        """Return `[func(x) for x in iterable]`, called by workers.

        Args:
            chunksize: how many items make a task; None for a quarter of a worker's share.
        """
        return self._map_async(func, iterable, map_chunk, chunksize).get()  # type: ignore[no-any-return]

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[list[Any]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult:
        """As `map`, but return at once what will have the outcome; see `apply_async`."""
        return self._map_async(func, iterable, map_chunk, chunksize, callback, error_callback)

    def starmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
    ) -> list[Any]:
        """Return `[func(*x) for x in iterable]`, called by workers; see `map`."""
        return self._map_async(func, iterable, starmap_chunk, chunksize).get()  # type: ignore[no-any-return]

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[Any]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult:
        """As `starmap`, but return at once what will have the outcome; see `apply_async`."""
        return self._map_async(func, iterable, starmap_chunk, chunksize, callback, error_callback)

    def _map_async(  # type: ignore[override, unused-ignore]
        self,
        func: Callable[..., Any],
        iterable: Any,
        mapper: Any,
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult:
        self._check_running()
        if not hasattr(iterable, "__len__"):
            iterable = list(iterable)
        if chunksize is None:
            chunksize = max(1, -(-len(iterable) // (self._processes * 4)))
        _check_chunksize(chunksize)
        job = MapResult(self, chunksize, len(iterable), callback, error_callback)
        try:
            calls = self._calls(func, iterable, mapper, chunksize)
            tasks = _tasks(job, calls, func)
        except Exception as error:  # as in the standard library, whose thread iterates
            self._fail(job, error)
        else:
            self._hand_in(job, tasks)
        return job

    # --- Many, results as they come -----------------------------------------------------------

    def imap(  # type: ignore[override]
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1
    ) -> Iterator[Any]:
        """Return an iterator of the results of `map`, in order.

        The iterable is drawn in a thread, unless it is a list, a tuple or a range; not further
        ahead than shared memory has room for some tasks, see pool_engine.py.

        Raises:
            ValueError: *chunksize* is below 1, or the pool was closed.
        """
        return self._imap(IMapIterator, func, iterable, chunksize)

    def imap_unordered(  # type: ignore[override]
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1
    ) -> Iterator[Any]:
        """Return an iterator of the results of `map`, as they come; else as `imap`."""
        return self._imap(IMapUnorderedIterator, func, iterable, chunksize)

    def _imap(
        self,
        kind: type[IMapIterator],
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int,
    ) -> Iterator[Any]:
        self._check_running()
        _check_chunksize(chunksize)
        items = iterable if type(iterable) in PLAIN else iter(iterable)
        calls = self._calls(func, items, map_chunk, chunksize)
        job = kind(self)
        if items is iterable and type(iterable) in PLAIN:
            tasks = _tasks(job, calls, func)
            self._hand_in(job, tasks)
            job._set_length(len(tasks))
        else:
            self._engine.feed(job, calls, func)
        if chunksize == 1:
            return job
        return (item for chunk in job for item in chunk)

    # --- Tasks --------------------------------------------------------------------------------

    def _calls(
        self, func: Callable[..., Any], items: Any, mapper: Any, chunksize: int
    ) -> Iterator[Call]:
        """Return the calls that make up a job, lazily."""
        if chunksize == 1 and mapper is map_chunk:
            return ((func, (item,), {}) for item in items)
        if chunksize == 1:
            return ((func, tuple(item), {}) for item in items)
        packed = self._engine.packer.pack(func)
        return ((mapper, (packed, chunk), {}) for chunk in _chunks(items, chunksize))

    def _hand_in(self, job: Any, tasks: list[PoolTask]) -> None:
        try:
            self._engine.hand_in(tasks)
        except BaseException as error:
            self._fail(job, error)
            raise

    def _fail(self, job: ApplyResult | IMapIterator, error: BaseException) -> None:
        """Have a job fail of which nothing has been handed in."""
        with self._engine.lock:
            job.abandon(error)

    def _check_running(self) -> None:
        if self._state != RUN:
            raise ValueError("Pool not running")

    # --- Its life -----------------------------------------------------------------------------

    def close(self) -> None:
        """Take no more calls; the workers end when those that were made are done."""
        util.debug("closing pool")
        if self._state == RUN:
            self._state = CLOSE
            self._engine.close(cancel_pending=False)

    def terminate(self) -> None:
        """End the workers at once, whatever they do, and wait for that."""
        util.debug("terminating pool")
        self._state = TERMINATE
        self._terminate()

    def join(self) -> None:
        """Wait for the end of the workers.

        Raises:
            ValueError: the pool is neither closed nor terminated.
        """
        util.debug("joining pool")
        if self._state == RUN:
            raise ValueError("Pool is still running")
        if self._state not in (CLOSE, TERMINATE):
            raise ValueError("In unknown state")
        self._engine.join()
        self._terminate.cancel()

    def __del__(self, _warn: Any = warnings.warn, RUN: Any = RUN) -> None:
        if self._state == RUN:
            _warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self)

    # --- Names of the standard library's pool that other libraries look at ---------------------

    @property
    def _pool(self) -> list[Any]:
        return list(self._engine.crew.processes.values())

    @property
    def _cache(self) -> dict[int, Any]:
        return self._engine.jobs

    @property
    def _inqueue(self) -> Any:
        return self._engine.tasks

    @property
    def _outqueue(self) -> Any:
        return self._engine.results

    @property
    def _worker_handler(self) -> Any:
        return self._engine.thread

    _task_handler = _result_handler = _worker_handler

    def _repopulate_pool(self) -> None:
        """Do nothing: the manager replaces a worker when it ends."""


def _tasks(job: Any, calls: Iterable[Call], func: Any) -> list[PoolTask]:
    kind = WatchedTask if job.watched else PoolTask
    return [kind(job, index, call, func) for index, call in enumerate(calls)]


def _check_chunksize(chunksize: int) -> None:
    if chunksize < 1:
        raise ValueError(f"Chunksize must be 1+, not {chunksize}")


def _chunks(items: Any, size: int) -> Iterator[Any]:
    """Return *items* in pieces: slices where they can be had, which for a range cost nothing."""
    if type(items) in PLAIN:
        return (items[i : i + size] for i in range(0, len(items), size))
    items = iter(items)
    return iter(lambda: tuple(itertools.islice(items, size)), ())
