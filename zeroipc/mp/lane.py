"""How a large message of a pipe travels: its bytes in shared memory, a token for them in the pipe.

The token is a pickle like any other message, so whoever reads the descriptor may unpickle it, with
or without a Connection of ours. Unpickled, it takes the bytes out of the lane.

Callers   any process that has an end of the pipe, or reads a token
Progress  never waits for room: a message that finds none travels in the pipe, which waits for its
          reader. A token is padded in proportion to its message, so that a pipe full of tokens
          stands for some megabytes, and the sender waits for the reader as it always did
Crash     a message is in the lane before its token is in the pipe; who dies in between leaves
          bytes that nobody asks for. They go, as does what was never read, with the last process
          that has an end of the pipe
Bytes     a message queue of the arena; its items are (key, buffers)
"""

from __future__ import annotations

import io
import itertools
import os
import pickle
import sys
import time
import weakref
from multiprocessing.reduction import ForkingPickler
from pickle import PickleBuffer
from queue import Empty
from typing import Any

from .._backend import transport as core
from .._core.pickling import PROTOCOL, dump_any
from ..errors import ClosedError, ShmFullError
from . import transport

LARGE = 1 << 16
"""Bytes from which on a message is faster through the lane than through the pipe."""
PART = 1 << 14
"""Bytes from which on a buffer of an object is not copied into its pickle."""

_SCALARS = frozenset((type(None), bool, int, float, str, bytes))
_FEW = 16
"""Most items of a container that is looked through before it is pickled."""

_SHARE = 128
"""A message of so many bytes makes its token a byte longer."""
_PADDING_MAX = 60000
"""Bytes of padding that leave room for a token in a pipe of 64 KB."""

_PATIENCE = 60.0
"""Seconds to look for bytes whose token has come: they are there, but their queue may be locked."""
_LOOK = 0.05

_PROTO = b"\x80\x05"
_MODULE = f"c{__name__}\n".encode()
_TAKE = _PROTO + _MODULE + b"take\n"
_JOIN = _PROTO + _MODULE + b"join\n"
_CALL = b"R."
"""Opcodes: the protocol; the function; after its arguments, the call and the end."""

Key = tuple[int, int]


class _NoRoomError(Exception):
    """The arena has no room now. It never leaves this file."""


class Lane(core.MessageQueue):  # type: ignore[misc, name-defined]
    """The bytes of one direction of a pipe, for all processes that have an end of it.

    Args:
        handle: (arena, slot, generation) of a lane to attach; None for a new one.

    Raises:
        ClosedQueueError: the lane is gone.
        ShmFullError: no memory is left for a new one.
    """

    def __init__(self, handle: tuple[Any, int, int] | None = None) -> None:
        if handle is None:
            arena = transport.home().arena
            handle = arena, *arena.create_queue(0, core.NOTE_NOTHING, False)
        self._attach(*handle)
        self._numbers = itertools.count()
        self._early: dict[Key, Any] = {}
        self._told: tuple[int, bytes] = 0, b""
        _lanes[self.name] = self

    @property
    def name(self) -> tuple[int, int, int]:
        """What tells the lane from all others."""
        arena, slot, generation = self._handle
        return arena.token, slot, generation

    def where(self) -> bytes:
        """Return what a process that does not have the lane finds it by; see `where_for`."""
        pid, where = self._told
        if pid != os.getpid():
            where = self.where_for(None)
            self._told = os.getpid(), where
        return where

    def where_for(self, popen: Any) -> bytes:
        """Return, pickled, what the child that *popen* starts finds the lane by; None: anybody."""
        arena, slot, generation = self._handle
        address = transport.arena_of(arena.token).address(popen)
        return pickle.dumps((address, slot, generation), PROTOCOL)

    def offer(self, item: Any) -> Key | None:
        """Put what is large; return what it is asked for by, None: there is no room for it."""
        key = self._handle[0].identity, next(self._numbers)
        try:
            self.put((key, item))
        except (_NoRoomError, ShmFullError, ClosedError):
            return None
        return key

    def take(self, key: Key) -> Any:
        """Return what was offered by *key*, whose token has come.

        Senders that share an end may have put theirs in another order than their tokens.

        Raises:
            OSError: somebody else has taken it.
        """
        deadline = time.monotonic() + _PATIENCE
        while key not in self._early:
            try:
                found, item = self.get(timeout=_LOOK)
            except Empty:
                if time.monotonic() > deadline:
                    raise OSError(f"the message was received before: key={key}") from None
            else:
                self._early[found] = item
        return self._early.pop(key)

    def abandon(self) -> None:
        """Give back what was never read: nobody can read from the pipe any more."""
        self._shutdown(True)

    def _spill(self, obj: Any) -> None:
        raise _NoRoomError


_lanes: weakref.WeakValueDictionary[tuple[int, int, int], Lane] = weakref.WeakValueDictionary()
"""Those that this process has, by name."""


def attach(name: tuple[int, int, int], where: bytes) -> Lane:
    """Return the lane called *name*, which is attached if it is not yet."""
    lane = _lanes.get(name)
    if lane is None:
        address, slot, generation = pickle.loads(where)
        lane = Lane((transport.attach(address).arena, slot, generation))
    return lane


# --- Messages -----------------------------------------------------------------------------


def encode(obj: Any, lane: Lane) -> Any:
    """Return the message that stands for *obj* in the pipe; what is large is in *lane* then.

    Raises:
        UnpicklableError: with the path from *obj* to what cannot be pickled.
    """
    if _is_plain(obj):
        return _encode_plain(obj, lane)
    if not _is_array(obj):
        return _encode_any(obj, lane)
    if obj.nbytes < LARGE:
        return ForkingPickler.dumps(obj)
    return _encode_large(obj, obj.nbytes, lane) or _encode_any(obj, lane)


def _encode_plain(obj: Any, lane: Lane) -> bytes:
    if type(obj) is bytes and len(obj) >= LARGE:
        token = _encode_large(Copied(obj), len(obj), lane)
        if token is not None:
            return token
    data = pickle.dumps(obj, PROTOCOL)
    return data if len(data) < LARGE else _encode_large(obj, len(data), lane) or data


def _is_plain(obj: Any) -> bool:
    """Return whether pickling *obj* runs no code of the user and needs no registration."""
    kind = type(obj)
    if kind is tuple or kind is list:
        return len(obj) <= _FEW and _SCALARS.issuperset(map(type, obj))
    return kind in _SCALARS


def _is_array(obj: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(obj) is numpy.ndarray and not obj.dtype.hasobject


def _encode_any(obj: Any, lane: Lane) -> bytes:
    buffers: list[PickleBuffer] = []
    data = dump_any(obj, buffers, PART)
    nbytes = len(data) + sum(buffer.raw().nbytes for buffer in buffers)
    token = _encode_large(Joined(data, buffers), nbytes, lane) if nbytes >= LARGE else None
    return token or (_call(_JOIN, (data, *buffers)) if buffers else data)


def _encode_large(item: Any, nbytes: int, lane: Lane) -> bytes | None:
    """Put *item* into *lane*; return what to send in its place, None: there is no room."""
    key = lane.offer(item)
    if key is None:
        return None
    padding = bytes(min(nbytes // _SHARE, _PADDING_MAX))
    return _call(_TAKE, (lane.name, lane.where(), key)) + padding


class Copied:
    """Bytes that are not copied into a pickle; received, they are bytes again."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return bytes, (PickleBuffer(self._data),)


class Joined:
    """A pickle and the buffers that it left out; received, it is the object."""

    def __init__(self, data: bytes, buffers: list[PickleBuffer]) -> None:
        self._parts = data if len(data) < LARGE else PickleBuffer(data), *buffers

    def __reduce__(self) -> tuple[Any, ...]:
        return join, self._parts


def join(data: Any, *buffers: Any) -> Any:
    """Return the object of a pickle and the buffers that it left out."""
    return pickle.loads(data, buffers=buffers)


def take(name: tuple[int, int, int], where: bytes, key: Key) -> Any:
    """Return the object that a token stands for."""
    return attach(name, where).take(key)


def _call(function: bytes, arguments: tuple[Any, ...]) -> bytes:
    """Return the pickle of a call: that of the arguments, between other opcodes."""
    return function + pickle.dumps(arguments, PROTOCOL)[len(_PROTO) : -1] + _CALL


def whole(message: io.BytesIO) -> io.BytesIO:
    """Return the message, with everything in it if it is one of ours."""
    found = message.getbuffer()
    if found[: len(_PROTO + _MODULE)] != _PROTO + _MODULE:
        return message
    plain = io.BytesIO()
    plain.write(pickle.dumps(pickle.loads(found), PROTOCOL))
    return plain
