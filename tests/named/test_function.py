"""Functions that are served under a name: calls, errors, deaths, bytes."""

from __future__ import annotations

import concurrent.futures
import contextlib
import doctest
import os
import pickle
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import zeroipc.function
from tests.support.named import crew
from zeroipc import (
    CapacityError,
    ClosedError,
    DTypeError,
    Function,
    Memory,
    NameExistsError,
    OutOfRangeError,
    OwnerDiedError,
    RemoteError,
    SegmentFormatError,
    StructureNotFoundError,
    VersionError,
    WaitTimeoutError,
)
from zeroipc._core.named.layout import (
    FUNCTION,
    FUNCTION_CALL,
    FUNCTION_CALLED,
    FUNCTION_CLAIMED,
    FUNCTION_DONE,
    FUNCTION_RUNNING,
)

pytestmark = pytest.mark.usefixtures("backend")
NOBODY = 2**22 - 1
"""The owner tag of a process that does not exist."""
POINT = np.dtype([("x", "f8"), ("y", "f8")])


@contextlib.contextmanager
def serving(function: Function, work: Callable[..., Any], threads: int = 1) -> Iterator[None]:
    """Serve in threads of this process."""
    server = Function(function.memory, function.name, function._arguments, function._result.dtype)
    running = [threading.Thread(target=server.serve, args=(work,)) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        server.stop()
        for thread in running:
            thread.join()


def slot_of(memory: Memory, slot: int) -> memoryview:
    view = memory.view(memory.entry("f"))
    nbytes = (len(view) - FUNCTION.nbytes) // Function.open(memory, "f", "i8", "i8").slots
    return view[FUNCTION.nbytes + slot * nbytes :]


def state_of(memory: Memory, slot: int) -> int:
    (word,) = struct.unpack_from("<Q", slot_of(memory, slot))
    return int(word >> 32 & 0xFF)


def set_word(memory: Memory, state: int, tag: int, slot: int = 0) -> None:
    view = slot_of(memory, slot)
    struct.pack_into("<Q", view, 0, 1 << 40 | state << 32 | tag)
    struct.pack_into("<I", view, FUNCTION_CALL.client.offset, tag)


# --- one process ---


@pytest.mark.parametrize(
    ("arguments", "result", "work", "args", "wanted"),
    [
        ("f8", "f8", lambda x: x / 2, (3.0,), 1.5),
        (("i4", "f8", "S3"), "S8", lambda n, x, s: s * n, (2, 0.5, b"ab"), b"abab"),
        (POINT, "f8", lambda p: p["x"] + p["y"], ((1.0, 2.0),), 3.0),
        (("u1",), "?", lambda n: n > 3, (4,), True),
        ("i8", POINT, lambda n: (n, n), (2,), (2.0, 2.0)),
    ],
)
def test_types(
    memory: Memory, arguments: Any, result: Any, work: Any, args: Any, wanted: Any
) -> None:
    f = Function(memory, "f", arguments, result, slots=2)
    with serving(f, work):
        found = f(*args)
        assert (found.item() if isinstance(found, np.void) else found) == wanted
        assert f.submit(*args).result() == found


def test_errors_come_back_with_their_text(memory: Memory) -> None:
    f = Function(memory, "f", "i8", "u1")
    with serving(f, lambda x: {1: 1, 300: 300}[x]):
        with pytest.raises(RemoteError, match="KeyError: 2"):
            f(2)
        with pytest.raises(RemoteError, match="from 0 to 255"):
            f(300)
        assert isinstance(f.submit(2).exception(), RemoteError)
        assert f(1) == 1


def test_refuses_arguments_that_do_not_fit(memory: Memory) -> None:
    f = Function(memory, "f", ("u1", "i4"), "i4", slots=2)
    before = bytes(memory.buf)
    with pytest.raises((DTypeError, OutOfRangeError)):
        f(256, 1)
    for args in ((1,), (1, 2, 3), (), ("a", 1)):
        with pytest.raises(DTypeError):
            f(*args)
    one = Function(memory, "one", "i4", "i4", slots=2)
    with pytest.raises(DTypeError, match="one argument"):
        one(1, 2)
    assert bytes(memory.buf)[: len(before)][2000:2100] == before[2000:2100]
    with pytest.raises(DTypeError, match="at least one"):
        Function(memory, "none", (), "i4")


def test_times_out_and_drops_what_comes_late(memory: Memory) -> None:
    f = Function(memory, "f", "i8", "i8", slots=2)
    with pytest.raises(WaitTimeoutError, match="no result"):
        f(1, timeout=0.01)  # nobody serves
    assert "calls=0/2" in repr(f)
    running, go_on = threading.Event(), threading.Event()

    def slow(x: int) -> int:
        running.set()
        go_on.wait()
        return x

    with serving(f, slow):
        future = f.submit(7)
        running.wait()
        running.clear()
        with pytest.raises(WaitTimeoutError):
            f(2, timeout=0.01)
        go_on.set()
        assert future.result() == 7
        go_on.clear()
        with pytest.raises(WaitTimeoutError):
            f(3, timeout=0.05)  # a server is at it
        go_on.set()
        assert f(4) == 4
    assert "calls=0/2" in repr(f)


def test_waits_for_a_slot(memory: Memory) -> None:
    f = Function(memory, "f", "i8", "i8", slots=2)
    futures = [f.submit(i) for i in range(2)]
    with pytest.raises(WaitTimeoutError, match="no free slot"):
        f(3, timeout=0.01)
    with serving(f, lambda x: x * 10):
        assert f(3) == 30
        assert [future.result() for future in futures] == [0, 10]


def test_lower_tickets_are_served_first(memory: Memory) -> None:
    f = Function(memory, "f", "i8", "i8", slots=8)
    futures = [f.submit(i) for i in range(8)]
    order: list[int] = []
    while f.serve_one(lambda x: order.append(x) or x, timeout=0):  # type: ignore[func-returns-value]
        pass
    assert order == list(range(8))
    assert [future.result() for future in futures] == order


def test_futures_can_be_cancelled_until_they_run(memory: Memory) -> None:
    f = Function(memory, "f", "i8", "i8", slots=2)
    first, second = f.submit(1), f.submit(2)
    assert second.cancel()
    served: list[int] = []
    f.serve_one(lambda x: served.append(x) or x)  # type: ignore[func-returns-value]
    assert first.result() == 1
    assert concurrent.futures.wait([first, second]).not_done == set()
    assert not f.serve_one(lambda x: x, timeout=0)
    assert served == [1]


def test_a_future_that_the_user_has_set_hinders_no_other(memory: Memory) -> None:
    f = Function(memory, "f", "i8", "i8", slots=2)
    first, second = f.submit(1), f.submit(2)
    first.set_result(0)
    while f.serve_one(lambda x: x, timeout=0.1):
        pass
    assert (first.result(), second.result()) == (0, 2)
    assert (f.submit(3).cancel(), f.submit(4).cancel()) == (True, True)  # there are slots


def test_a_call_for_which_no_thread_starts_leaves_nothing(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    f = Function(memory, "f", "i8", "i8", slots=1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="can't start"):
            f.submit(1)
    with serving(f, abs):
        assert f.submit(-2).result(60) == 2


def test_maps_in_order(memory: Memory) -> None:
    f = Function(memory, "f", ("i8", "i8"), "i8", slots=4)
    with serving(f, lambda x, y: x - y, threads=2):
        assert list(f.map(range(50), range(50, 100))) == [-50] * 50
        assert list(f.map([], [])) == []
        for value in f.map(iter(int, 1), range(5)):  # endless
            assert value <= 0
    with pytest.raises(WaitTimeoutError):
        list(f.map([1], [2], timeout=0.01))
    with serving(f, lambda x, y: x // y), pytest.raises(RemoteError, match="ZeroDivision"):
        list(f.map([1, 1, 1], [1, 0, 1]))


def test_stop_ends_all_servers_of_a_handle(memory: Memory) -> None:
    f = Function(memory, "f", "i8", "i8")
    with serving(f, abs, threads=3):
        assert f(-1) == 1
    f.stop()
    assert not f.serve_one(abs)
    f.serve(abs)


def test_an_interrupt_ends_serving_and_fails_the_call(memory: Memory) -> None:
    f = Function(memory, "f", "i8", "i8")
    future = f.submit(1)

    def interrupted(x: int) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        f.serve(interrupted)
    with pytest.raises(RemoteError, match="KeyboardInterrupt"):
        future.result()


def test_opens_only_what_fits(memory: Memory) -> None:
    with pytest.raises(StructureNotFoundError):
        Function.open(memory, "f", "i8", "i8")
    Function.create(memory, "f", "i8", "i8", slots=3)
    with pytest.raises(NameExistsError):
        Function.create(memory, "f", "i8", "i8")
    with pytest.raises(DTypeError, match="arguments"):
        Function(memory, "f", "i4", "i8")
    with pytest.raises(DTypeError, match="results"):
        Function(memory, "f", "i8", "i4")
    with pytest.raises(CapacityError, match="must be 3"):
        Function(memory, "f", "i8", "i8", slots=4)
    for slots in (0, 65537):
        with pytest.raises(CapacityError):
            Function(memory, "g", "i8", "i8", slots=slots)
    assert Function(memory, "f", "i8", "i8").slots == 3
    header = memory.view(memory.entry("f")).cast("I")
    header[1] = 1000
    with pytest.raises(SegmentFormatError, match="1000 slots"):
        Function(memory, "f", "i8", "i8")
    header[0] = 2
    with pytest.raises(VersionError):
        Function(memory, "f", "i8", "i8")
    memory.add("short", 8, lambda view: None)
    with pytest.raises(SegmentFormatError, match="not a function"):
        Function(memory, "short", "i8", "i8")


def test_closes_pickles_and_shows_itself(memory: Memory) -> None:
    with Function(memory, "f", ("i8", "i4"), "i8") as f:
        assert repr(f).startswith("<Function 'f', calls=0/64, ")
        again = pickle.loads(pickle.dumps(f))
        future = again.submit(2, 3)
        assert f.serve_one(pow)
        assert future.result() == 8
    with pytest.raises(ClosedError):
        f(1, 2)


# --- what the dead leave ---


@pytest.mark.parametrize(
    "state", [FUNCTION_CLAIMED, FUNCTION_CALLED, FUNCTION_DONE, FUNCTION_RUNNING]
)
def test_slots_of_the_dead_are_taken_back(memory: Memory, state: int) -> None:
    f = Function(memory, "f", "i8", "i8", slots=2)
    for slot in range(2):
        set_word(memory, state, NOBODY, slot)
    future = f.submit(5)
    while not future.done():
        f.serve_one(abs, timeout=1)
    assert future.result() == 5


def test_a_server_that_dies_fails_its_call_only(memory: Memory) -> None:
    f = Function(memory, "f", "i8", "i8", slots=4)
    with crew() as others:
        victim = others.start(serve_for_ever, memory.name, backend="pure")
        doomed = f.submit(-1)
        while not doomed.running():
            os.sched_yield()
        waiting = [f.submit(i) for i in range(3)]
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
    with pytest.raises(OwnerDiedError, match=f"process {victim.pid} died"):
        doomed.result()
    with serving(f, abs):
        assert [future.result() for future in waiting] == [0, 1, 2]
        assert f(-7) == 7


def serve_for_ever(name: str) -> None:
    def work(x: int) -> int:
        if x < 0:
            signal.pause()
        return x

    Function.open(Memory(name), "f", "i8", "i8").serve(work)


def test_a_direct_call_notices_the_death_too(memory: Memory) -> None:
    f = Function(memory, "f", "i8", "i8", slots=4)
    with crew() as others:
        victim = others.start(serve_for_ever, memory.name)

        def kill() -> None:
            while not any(state_of(memory, slot) == FUNCTION_RUNNING for slot in range(4)):
                os.sched_yield()
            victim.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(OwnerDiedError):
            f(-1)
        killer.join()


def test_random_kills_of_servers_and_clients(memory: Memory) -> None:
    f = Function(memory, "f", "i8", "i8", slots=4)
    with crew() as steady:
        steady.start(serve_all, memory.name, backend="native")
        for turn in range(8):
            with crew() as others:
                others.start(serve_all, memory.name)
                others.start(call_for_ever, memory.name)
                time.sleep(0.02 * (turn % 4 + 1))  # killed anywhere in their work
        done = [call_once(f, i) for i in range(200)]
        assert done == [i * 2 for i in range(200)]


def call_once(f: Function, i: int) -> int:
    try:
        return int(f(i, timeout=60))
    except OwnerDiedError:
        return int(f(i, timeout=60))


def serve_all(name: str) -> None:
    Function.open(Memory(name), "f", "i8", "i8").serve(lambda x: x * 2)


def call_for_ever(name: str) -> None:
    f = Function.open(Memory(name), "f", "i8", "i8")
    while True:
        with contextlib.suppress(OwnerDiedError):
            assert f(21) == 42


@pytest.mark.parametrize("word", [7 << 32, 255 << 32, 2**64 - 1])
def test_damaged_slots(memory: Memory, word: int) -> None:
    f = Function(memory, "f", "i8", "i8", slots=1)
    future = f.submit(1)
    view = memory.view(memory.entry("f"))
    (seen,) = struct.unpack_from("<Q", view, FUNCTION.nbytes)
    struct.pack_into("<Q", view, FUNCTION.nbytes, seen & ~(2**40 - 1) | word & (2**40 - 1))
    with pytest.raises(SegmentFormatError, match="damaged"):
        future.result()
    assert not f.serve_one(abs, timeout=0)
    assert f.repair() == 1
    future = f.submit(-2)
    assert f.serve_one(abs)
    assert future.result() == 2


def test_a_repair_fails_calls_under_way(memory: Memory) -> None:
    f = Function(memory, "f", "i8", "i8", slots=1)
    future = f.submit(1)
    assert Function.open(memory, "f", "i8", "i8").repair() == 1
    with pytest.raises(OwnerDiedError, match="repaired"):
        future.result()


# --- several processes ---


def test_several_servers_and_clients(memory: Memory) -> None:
    Function(memory, "f", "i8", "i8", slots=4)
    with crew() as servers, crew() as clients:
        for _ in range(2):
            servers.start(serve_all, memory.name)
        for number in range(3):
            clients.start(map_range, memory.name, number * 1000)
        for number, values in enumerate(clients.results()):
            assert values == [2 * (number * 1000 + i) for i in range(150)]


def map_range(name: str, start: int) -> list[int]:
    f = Function.open(Memory(name), "f", "i8", "i8")
    half = list(f.map(range(start, start + 75)))
    return half + [f(i) for i in range(start + 75, start + 150)]


def test_a_forked_child_has_calls_of_its_own(memory: Memory) -> None:
    f = Function(memory, "f", "i8", "i8", slots=4)
    pending = f.submit(-1)
    with crew() as others:
        others.start(lambda: f.submit(-5).result())
        for _ in range(2):
            f.serve_one(abs)
        assert others.results() == [5]
    assert pending.result() == 1


def test_bytes_of_a_call(memory: Memory) -> None:
    """As a server in another language would answer it, by the specification."""
    f = Function(memory, "f", ("i4", "f8"), "i8", slots=2)
    future = f.submit(3, 0.5)
    view = memory.view(memory.entry("f"))
    assert struct.unpack_from("<IIIIQ", view) == (1, 2, 16, 8, 1)
    start, stride = 192, 320
    assert len(view) == start + 2 * stride
    word, ticket, client = struct.unpack_from("<QQI", view, start)
    assert (word >> 40, word >> 32 & 0xFF, ticket) == (1, FUNCTION_CALLED, 0)
    assert (word & 2**32 - 1, client & 2**22 - 1) == (client, os.getpid())
    assert struct.unpack_from("<i4xd", view, start + 24) == (3, 0.5)
    struct.pack_into("<q", view, start + 40, -9)
    struct.pack_into("<Q", view, start, 1 << 40 | FUNCTION_DONE << 32 | client)
    assert future.result() == -9
    assert struct.unpack_from("<Q", view, start) == (1 << 40,)


def test_the_example() -> None:
    assert doctest.testmod(zeroipc.function).failed == 0
