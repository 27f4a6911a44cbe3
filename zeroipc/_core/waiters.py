"""Those who wait for a condition, each with an entry of its own.

Whom a notify picks is woken, and nobody else.

Callers   any thread of an attached process that holds the slot
Progress  each step holds Q for a bounded time
Crash     the sweep strikes out the dead; what a dead one was notified of goes to the next
Bytes     LOCK, WAITER in layout.py
Source    SPECIFICATION.md, "Locks"; waiters.h is the same in C

ENTER   1. under Q: fill in an empty entry. 2. state = WAITING: it is there.
NOTIFY  1. under Q: state = NOTIFIED for the oldest who are WAITING. 2. seq + 1. 3. unlock; wake.
SETTLE  under Q, by who waits: if NOTIFIED, or the time is over, the entry is empty again.

All sleep on one word, told apart by a bit each, so that an entry may move.
"""

from __future__ import annotations

from collections.abc import Iterator

from .alloc import block_alloc
from .arena import View, class_pages
from .blocks import block_free
from .layout import (
    KIND_MEMORY,
    LOCK,
    NONE,
    PAGE,
    QUEUED,
    ROLE_LOCK,
    WAITER,
    WAITER_NONE,
    WAITER_NOTIFIED,
    WAITER_WAITING,
)
from .mqueue import queue_locked
from .records import SharedLock, SharedWaiter
from .ring import Spare
from .status import OK, Status
from .wait import this_cpu, wait_sleep_as, wait_spin, wait_wake_some

_SEQ = LOCK.seq


class Owed:
    """Whom to wake when a lock is given back.

    Attributes:
        lock, slot: of the lock, and where they wait.
        bits: theirs.
    """

    __slots__ = ("bits", "lock", "slot")

    def __init__(self) -> None:
        self.bits, self.lock, self.slot = 0, NONE, NONE


def wake_owed(view: View, owed: Owed) -> None:
    """Wake those who were notified while a lock was held, now that it is given back."""
    bits, owed.bits = owed.bits, 0
    if bits:
        wait_wake_some(view.locks[owed.slot].address(_SEQ), bits)


class Place:
    """An entry of this process's.

    Attributes:
        index: its number.
        left: whether it was given up, so that an exception after that does not do so again.
        notified: whether it had been notified then.
    """

    __slots__ = ("index", "left", "notified")

    def __init__(self, index: int) -> None:
        self.index = index
        self.left = self.notified = False


def lock_check(view: View, lock: SharedLock, generation: int) -> Status:
    """Under Q: whether the lock is still there, and this process still in the arena."""
    there = lock.used == ROLE_LOCK and lock.generation == generation
    return OK if view.me and there else Status.STALE


def waiters_table(view: View, lock: SharedLock) -> int:
    """Under Q, except to see whether it is worth asking again: where the entries are."""
    block = lock.block
    return lock.at + LOCK.table.offset if block == NONE else view.blocks[block].offset


def waiter_at(view: View, lock: SharedLock, index: int) -> SharedWaiter:
    """As waiters_table: one entry."""
    return SharedWaiter(view.mapping, waiters_table(view, lock) + index * WAITER.nbytes)


def waiters_all(view: View, lock: SharedLock) -> Iterator[tuple[int, SharedWaiter]]:
    """Under Q: the entries that are not empty, with their numbers."""
    first = (waiters_table(view, lock) + WAITER.state.offset) // 4
    stride = WAITER.nbytes // 4
    states = view.mapping.u32[first : first + lock.capacity * stride : stride].tolist()
    for index, state in enumerate(states):
        if state != WAITER_NONE:
            yield index, waiter_at(view, lock, index)


def waiters_move(view: View, slot: int, spare: int) -> None:
    """Under Q: go on in *spare*, which is larger."""
    lock = view.locks[slot]
    old, nbytes, at = lock.block, WAITER.nbytes * lock.capacity, waiters_table(view, lock)
    block = view.blocks[spare]
    room = class_pages(block.cls) * PAGE
    entries = bytes(view.bytes[at : at + nbytes])
    view.bytes[block.offset : block.offset + room] = entries + bytes(room - nbytes)
    block.queue = slot
    lock.block = spare
    lock.capacity = room // WAITER.nbytes
    block.owner = QUEUED
    if old != NONE:
        block_free(view, old)


def waiters_free(view: View, lock: SharedLock) -> int:
    """Under Q: an empty entry, or NONE."""
    taken = {index for index, _ in waiters_all(view, lock)}
    return next((index for index in range(lock.capacity) if index not in taken), NONE)


def waiter_visit(
    view: View, slot: int, generation: int, spare: Spare, deadline: int
) -> tuple[Status, int]:
    """One visit: take an entry, of *spare* if there is one. WANT_CHUNK: there is no room."""
    lock = view.locks[slot]
    index = NONE

    def work() -> Status:
        nonlocal index
        status = lock_check(view, lock, generation)
        if status is not OK:
            return status
        free = waiters_free(view, lock)
        if free == NONE:
            chunk, free = spare.chunk, lock.capacity
            if chunk == NONE or class_pages(view.blocks[chunk].cls) * PAGE <= free * WAITER.nbytes:
                return Status.WANT_CHUNK
            waiters_move(view, slot, chunk)
            spare.chunk = NONE
        waiter = waiter_at(view, lock, free)
        waiter.owner = view.me
        waiter.ticket = lock.tickets
        lock.tickets = lock.tickets + 1
        waiter.state = WAITER_WAITING
        index = free
        return OK

    try:
        return queue_locked(view, slot, deadline, work), index
    except BaseException:
        if index != NONE:
            waiter_settle(view, slot, generation, Place(index), True, deadline)
        raise


def waiter_enter(view: View, slot: int, generation: int, deadline: int) -> tuple[Status, int]:
    """ENTER; the number names the entry from now on."""
    spare = Spare()
    status, index = waiter_visit(view, slot, generation, spare, deadline)
    while status is Status.WANT_CHUNK:
        if spare.chunk != NONE:
            block_free(view, spare.chunk)
        nbytes = view.locks[slot].capacity * WAITER.nbytes * 2
        status, spare.chunk = block_alloc(view, nbytes, KIND_MEMORY, deadline)
        if status is not OK:
            return status, NONE
        status, index = waiter_visit(view, slot, generation, spare, deadline)
    if spare.chunk != NONE:
        block_free(view, spare.chunk)
    return status, index


def waiters_oldest(view: View, lock: SharedLock) -> int:
    """Under Q: the oldest who is WAITING, or NONE."""
    waiting = [
        (waiter.ticket, index)
        for index, waiter in waiters_all(view, lock)
        if waiter.state == WAITER_WAITING
    ]
    return min(waiting)[1] if waiting else NONE


def waiter_bit(index: int) -> int:
    """Return what tells a sleeper apart."""
    return 1 << index % 32


def notifier_note(lock: SharedLock) -> None:
    """Under Q: note on which CPU who notifies is, and the one before.

    Of two that take turns, the one that waits has notified last.
    """
    lock.value = lock.cpu
    lock.cpu = this_cpu()


def notifier_cpu(lock: SharedLock) -> int:
    """Return the CPU of whoever may notify next: another than ours, if there is one."""
    return lock.value if lock.cpu == this_cpu() else lock.cpu


def waiters_pick(view: View, lock: SharedLock, count: int) -> int:
    """Under Q: notify the oldest *count*; the bits to wake, after the unlock."""
    bits = 0
    while count and (index := waiters_oldest(view, lock)) != NONE:
        waiter_at(view, lock, index).state = WAITER_NOTIFIED
        bits |= waiter_bit(index)
        count -= 1
    # [lock.seq] release; pairs with the acquire in waiter_sleep: who sees it sees its state.
    if bits:
        lock.seq = (lock.seq + 1) & 0xFFFFFFFF
    notifier_note(lock)
    return bits


def waiters_pick_all(view: View, lock: SharedLock) -> int:
    """Under Q: notify all, in one pass."""
    bits = 0
    for index, waiter in waiters_all(view, lock):
        if waiter.state == WAITER_WAITING:
            waiter.state = WAITER_NOTIFIED
            bits |= waiter_bit(index)
    if bits:
        lock.seq = (lock.seq + 1) & 0xFFFFFFFF
    notifier_note(lock)
    return bits


def waiters_notify(
    view: View, slot: int, generation: int, count: int, owed: Owed | None, deadline: int
) -> Status:
    """NOTIFY so many; everybody, if *count* is more than there can be.

    With *owed* the wake is left to the caller, who owes it until it gives the user's lock back:
    who is woken before that only finds it taken.
    """
    lock = view.locks[slot]
    bits = 0

    def work() -> Status:
        nonlocal bits
        status = lock_check(view, lock, generation)
        if status is OK and count >= lock.capacity:
            bits = waiters_pick_all(view, lock)
        elif status is OK:
            bits = waiters_pick(view, lock, count)
        return status

    try:
        return queue_locked(view, slot, deadline, work)
    finally:
        if bits and owed is not None:
            owed.bits |= bits
        elif bits:
            wait_wake_some(lock.address(_SEQ), bits)


def waiter_settle(
    view: View, slot: int, generation: int, place: Place, over: bool, deadline: int
) -> Status:
    """SETTLE. OK: it was notified; EMPTY: not yet.

    In both cases, if *over* or notified, the entry is given up.
    """
    lock = view.locks[slot]

    def work() -> Status:
        status = lock_check(view, lock, generation)
        if status is not OK:
            return status
        waiter = waiter_at(view, lock, place.index)
        place.notified = waiter.state == WAITER_NOTIFIED
        if place.notified or over:
            waiter.state = WAITER_NONE
            place.left = True
        return OK if place.notified else Status.EMPTY

    return queue_locked(view, slot, deadline, work)


def waiter_sleep(view: View, slot: int, index: int, deadline: int, first: bool) -> Status:
    """Spin, then sleep until the entry may have been notified.

    At most until *deadline* and for a tick. OK: worth settling; TIMEOUT; INTERRUPTED.
    """
    lock = view.locks[slot]
    seq = lock.seq
    if waiter_at(view, lock, index).state != WAITER_WAITING:
        return OK
    if first and wait_spin(lambda: lock.seq, seq, lambda: notifier_cpu(lock)):
        return OK
    return wait_sleep_as(lock.address(_SEQ), seq, waiter_bit(index), deadline)


def waiters_count(view: View, lock: SharedLock) -> int:
    """Under Q: how many have an entry."""
    return sum(1 for _ in waiters_all(view, lock))


def waiters_strike(view: View, lock: SharedLock, dead: int) -> int:
    """Under Q: strike out a dead one; what it was notified of goes to the next.

    First those who wait, so that none of them is the next. A death in between notifies one too
    many, or counts one too many as lost, which is allowed. Returns the bits to wake.
    """
    bits = 0
    for _, waiter in waiters_all(view, lock):
        if waiter.owner == dead and waiter.state == WAITER_WAITING:
            lock.lost = (lock.lost + 1) & 0xFFFFFFFF
            waiter.state = WAITER_NONE
    for _, waiter in waiters_all(view, lock):
        if waiter.owner == dead and waiter.state == WAITER_NOTIFIED:
            bits |= waiters_pick(view, lock, 1)
            waiter.state = WAITER_NONE
    return bits
