"""The parent of an executor's workers is killed, interrupted or told to end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from textwrap import dedent

import pytest

import zeroipc.mp
from tests.support.programs import ROOT, TIMEOUT

pytestmark = pytest.mark.kill

METHODS = zeroipc.mp.get_all_start_methods()

# The workers tell their process ids, so that all have started; `work` is what is under test.
PROGRAM = """
import os, signal, sys, threading, time
import zeroipc.mp as mp
from concurrent.futures import as_completed, wait

def tell():
    with open(sys.argv[0] + ".pids", "ab", buffering=0) as file:
        file.write(b"%d\\n" % os.getpid())

def busy(seconds):
    tell()
    time.sleep(seconds)
    return seconds

def spin(seconds):
    tell()
    sum(range(10 ** 12))

{functions}

if __name__ == "__main__":
    context = mp.get_context(sys.argv[1])
    {work}
"""


@contextmanager
def program(method: str, path: Path, work: str, functions: str = "") -> Iterator[Program]:
    indented = dedent(work).strip().replace("\n", "\n    ")
    text = dedent(PROGRAM).format(work=indented, functions=dedent(functions))
    path.write_text(text)
    popen = subprocess.Popen(
        [sys.executable, str(path), method],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield Program(popen, Path(f"{path}.pids"))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()
        assert popen.stdout is not None
        assert popen.stderr is not None
        popen.stdout.close()
        popen.stderr.close()


class Program:
    """A running program, and the file in which its workers note their ids."""

    def __init__(self, popen: subprocess.Popen[str], notes: Path) -> None:
        self.popen = popen
        self.notes = notes

    def workers(self, count: int) -> set[int]:
        """Return the ids of *count* workers, when they have noted them."""
        end = time.monotonic() + TIMEOUT
        while True:
            text = self.notes.read_text() if self.notes.exists() else ""
            pids = set(map(int, text.split()))
            if len(pids) >= count:
                return pids
            assert time.monotonic() < end, "the workers did not start"
            time.sleep(0.01)

    def end(self) -> tuple[int, str]:
        """Return the exit status and what it wrote to stderr, when all that hold that ended."""
        _, errors = self.popen.communicate(timeout=TIMEOUT)
        return self.popen.returncode, errors


def wait_until_gone(pids: set[int]) -> None:
    end = time.monotonic() + TIMEOUT
    while left := {pid for pid in pids if lives(pid)}:
        assert time.monotonic() < end, f"processes that do not end: {left}"
        time.sleep(0.01)


def lives(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


WORK = {
    "idle": """
        pool = mp.ProcessPoolExecutor(2, mp_context=context, initializer=tell)
        wait([pool.submit(busy, 0.1) for _ in range(2)])
        time.sleep(1000)
    """,
    "asleep in a task": """
        pool = mp.ProcessPoolExecutor(2, mp_context=context)
        [pool.submit(busy, 1000) for _ in range(5)][0].result()
    """,
    "busy in C": """
        pool = mp.ProcessPoolExecutor(2, mp_context=context)
        [pool.submit(spin, 1000) for _ in range(5)][0].result()
    """,
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda n: n.name)
@pytest.mark.parametrize("work", WORK)
def test_workers_end_with_their_parent(
    tmp_path: Path, method: str, number: signal.Signals, work: str
) -> None:
    with program(method, tmp_path / "script.py", WORK[work]) as running:
        workers = running.workers(2)
        os.kill(running.popen.pid, number)
        status, errors = running.end()  # also waits for the workers: they hold stderr
        assert status == -number
        assert "Traceback" not in errors
        wait_until_gone(workers)
        assert not list(Path("/dev/shm").glob(f"zeroipc-{running.popen.pid}-*"))


INTERRUPTED = {
    "result": """
        pool = mp.ProcessPoolExecutor(2, mp_context=context)
        [pool.submit(busy, 1000) for _ in range(5)][0].result()
    """,
    "map": """
        pool = mp.ProcessPoolExecutor(2, mp_context=context)
        list(pool.map(busy, [1000] * 10))
    """,
    "with": """
        with mp.ProcessPoolExecutor(2, mp_context=context) as pool:
            [pool.submit(busy, 1000) for _ in range(5)][0].result()
    """,
    "end of with": """
        with mp.ProcessPoolExecutor(2, mp_context=context) as pool:
            fs = [pool.submit(busy, 1000) for _ in range(5)]
    """,
    "as_completed": """
        with mp.ProcessPoolExecutor(2, mp_context=context) as pool:
            list(as_completed([pool.submit(busy, 1000) for _ in range(5)]))
    """,
    "initializer": """
        with mp.ProcessPoolExecutor(
            2, mp_context=context, initializer=busy, initargs=(1000,)
        ) as pool:
            fs = [pool.submit(busy, 1000) for _ in range(5)]
            tell()
            fs[0].result()
    """,
    "idle": """
        with mp.ProcessPoolExecutor(2, mp_context=context, initializer=tell) as pool:
            wait([pool.submit(busy, 0.1) for _ in range(2)])
            tell()
            time.sleep(1000)
    """,
}
TELLING = {"initializer": 3, "idle": 3}
"""How many processes tell their ids, where the parent does too: when all tasks are handed in."""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("work", INTERRUPTED)
def test_ctrl_c_gives_one_traceback_and_ends_all(tmp_path: Path, method: str, work: str) -> None:
    with program(method, tmp_path / "script.py", INTERRUPTED[work]) as running:
        workers = running.workers(TELLING.get(work, 2))
        os.killpg(running.popen.pid, signal.SIGINT)
        status, errors = running.end()
        assert status == -signal.SIGINT
        assert len(re.findall("Traceback", errors)) == 1, errors
        assert errors.rstrip().endswith("KeyboardInterrupt")
        wait_until_gone(workers)
