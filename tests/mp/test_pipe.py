"""`Pipe`: the standard Connection, whose large messages travel in shared memory."""

from __future__ import annotations

import gc
import io
import multiprocessing
import multiprocessing.connection
import os
import pickle
import selectors
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import zeroipc.mp as mp
from zeroipc import errors
from zeroipc.mp import lane, transport
from zeroipc.mp.connection import Connection, Pipe

METHODS = multiprocessing.get_all_start_methods()
LARGE = np.arange(3 * lane.LARGE // 8)
OBJECTS: dict[str, Any] = {
    "none": None,
    "small": ("step", 3, 0.5),
    "text": "grüße" * lane.LARGE,
    "bytes": b"x" * lane.LARGE,
    "bytearray": bytearray(b"y" * 2 * lane.LARGE),
    "list": list(range(lane.LARGE)),
    "array": LARGE,
    "small array": np.ones((3, 4), "f4"),
    "fortran": np.asfortranarray(LARGE.reshape(3, -1)),
    "strided": LARGE[::3],
    "dates": LARGE.astype("M8[s]"),
    "parts": {"a": LARGE, "b": [LARGE[: lane.PART], b"z"]},
    "many small parts": [LARGE[: lane.PART // 16]] * 40,
    "parts in the pipe": [np.arange(lane.PART // 8), b"z"],
    "objects": np.array([{}, None] * lane.LARGE),
}


def same(left: Any, right: Any) -> bool:
    """Return whether two objects are equal, arrays in them included."""
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and bool(np.array_equal(left, right))
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    return type(left) is type(right) and bool(left == right)


def send_later(conn: Any, obj: Any) -> threading.Thread:
    """Send in a thread, because what goes through the pipe itself waits for its reader."""
    thread = threading.Thread(target=conn.send, args=(obj,))
    thread.start()
    return thread


def live_blocks() -> int:
    """Return how many blocks are not free; those of earlier tests may go at any time."""
    gc.collect()
    transport.home().arena.sweep()  # children of earlier tests had some
    return int(transport.home().arena.stats()["blocks_live"])


# --- What arrives -------------------------------------------------------------------------


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("duplex", [True, False])
def test_objects_arrive_as_they_were(name: str, duplex: bool) -> None:
    receiver, sender = Pipe(duplex)
    thread = send_later(sender, OBJECTS[name])
    received = receiver.recv()
    thread.join()
    assert same(received, OBJECTS[name])
    assert not receiver.poll()


@pytest.mark.parametrize("name", OBJECTS)
def test_bytes_of_an_object_are_its_whole_pickle(name: str) -> None:
    receiver, sender = Pipe()
    thread = send_later(sender, OBJECTS[name])
    data = receiver.recv_bytes()
    thread.join()
    for _ in range(2):
        assert same(pickle.loads(data), OBJECTS[name])


def test_a_connection_of_the_standard_library_reads_ours() -> None:
    receiver, sender = Pipe()
    foreign = multiprocessing.connection.Connection(os.dup(receiver.fileno()))
    receiver.close()
    for _ in range(3):
        sender.send({"a": LARGE})
        assert same(foreign.recv(), {"a": LARGE})
    foreign.send(LARGE[:100])
    assert same(sender.recv(), LARGE[:100])
    foreign.close()


def test_large_array_is_received_without_a_copy_and_is_the_receivers_own() -> None:
    receiver, sender = Pipe()
    before = live_blocks()
    sender.send(LARGE)
    sender.send([LARGE, LARGE])
    array, (first, second) = receiver.recv(), receiver.recv()
    assert live_blocks() <= before + 2
    for one in (array, first, second):
        one[:] = 0
    assert LARGE[1] == 1
    del array, first, second, one
    assert live_blocks() <= before


def test_loans_move() -> None:
    receiver, sender = Pipe()
    loan = mp.asarray(LARGE)
    sender.send(loan)
    assert not loan.flags.writeable
    with pytest.raises(errors.MovedError):
        sender.send(loan)
    assert same(receiver.recv(), LARGE)
    assert not receiver.poll()


def test_order_is_kept_whatever_way_messages_take() -> None:
    receiver, sender = Pipe(False)
    items = [LARGE[: int(n)] for n in np.random.default_rng(1).integers(1, LARGE.size, 200)]

    def send_all() -> None:
        for item in items:
            sender.send(item)

    thread = threading.Thread(target=send_all)
    thread.start()
    for item in items:
        assert same(receiver.recv(), item)
    thread.join()


def test_sender_waits_for_the_reader() -> None:
    receiver, sender = Pipe(False)

    def send_all() -> None:
        for _ in range(500):
            sender.send(LARGE)

    thread = threading.Thread(target=send_all)
    thread.start()
    for _ in range(500):
        assert receiver.recv().size == LARGE.size
        assert transport.home().arena.stats()["reserved"] < 64 << 20
    thread.join()


def test_what_finds_no_room_goes_through_the_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver, sender = Pipe()

    def full(*_: Any) -> None:
        raise errors.ShmFullError("full", 1)

    monkeypatch.setattr(lane.Lane, "put", full)
    for name in ("array", "parts", "bytes", "fortran"):
        thread = send_later(sender, OBJECTS[name])
        assert same(receiver.recv(), OBJECTS[name])
        thread.join()


def test_full_arena_spills_into_the_pipe() -> None:
    receiver, sender = Pipe()
    with pytest.raises(lane._NoRoomError):
        sender._outgoing._spill(None)  # type: ignore[union-attr]
    sender.send(1)
    assert receiver.recv() == 1


def test_messages_out_of_order_and_orphans() -> None:
    receiver, sender = Pipe()
    line: Any = sender._outgoing
    line.offer("nobody asks for this")
    late = lane._encode_large("late", 0, line)
    early = lane._encode_large("early", 0, line)
    for token in (early, late):
        sender.send_bytes(token)
    assert (receiver.recv(), receiver.recv()) == ("early", "late")


def test_received_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "_PATIENCE", 0.0)
    receiver, sender = Pipe()
    assert sender._outgoing is not None
    token = lane._encode_large("once", 0, sender._outgoing)
    for _ in range(2):
        sender.send_bytes(token)
    assert receiver.recv() == "once"
    with pytest.raises(OSError, match="the message was received before"):
        receiver.recv()


# --- The standard interface ---------------------------------------------------------------


@pytest.mark.parametrize("make", [multiprocessing.Pipe, Pipe])
def test_bytes(make: Callable[..., Any]) -> None:
    a, b = make()
    a.send_bytes(b"abcdef", 2, 3)
    assert b.recv_bytes(3) == b"cde"
    a.send_bytes(b"")
    assert b.recv_bytes() == b""
    a.send_bytes(LARGE[:8])
    into = bytearray(70)
    assert b.recv_bytes_into(into, 6) == 64
    assert into[6:] == LARGE[:8].tobytes()
    a.send_bytes(bytes(20))
    with pytest.raises(multiprocessing.BufferTooShort) as info:
        b.recv_bytes_into(bytearray(8))
    assert info.value.args == (bytes(20),)
    for wrong in ((b"a", -1), (b"a", 2), (b"a", 0, -1), (b"a", 0, 2)):
        with pytest.raises(ValueError):
            a.send_bytes(*wrong)
    with pytest.raises(ValueError, match="negative maxlength"):
        b.recv_bytes(-1)


@pytest.mark.parametrize("obj", [b"abc", LARGE])
def test_too_long_a_message_ends_reading(obj: Any) -> None:
    a, b = Pipe(False)
    send_later(b, obj).join()
    with pytest.raises(OSError, match="bad message length"):
        a.recv_bytes(2)
    assert a.closed


@pytest.mark.parametrize("make", [multiprocessing.Pipe, Pipe])
def test_misuse(make: Callable[..., Any]) -> None:
    receiver, sender = make(False)
    assert (receiver.readable, receiver.writable) == (True, False)
    assert (sender.readable, sender.writable) == (False, True)
    with pytest.raises(OSError, match="connection is read-only"):
        receiver.send(1)
    with pytest.raises(OSError, match="connection is read-only"):
        receiver.send_bytes(b"")
    for receive in (sender.recv, sender.recv_bytes, sender.poll):
        with pytest.raises(OSError, match="connection is write-only"):
            receive()
    with sender:
        assert not sender.closed
    assert sender.closed
    sender.close()
    calls: list[Callable[[], Any]] = [lambda: sender.send(1), sender.recv, sender.fileno]
    for call in [*calls, sender.poll, sender.recv_bytes]:
        with pytest.raises(OSError, match="handle is closed"):
            call()
    with pytest.raises(EOFError):
        receiver.recv()


def test_what_cannot_be_pickled_is_named_and_nothing_is_sent() -> None:
    receiver, sender = Pipe()
    with pytest.raises(errors.UnpicklableError, match=r"cannot pickle obj\['f'\]"):
        sender.send({"f": lambda: 0, "a": LARGE})
    assert not receiver.poll()


def test_select_and_wait() -> None:
    (a, b), (c, d) = Pipe(), Pipe()
    assert isinstance(a, multiprocessing.connection.Connection)
    assert (a.poll(), a.poll(0.01), mp.connection.wait([a, c], 0)) == (False, False, [])
    d.send(LARGE)
    b.send(1)
    assert sorted(map(id, mp.connection.wait([a, c]))) == sorted(map(id, [a, c]))
    with selectors.DefaultSelector() as selector:
        selector.register(c, selectors.EVENT_READ)
        assert len(selector.select(5)) == 1
    assert c.recv().size == LARGE.size


def test_broken_pipe_gives_back_what_was_never_read() -> None:
    receiver, sender = Pipe(False)
    before = live_blocks()
    sender.send(LARGE)
    receiver.close()
    for _ in range(2):
        with pytest.raises(BrokenPipeError):
            sender.send(LARGE)
    assert live_blocks() <= before


def test_nothing_is_left_of_a_pipe() -> None:
    mp.SimpleQueue()  # reclaims what was dropped
    before = live_blocks(), transport.home().arena.stats()["queues"]
    for _ in range(50):
        receiver, sender = Pipe()
        sender.send(LARGE)
        del receiver, sender
    gc.collect()
    mp.SimpleQueue()
    assert live_blocks() <= before[0] + 1
    assert transport.home().arena.stats()["queues"] <= before[1] + 1


# --- Other processes ----------------------------------------------------------------------


def write(conn: Any, lock: Any, who: int) -> None:
    for number in range(EACH):
        with lock:
            conn.send((who, number, np.full(SIZES[number % 3], number)))


def read(conn: Any, lock: Any, seen: Any) -> None:
    while True:
        with lock:
            item = conn.recv() if seen.qsize() % 2 else pickle.loads(conn.recv_bytes())
            if item is None:
                return
            who, number, array = item
            assert (array == number).all()
            seen.put((who, number))


EACH = 40
SIZES = [10, lane.LARGE // 8, 3 * lane.LARGE]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_many_share_the_ends_under_locks(method: str) -> None:
    context = mp.get_context(method)
    receiver, sender = context.Pipe(False)
    locks, seen = (context.Lock(), context.Lock()), context.Queue()
    writers = [context.Process(target=write, args=(sender, locks[0], who)) for who in range(2)]
    readers = [context.Process(target=read, args=(receiver, locks[1], seen)) for _ in range(2)]
    for child in writers + readers:
        child.start()
    for child in writers:
        child.join()
    for _ in readers:
        sender.send(None)
    found = [seen.get(timeout=60) for _ in range(2 * EACH)]
    for child in readers:
        child.join()
    assert seen.empty()
    for who in range(2):
        assert [number for one, number in found if one == who] == list(range(EACH))


def echo(conn: Any) -> None:
    while (item := conn.recv()) is not None:
        conn.send(item)


def send_and_go(conn: Any) -> None:
    for number in range(5):
        conn.send((number, LARGE))


def use_passed(conn: Any) -> None:
    duplex, sender = conn.recv()
    sender.send([LARGE, duplex.recv()])
    duplex.send(LARGE)


@pytest.mark.parametrize("method", METHODS)
def test_echo(method: str) -> None:
    context = mp.get_context(method)
    here, there = context.Pipe()
    child = context.Process(target=echo, args=(there,))
    child.start()
    there.close()
    for name in ("small", "array", "parts", "bytes"):
        here.send(OBJECTS[name])
        assert same(here.recv(), OBJECTS[name])
    here.send(None)
    with pytest.raises(EOFError):
        here.recv()
    child.join()
    assert child.exitcode == 0


@pytest.mark.parametrize("method", METHODS)
def test_what_was_sent_outlives_its_sender(method: str) -> None:
    context = mp.get_context(method)
    receiver, sender = context.Pipe(False)
    child = context.Process(target=send_and_go, args=(sender,))
    child.start()
    sender.close()
    child.join()
    assert [same(receiver.recv(), (number, LARGE)) for number in range(5)] == [True] * 5
    with pytest.raises(EOFError):
        receiver.recv()


@pytest.mark.parametrize("method", METHODS)
def test_connections_go_through_a_pipe(method: str) -> None:
    context = mp.get_context(method)
    here, there = context.Pipe()
    child = context.Process(target=use_passed, args=(there,))
    child.start()
    (a, b), (receiver, sender) = Pipe(), Pipe(False)
    a.send(LARGE[1:])
    here.send((b, sender))
    b.close()
    sender.close()
    assert same(receiver.recv(), [LARGE, LARGE[1:]])
    assert same(a.recv(), LARGE)
    child.join()
    with pytest.raises(RuntimeError):
        here.send(mp.Queue())  # as in the standard library


def test_connection_through_a_queue_keeps_what_is_in_the_pipe() -> None:
    receiver, sender = Pipe(False)
    queue = mp.Queue()
    sender.send(LARGE)
    queue.put(receiver)
    receiver.close()
    sender.close()
    del receiver, sender
    gc.collect()
    mp.SimpleQueue()  # would reclaim it
    received = queue.get()
    assert isinstance(received, Connection)
    assert same(received.recv(), LARGE)
    with pytest.raises(EOFError):
        received.recv()


def test_message_that_is_none_of_ours_stays_as_it_is() -> None:
    message = io.BytesIO(b"\x80\x05N.")
    assert lane.whole(message) is message


def test_ends_block_whatever_the_default_timeout_of_sockets(monkeypatch: Any) -> None:
    monkeypatch.setattr(socket, "socketpair", partial(limited_pair, socket.socketpair))
    assert [os.get_blocking(end.fileno()) for end in Pipe()] == [True, True]


def limited_pair(make: Callable[[], Any]) -> Any:
    """Return a pair of sockets as they are after `socket.setdefaulttimeout`."""
    pair = make()
    for end in pair:
        end.settimeout(0.1)
    return pair
