"""The sweep: what the dead held goes back, what they had put stays put.

It may be killed at any step and is then simply done again: a dead participant's entry is
cleared last. It never holds more than one queue lock and the arena lock, because the kernel
walks at most 2048 robust locks of a dead thread. One process sweeps per tick: the one that
moves `last_sweep`.

SWEEP of one dead participant
  1. each block with its identity as owner: lock its queue, then the arena; QUEUED if it is
     in the queue, else FREE.
  2. each block with its identity as a lender: that word = 0.
  3. each queue with a tally of it: the open tasks are lost; each lock that it has comes free;
     its places among the waiters of conditions are struck out.
  4. its row of holdings, then its pid: 0.
A step that does not get a lock in time leaves the entry to the next sweep.
"""

from __future__ import annotations

from collections.abc import Callable

from .arena import View
from .atomics import fence
from .blocks import (
    arena_locked,
    arena_mark_all,
    block_free,
    block_lent_by,
    block_unlend,
    slots_mark_all,
)
from .layout import (
    ARENA,
    LOCK_CONDITION,
    NONE,
    QUEUED,
    QUEUES,
    ROLE_LOCK,
    ROLE_QUEUE,
    STATE_OPEN,
)
from .mqueue import queue_has_block, queue_locked
from .mutex import TICK_NS
from .notes import queue_tally, tally_open
from .participant import (
    identity_index,
    participant_dead,
    participant_identity,
    participant_register,
    participant_row,
)
from .records import SharedQueue, Wake
from .ring import queue_size
from .status import OK, Status
from .wait import (
    EVERYBODY,
    now,
    wait_sleep,
    wait_spin,
    wait_wake,
    wait_wake_some,
    wake_announce,
    wake_decide,
    wake_retract,
)
from .waiters import waiters_strike

_SPACE_SEQ = ARENA.space_seq


def sweep_block(view: View, number: int, dead: int, deadline: int) -> None:
    """Step 1 for one block."""
    block = view.blocks[number]
    slot = block.queue
    queued = slot < QUEUES

    def decide() -> Status:
        if block.owner == dead and block.queue == slot:
            if queued and queue_has_block(view, view.queues[slot], number):
                block.owner = QUEUED
            else:
                block_free(view, number)
        return OK

    if queued:
        queue_locked(view, slot, deadline, lambda: arena_locked(view, deadline, decide))
    else:
        arena_locked(view, deadline, decide)


def sweep_lender(view: View, number: int, dead: int, deadline: int) -> None:
    """Step 2 for one block, under A.

    Another sweeper may have been faster, and the block may have a new lender by now.
    """

    def work() -> Status:
        while block_lent_by(view.blocks[number], dead):
            block_unlend(view, number, dead)
        return OK

    arena_locked(view, deadline, work)


def tally_lose(view: View, queue: SharedQueue, index: int) -> bool:
    """Under Q: move the open tasks of a participant to `lost`.

    The first store says whose they are, so that a death between it and the second does not
    count them twice. A cell below zero balances tasks that another took, and stays.
    """
    cells = queue_tally(view, queue)
    still_open = tally_open(cells[index])
    if still_open <= 0:
        return False
    queue.lost = (queue.lost + still_open) | (index + 1) << 32
    cells[index] = 0
    queue.lost = queue.lost & 0xFFFFFFFF
    return True


def sweep_tally(view: View, slot: int, index: int, dead: int, deadline: int) -> bool:
    """Step 3 for one queue: report the open tasks to whoever joins; whether it is done.

    The entry may be another's by now if another sweeper was faster.
    """
    queue = view.queues[slot]
    wake = False

    def work() -> Status:
        nonlocal wake
        if (
            queue.used == ROLE_QUEUE
            and queue.tally != NONE
            and participant_identity(view, index) == dead
        ):
            wake = tally_lose(view, queue, index) and wake_decide(queue.done)
        return OK

    if queue.used != ROLE_QUEUE or queue.tally == NONE:
        return True
    if queue_locked(view, slot, deadline, work) is not OK:
        return False
    if wake:
        wait_wake(queue.done.address, EVERYBODY)
    return True


def sweep_lock(view: View, slot: int, dead: int, deadline: int) -> bool:
    """Step 3 for one lock; whether it is done."""
    lock = view.locks[slot]
    wake, bits = False, 0

    def work() -> Status:
        nonlocal wake, bits
        if lock.used == ROLE_LOCK and lock.holder == dead:
            lock.died = 1
            lock.holder = 0
            wake = wake_decide(lock.free)
        if lock.used == ROLE_LOCK and lock.kind == LOCK_CONDITION:
            bits = waiters_strike(view, lock, dead)
        return OK

    if lock.used != ROLE_LOCK or (lock.holder != dead and lock.kind != LOCK_CONDITION):
        return True
    done = queue_locked(view, slot, deadline, work) is OK
    if wake:
        wait_wake(lock.free.address, 1)
    if bits:
        wait_wake_some(lock.free.address, bits)
    return done


def sweep_participant(view: View, index: int, dead: int, deadline: int) -> bool:
    """All steps for one participant; whether nothing of it is left."""
    left = 0
    for number in range(view.arena.blocks_used):
        block = view.blocks[number]
        if block.owner == dead:
            sweep_block(view, number, dead, deadline)
        if block_lent_by(block, dead):
            sweep_lender(view, number, dead, deadline)
        left += block.owner == dead or block_lent_by(block, dead) != 0
    for slot in range(view.arena.queues_used):
        left += not sweep_tally(view, slot, index, dead, deadline)
        left += not sweep_lock(view, slot, dead, deadline)

    def clear() -> Status:
        if participant_identity(view, index) == dead:
            participant_row(view, index)[:] = bytes(QUEUES)
            view.participants[index].pid = 0
            slots_mark_all(view)
            arena_mark_all(view)  # frees that the dead cut short, blocks they inherited
        return OK

    return left == 0 and arena_locked(view, deadline, clear) is OK


def arena_sweep(view: View, deadline: int) -> int:
    """Return what dead participants held, as far as locks are free until *deadline*.

    How many dead there were.
    """
    count = 0
    for index in range(view.arena.participants_used):
        identity = participant_identity(view, index)
        if identity != view.me and participant_dead(view, index):
            sweep_participant(view, index, identity, deadline)
            count += 1
    return count


def arena_tick(view: View) -> None:
    """Sweep if nobody has done so for a tick."""
    arena = view.arena
    mine = False

    def work() -> Status:
        nonlocal mine
        moment = now()
        mine = moment >= arena.last_sweep + TICK_NS
        if mine:
            arena.last_sweep = moment
        return OK

    if now() >= arena.last_sweep + TICK_NS and arena_locked(view, 0, work) is OK and mine:
        arena_sweep(view, now() + TICK_NS)


def arena_register(view: View, deadline: int) -> Status:
    """Register this process, sweeping first when the table is full of the dead."""
    status = participant_register(view, deadline)
    if status is not Status.NO_ENTRY:
        return status
    arena_sweep(view, deadline)
    return participant_register(view, deadline)


def arena_deregister(view: View) -> None:
    """Leave in good order: what this process still owns goes back as if it had died."""
    if view.me != 0:
        sweep_participant(view, identity_index(view.me), view.me, now() + 10 * TICK_NS)
    view.me = 0


# --- Waiting: spin, announce, sleep, and a sweep at each tick ------------------------------


def queue_await(
    view: View, slot: int, deadline: int, wake: Wake, pointless: Callable[[], bool]
) -> Status:
    """Sleep on one side of a queue, unless it is *pointless* under Q."""
    seq: int | None = None

    def announce() -> Status:
        nonlocal seq
        if not pointless():
            seq = wake_announce(wake)
        return OK

    def retract() -> Status:
        wake_retract(wake)
        return OK

    status = queue_locked(view, slot, deadline, announce)
    if status is not OK or seq is None:
        return status
    try:
        slept = wait_sleep(wake.address, seq, deadline)
    finally:
        queue_locked(view, slot, now() + TICK_NS, retract)
    if slept is Status.TIMEOUT:
        arena_tick(view)
    return slept


def queue_await_items(view: View, slot: int, deadline: int, first: bool) -> Status:
    """Watch for items. *first*: spin before sleeping.

    OK when it is worth trying again, TIMEOUT at the tick or *deadline*, INTERRUPTED, BUSY.
    """
    queue = view.queues[slot]
    seen = queue.tail
    spin = first and queue_size(queue) == 0
    if spin and wait_spin(lambda: queue.tail, seen, lambda: queue.tail_cpu):
        return OK

    def pointless() -> bool:
        gone = queue.state != STATE_OPEN or queue.used != ROLE_QUEUE
        return queue_size(queue) != 0 or gone

    return queue_await(view, slot, deadline, queue.items, pointless)


def queue_await_room(view: View, slot: int, deadline: int, first: bool) -> Status:
    """Watch for room, as queue_await_items for items."""
    queue = view.queues[slot]
    seen = queue.head
    spin = first and queue_size(queue) >= queue.maxsize
    if spin and wait_spin(lambda: queue.head, seen, lambda: queue.head_cpu):
        return OK

    def pointless() -> bool:
        gone = queue.state != STATE_OPEN or queue.used != ROLE_QUEUE
        return queue_size(queue) < queue.maxsize or gone

    return queue_await(view, slot, deadline, queue.room, pointless)


def arena_await_space(view: View, deadline: int) -> Status:
    """Wait for memory of the arena to come free.

    Freeing takes no lock, so the count of waiters is only a hint and the sleep is short.
    """
    arena = view.arena
    soon = now() + TICK_NS // 10
    seq = arena.space_seq
    arena.space_waiters = 1
    fence()
    if arena.dirty:
        return OK
    slept = wait_sleep(arena.address(_SPACE_SEQ), seq, min(deadline, soon))
    arena.space_waiters = 0  # who waits still wakes by itself soon
    arena.space_waiters = 0  # who waits still wakes by itself soon
    arena_tick(view)
    return slept
