"""A message that cannot be rebuilt because its sender has just been killed.

What a message only names, a descriptor for example, is fetched from the sender. When that
is killed, its connections break a moment before the system calls it dead. A program that looks
for the culprit in this moment (torch's DataLoader does) finds all its children alive; so the
error waits until those that are ending have ended.
"""

from __future__ import annotations

import contextlib
import time
from multiprocessing import process
from typing import Any

from .owner import owner_is_ending

LONGEST = 1.0
"""Seconds after which the error is raised in any case."""
STEP = 0.001


def let_deaths_show() -> None:
    """Return when no child of this process is ending, after LONGEST at the latest."""
    end = time.monotonic() + LONGEST
    for child in list(getattr(process, "_children", ())):
        while time.monotonic() < end and _is_ending(child):
            time.sleep(STEP)


def _is_ending(child: Any) -> bool:
    with contextlib.suppress(AssertionError, ValueError):  # a parent's; closed meanwhile
        return child.exitcode is None and owner_is_ending(child.pid)
    return False
