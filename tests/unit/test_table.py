"""The table: what `add` promises, and the peers it must bear with."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from zeroipc import Table, errors
from zeroipc import table as table_module
from zeroipc._form import store
from zeroipc.table import Entry


def nothing(view: memoryview) -> None:
    """Leave a structure's bytes as they are."""


def new_table(size: int = 4096, **options: int) -> tuple[bytearray, Table]:
    content = bytearray(size)
    return content, Table.create(memoryview(content), **options)


@pytest.mark.parametrize(("version", "start"), [(2, 32 + 48 * 3), (1, 16 + 40 * 3)])
def test_entries_follow_each_other(version: int, start: int) -> None:
    content, table = new_table(version=version, max_entries=3)
    assert table.add("a", 5, nothing) == Entry("a", start, 5)
    assert table.next_offset == start + 5  # not rounded: the next one is
    assert table.add("b", 0, nothing) == Entry("b", start + 8, 0)
    assert table.add("é", 16, nothing) == Entry("é", start + 8, 16)
    again = Table.open(memoryview(content))
    assert again.entries() == table.entries()
    assert again.find("é") == Entry("é", start + 8, 16)
    assert again.find("missing") is None
    assert (again.version, again.max_entries, again.entry_count) == (version, 3, 3)


@pytest.mark.parametrize(
    ("name", "size", "kind"),
    [
        ("taken", 8, errors.NameExistsError),
        ("", 8, errors.InvalidNameError),
        ("a\0b", 8, errors.InvalidNameError),
        ("\ud800", 8, errors.InvalidNameError),
        ("é" * 16, 8, errors.NameTooLongError),
        ("x" * 32, 8, errors.NameTooLongError),
        ("big", 5000, errors.SegmentFullError),
        ("huge", 2**70, errors.SegmentFullError),
        ("negative", -1, errors.CapacityError),
    ],
)
def test_refusal_changes_nothing(name: str, size: int, kind: type[Exception]) -> None:
    content, table = new_table(max_entries=4)
    table.add("taken", 100, nothing)
    before = bytes(content)
    with pytest.raises(kind):
        table.add(name, size, lambda view: pytest.fail("called anyway"))
    assert content == before


def test_longest_name_in_bytes() -> None:
    _, table = new_table(max_entries=2)
    for name in ("x" * 31, "é" * 15 + "x"):
        table.add(name, 1, nothing)
        assert table.find(name) is not None


def test_full_table_changes_nothing() -> None:
    content, table = new_table(max_entries=2)
    table.add("a", 8, nothing)
    table.add("b", 8, nothing)
    before = bytes(content)
    with pytest.raises(errors.TableFullError, match="2 slots"):
        table.add("c", 8, nothing)
    assert content == before


def test_failing_prepare_adds_nothing() -> None:
    content, table = new_table(max_entries=2)
    before = bytes(content)
    with pytest.raises(ZeroDivisionError):
        table.add("a", 8, lambda view: 1 / 0)
    assert content == before


def test_prepare_runs_before_the_name_exists() -> None:
    _, table = new_table(max_entries=2)
    seen = []
    table.add("a", 8, lambda view: seen.append((len(view), table.find("a"))))
    assert seen == [(8, None)]


def test_segment_filled_to_the_last_byte() -> None:
    _, table = new_table(32 + 48 + 24, max_entries=1)
    assert table.add("all", 24, nothing).size == 24


@pytest.mark.parametrize(("size", "slots"), [(4096, 0), (4096, -1), (100, 2), (3103, 64)])
def test_room_for_the_table(size: int, slots: int) -> None:
    with pytest.raises(errors.CapacityError):
        new_table(size, max_entries=slots)


@pytest.mark.parametrize("version", [0, 3, -1])
def test_unknown_version(version: int) -> None:
    with pytest.raises(errors.VersionError, match=f"version={version}"):
        new_table(version=version)


def test_name_that_is_not_utf8_is_found() -> None:
    content, table = new_table()
    table.add("ab", 8, nothing)
    content[32:34] = b"\xff\xfe"
    (entry,) = table.entries()
    assert table.find(entry.name) == entry
    with pytest.raises(errors.NameExistsError):
        table.add(entry.name, 8, nothing)


def test_entry_that_a_peer_has_only_counted_is_not_seen() -> None:
    """C++ counts an entry first, then writes name, offset and size."""
    content, table = new_table()
    content[8] = 1
    assert table.entries() == []
    assert table.find("late") is None


def test_entry_that_a_peer_is_writing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zeroipc.table.PEER_TIMEOUT", 60.0)
    content, table = new_table()
    content[8] = 1
    content[32:36] = b"late"
    looked = threading.Event()
    entries = table.entries

    def watched() -> list[Entry]:
        found = entries()
        looked.set()
        return found

    monkeypatch.setattr(table, "entries", watched)
    found: list[Entry | None] = []
    reader = threading.Thread(target=lambda: found.append(table.find("late")))
    reader.start()
    assert looked.wait(60)
    content[72:80] = (8).to_bytes(8, "little")
    content[64:72] = (4000).to_bytes(8, "little")
    reader.join()
    assert found == [Entry("late", 4000, 8)]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("stores", range(4))
def test_writer_that_dies_between_two_stores(
    monkeypatch: pytest.MonkeyPatch, version: int, stores: int
) -> None:
    """Offset, size, next_offset, entry_count: until the last one nothing is there."""
    content, writer = new_table(version=version, max_entries=4)
    first = writer.add("first", 24, nothing)
    real, left = store, iter(range(stores))

    def dying(*args: Any) -> None:
        next(left)
        real(*args)

    monkeypatch.setattr(table_module, "store", dying)
    with pytest.raises(StopIteration):
        writer.add("second", 24, nothing)
    monkeypatch.undo()
    survivor = Table.open(memoryview(content))
    assert survivor.entries() == [first]
    second = survivor.add("second", 24, nothing)
    assert second.offset >= first.offset + first.size
    assert Table.open(memoryview(content)).entries() == [first, second]


def test_empty_structure_does_not_start_behind_the_end() -> None:
    """Rounding up to 8 can leave the segment, even for no bytes at all."""
    content, table = new_table(32 + 2 * 48 + 3, max_entries=2)
    table.add("a", 1, nothing)
    with pytest.raises(errors.SegmentFullError, match="asked=0 bytes, free=0 bytes"):
        table.add("b", 0, nothing)
    assert len(Table.open(memoryview(content)).entries()) == 1
