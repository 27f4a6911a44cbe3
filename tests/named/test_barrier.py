"""Barriers: generations, time-outs that leave no trace, what C++ programs do in two steps."""

from __future__ import annotations

import pickle
import struct
import threading
from collections.abc import Callable

import pytest

from tests.support.golden import (
    differing,
    golden_bytes,
    golden_facts,
    read_segment,
    write_segment,
)
from tests.support.named import crew
from zeroipc import (
    Atomic,
    Barrier,
    CapacityError,
    ClosedError,
    Latch,
    Memory,
    NameExistsError,
    SegmentFormatError,
    StalledError,
    StructureNotFoundError,
    WaitTimeoutError,
    _waiting,
)

pytestmark = pytest.mark.usefixtures("backend")


def words(memory: Memory) -> list[int]:
    return memory.view(memory.entry("gate")).cast("i").tolist()


def test_all_meet_again_and_again(memory: Memory) -> None:
    """Nobody is a turn ahead of another, and each turn has every index once."""
    Barrier(memory, "gate", 4)
    Atomic(memory, "turn")
    indexes = Atomic(memory, "indexes")
    with crew() as others:
        for _ in range(4):
            others.start(meet, memory.name, 200)
        others.results()
    assert indexes.value == 0x01010101 * 200
    assert words(memory) == [0, 400, 4, 0]


def meet(name: str, turns: int) -> None:
    mem = Memory(name)
    gate = Barrier(mem, "gate")
    total, indexes = Atomic(mem, "turn"), Atomic(mem, "indexes")
    for turn in range(turns):
        total += 1
        gate.wait()
        assert total.value == 4 * (turn + 1)
        indexes += 1 << 8 * gate.wait()


def test_opens_only_what_fits(memory: Memory) -> None:
    with pytest.raises(StructureNotFoundError):
        Barrier(memory, "gate")
    for parties in (0, -1, 2**31):
        with pytest.raises(CapacityError):
            Barrier(memory, "gate", parties)
    Barrier.create(memory, "gate", 2)
    with pytest.raises(NameExistsError):
        Barrier.create(memory, "gate", 2)
    with pytest.raises(CapacityError, match="must be 2"):
        Barrier(memory, "gate", 3)
    assert Barrier(memory, "gate", 2).parties == Barrier.open(memory, "gate").parties == 2
    memory.add("zeros", 16, lambda view: None)
    memory.add("long", 24, lambda view: None)
    for name in ("zeros", "long"):
        with pytest.raises(SegmentFormatError, match="not a barrier"):
            Barrier(memory, name)


def test_a_time_out_leaves_no_trace(memory: Memory) -> None:
    gate = Barrier(memory, "gate", 2)
    for _ in range(3):
        with pytest.raises(WaitTimeoutError, match="2 parties"):
            gate.wait(timeout=0.01)
        assert words(memory) == [0, 0, 2, 0]
    assert gate.n_waiting == 0


def test_time_outs_and_arrivals_race(memory: Memory) -> None:
    """Whoever is late for one turn has not arrived: the counts always match."""
    Barrier(memory, "gate", 2)
    with crew() as others:
        for _ in range(2):
            others.start(try_to_meet, memory.name, 300)
        met = others.results()
    assert met[0] == met[1] == 300
    assert words(memory) == [0, 300, 2, 0]


def try_to_meet(name: str, turns: int) -> int:
    gate, met = Barrier(Memory(name), "gate"), 0
    while met < turns:
        try:
            gate.wait(timeout=0.0005)
        except WaitTimeoutError:
            continue
        met += 1
    return met


def test_an_interrupted_one_has_not_arrived(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Barrier(memory, "gate", 2)

    def interrupt(generation: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gate, "_passed", interrupt)
    with pytest.raises(KeyboardInterrupt):
        gate.wait()
    assert words(memory) == [0, 0, 2, 0]


def test_late_and_yet_let_go(memory: Memory) -> None:
    """The last one arrives just when the time is over."""
    gate = Barrier(memory, "gate", 2)
    generation, before = gate._arrive()  # type: ignore[misc]
    assert (generation, before, gate.n_waiting) == (0, 0, 1)
    assert Barrier(memory, "gate").wait() == 1
    assert gate._leave(generation) is False
    assert words(memory) == [0, 1, 2, 0]


@pytest.mark.parametrize("between", [(2, 0), (0, 0)])
def test_a_peer_that_dies_while_it_lets_go(
    memory: Memory, between: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """C++ programs count, then set arrived to 0, then move the generation."""
    monkeypatch.setattr(_waiting, "STALL", 50_000_000)
    gate = Barrier(memory, "gate", 2)
    generation, _ = gate._arrive()  # type: ignore[misc]
    memory.view(memory.entry("gate"))[:8] = struct.pack("<ii", *between)
    with pytest.raises(StalledError, match="'gate'"):
        gate._leave(generation)
    if between[0]:
        with pytest.raises(StalledError, match="'gate'"):
            gate.wait()
    gate.repair()
    assert words(memory) == [0, 0, 2, 0]


def test_what_a_late_peer_leaves_does_no_harm(memory: Memory) -> None:
    gate = Barrier(memory, "gate", 2)
    memory.view(memory.entry("gate")).cast("i")[0] = -1
    thread = threading.Thread(target=Barrier(memory, "gate").wait)
    thread.start()
    gate.wait()
    thread.join()
    assert words(memory) == [0, 1, 2, 0]


def test_the_generation_wraps_around(memory: Memory) -> None:
    gate = Barrier(memory, "gate", 1)
    memory.view(memory.entry("gate")).cast("I")[1] = 2**32 - 1
    assert gate.wait() == 0
    assert (gate.generation, words(memory)) == (0, [0, 0, 1, 0])


def test_closes_pickles_and_shows_itself(memory: Memory) -> None:
    with Barrier(memory, "gate", 1) as gate:
        pickle.loads(pickle.dumps(gate)).wait()
        assert gate.generation == 1
        assert repr(gate) == "<Barrier 'gate', n_waiting=0/1>"
    with pytest.raises(ClosedError):
        gate.wait()


def test_golden_segment(segment_name: str) -> None:
    write_segment(segment_name, golden_bytes("v2_latch_barrier"))
    with Memory(segment_name) as mem:
        for known in golden_facts("v2_latch_barrier")["structures"]:
            if known["kind"] == "latch":
                latch = Latch(mem, known["name"])
                assert (latch.count, latch.initial) == (known["count"], known["initial_count"])
            else:
                gate = Barrier(mem, known["name"])
                assert (gate.n_waiting, gate.generation) == (0, known["generation"])
                assert gate.parties == known["num_participants"]
        mem.unlink()


def test_golden_bytes(make_memory: Callable[..., Memory]) -> None:
    facts = golden_facts("v2_latch_barrier")
    mem = make_memory(facts["segment_size"], max_entries=facts["table"]["word_at_12"])
    Latch(mem, "start", 3).count_down()
    Latch(mem, "gone", 2).count_down(5)
    Latch(mem, "zero", 0)
    Barrier(mem, "phase", 4)
    assert differing("v2_latch_barrier", read_segment(mem.name)) == []
