"""How a call on a named structure waits: try, and only if that says "not now", sleep and retry.

A sleep ends when another process of ours rings the bell; peers in other languages ring none,
so it also ends by itself: every 5 ms in the first second of a wait, every 50 ms after that.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ._core.named.layout import WAIT_BUCKET, WAIT_BUCKETS
from ._core.status import OK, Status
from .errors import ClosedError, SegmentFormatError, SegmentFullError, StalledError
from .memory import WAIT_ENTRY, Memory

T = TypeVar("T")

NAP = 5_000_000
NAP_LATE = 50_000_000
LATE = 1_000_000_000
"""Nanoseconds of a sleep, and of one after so long a wait."""
STALL = 1_000_000_000
"""Nanoseconds after which somebody who is in the midst of an operation is taken for dead."""
TRIES = 3
"""Attempts before the first sleep, which may begin with a spin: see bell.h."""
FOREVER = 2**63 - 1


def deadline_of(timeout: float | None) -> int:
    """Return when *timeout* seconds are over, None never; negative is zero."""
    if timeout is None:
        return FOREVER
    seconds = max(math.ldexp(timeout, 0), 0.0)  # float() would also take a str
    return time.monotonic_ns() + int(seconds * 1e9) if seconds < 1e9 else FOREVER


def wait_until(
    attempt: Callable[[], T | Status],
    bell: Any,
    mem: Memory,
    deadline: int,
    title: str,
    start: int | None = None,
) -> T | Status:
    """Return the first answer of *attempt* that is not "not now", or the last one when late.

    "Not now" is any `Status` but OK. BUSY means that another process is in the midst of it.

    Args:
        bell: rings when the next attempt may succeed.
        deadline: as from `deadline_of`.
        title: names the structure, for errors.
        start: when the wait began of which this is a part; by default now.

    Raises:
        StalledError: all answers for a second were BUSY.
        SegmentFormatError: an answer was DAMAGED.
    """
    for _ in range(TRIES):
        answer = attempt()
        if not is_not_now(answer, title):
            return answer
    pace = Pace(title, start)
    found = deadline > pace.start and find_bucket(bell, mem)
    while True:
        seen = bell.listen() if found else 0
        answer = attempt()
        if not is_not_now(answer, title) or time.monotonic_ns() >= deadline:
            return answer
        nap = min(pace.nap(answer), deadline - time.monotonic_ns())
        if found:
            bell.sleep(seen, nap)
        else:
            time.sleep(max(nap, 0) / 1e9)


class Pace:
    """How long to sleep after each answer of a wait, and when to give it up."""

    def __init__(self, title: str, start: int | None = None) -> None:
        self._busy_since = time.monotonic_ns()
        self.start = self._busy_since if start is None else start
        self._title = title

    def nap(self, answer: object) -> int:
        """Return nanoseconds to sleep after "not now"; raise StalledError after too many BUSY."""
        now = time.monotonic_ns()
        if answer is not Status.BUSY:
            self._busy_since = now
        elif now - self._busy_since > STALL:
            raise StalledError(
                f"{self._title}: another process has claimed a part and does not go on, dead or "
                "stopped; when nobody else uses it, repair() makes it usable again"
            )
        return NAP if now - self.start < LATE else NAP_LATE


def is_not_now(answer: object, title: str) -> bool:
    """Return whether *answer* is "not now"; raise SegmentFormatError if it is DAMAGED."""
    if type(answer) is not Status or answer is OK:
        return False
    if answer is Status.DAMAGED:
        raise SegmentFormatError(f"damaged: {title} has words that no operation leaves behind")
    return True


def find_bucket(bell: Any, mem: Memory) -> bool:
    """Return whether *bell* has a bucket to sleep on; the first sleeper of a segment adds them."""
    if bell.find():
        return True
    try:
        mem.find_or_add(WAIT_ENTRY, WAIT_BUCKETS * WAIT_BUCKET.nbytes, _clear)
    except (SegmentFullError, ClosedError):  # no room for it: sleepers look by themselves
        return False
    return bool(bell.find())


def _clear(view: memoryview) -> None:
    view[:] = bytes(len(view))


def seconds_till(deadline: int) -> float | None:
    """Return how many seconds are left until *deadline*, as a timeout: None for ever."""
    if deadline == FOREVER:
        return None
    return max(deadline - time.monotonic_ns(), 0) / 1e9
