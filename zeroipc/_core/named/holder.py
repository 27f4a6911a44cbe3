"""Owner tags: which of our processes holds a mutex.

A process id and ten bits of the start time; 0 says nothing. Programs in other languages leave
the word alone.
"""

from __future__ import annotations

import os
from functools import cache

from ..owner import owner_start_time, owner_state
from .layout import OWNER_PID_BITS
from .words import U32_MASK


def holder_tag(pid: int) -> int:
    """Return the tag of a process; 0 when its start time cannot be read."""
    start = owner_start_time(pid)
    return 0 if start == 0 else pid | start << OWNER_PID_BITS & U32_MASK


@cache
def own_tag() -> int:
    """Return the tag of this process."""
    return holder_tag(os.getpid())


os.register_at_fork(after_in_child=own_tag.cache_clear)


def holder_dead(tag: int) -> bool:
    """Return whether the process of a tag is certainly gone, or nothing but a zombie.

    One that is there and hides its start time lives.
    """
    pid = tag & (1 << OWNER_PID_BITS) - 1
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it lives, as somebody else's
    state, start = owner_state(pid)
    if state == "":
        return False
    return state in "ZX" or start << OWNER_PID_BITS & U32_MASK != tag - pid
