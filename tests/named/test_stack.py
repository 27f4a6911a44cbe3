"""The named stack: what one process sees."""

from __future__ import annotations

import pickle
import queue
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support.golden import (
    differing,
    golden_bytes,
    golden_facts,
    golden_names,
    read_segment,
    write_segment,
)
from zeroipc import (
    CapacityError,
    ClosedError,
    DTypeError,
    Memory,
    NameExistsError,
    OutOfRangeError,
    SegmentFormatError,
    Stack,
    StalledError,
    StructureNotFoundError,
    WaitTimeoutError,
)
from zeroipc._core.named.layout import (
    STACK_EMPTY,
    STACK_READING,
    STACK_READY,
    STACK_WRITING,
)

pytestmark = pytest.mark.usefixtures("backend")


def words(stack: Stack) -> tuple[memoryview, memoryview]:
    """Return top, and the states, of a stack of 8-byte items."""
    view = stack.memory.view(stack.memory.entry(stack.name))
    return view[:4].cast("i"), view[16 + 8 * stack.capacity :].cast("I")


def test_is_bounded_and_last_in_first_out(memory: Memory) -> None:
    stack = Stack(memory, "stack", 3, np.int32)
    assert [stack.try_push(i) for i in range(4)] == [True] * 3 + [False]
    assert (len(stack), stack.full(), stack.empty(), stack.peek()) == (3, True, False, 2)
    assert [stack.try_pop("none") for _ in range(4)] == [2, 1, 0, "none"]
    assert (len(stack), stack.full(), stack.empty(), stack.peek("none")) == (0, False, True, "none")


@pytest.mark.parametrize("dtype, value", [("S3", b"abc"), ("?", True), ("c16", 1 + 2j)])
def test_gives_back_what_was_pushed(memory: Memory, dtype: str, value: Any) -> None:
    stack = Stack(memory, "stack", 1, dtype)
    stack.push(value)
    assert (stack.peek(), stack.pop()) == (value, value)


def test_moves_many_the_highest_first(memory: Memory) -> None:
    stack = Stack(memory, "stack", 6, np.float64)
    stack.push_many([1, 2, 3, 4])
    assert stack.pop_many(2).tolist() == [4, 3]
    with pytest.raises(WaitTimeoutError) as caught:
        stack.push_many(np.arange(10), timeout=0)
    assert caught.value.done == 4
    out = np.zeros(9)
    assert stack.pop_into(out) == 6
    assert out.tolist() == [3, 2, 1, 0, 2, 1, 0, 0, 0]


def test_times_out(memory: Memory) -> None:
    stack = Stack(memory, "stack", 1, np.int32)
    with pytest.raises(WaitTimeoutError, match="no item"):
        stack.pop(timeout=0.01)
    with pytest.raises(queue.Empty):
        stack.get_nowait()
    stack.put(1)
    with pytest.raises(WaitTimeoutError, match="no room"):
        stack.push(2, timeout=0.01)
    with pytest.raises(queue.Full):
        stack.put_nowait(2)
    assert stack.get() == 1


def test_refuses_what_the_dtype_cannot_hold(memory: Memory) -> None:
    stack = Stack(memory, "stack", 4, np.uint8)
    before = bytes(memory.buf)
    for value, error in ((256, OutOfRangeError), (1.5, DTypeError), ("1", DTypeError)):
        with pytest.raises(error, match="value must"):
            stack.push(value)
        with pytest.raises(error, match="values must"):
            stack.push_many([value])
    assert bytes(memory.buf) == before


def test_opens_only_what_fits(memory: Memory) -> None:
    with pytest.raises(StructureNotFoundError):
        Stack(memory, "stack", dtype=np.int32)
    Stack.create(memory, "stack", 5, np.int32).push(7)
    with pytest.raises(NameExistsError):
        Stack.create(memory, "stack", 5, np.int32)
    with pytest.raises(CapacityError, match="must be 5"):
        Stack(memory, "stack", 4, np.int32)
    with pytest.raises(DTypeError, match="4 bytes"):
        Stack.open(memory, "stack", np.int64)
    with pytest.raises(DTypeError, match="must be given"):
        Stack(memory, "stack")
    for capacity in (0, -3, 2**31):
        with pytest.raises(CapacityError):
            Stack(memory, "other", capacity, np.int32)
    assert Stack.open(memory, "stack", np.int32).pop() == 7


@pytest.mark.parametrize("capacity, elem_size", [(0, 8), (5, 0), (6, 8), (2**32 - 1, 8)])
def test_refuses_what_is_no_stack(memory: Memory, capacity: int, elem_size: int) -> None:
    Stack(memory, "stack", 5, np.int64)
    memory.add("short", 8, lambda view: None)
    header = memory.view(memory.entry("stack"))[:16].cast("I")
    header[1], header[2] = capacity, elem_size
    for name in ("short", "stack"):
        with pytest.raises(SegmentFormatError, match="not a stack"):
            Stack(memory, name, dtype=np.int64)


@pytest.mark.parametrize("bad_top", [-2, 5, 2**31 - 1, -(2**31)])
def test_says_that_top_is_damaged(memory: Memory, bad_top: int) -> None:
    stack = Stack(memory, "stack", 5, np.int64)
    words(stack)[0][0] = bad_top
    for attempt in (
        lambda: stack.try_push(1),
        stack.try_pop,
        stack.peek,
        lambda: stack.push_many([1, 2], 0),
        lambda: stack.pop(0),
    ):
        with pytest.raises(SegmentFormatError, match="damaged"):
            attempt()
    assert 0 <= len(stack) <= 5
    stack.repair()
    assert (len(stack), stack.try_push(1)) == (0, True)


def test_says_that_a_state_is_damaged(memory: Memory) -> None:
    stack = Stack(memory, "stack", 2, np.int64)
    stack.push(1)
    states = words(stack)[1]
    states[0] = states[1] = 4
    for attempt in (lambda: stack.try_push(1), stack.try_pop, stack.peek):
        with pytest.raises(SegmentFormatError, match="damaged"):
            attempt()
    assert stack.repair() == 1
    assert stack.try_push(1)


def test_closes_pickles_and_shows_itself(memory: Memory) -> None:
    with Stack(memory, "stack", 4, np.int32) as stack:
        stack.push(1)
        assert repr(stack) == "<Stack 'stack', size=1/4, dtype=int32>"
        assert pickle.loads(pickle.dumps(stack)).pop() == 1
        assert stack
    assert repr(stack) == "<Stack 'stack', closed>"
    with pytest.raises(ClosedError):
        stack.peek()


# Who died, what is left of it (top and states) in a stack of 0, 1, 2 and two free slots, which
# calls come to it, and what is there after the repair.
DEATHS = {
    "a push, slot locked": (2, {3: STACK_WRITING}, {"push"}, [0, 1, 2], 0),
    "a push, claimed": (3, {3: STACK_WRITING}, {"pop", "peek"}, [0, 1, 2], 1),
    "a pop, slot locked": (2, {2: STACK_READING}, {"pop", "peek"}, [0, 1, 2], 0),
    "a pop, claimed": (1, {2: STACK_READING}, {"push"}, [0, 1], 1),
    "a peek": (2, {2: STACK_READING}, {"pop", "peek"}, [0, 1, 2], 0),
    "a peer's push, claimed only": (3, {}, {"pop", "peek"}, [0, 1, 2], 0),
    "a peer's pop, claimed only": (1, {}, {"push"}, [0, 1, 2], 0),
}


@pytest.mark.parametrize("death", DEATHS)
def test_deaths_are_noticed_and_repaired(memory: Memory, death: str) -> None:
    top, states, stalled, left, lost = DEATHS[death]
    stack = Stack(memory, "stack", 5, np.int64)
    stack.push_many([0, 1, 2])
    words(stack)[0][0] = top
    for slot, state in states.items():
        words(stack)[1][slot] = state
    before = bytes(memory.buf)
    if "pop" in stalled:
        assert (stack.try_pop(), stack.peek()) == (None, None)
        with pytest.raises(StalledError, match="'stack'"):
            stack.pop()
    if "push" in stalled:
        assert not stack.try_push(9)
        with pytest.raises(StalledError, match="'stack'"):
            stack.push(9)
    assert bytes(memory.view(memory.entry("stack"))) in before  # nobody made it worse
    assert stack.repair() == lost
    assert list(words(stack)[1]) == [STACK_READY] * len(left) + [STACK_EMPTY] * (5 - len(left))
    assert stack.pop_many(9).tolist() == left[::-1]


def test_a_dead_push_does_not_keep_others_from_popping(memory: Memory) -> None:
    stack = Stack(memory, "stack", 5, np.int64)
    stack.push_many([0, 1, 2])
    words(stack)[1][3] = STACK_WRITING  # locked, not claimed
    assert [stack.pop(), stack.pop()] == [2, 1]
    stack.push(7)
    stack.push(8)
    assert not stack.try_push(9)
    assert stack.pop_many(5).tolist() == [8, 7, 0]


@pytest.mark.parametrize("golden", golden_names("stack"))
def test_golden_segments(golden: str, segment_name: str) -> None:
    write_segment(segment_name, golden_bytes(golden))
    with Memory(segment_name) as mem:
        for known in golden_facts(golden)["structures"]:
            stack = Stack(mem, known["name"], dtype=known["type"])
            assert (stack.capacity, len(stack)) == (known["capacity"], known["size"])
            assert stack.full() == known["full"]
            assert stack.peek() == known["pop_order"][0]
            assert stack.pop_many(100).tolist() == known["pop_order"]
        mem.unlink()


@pytest.mark.parametrize("golden", golden_names("stack"))
def test_golden_bytes(golden: str, make_memory: Callable[..., Memory]) -> None:
    facts = golden_facts(golden)
    mem = make_memory(facts["segment_size"], max_entries=facts["table"]["word_at_12"])
    for known in facts["structures"]:  # push 5, pop 2, push 1
        stack = Stack(mem, known["name"], known["capacity"], known["type"])
        values = np.arange(6) * 3 - 5
        stack.push_many(values[:5])
        stack.pop_many(2)
        stack.push(values[5])
    assert differing(golden, read_segment(mem.name)) == []
