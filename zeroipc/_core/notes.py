"""What a queue notes of its takers, in a block of its own; a 64- or 32-bit cell each.

A joinable queue tallies open tasks: a cell per participant says how many tasks it took and has
not done, and which item it is just taking (its number + 1, or 0). One store before `head`
writes both, so the repair knows whether to take the count back.

A queue of tasks for workers has claims: the item that each took last; see claims.py.
"""

from __future__ import annotations

from .arena import View
from .layout import NONE, PARTICIPANTS
from .participant import identity_index
from .records import SharedQueue
from .ring import queue_has_item


def queue_tally(view: View, queue: SharedQueue) -> memoryview:
    """Return the cells of a joinable queue, one 64-bit word per participant."""
    first = view.blocks[queue.tally].offset // 8
    return view.mapping.u64[first : first + PARTICIPANTS]


def tally_open(cell: int) -> int:
    """Return how many tasks are open: a signed number."""
    return (cell & 0xFFFFFFFF ^ 0x80000000) - 0x80000000


def tally_pack(still_open: int, taking: int) -> int:
    """Return the cell."""
    return taking << 32 | still_open & 0xFFFFFFFF


def tally_repair(view: View, queue: SharedQueue) -> None:
    """Under Q, after its holder died: an item that is still in the queue was not taken.

    And who was being counted as lost has been.
    """
    cells = queue_tally(view, queue)
    for index in range(view.arena.participants_used):
        taking = cells[index] >> 32
        if taking:
            taken = not queue_has_item(queue, taking - 1)
            cells[index] = tally_pack(tally_open(cells[index]) - (not taken), 0)
    counted = queue.lost >> 32
    if counted:
        cells[counted - 1] = 0
    queue.lost = queue.lost & 0xFFFFFFFF


def queue_claims(view: View, queue: SharedQueue) -> memoryview:
    """Return the items that the workers took last, one 32-bit word for each number."""
    first = view.blocks[queue.claims].offset // 4
    return view.mapping.u32[first : first + PARTICIPANTS]


def claims_repair(view: View, queue: SharedQueue) -> None:
    """Under Q, after its holder died: nobody has taken what is still in the queue."""
    claims = queue_claims(view, queue)
    for number, item in enumerate(claims):
        if item != NONE and queue_has_item(queue, item):
            claims[number] = NONE


def get_tally(view: View, queue: SharedQueue, item: int) -> memoryview | None:
    """Under Q: this process takes *item* of a joinable queue; the store of `head` must follow."""
    if queue.tally == NONE:
        return None
    cells = queue_tally(view, queue)
    mine = identity_index(view.me)
    cells[mine] = tally_pack(tally_open(cells[mine]) + 1, item + 1)
    return cells[mine : mine + 1]


def get_claim(view: View, queue: SharedQueue, claimant: int, item: int) -> None:
    """Under Q, before the commit: note which item a worker takes.

    Should it die in between, the item is still queued, and claims_repair sees that.
    """
    if queue.claims != NONE and claimant < PARTICIPANTS:
        queue_claims(view, queue)[claimant] = item
