"""A process's hold of a slot: its row says so as long as there is an object."""

from __future__ import annotations

from typing import Any

from ..errors import ClosedError
from .arena import View
from .arena_type import Arena
from .blocks import patience, slot_mark
from .layout import QUEUES, ROLE_QUEUE, ROWS_OFFSET
from .mutex import check_outermost
from .participant import identity_index
from .slots import slot_hold
from .status import OK, Status, error_of


class Hold:
    """One of this process's holds of a slot; the row says so as long as there are any.

    An object of its own, because it must end after the weak references to its object: their
    callbacks ask how many there are.
    """

    __slots__ = ("_arena", "_slot")

    def __init__(self, arena: Arena, slot: int) -> None:
        arena.holds[slot] += 1  # before the row is set: from here on no other Hold clears it
        self._arena = arena
        self._slot = slot

    def __del__(self) -> None:
        holds, slot, view = self._arena.holds, self._slot, self._arena.view
        if view.me == 0:
            return
        rows, cell = view.bytes, ROWS_OFFSET + identity_index(view.me) * QUEUES + slot
        # Nothing is called from here to the store: no other thread attaches in between.
        holds[slot] -= 1
        if not holds[slot]:
            rows[cell] = 0  # as holding_clear
            slot_mark(view, slot)


def hold_attach(arena: Arena, slot: int, generation: int, role: int) -> Hold:
    """Hold a slot.

    Raises:
        ClosedError: it is gone already.
    """
    check_outermost("attaching")
    status, hold = Status.STALE, None
    if slot < arena.view.arena.queues_used:
        hold = Hold(arena, slot)
        status = slot_hold(arena.view, slot, role, generation, patience())
    if status is Status.STALE and role != ROLE_QUEUE:
        raise ClosedError("it does not exist any more: its last holder is gone")
    if hold is None or status is not OK:
        raise error_of(status, arena.view)
    return hold


class Keep:
    """Keeps a hold, and the arena from being left while what is held may be used."""

    __slots__ = ("_arena", "_hold")

    def __init__(self, arena: Arena, hold: Hold) -> None:
        self._arena, self._hold = arena, hold
        arena.kept += 1

    def __del__(self) -> None:
        self._arena.kept -= 1


class Slot:
    """What stands for a slot of an arena that is no queue: a lock, memory."""

    _arena: Arena | None = None
    _slot = _generation = 0
    _keep: Keep | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return one that is not attached yet; subclasses take any arguments."""
        return super().__new__(cls)

    def _attach_as(self, role: int, arena: Arena, slot: int, generation: int) -> None:
        if not isinstance(arena, Arena) or self._arena is not None:
            raise TypeError("_attach() takes an Arena, once")
        self._keep = Keep(arena, hold_attach(arena, slot, generation, role))
        self._arena, self._slot, self._generation = arena, slot, generation

    @property
    def _handle(self) -> tuple[Arena | None, int, int]:
        """(arena, slot, generation)."""
        return self._arena, self._slot, self._generation

    def _home(self) -> Arena:
        """Return the arena.

        Raises:
            RuntimeError: _attach has not run.
        """
        if self._arena is None:
            raise RuntimeError("its __init__ was not called")
        return self._arena

    def _view(self, what: str) -> View:
        """Return the view of the arena, for a call that takes locks and cannot be put off."""
        check_outermost(what)
        return self._home().view

    def _error(self, status: Status) -> Exception:
        if status is Status.STALE:
            return ClosedError("it does not exist any more: its last holder is gone")
        return error_of(status, self._home().view)
