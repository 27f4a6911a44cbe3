"""What signal handlers that raise could do harm to.

They are held back while a process or a thread is started: what the standard library has half
started is nobody's, a process that no one will end, a thread that will not run. And what they
raise is not taken for an error of pickling, which is the task's.
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


def is_from_handler(error: BaseException) -> bool:
    """Return whether a signal handler, a function in Python, has raised *error*."""
    handlers = (getsignal(number) for number in range(1, signal.NSIG))
    codes = {handler.__code__ for handler in handlers if hasattr(handler, "__code__")}
    place = error.__traceback__
    while place is not None and place.tb_frame.f_code not in codes:
        place = place.tb_next
    return place is not None
