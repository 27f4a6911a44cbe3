"""Functions that unrelated processes of one user find by name.

A record as that of a named queue (named.py), a small file /dev/shm/zeroipc-UID-f-NAME, says which
task ring leads to the workers and which process owns them. Whoever asks first serves; the
others call it. The record goes with the owner, or with the next who finds the owner dead.
"""

from __future__ import annotations

import contextlib
from typing import Any

from .._core.owner import owner_alive
from ..errors import ClosedError, OwnerDiedError, SegmentNotFoundError
from . import named
from .function_client import Link
from .queues import TaskQueue


class Found:
    """What the record of a function says.

    Attributes:
        token: of the function.
        link: leads to its workers.
        names: its attributes `__name__` and so on.
    """

    def __init__(self, token: bytes, link: Link, names: dict[str, str]) -> None:
        self.token, self.link, self.names = token, link, names


def find_or_record(name: str, ours: Found) -> Found | None:
    """Return what serves the name; None: nothing did, and *ours* is recorded.

    Raises:
        InvalidNameError, NameTooLongError, SegmentAccessError, WaitTimeoutError: as of a queue.
    """
    path = named.FOLDER / named.record_name(name, "f")
    named.remove_strays()
    with named.locked(path, named.PATIENCE) as fd:
        found = _attached(named.read(fd))
        if found is None:
            more = {
                "token": ours.token.hex(),
                "owner": ours.link.owner,
                "size": ours.link.size,
                "results": ours.link.results,
                "names": ours.names,
            }
            named.write(fd, ours.link.tasks, {"class": "Function", "more": more})
        return found


def find(name: str) -> Found:
    """Return what serves the name.

    Raises:
        SegmentNotFoundError: nothing does.
    """
    path = named.FOLDER / named.record_name(name, "f")
    if path.exists():
        with named.locked(path, named.PATIENCE) as fd:
            found = _attached(named.read(fd))
            if found is not None:
                return found
            path.unlink()
    raise SegmentNotFoundError(f"no function is served under this name: name={name!r}")


def forget(name: str, token: bytes) -> None:
    """Remove the record of a function that is served no more, unless it is another's by now."""
    path = named.FOLDER / named.record_name(name, "f")
    with contextlib.suppress(OSError), named.locked(path, 0) as fd:
        record = named.read(fd)
        if not record or record["more"].get("token") == token.hex():
            path.unlink()


def _attached(record: dict[str, Any]) -> Found | None:
    """Return what a record leads to; None if that is gone."""
    try:
        more = record["more"]
        owner, size, results = tuple(more["owner"]), int(more["size"]), tuple(more["results"])
        names = {str(key): str(text) for key, text in more["names"].items()}
        token = bytes.fromhex(more["token"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    if not owner_alive(*owner):
        return None
    tasks: Any = TaskQueue.__new__(TaskQueue)
    try:
        tasks.__setstate__((record["address"], *record["queue"]))
    except (ClosedError, OwnerDiedError):
        return None
    return Found(token, Link(owner, size, tasks, results), names)
