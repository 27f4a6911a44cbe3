"""A thread that makes a descriptor readable while one side of a queue is ready.

A queue in shared memory has no descriptor that becomes readable by itself, so:

1. The thread sleeps until the queue has items, and makes the descriptor readable.
2. Whatever takes items in this process then looks at the queue, and if that is empty makes the
   descriptor unreadable before it returns. So who is alone in taking never finds it readable
   without an item.
3. That wakes the thread, which goes back to 1. What other processes take is noticed within TICK,
   and by `fileno()`.

Coroutines wait in a line (line.py). As many are called as the side has places, items or room, when
it has become ready and whenever one of them is through.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .._core.signals import held_back
from .._rlock import RLock
from .line import Line

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

TICK = 0.1
"""Seconds until it is noticed that another process emptied a queue."""


class Watch:
    """Knows whether one side of a queue is ready, and tells a descriptor and coroutines.

    Its thread ends within TICK of `close`. A forked child has to make its own.

    Args:
        handle: an attached queue for the watch alone, so that the watched one can be dropped.
        poll: waits until the side is ready, for as many seconds; returns whether it is.
        places: returns for how many coroutines the side is ready, at some moment.
    """

    def __init__(
        self, handle: Any, poll: Callable[[float | None], bool], places: Callable[[], int]
    ) -> None:
        self._handle = handle
        self._poll = poll
        self._places = places
        # Re-entrant: a signal handler or a finalizer may use the queue in the middle of it.
        self._lock = RLock()
        self._ready = False
        self._turned = threading.Event()  # set while not ready
        self._fd = -1
        self._line = Line()
        with held_back():
            threading.Thread(target=self._run, name="zeroipc-bridge", daemon=True).start()

    def _run(self) -> None:
        while not self._handle._closed:
            if not self._ready:
                self._poll(None)
            elif not self._turned.wait(TICK):
                with self._lock:  # who has not come for so long may never come
                    self._line.forget()
            self.update()

    def update(self) -> None:
        """Look at the queue, and tell if it has become ready or is so no longer."""
        with self._lock:
            self._follow()
            if self._line and self._handle._closed:
                self._line.call(sys.maxsize)
            elif self._line and self._ready:  # by a shutdown too, which leaves no place
                self._line.call(max(1, self._places()))

    def _follow(self) -> None:
        while not self._handle._closed and self._poll(0) != self._ready:
            self._turn()

    def _turn(self) -> None:
        # The descriptor first: should a signal handler turn it in between, `update` sees it.
        if self._ready:
            if self._fd >= 0:
                with suppress(BlockingIOError):
                    os.eventfd_read(self._fd)
            self._ready = False
            self._turned.set()
        else:
            if self._fd >= 0:
                os.eventfd_write(self._fd, 1)
            self._ready = True
            self._turned.clear()

    def fileno(self) -> int:
        """Return the descriptor that is readable while the side is ready; makes it at first."""
        with self._lock:
            if self._fd < 0 and not self._handle._closed:
                self._fd = os.eventfd(int(self._ready), os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self.update()
            return self._fd

    @property
    def crowded(self) -> bool:
        """Whether coroutines wait or are about to come, at some moment."""
        return bool(self._line)

    def line_up(self, ahead: bool) -> asyncio.Future[None]:
        """Return a future of the running loop, done when it is this coroutine's turn to look.

        It must be given to `through` afterwards, whatever happens.

        Args:
            ahead: of all others, for who looked in vain.
        """
        from asyncio import get_running_loop

        turn: asyncio.Future[None] = get_running_loop().create_future()
        with self._lock:
            self._line.join(turn, ahead)
            self.update()
        return turn

    def through(self, turn: asyncio.Future[None]) -> None:
        """Let the next come: a coroutine has looked, or gives up."""
        with self._lock:
            self._line.leave(turn)
            self.update()

    def close(self) -> None:
        """Close the descriptor, wake who waits, end the thread."""
        with self._lock:
            self._handle._closed = True
            self._turned.set()
            self.update()
            self._close_descriptor()

    def abandon(self) -> None:
        """In a forked child: let go of what the parent goes on using. Takes no lock."""
        self._handle._closed = True
        self._line = Line()
        self._lock = RLock()
        self._close_descriptor()

    def _close_descriptor(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
