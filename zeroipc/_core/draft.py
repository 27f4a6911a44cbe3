"""Drafts: messages in the making, and what to undo when one is not sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ShmFullError
from .alloc import block_alloc
from .arena import View
from .blocks import block_free, block_unlend
from .layout import MESSAGE_BLOCKS, NONE
from .ring import Message
from .status import NO_ROOM, OK, Status, error_of
from .sweep import arena_await_space, arena_sweep
from .wait import lock_deadline, now

if TYPE_CHECKING:
    from .arena_type import Arena
    from .block_type import Block


class Draft:
    """A message that is being made.

    Attributes:
        message: what will be sent.
        deadline, patience: until when to wait for memory, and for the arena's lock.
        busy: whether that was not free in time.
        too_large: whether no room can ever be found for it.
        loans: blocks that move when it is sent, and the arrays that show them here.
    """

    def __init__(self, arena: Arena, deadline: int, patience: int) -> None:
        self.arena = arena
        self.deadline = deadline
        self.patience = patience
        self.busy = False
        self.message = Message()
        self.too_large = False
        self.loans: list[tuple[Block, Any]] = []


def never_fits(view: View, nbytes: int) -> bool:
    """A message that needs all but the last sixteenth would starve the rings themselves."""
    return nbytes > view.arena.limit - view.arena.limit // 16


def no_room(draft: Draft, status: Status, nbytes: int) -> ShmFullError:
    """Return the error of an allocation that failed."""
    arena = draft.arena.view.arena
    limit, reserved = arena.limit, arena.reserved
    if draft.too_large:
        text = (
            f"a message must be smaller than the arena by a sixteenth: asked={nbytes} bytes, "
            f"limit={limit}; send it in parts"
        )
    elif status is Status.NO_SPACE:
        text = (
            f"no memory is left in /dev/shm: asked={nbytes} bytes, the arena has reserved "
            f"{reserved}; remove files there, or mount it larger"
        )
    else:
        text = (
            f"the arena is full: asked={nbytes} bytes, limit={limit}, reserved={reserved}; "
            "receive or drop arrays that are in use"
        )
    return ShmFullError(text, nbytes, max(limit - reserved, 0))


def may_come(draft: Draft, nbytes: int, status: Status) -> bool:
    """Return whether an allocation that failed so may succeed later."""
    if status is Status.BUSY:
        return now() < draft.patience
    if status not in NO_ROOM:
        return False
    draft.too_large = never_fits(draft.arena.view, nbytes)
    return not draft.too_large and now() < draft.deadline


def alloc_again(draft: Draft, nbytes: int, kind: int, status: Status) -> tuple[Status, int]:
    """Wait for what an allocation lacked, and try again.

    At once if A was held at the first try, or if a sweep, which nobody may have been idle
    enough to do, helped.
    """
    view, number = draft.arena.view, NONE
    again = status is Status.BUSY
    if status in (Status.NO_MEMORY, Status.NO_SPACE):
        again = arena_sweep(view, lock_deadline(0)) != 0
    while again or may_come(draft, nbytes, status):
        if not again and status is not Status.BUSY:
            arena_await_space(view, draft.deadline)
        status, number = block_alloc(view, nbytes, kind, lock_deadline(draft.patience))
        again = False
    return status, number


def draft_alloc(draft: Draft, nbytes: int, kind: int) -> int:
    """Allocate for a message, waiting for memory until the draft's deadline.

    And for the arena's lock until its patience is over.

    Raises:
        ShmFullError: there was none in time.
        ValueError: the message has MESSAGE_BLOCKS blocks already.
    """
    view, blocks = draft.arena.view, draft.message.blocks
    if len(blocks) == MESSAGE_BLOCKS:
        raise ValueError(f"a message carries at most {MESSAGE_BLOCKS} blocks")
    status, number = block_alloc(view, nbytes, kind, 0)
    if status is not OK:
        status, number = alloc_again(draft, nbytes, kind, status)
    if status is OK:
        blocks.append(number)
        draft.arena.idle()
        return number
    if status in (Status.NO_MEMORY, Status.NO_SPACE):
        raise no_room(draft, status, nbytes)
    draft.busy = status is Status.BUSY
    raise error_of(status, view)


def draft_dropped(draft: Draft) -> None:
    """The message was not sent: its blocks go back, loans stay what they were."""
    view, blocks = draft.arena.view, draft.message.blocks
    for block, _ in draft.loans:
        if block.id in blocks:
            blocks.remove(block.id)
    message_dropped(draft.arena, draft.message)
    while draft.loans:
        block, array = draft.loans[-1]
        block_unlend(view, block.id, view.me)
        block.message = None
        array.setflags(write=True)
        draft.loans.pop()  # the draft may live on in a traceback


def message_dropped(arena: Arena, message: Message) -> None:
    """Free the blocks of a message; each once, whatever interrupts this."""
    while message.blocks:
        number = message.blocks.pop()
        block_free(arena.view, number)
