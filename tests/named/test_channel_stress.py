"""Channels between processes of both backends: everything arrives once, also past deaths."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from tests.support.named import crew
from zeroipc import Channel, Memory, select

COUNT = 500


def send_all(memory_name: str, name: str, number: int) -> None:
    values = Channel.open(Memory(memory_name), name, "i8")
    for i in range(COUNT):
        values.send(number * COUNT + i)


def recv_all(memory_name: str, name: str) -> list[int]:
    return list(Channel.open(Memory(memory_name), name, "i8"))


@pytest.mark.parametrize("capacity", [0, 4])
def test_every_value_arrives_once(memory: Memory, capacity: int) -> None:
    values = Channel(memory, "values", capacity, "i8")
    with crew() as receivers, crew() as senders:
        for _ in range(2):
            receivers.start(recv_all, memory.name, "values")
        for number in range(2):
            senders.start(send_all, memory.name, "values", number)
        senders.results()
        values.close()
        received = receivers.results()
    assert sorted(value for part in received for value in part) == list(range(2 * COUNT))
    for part in received:
        for number in range(2):
            mine = [value for value in part if value // COUNT == number]
            assert mine == sorted(mine)
    assert len(values) == 0


def select_all(memory_name: str, names: list[str], count: int) -> list[int]:
    mem = Memory(memory_name)
    channels = [Channel.open(mem, name, "i8") for name in names]
    return [select(*channels)[1] for _ in range(count)]


@pytest.mark.parametrize("capacity", [0, 4])
def test_select_misses_nothing(memory: Memory, capacity: int) -> None:
    names = ["c0", "c1"]
    for name in names:
        Channel(memory, name, capacity, "i8")
    with crew() as receivers, crew() as senders:
        receivers.start(select_all, memory.name, names, 2 * COUNT)
        for number, name in enumerate(names):
            senders.start(send_all, memory.name, name, number)
        senders.results()
        (received,) = receivers.results()
    assert sorted(received) == list(range(2 * COUNT))


def send_for_ever(memory_name: str, start: int) -> None:
    values = Channel.open(Memory(memory_name), "values", "i8")
    while True:
        values.send(start)
        start += 1


def recv_for_ever(memory_name: str) -> None:
    for _ in Channel.open(Memory(memory_name), "values", "i8"):
        pass


@pytest.mark.parametrize("victim", [send_for_ever, recv_for_ever])
def test_kills_at_random_leave_a_rendezvous_usable(memory: Memory, victim: object) -> None:
    values = Channel(memory, "values", 0, "i8")
    choose = random.Random(7)
    for turn in range(12):
        with crew() as others, crew() as partners:
            if victim is send_for_ever:
                process = others.start(send_for_ever, memory.name, turn * 10**6)
                partners.start(recv_for_ever, memory.name)
            else:
                process = others.start(recv_for_ever, memory.name)
                partners.start(send_for_ever, memory.name, turn * 10**6)
            time.sleep(choose.uniform(0.02, 0.1))  # anywhere in its work
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        # The partner was killed too, wherever it was. Two newcomers still meet:
        with crew() as others:
            others.start(send_one, memory.name, -1 - turn)
            while values.recv(timeout=30) != -1 - turn:
                pass  # a value of the dead
            others.results()


def send_one(memory_name: str, value: int) -> None:
    Channel.open(Memory(memory_name), "values", "i8").send(value, timeout=30)
