"""The named stack against a list: both backends in turn on one stack, and the same bytes."""

from __future__ import annotations

import itertools

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
from zeroipc import Memory, Stack

_numbers = itertools.count()
VALUES = st.integers(-(2**15), 2**15 - 1)


class StackMachine(RuleBasedStateMachine):
    """Two stacks in two segments: one used by both backends in turn, one by the second alone."""

    @initialize(capacity=st.integers(1, 9))
    def begin(self, capacity: int) -> None:
        self.mems = [Memory.create(f"{PREFIX}stack-{next(_numbers)}", 8192) for _ in range(2)]
        self.model: list[int] = []
        self.handles: list[tuple[Stack, Stack]] = []
        for backend in MIXED:
            with using(backend):
                one, other = (Stack(mem, "stack", capacity, np.int16) for mem in self.mems)
                self.handles.append((one, other))
        self.capacity = capacity

    def pair(self, which: int) -> tuple[Stack, Stack]:
        return self.handles[which][0], self.handles[1][1]

    @rule(which=st.integers(0, 1), value=VALUES)
    def push(self, which: int, value: int) -> None:
        pushed = [stack.try_push(value) for stack in self.pair(which)]
        assert pushed == [len(self.model) < self.capacity] * 2
        if pushed[0]:
            self.model.append(value)

    @rule(which=st.integers(0, 1))
    def pop(self, which: int) -> None:
        wanted = self.model.pop() if self.model else None
        assert [stack.try_pop() for stack in self.pair(which)] == [wanted] * 2

    @rule(which=st.integers(0, 1))
    def peek(self, which: int) -> None:
        wanted = self.model[-1] if self.model else None
        assert [stack.peek() for stack in self.pair(which)] == [wanted] * 2

    @rule(which=st.integers(0, 1), values=st.lists(VALUES, max_size=5))
    def push_many(self, which: int, values: list[int]) -> None:
        fit = values[: self.capacity - len(self.model)]
        for stack in self.pair(which):
            stack.push_many(fit)
        self.model.extend(fit)

    @rule(which=st.integers(0, 1), limit=st.integers(1, 9))
    def pop_many(self, which: int, limit: int) -> None:
        if self.model:
            wanted = [self.model.pop() for _ in range(min(limit, len(self.model)))]
            assert [s.pop_many(limit).tolist() for s in self.pair(which)] == [wanted] * 2

    @rule(which=st.integers(0, 1))
    def repair(self, which: int) -> None:
        for stack in self.pair(which):
            assert stack.repair() == 0

    @invariant()
    def same_size_and_bytes(self) -> None:
        if hasattr(self, "handles"):
            assert {len(stack) for pair in self.handles for stack in pair} == {len(self.model)}
            one, other = (bytes(mem.view(mem.entry("stack"))) for mem in self.mems)
            assert one == other

    def teardown(self) -> None:
        for mem in getattr(self, "mems", ()):
            mem.close()
            mem.unlink()


def test_a_stack_is_a_list() -> None:
    run_state_machine_as_test(StackMachine)
