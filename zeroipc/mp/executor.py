"""`concurrent.futures.ProcessPoolExecutor` on shared memory.

The interface is the standard library's; the work is done by an `Engine`, whose docstring
draws the flow of the data. What differs, each for the better:

- a task that has been sent to the workers and not been taken can still be cancelled;
- a callable that pickle refuses (a lambda, a closure) is sent by cloudpickle;
- an argument that cannot be pickled fails its future with the path to the culprit;
- `BrokenProcessPool` says which worker ended, how, and which task it ran.

What is added, all of it off by default, is in docs/executor.md.
"""

from __future__ import annotations

from concurrent.futures import Executor
from multiprocessing import util
from typing import TYPE_CHECKING, Any, TypeVar

from .._backend import transport as core
from .batches import submit_many
from .context import _default_context
from .cpus import usable_cpus
from .engine import Engine
from .figures import figures
from .mapping import map_calls
from .terms import Terms, own_terms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .futures import TaskFuture
    from .options import Options

T = TypeVar("T")

__all__ = ["ProcessPoolExecutor"]

WORKERS_MAX = core.PARTICIPANTS - 1
"""Most workers of an executor: so many processes share an arena, beside this one."""


class ProcessPoolExecutor(Executor):
    """Runs calls in worker processes.

    Args:
        max_workers: how many processes; None for the number of CPUs this process may use, of
            those that it is bound to and its control group allows.
        mp_context: starts the processes, ours or the standard library's; None for the
            default one, or "spawn" when *max_tasks_per_child* is given.
        initializer, initargs: called in each worker before its first task. If it raises,
            the executor is broken.
        max_tasks_per_child: after how many tasks a worker is replaced; None for never. Not
            with the start method "fork".
        on_death: what the death of a worker does. "break", as in the standard library:
            everything that is pending fails with BrokenProcessPool, and no more is taken.
            "respawn": the task that it ran fails with WorkerDiedError, which names it, and
            another worker takes its place. If workers die again and again before they are
            ready for a task, or an initializer raises, that breaks the executor all the same.
        retries: with "respawn", how often a task whose worker died is run again before it fails.
        resource: called once in each worker, after the initializer and before the first task;
            tasks get what it returned by `zeroipc.mp.worker_resource()`.
        inner_threads: how many threads numerical libraries may use in a worker (BLAS, OpenMP,
            numexpr); None for what they choose. It is told to those that a worker has yet to
            load by environment variables, to others by threadpoolctl if that is installed.
        idle_timeout: seconds after which a worker without a task leaves; it is started again
            when there are tasks. None for never.

    Raises:
        ValueError: *max_workers* is below 1 or above WORKERS_MAX, or *max_tasks_per_child* is
            below 1 or comes with "fork", *on_death* is neither of the two, or
            *retries* is below 0, or above with "break", or *inner_threads* is below 1, or
            *idle_timeout* is not positive.
        TypeError: *initializer* or *resource* is not callable, or *max_tasks_per_child* or
            *retries* no integer.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        on_death: str = "break",
        retries: int = 0,
        resource: Callable[[], Any] | None = None,
        inner_threads: int | None = None,
        idle_timeout: float | None = None,
    ) -> None:
        if max_workers is None:
            max_workers = min(usable_cpus(), WORKERS_MAX)
        elif max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        elif max_workers > WORKERS_MAX:
            raise ValueError(f"max_workers must be <= {WORKERS_MAX}: max_workers={max_workers}")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if mp_context is None:
            mp_context = _default_context.get_context("spawn" if max_tasks_per_child else None)
        _check_limit(max_tasks_per_child, mp_context)
        if resource is not None or inner_threads is not None:
            initializer = _preparation(initializer, resource, inner_threads)
        if idle_timeout is not None and not idle_timeout > 0:
            raise ValueError(f"idle_timeout must be None or > 0: idle_timeout={idle_timeout}")
        self._max_workers = max_workers
        self._mp_context = mp_context
        self._engine = engine = Engine(
            mp_context,
            max_workers,
            initializer,
            initargs,
            max_tasks_per_child,
            on_death,
            idle_timeout,
            inner_threads,
        )
        self._terms = self._check_terms(Terms(None, retries)) if retries else None
        # At the end of a child of multiprocessing too, before it joins its own children, workers.
        util.Finalize(self, engine.close, (False,), exitpriority=100)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> TaskFuture[T]:
        """Schedule `fn(*args, **kwargs)`; return its future.

        What cannot be pickled fails the future, not this call. With on_death="respawn" a
        *timeout* or *retries* that *fn* does not take means what `options` says.

        Raises:
            BrokenProcessPool: a worker died before.
            RuntimeError: the executor is shut down, or the interpreter is ending.
        """
        terms = self._terms
        if kwargs and self._engine.deaths.respawns:
            terms = own_terms(fn, kwargs, terms)
        return self._engine.submit(fn, args, kwargs, terms)

    def submit_many(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        chunksize: int | None = None,
    ) -> list[TaskFuture[T]]:
        """Schedule the calls of `map(fn, *iterables)`; return their futures in order.

        It takes a fraction of the time of as many `submit`, for tasks share messages. Those that
        do are run by one worker one after the other, are done together, and all fail if it dies.
        On an executor with *retries* each task has a message of its own.

        Args:
            fn: takes one argument from each of *iterables*.
            chunksize: how many tasks share a message; None for at most 32, fewer if there are
                not four such messages for each worker.

        Raises:
            ValueError: *chunksize* is below 1.
            BrokenProcessPool, RuntimeError: as `submit`.
        """
        return submit_many(self._engine, fn, zip(*iterables, strict=False), chunksize, self._terms)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        progress: bool | Callable[[int, int | None], object] = False,
    ) -> Iterator[T]:
        """Return the results of `map(fn, *iterables)`, in order, as they are asked for.

        Args:
            fn: takes one argument from each of *iterables*.
            timeout: seconds for everything, counted from this call; None for ever.
            chunksize: how many calls make one task.
            buffersize: most tasks that are submitted and not yet asked for; None: all at once.
            progress: called with (calls that are done, all calls or None) after each task,
                one call at a time, in whatever thread notices; True for a bar, of tqdm or rich
                where one is installed.

        Raises:
            ValueError: *chunksize* or *buffersize* is below 1.
            TypeError: *buffersize* is no integer.
            TimeoutError: from the iterator.
        """
        packer = self._engine.packer
        return map_calls(
            self.submit, packer, fn, iterables, timeout, chunksize, buffersize, progress
        )

    def options(self, *, timeout: float | None = None, retries: int | None = None) -> Options:
        """Return an executor that runs tasks here, on these terms.

            pool.options(timeout=2.5).submit(simulate, seed)

        Args:
            timeout: seconds that a task may run, from when a worker takes it; None for ever. It
                fails with TaskTimeoutError then; its worker is killed and replaced.
            retries: how often a task is run again when its worker dies, in place of the
                executor's own *retries*.

        Raises:
            ValueError: *timeout* is not positive, *retries* is below 0, or above with "break".
        """
        from .options import Options

        if retries is None:
            retries = 0 if self._terms is None else self._terms.retries
        return Options(self, self._check_terms(Terms(timeout, retries)))

    def _check_terms(self, terms: Terms) -> Terms:
        if terms.retries and not self._engine.deaths.respawns:
            raise ValueError(
                f'retries must be 0 unless on_death="respawn": retries={terms.retries}'
            )
        return terms

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks; the workers end when those that were submitted are done.

        Args:
            wait: whether to wait for that.
            cancel_futures: whether to cancel what no worker has taken.
        """
        self._engine.close(cancel_futures)
        if wait and self._engine.thread is not None:
            self._engine.thread.join()

    def terminate_workers(self) -> None:
        """End the workers by SIGTERM, before Python 3.14 too.

        What they run fails with BrokenProcessPool, what no worker has taken is cancelled, and no
        more is taken. A worker that is still there a second later is killed.
        """
        self._force_shutdown(operation="terminate")

    def kill_workers(self) -> None:
        """End the workers by SIGKILL; else as `terminate_workers`."""
        self._force_shutdown(operation="kill")

    def _force_shutdown(self, operation: str) -> None:
        if operation not in ("terminate", "kill"):
            raise ValueError(f'operation must be "terminate" or "kill": operation={operation!r}')
        engine = self._engine
        engine.close(cancel_pending=True)
        engine.crew.strike(operation)
        if engine.thread is not None:
            engine.fail(f"the executor was forcefully shut down by {operation}_workers()")

    def stats(self) -> dict[str, int]:
        """Return what has been done and what is going on, at some moment.

        Returns:
            Numbers of tasks: "submitted", which is the sum of "queued", "running", "done" (has
            returned), "failed" (has raised, or could not be run) and "cancelled"; a chunk of
            `map` is one task. "respawned": workers that died, or were killed to end a task, and
            were replaced. "workers": those that live. "bytes": in shared memory, of tasks that
            are not done.
        """
        return figures(self._engine)

    # --- Names of the standard library's executor that other libraries look at -------------

    @property
    def _processes(self) -> dict[int, Any]:
        return self._engine.crew.processes

    @property
    def _broken(self) -> BaseException | None:
        return self._engine.broken

    @property
    def _shutdown_thread(self) -> bool:
        return self._engine.closing

    @property
    def _executor_manager_thread(self) -> Any:
        return self._engine.thread

    @property
    def _call_queue(self) -> Any:
        return self._engine.tasks


def _preparation(
    initializer: Callable[..., object] | None,
    resource: Callable[[], Any] | None,
    inner_threads: int | None,
) -> Callable[..., object]:
    from .resources import Preparation

    if resource is not None and not callable(resource):
        raise TypeError(f"resource must be a callable: resource={resource!r}")
    if inner_threads is not None and inner_threads < 1:
        raise ValueError(f"inner_threads must be None or >= 1: inner_threads={inner_threads}")
    return Preparation(initializer, resource, inner_threads)


def _check_limit(limit: int | None, context: Any) -> None:
    if limit is None:
        return
    if not isinstance(limit, int):
        raise TypeError("max_tasks_per_child must be an integer")
    if limit <= 0:
        raise ValueError("max_tasks_per_child must be >= 1")
    if context.get_start_method(allow_none=False) == "fork":
        raise ValueError(
            "max_tasks_per_child is incompatible with the 'fork' multiprocessing start method; "
            "supply a different mp_context."
        )
