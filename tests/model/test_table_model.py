"""Random use of a table against a dict; the invariants after each step."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from zeroipc import errors
from zeroipc.table import Entry, Table

NAMES = st.text(max_size=12) | st.sampled_from(["a", "b", "c", "d", "x" * 31, "x" * 32])


class TableModel(RuleBasedStateMachine):
    """Adds, finds and reopens; a dict of what was added says what must be there."""

    @initialize(version=st.sampled_from([1, 2]), slots=st.integers(1, 8), room=st.integers(0, 600))
    def create(self, version: int, slots: int, room: int) -> None:
        start = 32 + 48 * slots if version == 2 else 16 + 40 * slots
        self.content = bytearray(start + room)
        self.slots, self.start, self.end = slots, start, start + room
        self.known: dict[str, tuple[Entry, bytes]] = {}
        self.table = Table.create(memoryview(self.content), version=version, max_entries=slots)

    @rule(name=NAMES, size=st.integers(0, 200), fill=st.integers(0, 255))
    def add(self, name: str, size: int, fill: int) -> None:
        refusal = self.expected_refusal(name, size)
        content = bytes([fill]) * size

        def prepare(view: memoryview) -> None:
            view[:] = content

        if refusal is None:
            self.known[name] = (self.table.add(name, size, prepare), content)
        else:
            before = bytes(self.content)
            with pytest.raises(refusal):
                self.table.add(name, size, prepare)
            assert self.content == before

    def expected_refusal(self, name: str, size: int) -> type[Exception] | None:
        if not name or "\0" in name:
            return errors.InvalidNameError
        if len(name.encode()) > 31:
            return errors.NameTooLongError
        if name in self.known:
            return errors.NameExistsError
        used = max((entry.offset + entry.size for entry, _ in self.known.values()), default=0)
        offset = -(-max(used, self.start) // 8) * 8
        if offset + size > self.end:
            return errors.SegmentFullError
        return errors.TableFullError if len(self.known) == self.slots else None

    @rule(name=NAMES)
    def find(self, name: str) -> None:
        entry, _ = self.known.get(name, (None, b""))
        assert self.table.find(name) == entry

    @rule()
    def reopen(self) -> None:
        self.table = Table.open(memoryview(self.content))
        # Version 1 does not record its slots; it can tell them by the first structure.
        assert self.table.max_entries == self.slots

    @invariant()
    def holds_what_was_added(self) -> None:
        if not hasattr(self, "known"):
            return
        assert self.table.entries() == [entry for entry, _ in self.known.values()]
        for entry, content in self.known.values():
            assert self.content[entry.offset : entry.offset + entry.size] == content

    @invariant()
    def lies_in_order_and_in_bounds(self) -> None:
        if not hasattr(self, "known"):
            return
        end = self.start
        for entry, _ in self.known.values():
            assert entry.offset % 8 == 0
            assert end <= entry.offset
            end = entry.offset + entry.size
        assert end <= self.table.next_offset <= self.end


TestTableModel = TableModel.TestCase
