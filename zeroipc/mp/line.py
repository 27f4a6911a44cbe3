"""Coroutines that wait in a line for one side of a queue: first come, first served.

Who is called comes when its event loop runs it next, and only then takes an item. So no more are
called than there are items, those counted who have been called and have not come; and who cannot
come, being cancelled, makes place for the next. A loop that has stopped never lets its coroutines
come; they are forgotten after a while.

Callers   the watch of the queue, under its lock
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    Turn = asyncio.Future[None]


class Line:
    """The turns of coroutines of any event loops, in order; each is a future of its loop."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[Turn, None] = OrderedDict()
        self._called: set[Turn] = set()

    def __bool__(self) -> bool:
        """Return whether anybody would have to come before one who joins now."""
        return bool(self._waiting or self._called)

    def join(self, turn: Turn, ahead: bool) -> None:
        """Add *turn* at the end, or *ahead* of all."""
        self._waiting[turn] = None
        if ahead:
            self._waiting.move_to_end(turn, last=False)

    def leave(self, turn: Turn) -> None:
        """Drop *turn*: it has come, or will not."""
        self._called.discard(turn)
        self._waiting.pop(turn, None)

    def call(self, places: int) -> None:
        """Call from the front until *places* have been called and have not come."""
        while self._waiting and len(self._called) < places:
            turn, _ = self._waiting.popitem(last=False)
            with suppress(RuntimeError):  # its loop is closed
                turn.get_loop().call_soon_threadsafe(_begin, turn)
                self._called.add(turn)

    def forget(self) -> None:
        """Count no more on those who were called and have not come; they still may."""
        self._called.clear()


def _begin(turn: Turn) -> None:
    if not turn.done():
        turn.set_result(None)
