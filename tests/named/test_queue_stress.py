"""The named queue with several processes on it, of both backends: counted, summed, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.support.named import crew
from zeroipc import Memory, Queue

PRODUCERS = 2
CONSUMERS = 2
COUNT = 3000
END = -1


def produce(items: Queue, number: int) -> int:
    for i in range(COUNT):
        items.push(number * COUNT + i)
    return sum(range(number * COUNT, (number + 1) * COUNT))


def consume(items: Queue) -> list[int]:
    return list(iter(items.pop, END))


def produce_many(items: Queue, number: int) -> int:
    values = np.arange(number * COUNT, (number + 1) * COUNT)
    for part in np.array_split(values, 70):
        items.push_many(part)
    return int(values.sum())


def consume_many(items: Queue) -> list[int]:
    found: list[int] = []
    while END not in found[-8:]:
        found.extend(items.pop_many(8).tolist())
    for _ in range(found.count(END) - 1):
        items.push(END)  # another's
    return [value for value in found if value != END]


def run(memory: Memory, capacity: int, *, many: bool) -> None:
    items = Queue(memory, "items", capacity, np.int64)
    with crew() as consumers, crew() as producers:
        for _ in range(CONSUMERS):
            consumers.start(open_and(consume_many if many else consume), memory.name)
        for number in range(PRODUCERS):
            producers.start(open_and(produce_many if many else produce), memory.name, number)
        sums = producers.results()
        for _ in range(CONSUMERS):
            items.push(END)
        received = consumers.results()
    everything = [value for part in received for value in part]
    assert sum(everything) == sum(sums)
    assert sorted(everything) == list(range(PRODUCERS * COUNT))
    for part in received:  # what one producer pushed arrives at each consumer in order
        for number in range(PRODUCERS):
            mine = [value for value in part if value // COUNT == number]
            assert mine == sorted(mine)
    assert items.empty()


def open_and(work: Callable[..., Any]) -> Callable[..., Any]:
    """Return *work* on the queue as opened in the process that does it, with its backend."""
    return lambda name, *args: work(Queue.open(Memory(name), "items", np.int64), *args)


def test_nothing_is_lost_doubled_or_out_of_order(memory: Memory) -> None:
    run(memory, 4, many=False)


def test_nothing_is_lost_doubled_or_out_of_order_in_bulk(memory: Memory) -> None:
    run(memory, 16, many=True)


def test_a_sleeper_is_woken(memory: Memory) -> None:
    """Both sides sleep for each other, time and again: a lost wake would make this slow."""
    there, back = (Queue(memory, name, 2, np.int64) for name in ("there", "back"))
    with crew() as others:
        others.start(echo, memory.name, 500)
        for i in range(500):
            there.push(i)
            assert back.pop() == i
        assert others.results() == [500]


def echo(name: str, count: int) -> int:
    mem = Memory(name)
    there, back = (Queue.open(mem, name, np.int64) for name in ("there", "back"))
    for _ in range(count):
        back.push(there.pop())
    return count
