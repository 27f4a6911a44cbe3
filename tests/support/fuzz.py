"""Damaged segments by the thousand: each is opened and used, in a process that may not crash.

    python -m tests.support.fuzz --cases 100000 --seed 7 --backend native

A case is a golden segment with some words changed, cut off or grown, or random bytes behind a
good start; it is made from its number alone, so that a failure can be run again:

    python -m tests.support.fuzz --only 7:1234

What may come of it: one of our exceptions, or an answer. Not: any other exception, a crash, a
call that does not return.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from tests.support.exercise import exercise
from tests.support.golden import ALL_NAMES, golden_bytes, write_segment
from tests.support.leaks import PREFIX
from tests.support.named import using
from tests.support.own_segment import own_segment
from zeroipc import Memory, ZeroIPCError, _rendezvous, _waiting, channel, future, table

WORDS = (0, 1, 2, 3, 4, 7, 8, 31, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1)
HEADER = struct.pack("<II", 0x5A49504D, 2)
OWN = "own"
PATIENCE = 60.0
"""Seconds without a finished case after which a process is taken to hang."""


def case(seed: int, number: int) -> bytes:
    """Return the bytes of one damaged segment."""
    choose = random.Random(f"{seed}:{number}")
    if choose.random() < 0.1:
        return HEADER + choose.randbytes(choose.choice((8, 40, 300, 4088)))
    chosen = choose.choice((*ALL_NAMES, OWN))
    content = bytearray(own_segment() if chosen == OWN else golden_bytes(chosen))
    table_end, used = 800, max(len(content.rstrip(b"\0")), 808)
    for _ in range(choose.randint(1, 6)):
        low, high = (0, table_end) if choose.random() < 0.2 else (table_end, used)
        at = choose.randrange(low, high - 4)
        if choose.random() < 0.8:
            at &= ~3
        struct.pack_into("<I", content, at, damaged_word(choose, content, at))
    if choose.random() < 0.05:
        del content[choose.randrange(1, len(content)) :]
    return bytes(content)


def damaged_word(choose: random.Random, content: bytearray, at: int) -> int:
    (old,) = struct.unpack_from("<I", content, at)
    near = (old + choose.choice((-1, 1, 8, -8, 256))) % 2**32
    return int(choose.choice((near, choose.choice(WORDS), choose.getrandbits(32))))


def use(content: bytes, name: str) -> None:
    """Open a segment and use all that may be in it."""
    write_segment(name, content)
    try:
        with Memory.open(name, timeout=0) as mem:
            exercise(mem)
    except ZeroIPCError:
        pass
    finally:
        Memory.remove(name)


def work(backend: str, cases: Iterator[tuple[int, int]], report: Callable[[Any], None]) -> None:
    """Use the cases one after the other; report the number of each before it begins."""
    table.PEER_TIMEOUT = 0.0  # nobody is there who would finish anything
    _waiting.STALL = 0
    future.MESSAGE_PATIENCE = 0.0
    channel.HANDOVER = _rendezvous.TAKE_BACK_PATIENCE = 0.0
    with using(backend):
        for seed, number in cases:
            report(number)
            try:
                use(case(seed, number), f"{PREFIX}fuzz-{backend}-{seed}-{number}")
            except Exception as error:
                report(f"case {seed}:{number}: {type(error).__name__}: {error}")
                raise
    report("done")


def run(backend: str, seed: int, numbers: range) -> str:
    """Use the cases in a process of their own; return what went wrong, or nothing."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    cases = ((seed, number) for number in numbers)
    process = context.Process(target=work, args=(backend, cases, theirs.send))
    process.start()
    theirs.close()
    last: Any = None
    try:
        while ours.poll(PATIENCE):
            heard = ours.recv()
            if heard == "done":
                return ""
            if isinstance(heard, str):
                return heard
            last = heard
        return f"case {seed}:{last} does not return"
    except EOFError:
        process.join()
        return f"case {seed}:{last} ended the process: exit code {process.exitcode}"
    finally:
        process.kill()
        process.join()
        ours.close()
        if last is not None:
            with suppress(FileNotFoundError):  # as it should be
                Memory.remove(f"{PREFIX}fuzz-{backend}-{seed}-{last}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    parser.add_argument("--backend", choices=("native", "pure"), default="native")
    parser.add_argument("--only", metavar="SEED:NUMBER", help="one case, in this process")
    flags = parser.parse_args()
    if flags.only:
        seed, number = map(int, flags.only.split(":"))
        work(flags.backend, iter([(seed, number)]), print)
        return 0
    print(f"seed {flags.seed}, {flags.backend}")
    for start in range(0, flags.cases, 1000):
        wrong = run(flags.backend, flags.seed, range(start, min(start + 1000, flags.cases)))
        if wrong:
            print(wrong)
            return 1
        print(f"\r{min(start + 1000, flags.cases)} cases", end="", flush=True)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
