"""Who is attached to an arena.

An identity is generation << 10 | index, so a reused entry is another participant. An entry
counts from the store of its pid to the clearing of its pid, both last. Before a fork the
parent reserves the child's entry and copies its holdings, so that nothing the child inherits
can be reclaimed before the child runs.
"""

from __future__ import annotations

import os

from .arena import View, arena_reserve
from .atomics import release
from .blocks import arena_locked, slot_mark
from .layout import PARTICIPANTS, QUEUES, RESERVED_PID, ROWS_OFFSET
from .owner import owner_alive, owner_start_time
from .records import SharedParticipant
from .status import OK, Status
from .wait import now

ADOPT_NS = 10_000_000_000
"""A reserved entry that nobody adopts is void after this."""
_GENERATIONS = 0xFFFFFFFF // PARTICIPANTS - 1


def identity_index(identity: int) -> int:
    """Return the entry of a participant."""
    return identity % PARTICIPANTS


def participant_identity(view: View, index: int) -> int:
    """Return who has the entry."""
    return view.participants[index].generation * PARTICIPANTS + index


def participant_row(view: View, index: int) -> memoryview:
    """Return the holdings of the entry."""
    start = ROWS_OFFSET + index * QUEUES
    return view.bytes[start : start + QUEUES]


def participant_dead(view: View, index: int) -> bool:
    """Return whether the participant is to be swept: decided before any lock is taken."""
    entry = view.participants[index]
    pid = entry.pid
    if pid == 0:
        return False
    if pid == RESERVED_PID:
        return now() - entry.reserved_at > ADOPT_NS
    return not owner_alive(pid, entry.start)


def participant_renew(entry: SharedParticipant) -> None:
    """Under A: the entry is another participant's from here on."""
    entry.generation = entry.generation % _GENERATIONS + 1


def participant_take(view: View) -> tuple[Status, int]:
    """Under A: an empty entry, its row zeroed and reserved, of a new generation."""
    arena = view.arena
    index = 0
    while index < arena.participants_used and view.participants[index].pid != 0:
        index += 1
    if index == PARTICIPANTS:
        return Status.NO_ENTRY, index
    status = arena_reserve(view, ROWS_OFFSET + index * QUEUES, QUEUES)
    if status is not OK:
        return status, index
    participant_row(view, index)[:] = bytes(QUEUES)
    entry = view.participants[index]
    participant_renew(entry)
    entry.born = entry.elder = 0
    if index == arena.participants_used:
        arena.participants_used = index + 1
    return OK, index


def participant_commit(view: View, index: int) -> None:
    """Under A: this process is the participant from here on."""
    entry = view.participants[index]
    entry.start = owner_start_time(os.getpid())
    view.me = participant_identity(view, index)
    entry.pid = os.getpid()


def participant_register(view: View, deadline: int) -> Status:
    """Register this process. NO_ENTRY: sweep, then try again."""

    def work() -> Status:
        status, index = participant_take(view)
        if status is OK:
            participant_commit(view, index)
        return status

    return arena_locked(view, deadline, work)


def participant_reserve(view: View, deadline: int) -> int:
    """Before a fork: reserve an entry for the child; return its identity, 0 when that failed."""
    identity = 0

    def work() -> Status:
        nonlocal identity
        view.arena.fork_clock += 1
        status, index = participant_take(view)
        if status is not OK:
            return status
        entry = view.participants[index]
        participant_row(view, index)[:] = participant_row(view, identity_index(view.me))
        entry.born = view.arena.fork_clock
        entry.elder = view.participants[identity_index(view.me)].elder or entry.born
        entry.reserved_at = now()
        identity = participant_identity(view, index)
        entry.pid = RESERVED_PID
        return OK

    arena_locked(view, deadline, work)
    return identity


def participant_adopt(view: View, identity: int, deadline: int) -> Status:
    """After a fork, in the child: take the reserved entry, or register anew.

    The identity changes, so that a sweeper who just found the reservation void cannot touch
    the child.
    """
    index = identity_index(identity)
    mine = False

    def work() -> Status:
        nonlocal mine
        entry = view.participants[index]
        reserved = entry.pid == RESERVED_PID and participant_identity(view, index) == identity
        mine = identity != 0 and reserved
        if mine:
            participant_renew(entry)
            participant_commit(view, index)
        return OK

    status = arena_locked(view, deadline, work)
    if status is not OK or mine:
        return status
    status = participant_register(view, deadline)
    if status is OK:  # it may see any block that was in view at any fork
        entry = view.participants[identity_index(view.me)]
        entry.born, entry.elder = view.arena.fork_clock, 1
    return status


# --- Holdings: which slots a process has -----------------------------------------------


def holding_set(view: View, slot: int) -> None:
    """Say that this process holds the slot."""
    participant_row(view, identity_index(view.me))[slot] = 1


def holding_clear(view: View, slot: int) -> None:
    """Say that this process holds the slot no more."""
    release()
    participant_row(view, identity_index(view.me))[slot] = 0
    slot_mark(view, slot)


def holding_any(view: View, slot: int) -> bool:
    """Return whether any participant holds the slot; the dead count until they are swept."""
    return any(
        view.participants[index].pid != 0 and view.bytes[ROWS_OFFSET + index * QUEUES + slot]
        for index in range(view.arena.participants_used)
    )
