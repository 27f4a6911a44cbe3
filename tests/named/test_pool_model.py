"""The named pool against a list of free nodes: both backends in turn, and the same bytes."""

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
from zeroipc import FreedError, Memory, Pool

_numbers = itertools.count()
START = 2**32 - 3
"""The first generation: it wraps at once."""


class PoolMachine(RuleBasedStateMachine):
    """Two pools in two segments: one used by both backends in turn, one by the second alone."""

    @initialize(capacity=st.integers(1, 9))
    def begin(self, capacity: int) -> None:
        self.mems = [Memory.create(f"{PREFIX}pool-{next(_numbers)}", 8192) for _ in range(2)]
        self.free = list(reversed(range(capacity)))
        self.values: dict[int, int] = {}
        self.handles: list[tuple[Pool, Pool]] = []
        for backend in MIXED:
            with using(backend):
                one, other = (Pool(mem, "pool", capacity, np.int16) for mem in self.mems)
                self.handles.append((one, other))
        for mem in self.mems:
            mem.view(mem.entry("pool"))[:8].cast("I")[1] = START
        self.capacity = capacity

    def pair(self, which: int) -> tuple[Pool, Pool]:
        return self.handles[which][0], self.handles[1][1]

    @rule(which=st.integers(0, 1), value=st.integers(-9, 9))
    def allocate(self, which: int, value: int) -> None:
        nodes = [pool.try_allocate() for pool in self.pair(which)]
        if not self.free:
            assert nodes == [None, None]
            return
        index = self.free.pop()
        for node in nodes:
            assert node is not None
            node.value = value
            assert node.detach() == index
        self.values[index] = value

    @rule(which=st.integers(0, 1), number=st.integers(0, 8), by_handle=st.booleans())
    def release(self, which: int, number: int, by_handle: bool) -> None:
        index = number % self.capacity
        for pool in self.pair(which):
            if index in self.free:
                with pytest.raises(FreedError):
                    pool.free(index)
            elif by_handle:
                pool.adopt(index).free()
            else:
                pool.free(index)
        if index not in self.free:
            self.free.append(index)
            del self.values[index]

    @rule(which=st.integers(0, 1), lost=st.sets(st.integers(0, 8)))
    def repair(self, which: int, lost: set[int]) -> None:
        live = self.values.keys() - lost
        for pool in self.pair(which):
            assert pool.repair(live) == len(self.values) - len(live)
        self.values = {index: self.values[index] for index in live}
        self.free = sorted(set(range(self.capacity)) - live, reverse=True)

    @invariant()
    def same_values_and_bytes(self) -> None:
        if hasattr(self, "handles"):
            for pool in itertools.chain(*self.handles):
                assert len(pool) == len(self.values)
                assert {index: pool[index] for index in self.values} == self.values
            one, other = (bytes(mem.view(mem.entry("pool"))) for mem in self.mems)
            assert one == other

    def teardown(self) -> None:
        for mem in getattr(self, "mems", ()):
            mem.close()
            mem.unlink()


def test_a_pool_is_a_list_of_free_nodes() -> None:
    run_state_machine_as_test(PoolMachine)
