"""The physical limit under each scenario, measured on this machine in the same run.

copy            numpy.copyto between two warm heap arrays
pickling        pickle.dumps and pickle.loads of the item, one after the other
round trip      two processes waking each other with the futex system call, made through ctypes
                (which adds about a microsecond a call); a pipe where there is no futex
call            a method written in C that does nothing, in a loop
fork            os.fork of a process that leaves at once
blocked read    a process asleep in the read of an empty pipe
import          the standard library's import, in a fresh interpreter
"""

from __future__ import annotations

import ctypes
import mmap
import os
import pickle
import platform
import sys
import time
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import fresh
from benchmarks.clock import laps
from benchmarks.peer import Cue, Peer, pin
from benchmarks.scenario import Limit

FUTEX = {"x86_64": 202, "aarch64": 98}.get(platform.machine())
WAIT, WAKE = 0, 1
ROUNDS = 1000


def copy(nbytes: int, times: int = 1) -> Limit:
    """*times* copies of *nbytes*."""
    name = "memcpy" if times == 1 else f"{times} x memcpy"
    return Limit(name, lambda: times * _copy_seconds(nbytes))


def copy_and_sum(nbytes: int) -> Limit:
    """One copy of *nbytes* of float64, and their sum."""
    return Limit("memcpy + sum", lambda: _copy_seconds(nbytes) + _sum_seconds(nbytes))


def pickling(item: Any) -> Limit:
    """One dumps and one loads of *item*."""
    return Limit("pickle dumps + loads", lambda: _pickle_seconds(item))


def round_trip(placement: str = "free", copied_nbytes: int = 0, times: int = 1) -> Limit:
    """One wake each way, and *times* copies of *copied_nbytes* where data moves with it."""
    name = "futex round trip" if _has_futex() else "pipe round trip"
    if not copied_nbytes:
        return Limit(name, lambda: _round_trip_seconds(placement))
    return Limit(
        f"{name} + {times} x memcpy",
        lambda: _round_trip_seconds(placement) + times * _copy_seconds(copied_nbytes),
    )


def call() -> Limit:
    """One call of a function written in C, which does nothing."""
    return Limit("call of a C function", _call_seconds)


def fork() -> Limit:
    """One process made and gone."""
    return Limit("fork + wait", lambda: median(laps(20, _fork_once)))


def first_import(line: str) -> Limit:
    """The import statement *line* in a fresh interpreter."""
    source = "from time import perf_counter\nbegin = perf_counter()\n"
    source += f"{line}\nprint(perf_counter() - begin)"
    return Limit(line, lambda: fresh.number(source))


def blocked_read(seconds: float) -> Limit:
    """The CPU time of a process asleep in the read of an empty pipe."""
    return Limit(f"blocked pipe read of {seconds} s", lambda: _blocked_read_seconds(seconds))


def _copy_seconds(nbytes: int) -> float:
    source, target = np.ones(nbytes, np.uint8), np.zeros(nbytes, np.uint8)
    count = max(9, min(1000, (64 << 20) // nbytes))
    np.copyto(target, source)  # touches every page
    return median(laps(count, lambda _: np.copyto(target, source)))


def _sum_seconds(nbytes: int) -> float:
    array = np.ones(nbytes // 8)
    return median(laps(9, lambda _: array.sum()))


def _pickle_seconds(item: Any) -> float:
    count = 20_000
    start = perf_counter()
    for _ in range(count):
        pickle.loads(pickle.dumps(item))
    return (perf_counter() - start) / count


def _call_seconds() -> float:
    count = 100_000
    nothing: Callable[[], object] = {1: 1}.keys
    start = perf_counter()
    for _ in range(count):
        nothing()
    return (perf_counter() - start) / count


def _fork_once(_: int) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _has_futex() -> bool:
    return sys.platform == "linux" and FUTEX is not None


def _round_trip_seconds(placement: str) -> float:
    """The median round trip between two processes placed as ``peer.pin`` says."""
    cpus = sorted(os.sched_getaffinity(0))
    pin(cpus, placement, 0)
    try:
        hands = _futex_hands() if _has_futex() else _pipe_hands()
        with Peer("fork", _answer, hands, cpus, placement) as peer:
            peer.ready()
            peer.go()
            times = laps(ROUNDS, lambda i: _ask(hands, i + 1))
            peer.result()
    finally:
        os.sched_setaffinity(0, cpus)
    return median(times)


Hands = tuple[Callable[[int, int], None], Callable[[int, int], None]]  # signal, await


def _ask(hands: Hands, turn: int) -> None:
    signal, wait = hands
    signal(0, turn)
    wait(1, turn)


def _answer(cue: Cue, hands: Hands, cpus: list[int], placement: str) -> None:
    pin(cpus, placement, 1)
    signal, wait = hands
    cue()
    for i in range(ROUNDS):
        wait(0, i + 1)
        signal(1, i + 1)


def _futex_hands() -> Hands:
    words = (ctypes.c_uint32 * 32).from_buffer(mmap.mmap(-1, mmap.PAGESIZE))
    syscall = ctypes.CDLL(None).syscall
    side = 16  # words 0 and 16: two cache lines
    addresses = [ctypes.c_void_p(ctypes.addressof(words) + 4 * side * i) for i in (0, 1)]

    def signal(which: int, turn: int) -> None:
        words[which * side] = turn
        syscall(FUTEX, addresses[which], WAKE, 1, None, None, 0)

    def wait(which: int, turn: int) -> None:
        while words[which * side] != turn:
            syscall(FUTEX, addresses[which], WAIT, turn - 1, None, None, 0)

    return signal, wait


def _pipe_hands() -> Hands:
    ends = [os.pipe(), os.pipe()]

    def signal(which: int, turn: int) -> None:
        os.write(ends[which][1], b"x")

    def wait(which: int, turn: int) -> None:
        os.read(ends[which][0], 1)

    return signal, wait


def _blocked_read_seconds(seconds: float) -> float:
    """CPU time that a process spends in a blocked read of *seconds*."""
    ends = os.pipe()
    with Peer("fork", _read_once, ends) as peer:
        peer.ready()
        peer.go()
        time.sleep(seconds)
        os.write(ends[1], b"x")
        used, _ = peer.result()
    return float(used)


def _read_once(cue: Cue, ends: tuple[int, int]) -> float:
    cue()
    start = time.process_time()
    os.read(ends[0], 1)
    return time.process_time() - start
