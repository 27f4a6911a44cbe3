"""The joblib backend "zeroipc", so that scikit-learn and others run on shared memory.

    import joblib
    import zeroipc.mp                      # in whichever order

    with joblib.parallel_config(backend="zeroipc", n_jobs=4):
        search.fit(samples, labels)

Behaves as joblib's own "loky" does: functions and classes of `__main__`, lambdas and
closures travel, a script needs no guard, workers stay warm between calls, the threads of
BLAS and OpenMP are limited in them, nested calls use threads. What differs is speed,
that large arrays arrive writable, each worker's own, and that a killed worker is named.
"""

from __future__ import annotations

import multiprocessing
import queue
import threading
import warnings
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import joblib
from joblib._parallel_backends import FallbackToBackend, SequentialBackend
from joblib.parallel import AutoBatchingMixin, ParallelBackendBase

from .._rlock import RLock
from .executor import WORKERS_MAX, ProcessPoolExecutor
from .joblib_calls import Sharing, outcome_of, pack, run_batch
from .joblib_workers import Recipe, give_back, kill, take

if TYPE_CHECKING:
    from collections.abc import Callable

IDLE_SECONDS = 300.0


class Job:
    """A batch that was submitted.

    Attributes:
        future: its result is (whether it returned, what).
        finished: whether joblib knows of its end.
    """

    def __init__(self) -> None:
        self.future: Future[Any] = Future()
        self.finished = False

    def failed(self) -> bool:
        """Return whether a batch that has ended raised an error, or could not run."""
        return self.future.exception() is not None or not self.future.result()[0]

    def outcome(self) -> Any:
        """Return the results of a batch that has ended, or raise its error."""
        return outcome_of(self.future.result())


class ZeroIPCBackend(AutoBatchingMixin, ParallelBackendBase):
    """Runs batches of calls in the workers of a `ProcessPoolExecutor`.

    One instance is the user's, in `parallel_config`; each `Parallel` gets one of its own.

    Args:
        nesting_level, inner_max_num_threads: joblib's.
        idle_worker_timeout: seconds that idle workers stay for the next call.
        initializer, initargs: called in each worker first.
    """

    supports_return_generator = True
    supports_timeout = True
    supports_inner_max_num_threads = True
    parallel: Any = None

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        idle_worker_timeout: float = IDLE_SECONDS,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        self._idle_seconds = idle_worker_timeout
        self._initializer, self._initargs = initializer, tuple(initargs)
        self._executor: ProcessPoolExecutor | None = None
        self._bell = threading.Condition(RLock())
        self._failed: Job | None = None
        self._sharing: Sharing | None = None

    @property
    def supports_retrieve_callback(self) -> bool:
        """Whether joblib polls for results, every 10 ms, while callbacks store them.

        Only for generators. For lists it asks `retrieve_result`, which returns at once.
        """
        return self.parallel is None or self.parallel.return_generator

    # --- Before a call -------------------------------------------------------------------

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many workers *n_jobs* means; negative ones count from all CPUs down."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None or n_jobs == 1:
            return 1
        if reason := self._why_not():
            warnings.warn(f"{reason}: n_jobs=1 instead of {n_jobs}", stacklevel=3)
            return 1
        if n_jobs < 0:
            n_jobs = max(joblib.cpu_count() + 1 + n_jobs, 1)
        most: int = WORKERS_MAX
        return min(n_jobs, most)

    def _why_not(self) -> str | None:
        if multiprocessing.current_process().daemon:
            return "daemonic processes cannot have children"
        if self.nesting_level != 0 and not self.in_main_thread():
            return "the backend zeroipc cannot be nested below threads"
        return None

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        max_nbytes: int | None = None,
        mmap_mode: str | None = None,
        **ignored: Any,
    ) -> int:
        """Get ready for calls of *parallel*; return how many workers there will be."""
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        if self.parallel is not parallel:
            raise FallbackToBackend(self._backend_of(parallel))
        env = tuple(sorted(self._prepare_worker_env(n_jobs=n_jobs).items()))
        self._recipe = Recipe(n_jobs, env, self._initializer, self._initargs)
        self._share_from = max_nbytes, mmap_mode
        self._executor = take(self._recipe)
        return n_jobs

    def _backend_of(self, parallel: Any) -> ZeroIPCBackend:
        backend = ZeroIPCBackend(
            self.nesting_level,
            self.inner_max_num_threads,
            self._idle_seconds,
            self._initializer,
            self._initargs,
        )
        backend.parallel = parallel
        return backend

    def start_call(self) -> None:
        """Begin a call; what it shares is copied anew, for it may have changed."""
        self._failed = None
        # What an aborted call had not sent yet joblib would send in this one (1.6 does).
        self.parallel._ready_batches = queue.Queue()
        self._sharing = Sharing(*self._share_from)

    def stop_call(self) -> None:
        """End a call, and what it shares."""
        if self._sharing is not None:
            self._sharing.end()

    # --- Batches -------------------------------------------------------------------------

    def submit(
        self, func: Callable[[], Any], callback: Callable[[Any], object] | None = None
    ) -> Job:
        """Have a batch run; errors, also of pickling, are the job's."""
        assert self._executor is not None, "configure() comes before submit()"
        job = Job()
        try:
            packed, copies = pack(func, self._sharing)
            job.future = self._executor.submit(run_batch, packed)
        except Exception as error:  # in a thread of ours, maybe: joblib must hear of it
            copies = []
            job.future.set_exception(error)

        def done(future: Future[Any]) -> None:
            job.future = future
            copies.clear()  # the worker has mapped them
            if callback is not None:
                callback(job)
            with self._bell:
                job.finished = True
                if self._failed is None and not future.cancelled() and job.failed():
                    self._failed = job
                self._bell.notify_all()

        job.future.add_done_callback(done)
        return job

    apply_async = submit  # its name before joblib 1.5

    def retrieve_result_callback(self, out: Job) -> Any:
        """Return the results of a batch, or raise its error."""
        return out.outcome()

    def retrieve_result(self, out: Job, timeout: float | None = None) -> Any:
        """Wait for a batch and return its results; raise its error, or another's before its end.

        Raises:
            multiprocessing.TimeoutError: it has not ended within *timeout* seconds.
        """
        with self._bell:
            self._bell.wait_for(lambda: out.finished or self._failed, timeout)
            job = out if out.finished else self._failed
        if job is None:
            raise multiprocessing.TimeoutError
        return job.outcome()

    # --- After a call --------------------------------------------------------------------

    def terminate(self) -> None:
        """End a call; the workers stay for the next."""
        executor, self._executor = self._executor, None
        if executor is not None:
            give_back(self._recipe, executor, self._idle_seconds)
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Kill the workers and what they do; *ensure_ready*: have new ones for what follows."""
        executor, self._executor = self._executor, None
        if executor is not None:
            kill(executor)
        if ensure_ready:
            self._executor = take(self._recipe)


joblib.register_parallel_backend("zeroipc", ZeroIPCBackend)
