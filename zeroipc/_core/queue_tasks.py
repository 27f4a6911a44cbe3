"""What a queue knows of tasks: which are open, and which item each worker has."""

from __future__ import annotations

from ..errors import OwnerDiedError
from .arena import View
from .blocks import patience
from .claims import claim_of, queue_cancel
from .layout import NONE, PARTICIPANTS
from .notes import queue_claims
from .patience import deadline_of
from .queue_handle import Handle
from .registry import task_done, tasks_await
from .ring import queue_has_item
from .status import OK, Status
from .wait import now


class Tasks(Handle):
    """The calls about tasks."""

    __slots__ = ()

    # --- Open tasks of a joinable queue ---

    def _task_done(self) -> None:
        """One task is done.

        Raises:
            ValueError: called more often than items were put.
        """
        status = task_done(self._view("task_done"), self._slot, self._generation, patience())
        if status is Status.EMPTY:
            raise ValueError("task_done() called too many times")
        if status is not OK:
            raise self._error(status)

    def _join_tasks(self, timeout: float | None) -> bool:
        """Wait until no task is open; whether that came true in time.

        Raises:
            OwnerDiedError: tasks died with their takers; told once.
        """
        view, deadline = self._view("join"), deadline_of(timeout)
        again = (Status.TIMEOUT, Status.INTERRUPTED, Status.BUSY)
        while True:
            status, lost = tasks_await(view, self._slot, self._generation, deadline)
            if status not in again or now() >= deadline:
                break
        if status is Status.LOST:
            raise OwnerDiedError(
                f"{lost} tasks were taken by processes that died before task_done()"
            )
        if status not in (OK, Status.TIMEOUT):
            raise self._error(status)
        return status is OK

    # --- Tasks of workers ---

    def _worker(self, number: int) -> View:
        if self._record().claims == NONE or not 0 <= number < PARTICIPANTS:
            raise ValueError(
                f"the queue notes no claims, or there is no such worker: number={number}"
            )
        return self._home().view

    def _claim(self, number: int) -> int | None:
        """Return the item that worker took last and that is not queued, or None."""
        item = claim_of(self._worker(number), self._slot, number)
        return None if item == NONE else item

    def _claim_as(self, number: int) -> None:
        """Note this process's gets under a worker's number."""
        view = self._worker(number)
        self._claimant = number
        queue_claims(view, self._record())[number] = NONE

    def _queued(self, item: int) -> bool:
        """Return whether the item is still queued, at some moment."""
        return queue_has_item(self._record(), item)

    def _cancel(self, item: int) -> bool:
        """Take a queued item back; whether it was still queued."""
        status = queue_cancel(self._view("_cancel"), self._slot, self._generation, item, patience())
        if status not in (OK, Status.EMPTY):
            raise self._error(status)
        return status is OK
