"""Small histories of several processes, native and pure mixed, and a model that explains each."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support.linear import Call, Step, is_linearizable
from tests.support.named import crew
from zeroipc import Atomic, Map, Memory, Queue, Set, Stack
from zeroipc._core.status import OK, Status

PROCESSES = 4
CALLS = 5
HISTORIES = 12

Operation = Callable[[Any, Any], Any]


ENDS: dict[str, Operation] = {
    "push": lambda it, x: it._core.try_push(x),  # the answer of the core tells FULL from BUSY
    "pop": lambda it, _: it._core.try_pop(),
}


def queue_step(state: tuple[int, ...], name: str, argument: Any) -> tuple[Any, Any]:
    if name == "push":
        return (Status.FULL, state) if len(state) == 2 else (OK, (*state, argument))
    return (state[0], state[1:]) if state else (Status.EMPTY, state)


def stack_step(state: tuple[int, ...], name: str, argument: Any) -> tuple[Any, Any]:
    if name == "push":
        return (Status.FULL, state) if len(state) == 2 else (OK, (*state, argument))
    return (state[-1], state[:-1]) if state else (Status.EMPTY, state)


def map_step(state: frozenset[tuple[int, int]], name: str, argument: Any) -> tuple[Any, Any]:
    pairs, key = dict(state), argument % 2
    before = pairs.get(key)
    if name == "put":
        pairs[key] = argument
        return None, frozenset(pairs.items())
    if name == "take":
        pairs.pop(key, None)
    return before, frozenset(pairs.items())


def set_step(state: frozenset[int], name: str, argument: Any) -> tuple[Any, Any]:
    key = argument % 2
    if name == "insert":
        return key not in state, state | {key}
    return key in state, state - {key} if name == "erase" else state


def atomic_step(state: int, name: str, argument: Any) -> tuple[Any, Any]:
    if name == "add":
        return state, state + argument
    if name == "swap":
        return state, argument
    return (True, argument) if state == argument - 1 else (False, state)


KINDS: dict[str, tuple[Callable[[Memory], Any], dict[str, Operation], Any, Step]] = {
    "queue": (
        lambda mem: Queue(mem, "it", 2, np.int32),
        ENDS,
        (),
        queue_step,
    ),
    "stack": (
        lambda mem: Stack(mem, "it", 2, np.int32),
        ENDS,
        (),
        stack_step,
    ),
    "map": (
        lambda mem: Map(mem, "it", 4, np.int32, np.int32),
        {
            "put": lambda it, x: it.__setitem__(x % 2, x),
            "get": lambda it, x: it.get(x % 2),
            "take": lambda it, x: it.pop(x % 2, None),
        },
        frozenset(),
        map_step,
    ),
    "set": (
        lambda mem: Set(mem, "it", 4, np.int32),
        {
            "insert": lambda it, x: it.insert(x % 2),
            "has": lambda it, x: x % 2 in it,
            "erase": lambda it, x: it.erase(x % 2),
        },
        frozenset(),
        set_step,
    ),
    "atomic": (
        lambda mem: Atomic(mem, "it"),
        {
            "add": lambda it, x: it.fetch_add(x),
            "swap": lambda it, x: it.exchange(x),
            "step": lambda it, x: it.compare_exchange(x - 1, x),
        },
        0,
        atomic_step,
    ),
}


def act(name: str, kind: str, number: int, seed: int) -> list[Call]:
    """Call what chance says, when all are there; return what came of it."""
    make, operations, _, _ = KINDS[kind]
    mem = Memory(name)
    it, choose = make(mem), random.Random(f"{seed} {number}")
    start = Atomic(mem, "start")
    start.fetch_add(1)
    end = time.monotonic() + 60
    while start.load() < PROCESSES:  # all at once: a sleep would spread them
        assert time.monotonic() < end, "the others did not come"
    calls = []
    for turn in range(CALLS):
        doing, argument = choose.choice(sorted(operations)), 10 * number + turn
        begin = time.monotonic_ns()
        answer = operations[doing](it, argument)
        calls.append(Call(begin, time.monotonic_ns(), doing, argument, answer))
    return calls


@pytest.mark.parametrize("kind", KINDS)
def test_histories_are_linearizable(kind: str, make_memory: Callable[..., Memory]) -> None:
    make, _, initial, step = KINDS[kind]
    for seed in range(HISTORIES):
        memory = make_memory()
        make(memory)
        Atomic(memory, "start")
        with crew() as others:
            for number in range(PROCESSES):
                others.start(act, memory.name, kind, number, seed)
            history = list(itertools.chain(*others.results()))
        assert len(history) == PROCESSES * CALLS
        # BUSY is no answer but "not now", and nothing was done: blocking calls try again then.
        history = [call for call in history if call.answer is not Status.BUSY]
        assert is_linearizable(history, initial, step), sorted(history)


def test_the_checker_notices_what_cannot_be() -> None:
    before, after = Call(0, 1, "push", 7, OK), Call(2, 3, "pop", None, Status.EMPTY)
    assert not is_linearizable([before, after], (), queue_step)  # it was there and not found
    assert is_linearizable([before, after._replace(begin=1)], (), queue_step)  # at the same time
    twice = [before, Call(2, 5, "pop", None, 7), Call(2, 5, "pop", None, 7)]
    assert not is_linearizable(twice, (), queue_step)  # popped by two
    order = [before, Call(2, 3, "push", 8, OK), Call(4, 5, "pop", None, 8)]
    assert not is_linearizable(order, (), queue_step)
    assert is_linearizable(order, (), stack_step)
