"""A get that nobody can ever answer.

A process whose only thread waits for an item for ever says so in its row for the queue. When
everybody who has the queue says that and the parent process is dead, no item can come.
"""

from __future__ import annotations

import _thread
import os
import threading
from multiprocessing.process import parent_process
from typing import TYPE_CHECKING

from ..errors import OwnerDiedError
from .arena import View
from .blocks import arena_locked
from .participant import identity_index, participant_row
from .signals import held_back
from .slots import handle_any
from .status import OK, Status

if TYPE_CHECKING:
    from .arena_type import Arena

HOLDS = 1
HOLDS_WAITING = 2
"""What a process writes into its row for a queue: it has it; it has it, and its only thread
waits for an item of it, for ever."""

servants: set[int] = set()
"""Threads that only serve the transport and never put anything."""


def holding_note(view: View, slot: int, note: int) -> None:
    """Write one of them."""
    if view.me != 0:
        participant_row(view, identity_index(view.me))[slot] = note


_lost = 0
"""Threads of the parent that this forked process does not have, though Python counts them."""


def is_alone() -> bool:
    """Return whether this process has one thread that can put something, and that is this one.

    `sys._current_frames` must not be asked: it may collect garbage, and so run finalizers, while
    it keeps other threads from starting; with Python 3.11 a process then hangs.
    """
    others = _thread._count() - _lost - len(servants)  # but for the main thread
    return others == 0 and threading.get_ident() == threading.main_thread().ident


def _after_fork_in_child() -> None:
    global _lost
    _lost = _thread._count()


os.register_at_fork(after_in_child=_after_fork_in_child)


def is_declared_dead() -> bool:
    """Return whether the parent has died, as multiprocessing says."""
    parent = parent_process()
    try:
        return parent is not None and not parent.is_alive()
    except OSError:
        return False


def is_parent_dead(parent_pid: int) -> bool:
    """Return whether the parent has died.

    The system's, or, for a child of a fork server, the one that multiprocessing says. Signals are
    held back while it is asked: what a handler raises, often a TimeoutError, is no failure to ask.
    """
    if os.getppid() != parent_pid:
        return True
    with held_back():
        return is_declared_dead()


def is_deserted(view: View, slot: int) -> bool:
    """Return whether every process that has the queue waits for an item of it.

    A queue with a name may yet be found by it, and a handle on its way brings somebody.
    """
    flying = False

    def work() -> Status:
        nonlocal flying
        flying = handle_any(view, slot)
        return OK

    if view.queues[slot].named:
        return False
    for index in range(view.arena.participants_used):
        if view.participants[index].pid != 0 and participant_row(view, index)[slot] == HOLDS:
            return False
    return arena_locked(view, 0, work) is OK and not flying


def check_orphan(arena: Arena, slot: int) -> None:
    """Raise if nothing can ever come.

    Raises:
        OwnerDiedError: the parent has died, and whoever else has the queue waits too.
    """
    if is_deserted(arena.view, slot) and is_parent_dead(arena.parent):
        raise OwnerDiedError(
            "nobody is left to put anything into the queue: the parent process has died, and "
            "whoever else has the queue waits for an item too"
        )
