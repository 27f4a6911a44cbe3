"""A queue for event loops: `_reader` and `_writer` as on a pipe, `aget` and `aput`.

Programs wait for several queues by giving `queue._reader` to `select`, `selectors`, asyncio's
`add_reader` or `multiprocessing.connection.wait`, and so does the standard library, in its pool and
executor. The first use makes an event descriptor and a thread that watches the queue (watch.py).
A queue that nobody watches costs nothing of this.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from contextlib import suppress
from functools import partial
from operator import attrgetter
from queue import Empty, Full
from typing import TYPE_CHECKING, Any, TypeVar

from .._backend import transport as core
from .._rlock import RLock
from ..errors import QueueFullError, ShmFullError, ShutDown

if TYPE_CHECKING:
    from collections.abc import Callable

    from .watch import Watch

T = TypeVar("T")

MEMORY_PAUSE = 0.01
"""Seconds between tries of `aput` while the queue has room and the arena has not."""


# --- What a process remembers of the ends of a queue --------------------------------------


class State:
    """The ends of a queue in this process; the objects that show them are made on demand."""

    def __init__(self) -> None:
        self.closed: set[str] = set()
        self.showing: weakref.WeakValueDictionary[str, _End] = weakref.WeakValueDictionary()
        self.renew()
        _states.add(self)

    def renew(self) -> None:
        """Start without locks held and without watches."""
        self.lock = RLock()
        self.locks = {"_rlock": threading.Lock(), "_wlock": threading.Lock()}
        self.kept: list[Any] = []
        self.watches: dict[str, Watch] = {}

    def abandon(self) -> None:
        """In a forked child: start anew."""
        for watch in self.watches.values():
            watch.abandon()
        self.renew()

    def watch(self, queue: Any, side: str) -> Watch:
        """Return the watch of *queue* that uses its method *side*; makes it at first."""
        with self.lock:
            if side not in self.watches:
                from .watch import Watch

                handle = core.MessageQueue()
                handle._attach(*queue._handle)
                places = handle.qsize if side == "_poll" else partial(_room, handle)
                watch = self.watches[side] = Watch(handle, getattr(handle, side), places)
                weakref.finalize(queue, watch.close).atexit = False
                queue._watched = True
            return self.watches[side]

    def close(self) -> None:
        """End the watches: the queue is closed here."""
        with self.lock:
            for watch in self.watches.values():
                watch.close()


def _room(queue: Any) -> int:
    """Return for how many items there is room, at some moment."""
    return queue._maxsize - int(queue.qsize()) if queue._maxsize else sys.maxsize


_states: weakref.WeakSet[State] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for state in _states:
        state.abandon()


os.register_at_fork(after_in_child=_after_fork_in_child)


# --- The ends -----------------------------------------------------------------------------


class _End:
    """One end of a queue, as the `Connection` of a pipe's end."""

    name: str

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self._state: State = queue._state

    def __reduce__(self) -> tuple[Any, ...]:
        return attrgetter(self.name), (self._queue,)

    @property
    def closed(self) -> bool:
        """Whether this end or the queue was closed in this process."""
        return self._queue._closed or self.name in self._state.closed

    def close(self) -> None:
        """Close this end in this process, and nothing else of the queue."""
        self._state.closed.add(self.name)

    def _check_open(self) -> None:
        if self.closed:
            raise OSError(f"handle is closed: {self.name} of {self._queue!r}")


class Reader(_End):
    """The end that items come out of: `recv`, `poll`, and `fileno` for `select`.

    Every method raises OSError when the end is closed. While `_rlock` is held, `poll` takes the
    item that it tells of and keeps it for `recv`: its holder relies on it that nobody else
    takes it.
    """

    name = "_reader"

    def fileno(self) -> int:
        """Return a descriptor that is readable while there is an item or the queue is shut down."""
        self._check_open()
        return self._state.watch(self._queue, "_poll").fileno()

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Wait until `recv` would not block; return whether it would not.

        Args:
            timeout: seconds; None for ever.
        """
        self._check_open()
        if self._state.kept:
            return True
        if not self._state.locks["_rlock"].locked():
            return bool(self._queue._poll(timeout))
        try:
            self._state.kept.append(self._queue.get(True, timeout))
        except Empty:
            return False
        except ShutDown:
            pass
        return True

    def recv(self) -> Any:
        """Return the next item, waiting for one.

        Raises:
            EOFError: the queue is shut down and empty.
        """
        self._check_open()
        with suppress(IndexError):
            return self._state.kept.pop()
        try:
            return self._queue.get()
        except ShutDown as error:
            raise EOFError("the queue is shut down") from error

    def close(self) -> None:
        super().close()
        if "_poll" in self._state.watches:
            self._state.watches["_poll"].close()


class Writer(_End):
    """The end that items are put into; `send` raises OSError when it is closed."""

    name = "_writer"

    def send(self, obj: Any) -> None:
        """Put *obj* into the queue."""
        self._check_open()
        self._queue.put(obj)


class EndLock:
    """The lock of an end, for code that takes it: the threads of this process exclude each other.

    `get` and `put` need none. Releasing `_rlock` puts back, at the end, what `poll` showed and
    nobody received.
    """

    def __init__(self, queue: Any, name: str) -> None:
        self._queue = queue
        self._lock = queue._state.locks[name]

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take the lock; return whether it was free in time, *timeout* in seconds."""
        if not block or timeout is None:
            return bool(self._lock.acquire(block))
        return bool(self._lock.acquire(True, max(0.0, timeout)))

    def release(self) -> None:
        """Release the lock, whoever took it.

        Raises:
            RuntimeError: nobody holds it.
        """
        kept = self._queue._state.kept
        while kept:
            _put_back(self._queue, kept.pop())
        self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc: object) -> None:
        self.release()


def _put_back(queue: Any, item: Any) -> None:
    try:
        queue._put_now(item, 0)
    except (Full, ShmFullError):
        queue._spill(item)


# --- What a queue gets from here ----------------------------------------------------------


class Bridged:
    """The part of a queue class that leads here."""

    @property
    def _state(self) -> State:
        if "_bridge" not in self.__dict__:
            self.__dict__.setdefault("_bridge", State())  # two threads may be the first
        state: State = self.__dict__["_bridge"]
        return state

    def _showing(self, kind: type[_End]) -> Any:
        """Return the end of that kind: the same object for as long as anybody has it."""
        showing = self._state.showing
        end = showing.get(kind.name)
        if end is None:
            end = showing[kind.name] = kind(self)
        return end

    @property
    def _reader(self) -> Reader:
        reader: Reader = self._showing(Reader)
        return reader

    @property
    def _writer(self) -> Writer:
        writer: Writer = self._showing(Writer)
        return writer

    @property
    def _rlock(self) -> EndLock:
        return EndLock(self, "_rlock")

    @property
    def _wlock(self) -> EndLock:
        return EndLock(self, "_wlock")

    def _poll(self, timeout: float | None = 0.0) -> bool:
        return bool(super()._poll(timeout))  # type: ignore[misc]

    def _taken(self) -> None:
        """Follow up a get: something was taken, or nothing was there. Called by `get`."""
        watch = self._state.watches.get("_poll")
        if watch is not None:
            watch.update()

    def _close_ends(self) -> None:
        if "_bridge" in self.__dict__:
            self._state.close()

    async def aget(self) -> Any:
        """Take the next item, waiting for it without blocking the event loop.

        Who came first, of the coroutines of this process, is first. Cancelling one, also by
        `asyncio.timeout`, loses no item. There is one thread per queue, and none per call.

        Raises:
            ValueError: the queue is closed, or shut down and empty.
        """
        return await self._in_turn("_poll", self.get_nowait, Empty)  # type: ignore[attr-defined]

    async def aput(self, obj: Any) -> None:
        """Put *obj*, waiting for room without blocking the event loop; else as `aget`.

        Raises:
            ValueError: the queue is closed or shut down.
        """
        put = partial(self._put_at_once, obj)
        while not await self._in_turn("_poll_room", put, Full):
            from asyncio import sleep

            await sleep(MEMORY_PAUSE)  # nothing tells that there is memory again

    def _put_at_once(self, obj: Any) -> bool:
        """Put *obj*; false: there is room for it, but no memory."""
        try:
            self.put_nowait(obj)  # type: ignore[attr-defined]
        except QueueFullError:
            return False
        return True

    async def _in_turn(self, side: str, attempt: Callable[[], T], not_now: type[Exception]) -> T:
        """Return what *attempt* does, when all who came before have had their turn.

        There is no `await` between taking an item and returning it, so no cancellation either.
        """
        watch = self._state.watches.get(side)
        if watch is None or not watch.crowded:
            with suppress(not_now):
                return attempt()
            watch = self._state.watch(self, side)
        ahead = False
        while True:
            turn = watch.line_up(ahead)
            try:
                await turn
                with suppress(not_now):
                    return attempt()
            finally:
                watch.through(turn)
            ahead = True  # another process was faster

    def __aiter__(self) -> Bridged:
        return self

    async def __anext__(self) -> Any:
        """Take the next item; the end of the queue is its shutdown."""
        try:
            return await self.aget()
        except ShutDown:
            raise StopAsyncIteration from None
