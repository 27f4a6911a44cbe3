"""Who owns something, and whether that process still lives.

A process is its pid and its start time (clock ticks since boot, field 22 of
/proc/PID/stat); ten milliseconds of resolution are enough against reuse of the pid.
"""

from __future__ import annotations


def owner_state(pid: int) -> tuple[str, int]:
    """Return the state letter and start time of *pid*; ("", 0) when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return "", 0
    fields = text[text.rfind(b")") + 2 :].split()  # the name may hold anything
    return fields[0].decode(), int(fields[19])


def owner_start_time(pid: int) -> int:
    """Return the start time of *pid*; 0 when there is no such process."""
    return owner_state(pid)[1]


def owner_alive(pid: int, start: int) -> bool:
    """Return whether the process (pid, start) runs: there, no zombie, and the same one."""
    state, found = owner_state(pid)
    return state not in ("", "Z", "X") and found == start
