"""Named maps and sets with several processes on them, of both backends."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support.named import MIXED, crew
from zeroipc import Map, Memory, NoRoomError, Set, StalledError

WORKERS = 4
COUNT = 600


def run(work: Callable[..., Any], name: str) -> list[Any]:
    """Return what `work(name, number)` returned in each of the processes."""
    with crew() as workers:
        for number in range(WORKERS):
            workers.start(work, name, number)
        return workers.results()


def own_keys(name: str, number: int) -> dict[int, int]:
    """Store, change and erase keys that nobody else has; return what must be left."""
    shared = Map.open(Memory(name), "map", np.int64, np.int64)
    mine = {key * WORKERS + number: -key for key in range(COUNT)}
    for key in mine:
        shared[key] = key
    for key, value in mine.items():
        assert shared[key] == key
        shared[key] = value
    gone = list(mine)[::2]
    assert [shared.pop(key) for key in gone] == [mine.pop(key) for key in gone]
    return mine


def test_nobody_loses_a_key_of_his_own(make_memory: Callable[..., Memory]) -> None:
    memory = make_memory(2**18)
    shared = Map(memory, "map", WORKERS * COUNT * 5 // 4, np.int64, np.int64)
    wanted: dict[int, int] = {}
    for part in run(own_keys, memory.name):
        wanted.update(part)
    assert shared.copy() == wanted
    assert len(shared) == len(wanted)
    assert shared.repair() == 0


def same_keys(name: str, number: int) -> int:
    """Change and erase the keys that all change; return how often a value was seen."""
    shared = Map.open(Memory(name), "map", np.int64, "S7")
    choose, seen = random.Random(number), 0
    rounds = COUNT * (50 if MIXED[number % 2] == "native" else 1)  # as long as the others
    for _ in range(rounds):
        key = choose.randrange(4)
        shared[key] = bytes([65 + number, 97 + key]) + bytes([65 + number]) * 5
        for found, value in [(key, shared.get(key)), *shared.items()]:
            if value is not None:  # whole, and of this key
                assert (value[1], set(value[2:])) == (97 + found, {value[0]})
                seen += 1
        if choose.random() < 0.5:
            shared.pop(choose.randrange(4), None)
    return seen // rounds


def test_values_are_whole_and_of_their_keys(memory: Memory) -> None:
    """Values that are no words of the machine, in entries that change their keys all the time."""
    shared = Map(memory, "map", 8, np.int64, "S7")
    assert min(run(same_keys, memory.name)) >= 1
    assert shared.repair() == 0
    assert len(shared) == len(list(shared)) >= len(shared.copy())  # a key may be there twice


def take_all(name: str, number: int) -> tuple[list[int], list[int]]:
    mem = Memory(name)
    numbers, keys = Map.open(mem, "map", np.int32, np.float64), Set.open(mem, "set", np.int32)
    choose = random.Random(number)
    order = list(range(COUNT))
    choose.shuffle(order)
    popped = [key for key in order if numbers.pop(key, None) is not None]
    choose.shuffle(order)
    return popped, [key for key in order if keys.erase(key)]


def test_exactly_one_gets_a_key(memory: Memory) -> None:
    numbers = Map(memory, "map", COUNT, np.int32, np.float64)
    numbers.update(dict.fromkeys(range(COUNT), 0.5))
    keys = Set(memory, "set", COUNT, np.int32)
    keys.update(range(COUNT))
    results = run(take_all, memory.name)
    for which in (0, 1):
        assert sorted(key for result in results for key in result[which]) == list(range(COUNT))
    assert (len(numbers), len(keys), list(numbers), list(keys)) == (0, 0, [], [])


def add_all(name: str, number: int) -> list[int]:
    mem = Memory(name)
    numbers, keys = Map.open(mem, "map", np.int32, np.float64), Set.open(mem, "set", np.int32)
    added = []
    for key in range(COUNT):
        numbers.setdefault(key, number)
        if keys.insert(key):
            added.append(key)
    return added


def test_exactly_one_adds_a_value(memory: Memory) -> None:
    """Nobody erases anything: so no key gets two entries."""
    numbers = Map(memory, "map", COUNT, np.int32, np.float64)
    keys = Set(memory, "set", COUNT, np.int32)
    results = run(add_all, memory.name)
    assert sorted(key for added in results for key in added) == list(range(COUNT))
    assert sorted(keys) == sorted(numbers) == list(range(COUNT))


def change_for_ever(name: str) -> None:
    mem = Memory(name)
    numbers, keys = Map.open(mem, "map", np.int64, np.int64), Set.open(mem, "set", np.int64)
    choose = random.Random()
    while True:
        key = choose.randrange(20)
        try:
            numbers[key] = key * 1000 + choose.randrange(1000)
            keys.add(key)
            numbers.pop(choose.randrange(20), None)
            keys.discard(choose.randrange(20))
        except (NoRoomError, StalledError):
            pass


@pytest.mark.kill
def test_survivors_of_random_kills_go_on(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zeroipc._waiting.STALL", 50_000_000)
    numbers = Map(memory, "map", 32, np.int64, np.int64)
    keys = Set(memory, "set", 32, np.int64)
    choose = random.Random(7)
    for turn in range(20):
        with crew() as victims:
            for _ in range(2):
                victims.start(change_for_ever, memory.name)
            time.sleep(choose.uniform(0.05, 0.15))  # they are killed wherever they are
        lost = numbers.repair() + keys.repair()
        assert lost <= 2
        assert all(value // 1000 == key for key, value in numbers.items())
        assert (len(numbers), len(keys)) == (len(list(numbers)), len(list(keys)))
        numbers[100 + turn] = (100 + turn) * 1000
        keys.add(100 + turn)
        assert numbers.pop(100 + turn) == (100 + turn) * 1000
        keys.remove(100 + turn)
