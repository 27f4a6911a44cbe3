"""Holding signals back while a process or a thread is started.

A handler may raise, and what the standard library has half started then is nobody's: a
process that no one will end, a thread that will not run.
"""

from __future__ import annotations

import contextlib
import signal
from _signal import getsignal  # type: ignore[import-not-found] # signal's makes enum members
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def held_back() -> Iterator[set[Any]]:
    """Hold back, in this thread, the signals that have handlers in Python.

    Yields:
        The signals that this thread blocked before, for what is started: it inherits the mask.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handled = [number for number in range(1, signal.NSIG) if callable(getsignal(number))]
    try:
        # May raise, after it has blocked them: it runs the handlers of signals that are there.
        signal.pthread_sigmask(signal.SIG_BLOCK, handled)
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
