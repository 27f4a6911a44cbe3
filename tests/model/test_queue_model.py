"""A queue against a deque: random operations by either backend, or by both at once."""

from __future__ import annotations

from collections import deque
from queue import Empty, Full
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.arenas import BACKENDS, NATIVE, PURE, File, core, queue_of
from zeroipc.errors import ClosedError

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(st.characters(), max_size=50)
    | st.binary(max_size=50)
)
LONG = st.sampled_from([4000, 16384, 16385, 40_000]).map(lambda n: bytes([n % 251]) * n)
PLAIN_ARRAYS = arrays.arrays(
    st.sampled_from(["i1", "u4", "f8", "c16", "?", ">i2", "M8[s]"]),
    arrays.array_shapes(min_dims=0, min_side=0, max_side=5),
    elements={"allow_nan": False},
)
BIG_ARRAYS = st.integers(0, 255).map(lambda n: np.full(9000 + n, n))
ITEMS = st.recursive(
    SCALARS | LONG | PLAIN_ARRAYS | BIG_ARRAYS,
    lambda part: (
        st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=3), part, max_size=3)
    ),
    max_leaves=5,
)


def same(one: Any, other: Any) -> bool:
    """Return whether two items are equal, arrays in them included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


class QueueMachine(RuleBasedStateMachine):
    """A queue with two handles, and what it should hold."""

    backends: tuple[str, str]

    @initialize(maxsize=st.sampled_from([0, 0, 1, 3]))
    def make(self, maxsize: int) -> None:
        self.file = File(64 << 20)
        self.arenas = [self.file.create(self.backends[0], 32 << 20)]
        self.arenas.append(self.file.attach(self.backends[1]))
        first = queue_of(self.backends[0], self.arenas[0], maxsize=maxsize)
        self.queues = [first, queue_of(self.backends[1], self.arenas[1], first._handle[1:])]
        self.maxsize = maxsize
        self.model: deque[Any] = deque()
        self.state = "open"
        self.kept: list[Any] = []

    @rule(which=st.integers(0, 1), item=ITEMS)
    def put(self, which: int, item: Any) -> None:
        if self.state != "open":
            with pytest.raises(ClosedError):
                self.queues[which].put_nowait(item)
        elif self.maxsize and len(self.model) == self.maxsize:
            with pytest.raises(Full):
                self.queues[which].put_nowait(item)
        else:
            self.queues[which].put(item, timeout=10)
            self.model.append(item)

    @rule(which=st.integers(0, 1), keep=st.booleans())
    def get(self, which: int, keep: bool) -> None:
        if self.state == "gone" or (self.state == "shut" and not self.model):
            with pytest.raises(ClosedError):
                self.queues[which].get()
        elif not self.model:
            with pytest.raises(Empty):
                self.queues[which].get_nowait()
        else:
            found, wanted = self.queues[which].get(timeout=10), self.model.popleft()
            assert same(found, wanted), (found, wanted)
            if keep:
                self.kept.append((found, wanted))

    @precondition(lambda self: self.model and self.state != "gone")
    @rule(which=st.integers(0, 1), limit=st.integers(1, 20))
    def get_many(self, which: int, limit: int) -> None:
        found = self.queues[which].get_many(limit)
        wanted = [self.model.popleft() for _ in range(min(limit, len(self.model)))]
        assert same(found, wanted)

    @rule(which=st.integers(0, 1))
    def drop_what_was_kept(self, which: int) -> None:
        assert all(same(found, wanted) for found, wanted in self.kept)
        self.kept.clear()

    @rule(which=st.integers(0, 1))
    def shrink_and_trim(self, which: int) -> None:
        self.arenas[which].shrink()
        self.arenas[which].trim(0)

    @rule(which=st.integers(0, 1))
    def replace_a_participant(self, which: int) -> None:
        handle = self.queues[which]._handle[1:]
        self.kept.clear()
        self.queues[which] = None
        self.arenas[which].deregister()
        self.arenas[which] = self.file.attach(self.backends[which])
        self.queues[which] = queue_of(self.backends[which], self.arenas[which], handle)

    @precondition(lambda self: self.state == "open" and len(self.model) > 1)
    @rule(which=st.integers(0, 1), immediate=st.booleans())
    def shut(self, which: int, immediate: bool) -> None:
        self.queues[which]._shutdown(immediate)
        self.state = "gone" if immediate else "shut"
        if immediate:
            self.model.clear()

    @invariant()
    def sizes_agree(self) -> None:
        for queue in self.queues:
            assert queue.qsize() == len(self.model)
            assert queue._maxsize == self.maxsize

    def teardown(self) -> None:
        if not hasattr(self, "queues"):
            return
        self.kept.clear()
        if self.state != "gone":
            assert same(self.queues[0].get_many(1000) if self.model else [], list(self.model))
            # One chunk, or two when the ring has just gone on in another.
            assert self.arenas[1].stats()["blocks_live"] <= 2


class NativeMachine(QueueMachine):
    backends = (NATIVE, NATIVE)


class PureMachine(QueueMachine):
    backends = (PURE, PURE)


class NativePureMachine(QueueMachine):
    backends = (NATIVE, PURE)


class PureNativeMachine(QueueMachine):
    backends = (PURE, NATIVE)


@pytest.mark.parametrize(
    "machine", [NativeMachine, PureMachine, NativePureMachine, PureNativeMachine]
)
def test_queue_model(machine: type[QueueMachine]) -> None:
    for backend in machine.backends:
        core(backend)
    run_state_machine_as_test(
        machine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None)
    )


def test_the_backends_are_two() -> None:
    assert core(BACKENDS[0]) is not core(BACKENDS[1])
