"""The named pool with several processes on it, of both backends: nobody shares a node."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np
import pytest

from tests.support.named import MIXED, crew
from zeroipc import FreedError, Memory, Node, Pool, Queue

COUNT = 3000
WIDE = np.dtype([("words", "u8", 8)])


def open_pool(name: str) -> Pool:
    return Pool.open(Memory(name), "pool", WIDE)


def hold(pool: Pool, mark: int) -> Node:
    node = pool.allocate()
    node["words"] = mark
    return node


def check_and_free(node: Node, mark: int) -> None:
    assert (node["words"] == mark).all(), "somebody else had the node too"
    node.free()


def allocate_and_free(name: str, number: int) -> None:
    pool = open_pool(name)
    for i in range(COUNT):
        mark = number * COUNT + i
        one = hold(pool, mark)
        if i % 3 == 0 and (other := pool.try_allocate()):
            other["words"] = mark
            check_and_free(other, mark)
        check_and_free(one, mark)


@pytest.mark.parametrize("capacity", [1, 3, 100])
def test_nobody_shares_a_node(memory: Memory, capacity: int) -> None:
    pool = Pool(memory, "pool", capacity, WIDE)
    with crew() as others:
        for number in range(4):
            others.start(allocate_and_free, memory.name, number)
        others.results()
    assert (len(pool), pool.repair(), len(pool)) == (0, 0, 0)
    assert sorted(pool.allocate().index for _ in range(capacity)) == list(range(capacity))


def give_away(name: str, number: int) -> None:
    pool, nodes = open_pool(name), Queue(Memory(name), "nodes", dtype=np.uint32)
    for i in range(COUNT):
        nodes.push(hold(pool, number * COUNT + i).detach())


def adopt_all(name: str) -> int:
    pool, nodes = open_pool(name), Queue(Memory(name), "nodes", dtype=np.uint32)
    total = 0
    for i in range(COUNT):
        node = pool.adopt(nodes.pop())
        words = node["words"]
        assert (words == words[0]).all()
        total += int(words[0])
        if i % 2:
            node.free()
        else:
            pool.free(node)
    return total


def test_nodes_are_sent_to_others(memory: Memory) -> None:
    pool = Pool(memory, "pool", 10, WIDE)
    Queue(memory, "nodes", 4, np.uint32)
    with crew() as others:
        for number in range(2):
            others.start(give_away, memory.name, number)
        for _ in range(2):
            others.start(adopt_all, memory.name)
        *_, one, other = others.results()
    assert one + other == sum(range(2 * COUNT))
    assert len(pool) == 0


def race_to_free(name: str, rounds: int) -> list[int]:
    """Free all nodes by index, as the other one does; return which were freed here."""
    pool, freed = open_pool(name), []
    gate: Any = Queue(Memory(name), "gate", dtype=np.uint8)
    for _ in range(rounds):
        gate.pop()
        for index in range(pool.capacity):
            try:
                pool.free(index)
                freed.append(index)
            except FreedError:
                pass
        Queue(Memory(name), "done", dtype=np.uint8).push(1)
    return freed


def test_of_two_that_free_the_same_one_wins(memory: Memory) -> None:
    pool = Pool(memory, "pool", 20, WIDE)
    gate, done = (Queue(memory, name, 4, np.uint8) for name in ("gate", "done"))
    rounds = 30
    with crew() as others:
        for _ in range(2):
            others.start(race_to_free, memory.name, rounds)
        for _ in range(rounds):
            assert sorted(pool.allocate().detach() for _ in range(20)) == list(range(20))
            gate.push_many([1, 1])
            done.pop()
            done.pop()
        freed = [index for part in others.results() for index in part]
    assert len(freed) == 20 * rounds


def die_with(name: str, marks: range) -> None:
    pool = open_pool(name)
    for mark in marks:
        hold(pool, mark)
    os.kill(os.getpid(), signal.SIGKILL)


def churn(name: str) -> None:
    pool = open_pool(name)
    while True:
        with pool.allocate():
            pass


@pytest.mark.parametrize("backend", sorted(set(MIXED)))
def test_deaths_cost_only_what_they_held(memory: Memory, backend: str) -> None:
    pool = Pool(memory, "pool", 10, WIDE)
    mine = [hold(pool, 10**6 + i) for i in range(3)]
    for turn in range(12):
        with crew() as others:
            others.start(die_with, memory.name, range(2), backend=backend).join()
            others.start(churn, memory.name, backend=backend)
            for _ in range(50 + 37 * turn):  # then it is killed, wherever it is
                with pool.allocate() as node:
                    node["words"] = 1
        assert len(pool) in range(5, 8)
        assert pool.repair(mine) in (2, 3)
        assert len(pool) == 3
    assert [int(node["words"][0]) - 10**6 for node in mine] == [0, 1, 2]
    assert len({pool.allocate().index for _ in range(7)} | {node.index for node in mine}) == 10
