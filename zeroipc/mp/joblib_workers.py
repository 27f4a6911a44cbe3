"""The executors behind joblib's backend: fresh interpreters, kept warm between calls.

A call of `Parallel` has an executor to itself: it takes one that is idle and just like what it
needs, or makes one, and gives it back unless it had to kill the workers. So two calls
in two threads do not disturb each other. The idle ones end after a while.

Workers are started by "spawn", since the parent may have threads and a used OpenMP, but
do not import the parent's `__main__`: all calls arrive by value, so a script needs no guard.
"""

from __future__ import annotations

import io
import os
import threading
from multiprocessing import context as standard
from multiprocessing import reduction, resource_tracker, spawn, util
from multiprocessing.popen_spawn_posix import Popen
from typing import TYPE_CHECKING, Any, NamedTuple

import cloudpickle

from .._rlock import RLock
from .context import SpawnContext
from .executor import ProcessPoolExecutor
from .reusable import same

if TYPE_CHECKING:
    from collections.abc import Callable

IDLE_MOST = 2
"""Executors that are kept; a program often alternates between two numbers of jobs."""


class _FreshPopen(Popen):
    """A child that leaves `__main__` alone; else as the standard library's."""

    def _launch(self, process: Any) -> None:
        data = spawn.get_preparation_data(process._name)
        data.pop("init_main_from_name", None)
        data.pop("init_main_from_path", None)
        message = io.BytesIO()
        standard.set_spawning_popen(self)
        try:
            reduction.dump(data, message)
            reduction.dump(process, message)
        finally:
            standard.set_spawning_popen(None)
        tracker = resource_tracker.getfd()
        self.sentinel, child_end = os.pipe()
        inbox, outbox = os.pipe()
        try:
            command = spawn.get_command_line(tracker_fd=tracker, pipe_handle=inbox)
            passed = [*self._fds, tracker, inbox, child_end]  # type: ignore[attr-defined]
            self.pid = util.spawnv_passfds(os.fsencode(spawn.get_executable()), command, passed)
            with open(outbox, "wb", closefd=False) as file:
                file.write(message.getbuffer())
        finally:
            # The child takes it that we are gone when the outbox is closed.
            self.finalizer = util.Finalize(self, _close, (self.sentinel, outbox))
            _close(inbox, child_end)


def _close(*fds: int) -> None:
    for fd in fds:
        os.close(fd)


class _FreshProcess(standard.SpawnProcess):
    @staticmethod
    def _Popen(process: Any) -> Any:
        return _FreshPopen(process)


class _FreshContext(SpawnContext):
    Process = _FreshProcess


class Recipe(NamedTuple):
    """What an executor is made from: equal ones may stand in for each other."""

    n_jobs: int
    env: tuple[tuple[str, str], ...]
    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]

    def make(self) -> ProcessPoolExecutor:
        """Return a new executor."""
        packed = cloudpickle.dumps((self.initializer, self.initargs))
        return ProcessPoolExecutor(
            self.n_jobs, _FreshContext(), prepare_worker, (dict(self.env), packed)
        )


def prepare_worker(env: dict[str, str], packed: bytes) -> None:
    """Set the limits of threads, before a library reads them, and run the user's initializer."""
    os.environ.update(env)
    initializer, initargs = cloudpickle.loads(packed)
    if initializer is not None:
        initializer(*initargs)


_lock = RLock()
_idle: list[tuple[Recipe, ProcessPoolExecutor, threading.Timer]] = []


def take(recipe: Recipe) -> ProcessPoolExecutor:
    """Return an idle executor like that, or a new one."""
    with _lock:
        for entry in _idle:
            if same(entry[0], recipe) and entry[1]._broken is None:
                _idle.remove(entry)
                entry[2].cancel()
                return entry[1]
    return recipe.make()


def give_back(recipe: Recipe, executor: ProcessPoolExecutor, seconds: float) -> None:
    """Keep an executor for who needs one like it within so many seconds."""
    timer = threading.Timer(seconds, _end_idle, (executor,))
    timer.daemon = True
    timer.start()
    with _lock:
        _idle.append((recipe, executor, timer))
        surplus = [entry[1] for entry in _idle[:-IDLE_MOST]]
    for old in surplus:
        _end_idle(old)


def _end_idle(executor: ProcessPoolExecutor) -> None:
    with _lock:
        entry = next((entry for entry in _idle if entry[1] is executor), None)
        if entry is None:
            return
        _idle.remove(entry)
        entry[2].cancel()
    executor.shutdown(wait=False)


def end_idle() -> None:
    """End the executors that are kept, and wait for it."""
    with _lock:
        executors = [entry[1] for entry in _idle]
    for executor in executors:
        _end_idle(executor)
        executor.shutdown()


def kill(executor: ProcessPoolExecutor) -> None:
    """End an executor at once, whatever its workers do."""
    executor.shutdown(wait=False, cancel_futures=True)
    for process in list(executor._processes.values()):
        process.kill()
    executor.shutdown()


def _forget_all() -> None:
    """In a forked child: the executors are the parent's, and nobody holds the lock."""
    global _lock
    _lock = RLock()
    _idle.clear()


os.register_at_fork(after_in_child=_forget_all)
