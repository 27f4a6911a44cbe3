"""The type MessageQueue of the pure backend: multiprocessing.Queue's calls, over mqueue.py.

A call waits a tick at most without looking for signals. A call that interrupts another one
of its thread under a lock (from a signal handler or a finalizer) cannot wait for that lock:
`put` is then made as soon as the lock is free, everything else raises RuntimeError.
"""

from __future__ import annotations

from .blocks import patience
from .codec import sending
from .draft import draft_alloc
from .hold import Slot
from .layout import KIND_HANDLE
from .patience import GET_SIDE, PUT_SIDE, Side, deadline_of, queue_poll
from .queue_get import Gets
from .queue_put import Puts
from .queue_tasks import Tasks
from .registry import queue_shut
from .ring import queue_size
from .status import OK


class MessageQueue(Puts, Gets, Tasks):
    """A message queue of an arena.

    A subclass attaches it, and gives `_spill(obj)`, which keeps what does not fit.
    """

    __slots__ = ()

    def qsize(self) -> int:
        """Return how many objects are in the queue, at some moment."""
        return queue_size(self._record())

    def _poll(self, timeout: float | None) -> bool:
        """Wait until a get would not; whether it would not."""
        return self._poll_side("_poll", GET_SIDE, timeout)

    def _poll_room(self, timeout: float | None) -> bool:
        """Wait until a put would not; whether it would not."""
        return self._poll_side("_poll_room", PUT_SIDE, timeout)

    def _poll_side(self, what: str, side: Side, timeout: float | None) -> bool:
        view, deadline = self._view(what), deadline_of(timeout)
        return queue_poll(view, self._slot, side, deadline, lambda: self._closed)

    def _shutdown(self, immediate: bool) -> None:
        """Refuse puts; True: drop what is queued."""
        view = self._view("shutdown")
        status = queue_shut(view, self._slot, self._generation, bool(immediate), patience())
        if status is not OK:
            raise self._error(status)


def send_handle(holder: MessageQueue | Slot) -> bool | None:
    """Let the message in the making carry a slot.

    Returns:
        True; None: there is no message; False: it goes through another arena.
    """
    if not isinstance(holder, (MessageQueue, Slot)):
        raise TypeError("takes what has a slot of an arena")
    draft = sending.draft
    if draft is None:
        return None
    if draft.arena is not holder._arena:
        return False
    draft.arena.view.queues[holder._slot].handled = 1
    number = draft_alloc(draft, 0, KIND_HANDLE)
    draft.arena.view.blocks[number].link = holder._slot
    return True
