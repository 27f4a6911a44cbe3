"""Segments, tables and arrays that another implementation made, or finds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from threading import Thread

import numpy as np
import pytest

from tests.support.peer import Peer, PeerError
from zeroipc import (
    Array,
    Memory,
    NameExistsError,
    SegmentFullError,
    StructureNotFoundError,
    TableFullError,
)

pytestmark = pytest.mark.usefixtures("backend")
MakeMemory = Callable[..., Memory]
FORMS = [(1, 64), (2, 64), (2, 1), (2, 16), (2, 100)]
THEIR_FORMS = [*FORMS, ("1r", 16), ("1u", 16), (1, 7)]


@pytest.fixture
def theirs(start_peer: Callable[..., Peer], segment_name: str) -> Iterator[Callable[..., Peer]]:
    """Return a function that starts a peer, which creates the segment `segment_name`."""

    def create(size: int = 65536, slots: int = 64, form: object = 2) -> Peer:
        peer = start_peer()
        peer.ask("create", segment_name, size, slots, form)
        return peer

    yield create
    Memory.remove(segment_name)


@pytest.mark.parametrize("form, slots", THEIR_FORMS)
def test_python_reads_what_the_peer_creates(
    theirs: Callable[..., Peer], segment_name: str, form: str | int, slots: int
) -> None:
    peer = theirs(slots=slots, form=form)
    version = int(str(form)[0])
    peer.ask("array.create", "first", 3, "f8")
    for i, value in enumerate((0.1, -2.5, 1e300)):
        peer.ask("array.set", "first", "f8", i, repr(value))
    with Memory(segment_name) as mem:
        assert (mem.version, mem.size, mem.names()) == (version, 65536, ["first"])
        assert Array(mem, "first", dtype="f8").tolist() == [0.1, -2.5, 1e300]


@pytest.mark.parametrize("version, slots", FORMS)
def test_the_peer_reads_what_python_creates(
    make_memory: MakeMemory, start_peer: Callable[..., Peer], version: int, slots: int
) -> None:
    mem = make_memory(65536, version=version, max_entries=slots)
    Array(mem, "first", 3, "i2")[:] = [-1, 0, 32767]
    peer = start_peer()
    assert peer.numbers("open", mem.name) == [version, 65536, slots]
    assert peer.ask("names") == ["first"]
    assert peer.numbers("array.all", "first", "i2") == [3, -1, 0, 32767]


@pytest.mark.parametrize("form, slots", THEIR_FORMS)
def test_both_fill_a_table(
    theirs: Callable[..., Peer], segment_name: str, form: object, slots: int
) -> None:
    peer = theirs(slots=slots, form=form)
    names = [f"array-{i}" for i in range(slots)]
    with Memory(segment_name) as mem:
        for i, name in enumerate(names):
            if i % 2 == 0:  # the first is the peer's: it shows where the slots of version 1 end
                peer.ask("array.create", name, 1 + i % 3, "i1")
            else:
                Array(mem, name, 1 + i % 3, "i1")
        assert mem.names() == peer.ask("names") == names
        for name in names:
            entry = mem.entry(name)
            assert peer.numbers("table.find", name) == [entry.offset, entry.size]
            assert entry.offset % 8 == 0
        with pytest.raises(TableFullError):
            Array(mem, "one more", 1, "i1")
        with pytest.raises(PeerError, match="table full"):
            peer.ask("array.create", "one-more", 1, "i1")


def test_arrays_of_the_c_library_are_read(memory: Memory, peer: Peer) -> None:
    peer.ask("array.create_c", "theirs", 5, "f8")
    assert Array(memory, "theirs", dtype="f8").tolist() == [0, 1, 2, 3, 4]


def test_each_refuses_what_the_other_has_taken(memory: Memory, peer: Peer) -> None:
    peer.ask("table.add", "theirs", 64)
    memory.add("ours", 64, lambda view: None)
    with pytest.raises(NameExistsError):
        memory.add("theirs", 64, lambda view: None)
    with pytest.raises(PeerError, match="exists"):
        peer.ask("table.add", "ours", 64)
    peer.ask("table.add", "rest", memory.size - memory.table.next_offset)
    with pytest.raises(SegmentFullError):
        memory.add("more", 1, lambda view: None)


def test_the_longest_name(memory: Memory, peer: Peer) -> None:
    longest, other = "n" * 31, "m" * 31
    peer.ask("array.create", longest, 2, "i4")
    Array(memory, other, 2, "i4")[:] = 7
    assert Array(memory, longest, dtype="i4").tolist() == [0, 0]
    assert peer.numbers("array.all", other, "i4") == [2, 7, 7]


def test_names_are_utf_8(memory: Memory, peer: Peer) -> None:
    peer.ask("array.create", "größe", 1, "i4")
    assert memory.names() == ["größe"]
    Array(memory, "číslo", 1, "i4")[0] = 5
    assert peer.numbers("array.all", "číslo", "i4") == [1, 5]


def test_the_peer_waits_for_a_segment_that_is_not_ready(
    theirs: Callable[..., Peer], segment_name: str, start_peer: Callable[..., Peer]
) -> None:
    theirs()
    with open(f"/dev/shm/{segment_name}", "r+b") as file:
        file.write(bytes(4))
        file.flush()
        late = start_peer()
        late.start("open", segment_name)
        os.pwrite(file.fileno(), b"\x4d\x50\x49\x5a", 0)
    assert late.answer() == ["2", "65536", "64"]


def test_an_entry_is_not_there_before_it_is_written(
    memory: Memory, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C++ programs count an entry before they write it."""
    size = 8 + 2 * 4
    index, offset = peer.numbers("table.claim", size)
    assert memory.names() == []
    with pytest.raises(StructureNotFoundError):
        Array(memory, "late", dtype="i4")
    Array(memory, "ours", 2, "i4")[:] = 3  # behind it
    peer.ask("table.name", index, "late")
    monkeypatch.setattr("zeroipc.table.PEER_TIMEOUT", 60.0)
    finder = Thread(target=lambda: found.append(memory.entry("late")))
    found: list[tuple[str, int, int]] = []
    finder.start()
    peer.ask("table.place", index, offset, size)
    finder.join()
    assert [tuple(entry) for entry in found] == [("late", offset, size)]
    assert Array(memory, "ours", dtype="i4").tolist() == [3, 3]
    assert peer.ask("names") == ["late", "ours"]


def test_both_add_at_the_same_time(memory: Memory, start_peer: Callable[..., Peer]) -> None:
    """Who follows the rule for writers may add while others do."""
    peers = [start_peer(memory) for _ in range(2)]
    for i in range(20):
        for number, peer in enumerate(peers):
            peer.start("table.add", f"peer-{number}-{i}", 1 + i)
        memory.add(f"ours-{i}", 1 + i, lambda view: None)
        for peer in peers:
            peer.answer()
    spans = sorted((entry.offset, entry.offset + entry.size) for entry in memory)
    assert len(spans) == 60
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_elements_have_no_neighbours(memory: Memory, start_peer: Callable[..., Peer]) -> None:
    values = Array(memory, "values", 30, np.int64)
    peers = [start_peer(memory) for _ in range(2)]
    for number, peer in enumerate(peers):
        peer.start("array.add", "values", number, 3, 50_000)
    for _ in range(2000):
        values[2::3] += 1
    for peer in peers:
        peer.answer()
    assert values.tolist() == [50_000, 50_000, 2000] * 10
