"""Named maps and sets against a dict: both backends in turn on one, and the same bytes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.support.leaks import PREFIX
from tests.support.named import MIXED, using
from zeroipc import Map, Memory, NoRoomError, Set

_numbers = itertools.count()
KEYS = st.integers(-5, 20)
VALUES = st.integers(-(2**15), 2**15 - 1)


class MapMachine(RuleBasedStateMachine):
    """Maps and sets in two segments: one used by both backends in turn, one by the second alone.

    The sets have the same keys as the maps.
    """

    @initialize(capacity=st.integers(1, 9), dtype=st.sampled_from(["i1", "i8", "f4", "c8"]))
    def begin(self, capacity: int, dtype: str) -> None:
        self.mems = [Memory.create(f"{PREFIX}model-{next(_numbers)}", 8192) for _ in range(2)]
        self.model: dict[int, int] = {}
        self.capacity = capacity
        self.maps: list[list[Map]] = []
        self.sets: list[list[Set]] = []
        for backend in MIXED:
            with using(backend):
                self.maps.append([Map(mem, "map", capacity, dtype, np.int16) for mem in self.mems])
                self.sets.append([Set(mem, "set", capacity, dtype) for mem in self.mems])

    def pair(self, which: int) -> list[tuple[Map, Set]]:
        return [
            (self.maps[which][0], self.sets[which][0]),
            (self.maps[1][1], self.sets[1][1]),
        ]

    @rule(which=st.integers(0, 1), key=KEYS, value=VALUES)
    def store(self, which: int, key: int, value: int) -> None:
        if key not in self.model and len(self.model) == self.capacity:
            for numbers, keys in self.pair(which):
                with pytest.raises(NoRoomError):
                    numbers[key] = value
                assert not keys.try_insert(key)
            return
        new = key not in self.model
        for numbers, keys in self.pair(which):
            assert (numbers.insert(key, value), keys.insert(key)) == (new, new)
        self.model[key] = value

    @rule(which=st.integers(0, 1), key=KEYS)
    def look(self, which: int, key: int) -> None:
        for numbers, keys in self.pair(which):
            assert numbers.get(key) == self.model.get(key)
            assert (key in numbers) == (key in keys) == (key in self.model)

    @rule(which=st.integers(0, 1), key=KEYS)
    def erase(self, which: int, key: int) -> None:
        wanted = self.model.pop(key, None)
        for numbers, keys in self.pair(which):
            assert numbers.pop(key, None) == wanted
            assert keys.erase(key) == (wanted is not None)

    @rule(which=st.integers(0, 1), key=KEYS, value=VALUES)
    def set_default(self, which: int, key: int, value: int) -> None:
        if len(self.model) < self.capacity:
            wanted = self.model.setdefault(key, value)
            for numbers, keys in self.pair(which):
                assert numbers.setdefault(key, value) == wanted
                keys.add(key)

    @rule(which=st.integers(0, 1), others=st.dictionaries(KEYS, VALUES, max_size=5))
    def update(self, which: int, others: dict[int, int]) -> None:
        if len(self.model | others) <= self.capacity:
            self.model.update(others)
            for numbers, keys in self.pair(which):
                numbers.update(others)
                keys.update(others)

    @rule(which=st.integers(0, 1))
    def repair(self, which: int) -> None:
        for numbers, keys in self.pair(which):
            assert (numbers.repair(), keys.repair()) == (0, 0)

    @invariant()
    def same_content_and_bytes(self) -> None:
        if hasattr(self, "sets"):
            assert all(numbers.copy() == self.model for pair in self.maps for numbers in pair)
            assert all(keys.copy() == set(self.model) for pair in self.sets for keys in pair)
            sizes = {len(handle) for pair in self.maps for handle in pair}
            sizes |= {len(handle) for pair in self.sets for handle in pair}
            assert sizes == {len(self.model)}
            for name in ("map", "set"):
                one, other = (bytes(mem.view(mem.entry(name))) for mem in self.mems)
                assert one == other

    def teardown(self) -> None:
        for mem in getattr(self, "mems", ()):
            mem.close()
            mem.unlink()
        self.maps, self.sets, self.mems = [], [], []  # Hypothesis keeps machines: unmap


def test_a_map_is_a_dict_and_a_set_its_keys() -> None:
    run_state_machine_as_test(MapMachine)
