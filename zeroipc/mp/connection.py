"""`multiprocessing.connection`, with pipes whose large messages travel in shared memory.

A Connection of ours has a descriptor like the standard library's, and the same bytes go through
it: whatever waits for the descriptor works, and a peer that ends is seen at once. Only `send` of
something large writes a token in place of the bytes, see `lane.py`. Listener, Client and `wait`
are the standard library's own.
"""

from __future__ import annotations

import io
import os
import socket
from multiprocessing import connection as standard
from multiprocessing import context, reduction, resource_sharer
from typing import Any

from ..errors import ShmFullError, ZeroIPCError
from .handed import keep_for
from .lane import Lane, attach, encode, whole
from .standard import names_of

__all__ = ["Client", "Listener", "Pipe", "wait"]  # noqa: F822 - the standard library's

__getattr__ = names_of(__name__)


_Standard: Any = standard.Connection
_receive = _Standard._recv_bytes
_sharer: Any = resource_sharer
_loads = reduction.ForkingPickler.loads


class Connection(_Standard):  # type: ignore[misc]
    """An end of a pipe. The interface is the standard library's.

    What one process sends is received in order. An array arrives as one of the receiver's own,
    without a copy; one from `zeroipc.mp.empty` or `asarray` moves, and is read-only afterwards.

    Args:
        handle: the descriptor; it is closed with the Connection.
        readable, writable: what the descriptor allows.
    """

    _incoming: Lane | None = None
    _outgoing: Lane | None = None

    def _use(self, incoming: Lane | None, outgoing: Lane | None) -> Connection:
        self._incoming, self._outgoing = incoming, outgoing
        return self

    def send(self, obj: Any) -> None:
        """Send a picklable object; blocks while the pipe is full.

        Raises:
            BrokenPipeError: nobody can receive it any more.
            MovedError: it holds an array from `empty` or `asarray` that was sent before.
            OSError: the connection is closed, or read-only.
            UnpicklableError: with the path from *obj* to what cannot be pickled.
        """
        self._check_closed()
        self._check_writable()
        lane = self._outgoing
        if lane is None:
            super().send(obj)
            return
        message = encode(obj, lane)
        try:
            self._send_bytes(message)
        except (BrokenPipeError, ConnectionResetError):
            lane.abandon()
            raise

    def recv(self) -> Any:
        """Receive an object; blocks until there is one.

        Raises:
            EOFError: nobody can send any more.
            OSError: the connection is closed, or write-only.
        """
        self._check_closed()
        self._check_readable()
        return _loads(_receive(self).getbuffer())

    def close(self) -> None:
        """Close this end in this process."""
        super().close()
        self._use(None, None)

    def _recv_bytes(self, maxsize: int | None = None) -> io.BytesIO | None:
        """Return the next message as bytes, those of an object as the pickle of all of it."""
        message: io.BytesIO | None = _receive(self, maxsize)
        if message is not None:
            message = whole(message)
            if maxsize is not None and message.tell() > maxsize:
                return None
        return message


def Pipe(duplex: bool = True) -> tuple[Connection, Connection]:
    """Return the two ends of a pipe: (receives, sends), or both do both if *duplex*."""
    there, back = _new_lane(), _new_lane() if duplex else None
    if duplex:
        ends = socket.socketpair()
        for end in ends:
            end.setblocking(True)  # whatever socket.setdefaulttimeout says
        first, second = (Connection(end.detach()) for end in ends)
        return first._use(there, back), second._use(back, there)
    reading, writing = os.pipe()
    receiver = Connection(reading, writable=False)._use(there, None)
    return receiver, Connection(writing, readable=False)._use(None, there)


def _new_lane() -> Lane | None:
    """Return a lane; None where there is no room for one: everything goes through the pipe."""
    try:
        return Lane()
    except (ShmFullError, ZeroIPCError):
        return None


# --- To other processes -------------------------------------------------------------------


def reduce_connection(conn: Connection) -> Any:
    """Reduce a connection: for a child being started, or for whoever gets the message."""
    lanes = conn._incoming, conn._outgoing
    popen = context.get_spawning_popen()
    if popen is None:
        duplicate: Any = _Duplicate(conn.fileno(), lanes)
    else:
        duplicate = reduction.DupFd(conn.fileno())
        for lane in filter(None, lanes):
            keep_for(popen, lane)
    named = [lane and (lane.name, lane.where_for(popen)) for lane in lanes]
    return rebuild_connection, (duplicate, conn.readable, conn.writable, *named)


class _Duplicate(resource_sharer.DupFd):
    """A descriptor for whoever asks for it; until then the lanes that go with it are kept."""

    def __init__(self, fd: int, lanes: tuple[Lane | None, ...]) -> None:
        duplicate = os.dup(fd)

        def send(conn: standard.Connection, pid: int) -> None:
            reduction.send_handle(conn, duplicate, pid)

        def close(kept: Any = lanes) -> None:
            os.close(duplicate)

        self._id = _sharer._resource_sharer.register(send, close)


def rebuild_connection(
    duplicate: Any, readable: bool, writable: bool, incoming: Any = None, outgoing: Any = None
) -> Connection:
    """Return the connection in the process that it was sent to."""
    lanes = [named and attach(*named) for named in (incoming, outgoing)]
    return Connection(duplicate.detach(), readable, writable)._use(*lanes)


reduction.register(Connection, reduce_connection)
