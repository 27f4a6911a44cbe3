"""The named stack with several processes on it, of both backends: counted, summed, killed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from tests.support.named import MIXED, crew
from zeroipc import Memory, Stack

COUNT = 3000
PUSHERS = 2
POPPERS = 2
END = -1
WIDE = np.dtype([("words", "i8", 9)])
"""All words of an item are the same, unless it is torn."""


def rows(start: int, stop: int) -> np.ndarray[Any, Any]:
    made = np.zeros(stop - start, WIDE)
    made["words"] = np.arange(start, stop)[:, None]
    return made


def number_of(item: Any) -> int:
    """Return the number that an item repeats."""
    assert (item["words"] == item["words"][0]).all(), item
    return int(item["words"][0])


def open_stack(name: str) -> Stack:
    return Stack.open(Memory(name), "stack", WIDE)


def push_all(name: str, first: int) -> None:
    stack = open_stack(name)
    for row in rows(first, first + COUNT):
        stack.push(row)


def push_all_in_bulk(name: str, first: int) -> None:
    stack = open_stack(name)
    for start in range(first, first + COUNT, 10):
        stack.push_many(rows(start, start + 10))


def pop_all(name: str, count: int) -> list[int]:
    stack = open_stack(name)
    return [number_of(stack.pop()) for _ in range(count)]


def pop_all_in_bulk(name: str, count: int) -> list[int]:
    stack = open_stack(name)
    found: list[int] = []
    while len(found) < count:
        found.extend(map(number_of, stack.pop_many(min(7, count - len(found)))))
    return found


@pytest.mark.parametrize("capacity", [1, 5])
@pytest.mark.parametrize("push, pop", [(push_all, pop_all), (push_all_in_bulk, pop_all_in_bulk)])
def test_each_item_comes_out_once_and_whole(
    memory: Memory, push: Any, pop: Any, capacity: int
) -> None:
    stack = Stack(memory, "stack", capacity, WIDE)
    with crew() as poppers, crew() as pushers:
        for number in range(PUSHERS):
            pushers.start(push, memory.name, number * COUNT)
        for _ in range(POPPERS):
            poppers.start(pop, memory.name, PUSHERS * COUNT // POPPERS)
        pushers.results()
        found = [number for part in poppers.results() for number in part]
    assert sorted(found) == list(range(PUSHERS * COUNT))
    assert stack.empty()


def push_and_peek_and_pop(name: str, first: int) -> list[int]:
    stack = open_stack(name)
    found: list[int] = []
    for number in range(first, first + COUNT):
        stack.push(rows(number, number + 1)[0])
        peeked = stack.peek()
        if peeked is not None:
            number_of(peeked)
        found.append(number_of(stack.pop()))
    return found


def test_all_push_peek_and_pop(memory: Memory) -> None:
    stack = Stack(memory, "stack", 4, WIDE)
    with crew() as others:
        for number in range(4):
            others.start(push_and_peek_and_pop, memory.name, number * COUNT)
        found = [number for part in others.results() for number in part]
    assert sorted(found) == list(range(4 * COUNT))
    assert stack.empty()


def churn(name: str) -> None:
    stack = open_stack(name)
    number = 0
    while True:
        stack.try_push(rows(number, number + 1)[0])
        stack.try_pop()
        number += 1


@pytest.mark.parametrize("backend", sorted(set(MIXED)))
def test_deaths_cost_no_more_than_what_they_held(memory: Memory, backend: str) -> None:
    """Kill one that pushes and pops, at any moment; the items below stay, each once."""
    stack = Stack(memory, "stack", 40, WIDE)
    kept = rows(10**6, 10**6 + 20)
    stack.push_many(kept)
    for turn in range(15):
        with crew() as others:
            others.start(churn, memory.name, backend=backend)
            seen = 0
            while seen < 20 + 13 * turn:  # then it is killed, wherever it is
                seen += number_of(stack.peek(kept[0])) < 10**6
        assert stack.repair() <= 1
        found = Counter(map(number_of, stack.pop_many(40)))
        assert set(found.values()) <= {1}
        assert {number for number in found if number >= 10**6} == set(range(10**6, 10**6 + 20))
        stack.push_many(kept)
