"""The named ring between processes of both backends: in order, whole, and with deaths."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support.named import MIXED, crew
from zeroipc import Memory, Ring

COUNT = 20_000
WIDE = np.dtype([("words", "u8", 9)])
"""All words of an element are the same, unless it is torn."""


def rows(start: int, stop: int) -> np.ndarray[Any, Any]:
    made = np.zeros(stop - start, WIDE)
    made["words"] = np.arange(start, stop)[:, None]
    return made


def open_ring(name: str) -> Ring:
    return Ring.open(Memory(name), "ring", WIDE)


def push_all(ring: Ring) -> None:
    for row in rows(0, COUNT):
        ring.push(row)


def write_all(ring: Ring) -> None:
    for start in range(0, COUNT, 11):
        ring.write(rows(start, min(start + 11, COUNT)))


def reserve_all(ring: Ring) -> None:
    start = 0
    while start < COUNT:
        with ring.reserve(min(5, COUNT - start)) as window:
            window["words"] = np.arange(start, start + len(window))[:, None]
        start += len(window)


def pop_all(ring: Ring) -> list[Any]:
    return [ring.pop()["words"] for _ in range(COUNT)]


def read_all(ring: Ring) -> list[Any]:
    found: list[Any] = []
    while len(found) < COUNT:
        found.extend(ring.read(6)["words"])
    return found


def peek_all(ring: Ring) -> list[Any]:
    found: list[Any] = []
    while len(found) < COUNT:
        with ring.peek(6) as window:
            found.extend(window["words"].copy())
    return found


WAYS = [(push_all, read_all), (write_all, peek_all), (reserve_all, pop_all)]


@pytest.mark.parametrize("backends", [MIXED, MIXED[::-1]], ids="-".join)
@pytest.mark.parametrize("ways", WAYS, ids=lambda ways: ways[0].__name__)
def test_all_arrive_in_order_and_whole(
    memory: Memory,
    ways: tuple[Callable[[Ring], None], Callable[[Ring], list[Any]]],
    backends: list[str],
) -> None:
    put, get = ways
    Ring(memory, "ring", 7, WIDE)

    def consume(name: str) -> bool:
        found = np.array(get(open_ring(name)))
        return bool((found == np.arange(COUNT)[:, None]).all())

    with crew() as both:
        both.start(lambda name: put(open_ring(name)), memory.name, backend=backends[0])
        both.start(consume, memory.name, backend=backends[1])
        assert both.results() == [None, True]
    assert Ring(memory, "ring", dtype=WIDE).empty()


def go_on_writing(name: str) -> None:
    """Go on where the last producer died, which only the ring knows."""
    mem = Memory(name)
    ring = Ring.open(mem, "ring", WIDE)
    written = mem.view(mem.entry("ring"))[:8].cast("Q")[0] // WIDE.itemsize
    while True:
        ring.write(rows(written, written + 9))
        written += 9


@pytest.mark.parametrize("backend", sorted(set(MIXED)))
def test_producers_die_and_nothing_is_lost_or_torn(memory: Memory, backend: str) -> None:
    ring = Ring(memory, "ring", 7, WIDE)
    expected = 0
    for turn in range(12):
        with crew() as producer:
            producer.start(go_on_writing, memory.name, backend=backend)
            for _ in range(3 + 17 * turn):  # then it is killed, wherever it is
                found = ring.read(4)["words"]
                assert (found == np.arange(expected, expected + len(found))[:, None]).all()
                expected += len(found)
    left = ring.try_read(7)["words"]
    assert (left == np.arange(expected, expected + len(left))[:, None]).all()


def die_in_a_window(name: str, kind: str) -> None:
    with getattr(open_ring(name), kind)(3) as window:
        if kind == "reserve":
            window["words"] = 77
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("kind", ["reserve", "peek"])
def test_a_death_in_a_window_changes_nothing(memory: Memory, kind: str) -> None:
    ring = Ring(memory, "ring", 7, WIDE)
    ring.write(rows(0, 3))
    with crew() as others:
        others.start(die_in_a_window, memory.name, kind).join()
    ring.write(rows(3, 7))
    assert ring.read(7)["words"][:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]
