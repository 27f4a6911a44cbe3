"""Queues: made, shut, and what those who join them see."""

from __future__ import annotations

from .alloc import block_alloc
from .arena import View
from .blocks import arena_locked, block_bytes, block_free
from .layout import (
    CHUNK_MIN,
    KIND_RING,
    KIND_TALLY,
    NONE,
    NOTE_CLAIMS,
    NOTE_NOTHING,
    NOTE_TASKS,
    PARTICIPANTS,
    QUEUED,
    ROLE_QUEUE,
    STATE_OPEN,
    STATE_SHUT,
    STATE_SHUT_NOW,
)
from .mqueue import get_locked, queue_check, queue_locked
from .mutex import TICK_NS
from .notes import queue_tally, tally_open, tally_pack
from .participant import holding_set, identity_index
from .records import SharedQueue
from .ring import Message, cursor_pack, queue_size
from .slots import slot_hold, slot_take, slots_reclaim
from .status import OK, Status
from .sweep import arena_tick
from .wait import (
    EVERYBODY,
    now,
    this_cpu,
    wait_sleep,
    wait_wake,
    wake_announce,
    wake_bump,
    wake_decide,
    wake_retract,
)


def queue_fill(
    view: View, slot: int, maxsize: int, named: bool, chunk: int, notes: int, noting: int
) -> None:
    """Under A: fill a slot in; `used` last. The blocks become the queue's after that."""
    queue = view.queues[slot]
    queue.generation = (queue.generation + 1) & 0xFFFFFFFF
    queue.handled = 0
    queue.maxsize = maxsize
    queue.state = STATE_OPEN
    queue.items_waiters = queue.room_waiters = queue.done_waiters = 0
    queue.items_pending = queue.room_pending = queue.done_pending = 0
    queue.lost = 0
    queue.tally = notes if noting == NOTE_TASKS else NONE
    queue.claims = notes if noting == NOTE_CLAIMS else NONE
    queue.head_cpu = queue.tail_cpu = this_cpu()
    queue.named = named
    queue.head = queue.tail = cursor_pack(0, chunk, 0)
    view.blocks[chunk].queue = slot
    if notes != NONE:
        view.blocks[notes].queue = slot
    holding_set(view, slot)
    queue.used = ROLE_QUEUE
    view.blocks[chunk].owner = QUEUED
    if notes != NONE:
        view.blocks[notes].owner = QUEUED


def queue_create(
    view: View, maxsize: int, noting: int, named: bool, deadline: int
) -> tuple[Status, int, int]:
    """Make a queue of at most *maxsize* items (0: no bound) that this process holds.

    *noting*: NOTE_...; *named*: whether strangers may find it. Returns its slot and generation.
    """
    slot = generation = NONE

    def work() -> Status:
        nonlocal slot, generation
        status, slot = slot_take(view)
        if status is OK:
            queue_fill(view, slot, maxsize, named, chunk, notes, noting)
            generation = view.queues[slot].generation
        return status

    slots_reclaim(view, deadline)
    notes = NONE
    status, chunk = block_alloc(view, CHUNK_MIN, KIND_RING, deadline)
    if status is not OK:
        return status, NONE, NONE
    if noting != NOTE_NOTHING:
        nbytes = 8 * PARTICIPANTS
        status, notes = block_alloc(view, nbytes, KIND_TALLY, deadline)
        if status is OK:
            fill = b"\xff" if noting == NOTE_CLAIMS else b"\0"
            block_bytes(view, notes, nbytes)[:] = fill * nbytes
    if status is OK:
        status = arena_locked(view, deadline, work)
    if status is not OK:
        block_free(view, chunk)
        if notes != NONE:
            block_free(view, notes)
    return status, slot, generation


def queue_hold(view: View, slot: int, generation: int, deadline: int) -> Status:
    """Hold a queue that a handle or a parent names. STALE: it is gone already."""
    return slot_hold(view, slot, ROLE_QUEUE, generation, deadline)


DROP_MANY = 8


def queue_drop(view: View, slot: int, generation: int, deadline: int) -> Status:
    """Drop what is queued in a queue that is shut at once, a few messages per visit of Q.

    Who dies in between leaves them to whoever shuts it again, or to the queue's end.
    """

    def work() -> Status:
        status, dropped = queue_check(view, view.queues[slot], generation), 0
        while status is OK and dropped < DROP_MANY:
            message = Message()
            status = get_locked(view, slot, message)
            for number in message.blocks if status is OK else ():
                block_free(view, number)
            dropped += 1
        return status

    status = OK
    while status is OK:
        status = queue_locked(view, slot, deadline, work)
    return OK if status is Status.SHUT else status


def queue_shut(view: View, slot: int, generation: int, immediate: bool, deadline: int) -> Status:
    """Refuse further puts; *immediate*: drop what is queued as well. Wakes everybody."""
    queue = view.queues[slot]

    def work() -> Status:
        status = queue_check(view, queue, generation)
        if status is OK and queue.state != STATE_SHUT_NOW:
            queue.state = STATE_SHUT_NOW if immediate else STATE_SHUT
        for wake in (queue.items, queue.room, queue.done):
            wake_bump(wake)
        return status

    status = queue_locked(view, slot, deadline, work)
    for wake in (queue.items, queue.room, queue.done):
        wait_wake(wake.address, EVERYBODY)
    return queue_drop(view, slot, generation, deadline) if immediate and status is OK else status


# --- Tasks of a joinable queue: queued items and those taken and not yet done ---------------


def tasks_open(view: View, queue: SharedQueue) -> int:
    """Under Q: tasks put and not done."""
    queued = 0 if queue.state == STATE_SHUT_NOW else queue_size(queue)
    cells = queue_tally(view, queue)[: view.arena.participants_used]
    return queued + sum(map(tally_open, cells))


def tally_finish(view: View, queue: SharedQueue) -> None:
    """Under Q: take one off the tally.

    Of this process, else of one that has tasks open, since a task may be finished by another
    process than took it.
    """
    cells = queue_tally(view, queue)
    whose = identity_index(view.me)
    if tally_open(cells[whose]) <= 0:
        for index in range(view.arena.participants_used):
            if tally_open(cells[index]) > 0:
                whose = index
                break
    cells[whose] = tally_pack(tally_open(cells[whose]) - 1, 0)


def task_done(view: View, slot: int, generation: int, deadline: int) -> Status:
    """One task is done. EMPTY: more were done than were put."""
    queue = view.queues[slot]
    wake = False

    def work() -> Status:
        nonlocal wake
        status = queue_check(view, queue, generation)
        if status is not OK:
            return status
        still_open = tasks_open(view, queue)
        if still_open <= 0:
            return Status.EMPTY
        tally_finish(view, queue)
        wake = still_open == 1 and wake_decide(queue.done)
        return OK

    status = queue_locked(view, slot, deadline, work)
    if wake:
        wait_wake(queue.done.address, EVERYBODY)
    return status


def tasks_await(view: View, slot: int, generation: int, deadline: int) -> tuple[Status, int]:
    """Wait, at most a tick, until no task is open.

    OK: none is. LOST: so many tasks died with their takers; told once. TIMEOUT, INTERRUPTED,
    BUSY: ask again.
    """
    queue = view.queues[slot]
    lost, seq = 0, None

    def announce() -> Status:
        nonlocal lost, seq
        status = queue_check(view, queue, generation)
        if status is not OK:
            return status
        lost = queue.lost & 0xFFFFFFFF
        if lost:
            queue.lost = 0
            return Status.LOST
        if tasks_open(view, queue) > 0:
            seq = wake_announce(queue.done)
        return OK

    def retract() -> Status:
        wake_retract(queue.done)
        return OK

    status = queue_locked(view, slot, deadline, announce)
    if seq is None:
        return status, lost
    try:
        slept = wait_sleep(queue.done.address, seq, deadline)
    finally:
        queue_locked(view, slot, now() + TICK_NS, retract)
    if slept is Status.TIMEOUT:
        arena_tick(view)
    return (Status.TIMEOUT if slept is OK else slept), 0
