"""How a call waits: try, and only if that says "not now", wait for a tick and try again."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .arena import View
from .arena_type import Arena
from .layout import STATE_OPEN
from .mqueue import queue_get, queue_locked, queue_put
from .orphan import HOLDS, HOLDS_WAITING, check_orphan, holding_note, is_alone
from .records import SharedQueue, Wake
from .ring import Message, queue_size
from .shrink import queue_is_large
from .status import NO_ROOM, OK, Status
from .sweep import arena_await_space, queue_await_items, queue_await_room
from .wait import FOREVER, lock_deadline, now, wait_wake, wake_decide


def deadline_of(timeout: float | None) -> int:
    """Return when *timeout* seconds are over, None never; negative is zero."""
    if timeout is None:
        return FOREVER
    seconds = max(math.ldexp(timeout, 0), 0.0)  # float() would also take a str
    if math.isnan(seconds):
        raise ValueError("timeout must be a number of seconds: timeout=nan")
    return now() + int(seconds * 1e9) if seconds < 1e9 else FOREVER


def is_late(deadline: int) -> bool:
    """Return whether the time is over."""
    return deadline == 0 or now() >= deadline


def park_at_exit(view: View) -> None:
    """Keep a thread that waits while its process ends from waking up with an error.

    The process has left the arena, and only a daemon thread can still be here.
    """
    if view.me == 0:
        threading.Event().wait()


def await_room(view: View, slot: int, why: Status, until: int, first: bool) -> Status:
    """Wait for what a put lacked."""
    if why is Status.BUSY:
        return OK
    if why is Status.FULL:
        return queue_await_room(view, slot, until, first)
    return arena_await_space(view, until)


def may_wait(patient: bool, status: Status) -> bool:
    """Return whether a put that failed so may succeed later.

    A *patient* one waits for memory as it does for room; a queue without bound keeps what it
    cannot put.
    """
    if status is Status.BUSY:
        return True
    return patient and (status is Status.FULL or status in NO_ROOM)


def queue_send(
    arena: Arena,
    slot: int,
    generation: int,
    messages: Sequence[Message],
    patient: bool,
    deadline: int,
) -> Status:
    """Put the messages, waiting for room and, if *patient*, for memory."""
    view, first = arena.view, True
    status = queue_put(view, slot, generation, messages, 0)
    while may_wait(patient, status):
        if is_late(deadline) and (status is not Status.BUSY or not first):
            break
        until = lock_deadline(deadline)
        if await_room(view, slot, status, until, first) is not Status.INTERRUPTED:
            status = queue_put(view, slot, generation, messages, until)
        park_at_exit(view)
        arena.idle()
        first = False
    return status


def queue_receive(
    arena: Arena, slot: int, generation: int, messages: Sequence[Message], deadline: int
) -> Status:
    """Get messages, waiting for the first."""
    view, first = arena.view, True
    queue = view.queues[slot]
    status = Status.EMPTY
    if deadline == 0 or view.me == 0 or queue_size(queue) != 0:  # a look spares the lock
        status = queue_get(view, slot, generation, messages, 0)
    while status in (Status.EMPTY, Status.BUSY):
        if is_late(deadline) and (status is Status.EMPTY or not first):
            break
        until = lock_deadline(deadline)
        alone = deadline == FOREVER and is_alone()
        if alone:
            holding_note(view, slot, HOLDS_WAITING)
        try:
            waited = OK
            if status is not Status.BUSY:
                waited = queue_await_items(view, slot, until, first)
            if waited is not Status.INTERRUPTED:
                status = queue_get(view, slot, generation, messages, until)
            park_at_exit(view)
            if alone and status is Status.EMPTY:
                check_orphan(arena, slot)
        finally:
            if alone:
                holding_note(view, slot, HOLDS)
        arena.idle()
        first = False
    if status is OK:
        arena.idle(queue_is_large(view, queue))
    return Status.EMPTY if status is Status.BUSY else status  # a stopped process holds the lock


# --- Waiting for a side without using it ------------------------------------------------------


class Side(NamedTuple):
    """A side of a queue: whether it is ready, how to wait, whom to wake."""

    ready: Callable[[SharedQueue], bool]
    wait: Callable[[View, int, int, bool], Status]
    wake: Callable[[SharedQueue], Wake]


def get_ready(queue: SharedQueue) -> bool:
    """Return whether a get would not wait."""
    return queue_size(queue) != 0 or queue.state != STATE_OPEN


def put_ready(queue: SharedQueue) -> bool:
    """Return whether a put would not wait for room."""
    free = queue.maxsize == 0 or queue_size(queue) < queue.maxsize
    return free or queue.state != STATE_OPEN


GET_SIDE = Side(get_ready, queue_await_items, lambda queue: queue.items)
PUT_SIDE = Side(put_ready, queue_await_room, lambda queue: queue.room)


def hand_on(view: View, slot: int, wake: Wake) -> None:
    """One sleeper is woken per change. Who only looks has to wake the next, who may act on it."""
    woken = False

    def work() -> Status:
        nonlocal woken
        woken = wake_decide(wake)
        return OK

    if wake.words[wake.waiters_at]:
        queue_locked(view, slot, lock_deadline(FOREVER), work)
    if woken:
        wait_wake(wake.address, 1)


def queue_poll(
    view: View, slot: int, side: Side, deadline: int, closed: Callable[[], bool]
) -> bool:
    """Wait until *side* is ready, or this handle is *closed*; whether it is ready."""
    queue, first = view.queues[slot], True
    while not side.ready(queue) and not closed() and now() < deadline:
        side.wait(view, slot, lock_deadline(deadline), first)
        park_at_exit(view)
        if side.ready(queue):
            hand_on(view, slot, side.wake(queue))
        first = False
    return side.ready(queue)
