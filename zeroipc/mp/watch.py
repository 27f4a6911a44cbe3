"""A thread that makes a descriptor readable while one side of a queue is ready.

A queue in shared memory has no descriptor that becomes readable by itself, so:

1. The thread sleeps until the queue has items, and makes the descriptor readable.
2. Whatever takes items in this process then looks at the queue, and if that is empty makes the
   descriptor unreadable before it returns. So who is alone in taking never finds it readable
   without an item.
3. That wakes the thread, which goes back to 1. What other processes take is noticed within TICK,
   and by `fileno()`.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

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
    """

    def __init__(self, handle: Any, poll: Callable[[float | None], bool]) -> None:
        self._handle = handle
        self._poll = poll
        # Re-entrant: a signal handler or a finalizer may use the queue in the middle of it.
        self._lock = threading.RLock()
        self._ready = False
        self._turned = threading.Event()  # set while not ready
        self._fd = -1
        self._waiting: set[asyncio.Future[None]] = set()
        threading.Thread(target=self._run, name="zeroipc-bridge", daemon=True).start()

    def _run(self) -> None:
        while not self._handle._closed:
            if self._ready:
                self._turned.wait(TICK)
            else:
                self._poll(None)
            self.update()

    def update(self) -> None:
        """Look at the queue, and tell if it has become ready or is so no longer."""
        with self._lock:
            while not self._handle._closed and self._poll(0) != self._ready:
                self._turn()
            if self._waiting and (self._ready or self._handle._closed):
                self._wake()

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

    def wait(self) -> asyncio.Future[None]:
        """Return a future of the running loop, done when the side is ready or closed."""
        from asyncio import get_running_loop

        future: asyncio.Future[None] = get_running_loop().create_future()
        future.add_done_callback(self._waiting.discard)
        with self._lock:
            self._waiting.add(future)
            self.update()
        return future

    def _wake(self) -> None:
        waiting = list(self._waiting)
        self._waiting.clear()
        for future in waiting:
            with suppress(RuntimeError):  # its loop is closed
                future.get_loop().call_soon_threadsafe(_finish, future)

    def close(self) -> None:
        """Close the descriptor, wake who waits, end the thread."""
        with self._lock:
            self._handle._closed = True
            self._turned.set()
            self._wake()
            self._close_descriptor()

    def abandon(self) -> None:
        """In a forked child: let go of what the parent goes on using. Takes no lock."""
        self._handle._closed = True
        self._waiting = set()
        self._lock = threading.RLock()
        self._close_descriptor()

    def _close_descriptor(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
