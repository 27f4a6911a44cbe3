"""A process's handle of a queue: made, attached."""

from __future__ import annotations

from typing import Any

from ..errors import ClosedQueueError
from .arena import View
from .arena_type import Arena
from .hold import Hold, hold_attach
from .layout import NONE, ROLE_QUEUE
from .mutex import check_outermost
from .records import SharedQueue
from .ring import Message
from .status import Status, error_of

MANY = 8
"""Messages per locked visit of put_many and get_many."""


class Handle:
    """What a process has of a queue."""

    __slots__ = (
        "_arena",
        "_claimant",
        "_closed",
        "_generation",
        "_hold",
        "_owed_since",
        "_slot",
        "_spilling",
        "_task",
        "_used",
        "_watched",
    )
    _arena: Arena | None
    _slot: int
    _generation: int
    _claimant: int
    _hold: Hold | None
    _closed: bool
    _spilling: bool
    _task: tuple[Any, Message] | None
    _owed_since: int
    _used: bool
    _watched: bool

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return a queue that is not attached yet; subclasses take any arguments."""
        self = super().__new__(cls)
        self._arena = None
        self._slot = self._generation = 0
        self._claimant = NONE  # no worker, until _claim_as
        self._hold = None
        self._task = None
        self._owed_since = 0
        self._closed = self._spilling = self._used = self._watched = False
        return self

    def _attach(self, arena: Arena, slot: int, generation: int) -> None:
        """Hold the queue.

        Raises:
            ClosedQueueError: it is gone already.
        """
        if not isinstance(arena, Arena) or self._arena is not None:
            raise TypeError("_attach() takes an Arena, once")
        self._hold = hold_attach(arena, slot, generation, ROLE_QUEUE)
        self._arena, self._slot, self._generation = arena, slot, generation

    @property
    def _handle(self) -> tuple[Arena | None, int, int]:
        """(arena, slot, generation)."""
        return self._arena, self._slot, self._generation

    @property
    def _maxsize(self) -> int:
        """Most items; 0: no bound."""
        return self._record().maxsize

    def _home(self) -> Arena:
        """Return the arena.

        Raises:
            RuntimeError: __init__ or __setstate__ has not run.
        """
        if self._arena is None:
            raise RuntimeError("the queue's __init__ was not called")
        return self._arena

    def _record(self) -> SharedQueue:
        return self._home().view.queues[self._slot]

    def _open_home(self) -> Arena:
        """Return the arena.

        Raises:
            ClosedQueueError: close() was called here.
        """
        arena = self._home()
        if self._closed:
            raise ClosedQueueError(f"Queue {self!r} is closed")
        return arena

    def _view(self, what: str) -> View:
        """Return the view of the arena, for a call that takes locks and cannot be put off."""
        check_outermost(what)
        return self._home().view

    def _error(self, status: Status) -> Exception:
        return error_of(status, self._home().view)
