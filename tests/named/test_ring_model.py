"""The named ring against a deque: both backends in turn on one ring, and the same bytes."""

from __future__ import annotations

import itertools
from collections import deque

import numpy as np
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
from zeroipc import Memory, Ring

_numbers = itertools.count()
VALUES = st.integers(-(2**15), 2**15 - 1)


class RingMachine(RuleBasedStateMachine):
    """Two rings in two segments: one used by both backends in turn, one by the second alone."""

    @initialize(capacity=st.integers(1, 9), laps=st.integers(0, 2**40))
    def begin(self, capacity: int, laps: int) -> None:
        self.mems = [Memory.create(f"{PREFIX}ring-{next(_numbers)}", 8192) for _ in range(2)]
        self.model: deque[int] = deque()
        self.handles: list[tuple[Ring, Ring]] = []
        for backend in MIXED:
            with using(backend):
                one, other = (Ring(mem, "ring", capacity, np.int16) for mem in self.mems)
                self.handles.append((one, other))
        for mem in self.mems:
            positions = mem.view(mem.entry("ring"))[:16].cast("Q")
            positions[0] = positions[1] = 2 * laps
        self.capacity = capacity

    def pair(self, which: int) -> tuple[Ring, Ring]:
        return self.handles[which][0], self.handles[1][1]

    @rule(which=st.integers(0, 1), value=VALUES)
    def push(self, which: int, value: int) -> None:
        pushed = [ring.try_push(value) for ring in self.pair(which)]
        assert pushed == [len(self.model) < self.capacity] * 2
        if pushed[0]:
            self.model.append(value)

    @rule(which=st.integers(0, 1))
    def pop(self, which: int) -> None:
        wanted = self.model.popleft() if self.model else None
        assert [ring.try_pop() for ring in self.pair(which)] == [wanted] * 2

    @rule(which=st.integers(0, 1), values=st.lists(VALUES, max_size=12))
    def write(self, which: int, values: list[int]) -> None:
        fit = values[: self.capacity - len(self.model)]
        assert [ring.try_write(values) for ring in self.pair(which)] == [len(fit)] * 2
        self.model.extend(fit)

    @rule(which=st.integers(0, 1), limit=st.integers(1, 12))
    def read(self, which: int, limit: int) -> None:
        wanted = [self.model.popleft() for _ in range(min(limit, len(self.model)))]
        assert [ring.try_read(limit).tolist() for ring in self.pair(which)] == [wanted] * 2

    @rule(which=st.integers(0, 1), limit=st.integers(1, 12))
    def reserve(self, which: int, limit: int) -> None:
        if len(self.model) == self.capacity:
            return
        sizes = set()
        for ring in self.pair(which):
            with ring.reserve(limit, timeout=0) as window:
                window[:] = np.arange(len(window))
                sizes.add(len(window))
        (size,) = sizes
        assert 1 <= size <= min(limit, self.capacity - len(self.model))
        self.model.extend(range(size))

    @rule(which=st.integers(0, 1), limit=st.integers(1, 12))
    def peek(self, which: int, limit: int) -> None:
        if not self.model:
            return
        found = []
        for ring in self.pair(which):
            with ring.peek(limit, timeout=0) as window:
                found.append(window.tolist())
        assert found[0] == found[1] == [self.model.popleft() for _ in found[0]]

    @invariant()
    def same_size_and_bytes(self) -> None:
        if hasattr(self, "handles"):
            assert {len(ring) for pair in self.handles for ring in pair} == {len(self.model)}
            one, other = (bytes(mem.view(mem.entry("ring"))) for mem in self.mems)
            assert one == other

    def teardown(self) -> None:
        for mem in getattr(self, "mems", ()):
            mem.close()
            mem.unlink()


def test_a_ring_is_a_deque() -> None:
    run_state_machine_as_test(RingMachine)
