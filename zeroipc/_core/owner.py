"""Who owns something, and whether that process still lives.

A process is its pid and its start time (clock ticks since boot, field 22 of
/proc/PID/stat); ten milliseconds of resolution are enough against reuse of the pid.
Where that file cannot be read (no descriptor is left, it is hidden), only the system's word
that there is no such pid makes a process dead.
"""

from __future__ import annotations

import os

_ENDING = 0x4  # PF_EXITING among the flags, field 9


def owner_state(pid: int) -> tuple[str, int]:
    """Return the state letter and start time of *pid*; ("", 0) when they cannot be read."""
    fields = _fields(pid)
    return (fields[0].decode(), int(fields[19])) if fields else ("", 0)


def owner_is_ending(pid: int) -> bool:
    """Return whether *pid* is on its way out, or a zombie; it runs no code of its own any more."""
    fields = _fields(pid)
    return bool(fields) and int(fields[6]) & _ENDING != 0


def _fields(pid: int) -> list[bytes]:
    """Return the fields of a process's state, from the letter on; none when they cannot be read."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return []
    return text[text.rfind(b")") + 2 :].split()  # the name may hold anything


def owner_start_time(pid: int) -> int:
    """Return the start time of *pid*; 0 when it cannot be read."""
    return owner_state(pid)[1]


def owner_alive(pid: int, start: int) -> bool:
    """Return whether the process (pid, start) runs: there, no zombie, and the same one.

    A *start* of 0 could not be read by the process itself.
    """
    state, found = owner_state(pid)
    if state == "":
        return _exists(pid)
    return state not in ("Z", "X") and (found == start or start == 0)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is somebody else's
    return True
