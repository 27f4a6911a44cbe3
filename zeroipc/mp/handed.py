"""What processes hand to one another: objects that stand for a slot of an arena.

A queue, a lock or a piece of memory goes to a child that is being started, or into a message;
who unpickles it attaches to the same slot. It is kept alive until then: for a child by the popen
object, in a message by a handle, which the receiver gives back when it has attached.
"""

from __future__ import annotations

import weakref
from multiprocessing import context
from typing import Any

from .._backend import transport as core
from . import transport


class Handed:
    """The pickling of an object of the core that has `_handle` and `_attach`."""

    _attach: Any
    _handle: Any

    def __getstate__(self) -> Any:
        """Return what a child being started, or who gets the message being put, attaches by.

        Raises:
            RuntimeError: there is neither.
        """
        arena, slot, generation = self._handle
        popen = context.get_spawning_popen()
        if popen is not None:
            keep_for(popen, self)
        elif not _is_spilled(self):
            sent = core.send_handle(self)
            if sent is None:
                context.assert_spawning(self)
            elif not sent:
                transport.keep_abroad(self)
        return transport.arena_of(arena.token).address(popen), slot, generation

    def __setstate__(self, state: Any) -> None:
        address, slot, generation = state
        self._attach(transport.attach(address).arena, slot, generation)


def _is_spilled(handed: Handed) -> bool:
    """Keep *handed* if this thread is pickling an object to be spilled; return whether it is."""
    from .spill import collects

    return collects(handed)


_starting: weakref.WeakSet[Any] = weakref.WeakSet()
"""Those popen objects that may still keep something."""


def keep_for(popen: Any, handed: Any) -> None:
    """Keep *handed* alive until the child that *popen* starts has attached to it, or ended."""
    if popen not in _starting:  # once for each child, however much it is given
        for other in list(_starting):
            other._zeroipc_kept = [kept for kept in other._zeroipc_kept if _awaits(other, kept)]
            if not other._zeroipc_kept:
                _starting.discard(other)
        _starting.add(popen)
    popen.__dict__.setdefault("_zeroipc_kept", []).append(handed)


def _awaits(popen: Any, handed: Any) -> bool:
    """Return whether the child has yet to attach to *handed*."""
    pid = getattr(popen, "pid", None)
    if pid is None:  # still being pickled for
        return True
    arena, slot, _ = handed._handle
    return popen.returncode is None and pid not in arena.holders(slot)
