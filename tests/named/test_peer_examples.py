"""The worked examples of SPECIFICATION.md: Python makes these bytes, and the peer reads them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.support.peer import Peer
from tests.support.programs import ROOT
from zeroipc import (
    Channel,
    Function,
    Future,
    Lazy,
    Map,
    Memory,
    Pool,
    Queue,
    Ring,
    Set,
    Stack,
    Stream,
)
from zeroipc.sync import Barrier, Event, Latch, Monitor, Mutex, Once, RWLock, Semaphore, Signal

pytestmark = pytest.mark.usefixtures("backend")
TEXT = (ROOT / "SPECIFICATION.md").read_text(encoding="utf-8")
HEX_LINE = re.compile(r"^([0-9a-f]{4}) {2}((?:[0-9A-F]{2} +)*[0-9A-F]{2})(?: {3}|$)", re.MULTILINE)
HEADINGS = set(re.findall(r"^### (Example of .*)$", TEXT, re.MULTILINE))


class Example(NamedTuple):
    """How to make what an example shows, and what a peer reads there."""

    make: Callable[[Memory], object]
    asked: list[tuple[str, str]]
    """Commands of the peer, and its answers."""
    varies: range = range(0)
    """Offsets of bytes that differ each time, such as the time."""


def make_queue(mem: Memory) -> None:
    items = Queue(mem, "it", 4, np.int32)
    items.push_many([7, 8, 9])
    assert items.pop() == 7


def make_ring(mem: Memory) -> None:
    samples = Ring(mem, "it", 3, np.int32)
    samples.write([10, 20])
    assert samples.pop() == 10
    samples.write([30, 40])


def make_stack(mem: Memory) -> None:
    items = Stack(mem, "it", 3, np.int32)
    items.push_many([5, 6, 7])
    assert items.pop() == 7


def make_map(mem: Memory) -> None:
    numbers = Map(mem, "it", 3, np.int32, np.int16)
    numbers.update({-1: 5, 2: 7, 5: 9})
    del numbers[2]


def make_semaphore(mem: Memory) -> None:
    seats = Semaphore(mem, "it", 3, 3)
    assert seats.acquire()
    assert seats.acquire()


def make_barrier(mem: Memory) -> None:
    barrier = Barrier(mem, "it", 1)
    barrier.wait()
    barrier.wait()


def make_channel(mem: Memory) -> None:
    channel = Channel(mem, "it", 2, "i2")
    channel.send(1)
    channel.send(2)
    assert channel.recv() == 1
    channel.close()


def make_pool(mem: Memory) -> None:
    pool = Pool(mem, "it", 3, "i2")
    first, second = pool.allocate(), pool.allocate()
    second.value = 7
    second.detach()
    first.free()


def make_signal(mem: Memory) -> None:
    Signal(mem, "it", "i4", 7).set(9)


def make_stream(mem: Memory) -> None:
    stream = Stream(mem, "it", 2, "i2")
    stream.emit_all([5, 6])
    assert stream.next() == 5


def make_function(mem: Memory) -> None:
    function = Function(mem, "it", "i4", "i4", slots=1)
    later = function.submit(2)
    assert function.serve_one(lambda x: 3 * x + 1)
    assert later.result() == 7


EXAMPLES: dict[str, Example] = {
    "Example of a queue": Example(
        make_queue,
        [("pop queue it i4", "8"), ("pop queue it i4", "9"), ("try_pop queue it i4", "")],
    ),
    "Example of a ring of integers": Example(
        make_ring, [("pop ring it i4", value) for value in ("20", "30", "40")]
    ),
    "Example of a stack": Example(
        make_stack,
        [("pop stack it i4", "6"), ("pop stack it i4", "5"), ("try_pop stack it i4", "")],
    ),
    "Example of a map": Example(
        make_map,
        [
            ("map.get it i4 i2 -1", "there 5"),
            ("map.get it i4 i2 2", ""),
            ("map.get it i4 i2 5", "there 9"),
            ("map.size it", "2"),
        ],
    ),
    "Example of a set": Example(
        lambda mem: Set(mem, "it", 3, "S5").add(b"hello"),
        [("map.get it s5 - hello", "there"), ("map.get it s5 - world", "")],
    ),
    "Example of a semaphore": Example(
        make_semaphore,
        [
            ("semaphore.facts it", "1 0 3"),
            ("semaphore.try_take it", "1"),
            ("semaphore.try_take it", "0"),
        ],
    ),
    "Example of a mutex": Example(
        lambda mem: Mutex(mem, "it").acquire(),
        [("semaphore.facts it", "0 0 1"), ("semaphore.try_take it", "0")],
        varies=range(12, 16),
    ),
    "Example of a barrier": Example(make_barrier, [("barrier.facts it", "0 2 1")]),
    "Example of a once": Example(
        lambda mem: Once(mem, "it").call(int),
        [("atomic.create called i8 0", ""), ("once.call it called", "0")],
    ),
    "Example of a read-write lock": Example(
        lambda mem: RWLock(mem, "it").acquire_read(),
        [("rwlock.facts it", "1 0"), ("semaphore.facts it_wmtx", "1 0 1")],
    ),
    "Example of a monitor": Example(
        lambda mem: Monitor(mem, "it"),
        [("semaphore.facts it_mtx", "1 0 1"), ("semaphore.facts it_cond", "0 0 0")],
    ),
    "Example of a latch": Example(
        lambda mem: Latch(mem, "it", 3).count_down(),
        [("latch.facts it", "2 3"), ("latch.count_down it 2 1", ""), ("latch.wait it", "")],
    ),
    "Example of an event": Example(
        lambda mem: Event(mem, "it", manual=True).set(),
        [("event.wait it", ""), ("event.facts it", "1 1 0"), ("semaphore.facts it_sem", "0 0 0")],
    ),
    "Example of a pool": Example(
        make_pool,
        [
            ("pool.get it i2 1", "7"),
            ("pool.allocated it", "1"),
            ("pool.allocate it i2", "0"),
            ("pool.allocate it i2", "2"),
            ("pool.try_allocate it i2", ""),
        ],
    ),
    "Example of a signal": Example(make_signal, [("signal.get it i4", "1 9")]),
    "Example of a stream": Example(
        make_stream, [("stream.facts it", "2 0 0"), ("stream.read it i2 1 0", "1 6")]
    ),
    "Example of a function": Example(
        make_function, [("function.post it i4 i4 3", "")], varies=range(208, 212)
    ),
    "Example of a channel": Example(make_channel, [("channel.receive it i2 0 9 9", "1 2")]),
    "Example of a lazy value": Example(
        lambda mem: Lazy.add(mem, "it", "i4", 40, 2).force(),
        [("lazy.force it i4", "value 42"), ("lazy.count it i4", "1")],
    ),
    "Example of a future": Example(
        lambda mem: Future(mem, "it", "f8").set_result(0.5),
        [("future.get it f8", "value 0.5")],
        varies=range(8, 16),
    ),
}


def bytes_of(heading: str) -> list[bytes]:
    """Return the structures of an example, one for each block; what is left out is zero."""
    text = TEXT.split(f"### {heading}\n")[1].split("\n#")[0]
    found = []
    for block in re.findall(r"```\n(.*?)```", text, re.DOTALL):
        lines = {int(at, 16): bytes.fromhex(digits) for at, digits in HEX_LINE.findall(block)}
        content = bytearray(max(at + len(data) for at, data in lines.items()))
        for at, data in lines.items():
            content[at : at + len(data)] = data
        found.append(bytes(content))
    return found


def made(mem: Memory) -> dict[str, Any]:
    """Return the bytes of each structure, but for where our processes wait."""
    return {name: mem.view(mem.entry(name)) for name in mem.names()}


def test_every_example_is_tested() -> None:
    assert set(EXAMPLES) == HEADINGS


@pytest.mark.parametrize("heading", EXAMPLES)
def test_python_makes_these_bytes(heading: str, memory: Memory) -> None:
    EXAMPLES[heading].make(memory)
    for view, content in zip(made(memory).values(), bytes_of(heading), strict=True):
        for at in EXAMPLES[heading].varies:
            view[at] = content[at]
        assert bytes(view).hex(" ", 4) == content.ljust(len(view), b"\0").hex(" ", 4)


@pytest.mark.parametrize("heading", EXAMPLES)
def test_the_peer_reads_these_bytes(heading: str, memory: Memory, peer: Peer) -> None:
    EXAMPLES[heading].make(memory)
    for view, content in zip(made(memory).values(), bytes_of(heading), strict=True):
        view[:] = content.ljust(len(view), b"\0")
    for command, answer in EXAMPLES[heading].asked:
        assert " ".join(peer.ask(*command.split())) == answer, command
