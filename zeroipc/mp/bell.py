"""A bell: any thread rings it, one thread sleeps on its descriptor among others."""

from __future__ import annotations

import contextlib
import os
import select

from .._rlock import RLock


class Bell:
    """An eventfd that can be rung at any time, also before it is hung and after it is closed."""

    def __init__(self) -> None:
        self.fd = -1
        # A descriptor that is closed while it is rung may be somebody else's by then.
        self._lock = RLock()

    def hang(self) -> None:
        """Make the descriptor."""
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def ring(self) -> None:
        """Make the descriptor readable until `clear`."""
        with self._lock, contextlib.suppress(BlockingIOError):
            if self.fd >= 0:
                os.eventfd_write(self.fd, 1)

    def wait(self, timeout: float) -> None:
        """Sleep until it rings, at most *timeout* seconds; then clear it."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        if poll.poll(timeout * 1000):
            self.clear()

    def clear(self) -> None:
        """Make the descriptor unreadable."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)

    def disown(self) -> None:
        """In a forked child: drop the descriptor, which is the parent's bell."""
        self._lock = RLock()
        self.close()

    def close(self) -> None:
        """Close the descriptor; ringing does nothing from now on."""
        with self._lock:
            fd, self.fd = self.fd, -1  # first: a child that is forked in between closes it as well
            if fd >= 0:
                os.close(fd)
