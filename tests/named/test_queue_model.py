"""The named queue against a deque: both backends in turn on one queue, and the same bytes."""

from __future__ import annotations

import itertools
from collections import deque
from typing import Any

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
from zeroipc import Memory, Queue

_numbers = itertools.count()
VALUES = st.integers(-(2**15), 2**15 - 1)
START = 2**32 - 3
"""Where the counters start: they wrap at once."""


class QueueMachine(RuleBasedStateMachine):
    """Two queues in two segments: one used by both backends in turn, one by the second alone."""

    @initialize(capacity=st.integers(2, 9))
    def begin(self, capacity: int) -> None:
        self.mems = [Memory.create(f"{PREFIX}model-{next(_numbers)}", 8192) for _ in range(2)]
        self.model: deque[int] = deque()
        self.handles: list[tuple[Queue, Queue]] = []
        for backend in MIXED:
            with using(backend):
                one, other = (Queue(mem, "items", capacity, np.int16) for mem in self.mems)
                self.handles.append((one, other))
        for mem in self.mems:
            self.wind(mem, one.capacity)
        self.capacity = one.capacity

    def wind(self, mem: Memory, capacity: int) -> None:
        words = mem.view(mem.entry("items"))
        words[:8].cast("I")[0] = words[:8].cast("I")[1] = START
        sequence = words[len(words) - 4 * capacity :].cast("I")
        for number in range(START, START + capacity):
            sequence[number % capacity] = number % 2**32

    def pair(self, which: int) -> tuple[Queue, Queue]:
        return self.handles[which][0], self.handles[1][1]

    @rule(which=st.integers(0, 1), value=VALUES)
    def push(self, which: int, value: int) -> None:
        pushed = [items.try_push(value) for items in self.pair(which)]
        assert pushed == [len(self.model) < self.capacity] * 2
        if pushed[0]:
            self.model.append(value)

    @rule(which=st.integers(0, 1))
    def pop(self, which: int) -> None:
        wanted = self.model.popleft() if self.model else None
        assert [items.try_pop() for items in self.pair(which)] == [wanted] * 2

    @rule(which=st.integers(0, 1), values=st.lists(VALUES, max_size=5))
    def push_many(self, which: int, values: list[int]) -> None:
        fit = values[: self.capacity - len(self.model)]
        for items in self.pair(which):
            items.push_many(fit)
        self.model.extend(fit)

    @rule(which=st.integers(0, 1), limit=st.integers(1, 9))
    def pop_many(self, which: int, limit: int) -> None:
        if self.model:
            wanted = [self.model.popleft() for _ in range(min(limit, len(self.model)))]
            found: list[Any] = [items.pop_many(limit).tolist() for items in self.pair(which)]
            assert found == [wanted] * 2

    @invariant()
    def same_size_and_bytes(self) -> None:
        if hasattr(self, "handles"):
            assert {len(items) for pair in self.handles for items in pair} == {len(self.model)}
            one, other = (bytes(mem.view(mem.entry("items"))) for mem in self.mems)
            assert one == other

    def teardown(self) -> None:
        for mem in getattr(self, "mems", ()):
            mem.close()
            mem.unlink()


def test_a_queue_is_a_deque() -> None:
    run_state_machine_as_test(QueueMachine)
