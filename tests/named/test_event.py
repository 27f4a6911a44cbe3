"""Events: manual and automatic, one process, several processes, both backends, C++'s bytes."""

from __future__ import annotations

import pickle
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
    CapacityError,
    ClosedError,
    Event,
    Latch,
    Memory,
    Mutex,
    NameExistsError,
    NameTooLongError,
    Once,
    SegmentFormatError,
    Semaphore,
    StructureNotFoundError,
    TableFullError,
    table,
)
from zeroipc.sync import event as event_module

pytestmark = pytest.mark.usefixtures("backend")


def words(memory: Memory) -> list[int]:
    return memory.view(memory.entry("event")).cast("I").tolist()


def test_a_manual_event_stays_set(memory: Memory) -> None:
    event = Event(memory, "event")
    assert (event.manual, event.is_set(), event.wait(0.01)) == (True, False, False)
    event.set()
    assert (event.is_set(), event.wait(), event.wait(0)) == (True, True, True)
    event.clear()
    assert not event.wait(0)
    event.signal()
    event.reset()
    assert words(memory) == [0, 1, 0]
    assert Semaphore(memory, "event_sem").count == 0


def test_an_automatic_event_lets_one_go_each_time(memory: Memory) -> None:
    event = Event(memory, "event", manual=False)
    assert (event.manual, event.wait(0.01)) == (False, False)
    event.set()
    assert event.is_set()
    event.set()
    assert [event.wait(0) for _ in range(3)] == [True, True, False]
    assert not event.is_set()
    event.set()
    event.clear()
    assert not event.is_set()
    assert event.wait(0)  # permits stay
    assert words(memory) == [0, 0, 0]


def test_opens_only_what_fits(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "PEER_TIMEOUT", 0)
    with pytest.raises(StructureNotFoundError):
        Event.open(memory, "event")
    Event.create(memory, "event", manual=False)
    with pytest.raises(NameExistsError):
        Event.create(memory, "event")
    with pytest.raises(CapacityError, match="must be False"):
        Event(memory, "event", manual=True)
    assert not Event(memory, "event").manual
    assert not Event.open(memory, "event").manual
    memory.add("odd", 12, lambda view: view.cast("I").__setitem__(1, 2))
    Semaphore(memory, "odd_sem", 0)
    with pytest.raises(SegmentFormatError, match="mode must be"):
        Event(memory, "odd")
    memory.add("alone", 12, lambda view: None)
    with pytest.raises(SegmentFormatError, match="alone_sem"):
        Event(memory, "alone")


def test_a_name_too_long_leaves_nothing(memory: Memory) -> None:
    before = bytes(memory.buf)
    with pytest.raises(NameTooLongError):
        Event(memory, "e" * 28)
    assert bytes(memory.buf) == before
    Event(memory, "e" * 27)


def test_no_room_for_both_parts_leaves_nothing(make_memory: Callable[..., Memory]) -> None:
    memory = make_memory(4096, max_entries=1)
    before = bytes(memory.buf)
    with pytest.raises(TableFullError):
        Event(memory, "event")
    assert bytes(memory.buf) == before


def test_closes_pickles_and_shows_itself(memory: Memory) -> None:
    with Event(memory, "event") as event:
        pickle.loads(pickle.dumps(event)).set()
        assert repr(event) == "<Event 'event', manual, set>"
    automatic = Event(memory, "other", manual=False)
    assert repr(automatic) == "<Event 'other', automatic, not set>"
    automatic.close()
    for use in (event.set, event.clear, event.is_set, event.wait, event.pulse, automatic.wait):
        with pytest.raises(ClosedError):
            use()


def test_all_who_wait_for_a_manual_event_are_let_go(memory: Memory) -> None:
    there, back = Event(memory, "there"), Event(memory, "back")
    with crew() as others:
        others.start(answer, memory.name, 300)
        for _ in range(300):
            there.set()
            assert back.wait()
            back.clear()
        others.results()
    assert memory.view(memory.entry("there")).cast("I").tolist() == [0, 1, 0]


def answer(name: str, count: int) -> None:
    mem = Memory(name)
    there, back = Event(mem, "there"), Event(mem, "back")
    for _ in range(count):
        assert there.wait()
        there.clear()
        back.set()


def test_each_signal_of_an_automatic_event_lets_one_go(memory: Memory) -> None:
    event = Event(memory, "event", manual=False)
    with crew() as others:
        for _ in range(3):
            others.start(wait_often, memory.name, 200)
        for _ in range(600):
            event.set()
        assert others.results() == [200] * 3
    assert not event.wait(0)


def wait_often(name: str, count: int) -> int:
    event = Event(Memory(name), "event")
    return sum(event.wait() for _ in range(count))


def test_pulse_lets_go_whoever_waits(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_module, "PULSE_PATIENCE", 60.0)
    event = Event(memory, "event")
    Latch(memory, "away", 3)
    with crew() as others:
        for _ in range(3):
            others.start(wait_once, memory.name)
        while memory.view(memory.entry("event")).cast("I")[2] < 3:
            pass
        assert event.pulse()
        assert others.results() == [True] * 3
    assert words(memory) == [0, 1, 0]


def wait_once(name: str) -> bool:
    return Event(Memory(name), "event").wait()


def test_pulse_does_not_wait_for_the_dead(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_module, "PULSE_PATIENCE", 0.02)
    event = Event(memory, "event")
    memory.view(memory.entry("event")).cast("I")[2] = 1
    assert not event.pulse()
    event.repair()
    assert event.pulse()
    assert words(memory) == [0, 1, 0]


def test_golden_segment(segment_name: str) -> None:
    write_segment(segment_name, golden_bytes("v2_mutex_once_event"))
    with Memory(segment_name) as mem:
        for known in golden_facts("v2_mutex_once_event")["structures"]:
            if known["kind"] == "event":
                event = Event.open(mem, known["name"])
                assert (event.is_set(), event.manual) == (known["signaled"], known["mode"])
                assert event.wait(0) == event.is_set()
            elif known["kind"] == "once":
                assert Once.open(mem, known["name"]).done == (known["state"] == 2)
        mem.unlink()


def test_golden_bytes(make_memory: Callable[..., Memory]) -> None:
    facts = golden_facts("v2_mutex_once_event")
    mem = make_memory(facts["segment_size"], max_entries=facts["table"]["word_at_12"])
    Mutex(mem, "free")
    Semaphore(mem, "held", 1, 1).acquire()  # as C++ does it, without a tag
    Once(mem, "init_done").call(lambda: None)
    Once(mem, "init_pending")
    Event(mem, "ready").set()
    Event(mem, "tick", manual=False)
    assert differing("v2_mutex_once_event", read_segment(mem.name)) == []
