"""The error of a task whose worker died; in a module of its own for what its base brings along."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool

from .errors import OwnerDiedError


class WorkerDiedError(OwnerDiedError, BrokenProcessPool):
    """The worker that ran a task died, and only this task fails.

    Raised by asking for the result of a task of an executor, pool or function that goes on
    without the worker. When all ends with it, it is a plain `BrokenProcessPool`.

    Attributes:
        pid: of the worker.
        exitcode: its exit status; negative: the number of the signal that killed it.
        task: the number of the task, counted from 0 in the order of submission.
    """

    def __init__(self, message: str, pid: int = 0, exitcode: int = 0, task: int = 0) -> None:
        super().__init__(message)
        self.pid = pid
        self.exitcode = exitcode
        self.task = task


WorkerDiedError.__module__ = "zeroipc.errors"
