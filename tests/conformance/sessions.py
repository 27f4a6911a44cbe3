"""Runs one test class in a session and, as root, a /dev/shm of its own, and ends what it left."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from cases import HERE, Case

Results = dict[str, tuple[str, str]]  # test -> (outcome, detail)
Notes = list[tuple[str, str]]  # (kind, detail) of what concerns the class as a whole

POLL = 0.05  # seconds between two looks at a worker
STOP = threading.Event()  # the run is being given up


def run_case(case: Case, env: dict[str, str], limit: float) -> tuple[Results, Notes]:
    """Run a class; each test gets LIMIT seconds. After one that hangs, the rest starts afresh."""
    results: Results = {}
    notes: Notes = []
    shm = tempfile.mkdtemp(prefix="conformance-", dir="/dev/shm")
    prefix = private_shm(shm)
    try:
        with tempfile.TemporaryDirectory() as folder:
            while todo := [test for test in case.tests if test not in results]:
                if STOP.is_set():
                    break
                some, more, log = Session(case, todo, env, prefix, Path(folder)).run(limit)
                notes += more
                results |= some
                if not some:  # a fixture failed or skipped, or the worker did not start
                    outcome, detail = (more or [("error", log)])[0]
                    outcome = "skipped" if outcome == "skipped" else "error"
                    results |= dict.fromkeys(todo, (outcome, detail or log))
        if left := sorted(os.listdir(shm)):
            notes.append(("shm", f"{len(left)} left in /dev/shm: " + " ".join(left[:4])))
    finally:
        shutil.rmtree(shm)
    return results, notes


def private_shm(folder: str) -> list[str]:
    """What to put before a command so that FOLDER is its /dev/shm: needs root, else nothing.

    Then what a test class leaves there is its own and nobody else's.
    """
    script = 'mount --bind "$0" /dev/shm && exec "$@"'
    prefix = ["unshare", "--mount", "sh", "-c", script, folder]
    try:
        tried = subprocess.run([*prefix, "true"], capture_output=True)
    except OSError:
        return []
    return prefix if tried.returncode == 0 else []


class Session:
    """One worker process, the leader of its session, and what it has reported so far."""

    def __init__(
        self, case: Case, tests: list[str], env: dict[str, str], prefix: list[str], folder: Path
    ) -> None:
        self.results: Results = {}
        self.notes: Notes = []
        self.current: str | None = None  # the test under way
        self.since = time.monotonic()  # when that, or the pause before it, began
        self.log = folder / "log"
        events = folder / "events"
        events.write_text("")
        self.events: TextIO = events.open()
        self.unfinished = ""
        worker = [sys.executable, str(HERE / "worker.py")]
        command = [*worker, case.module, case.name, str(events), *tests]
        with self.log.open("w") as log:
            self.worker = subprocess.Popen(
                [*prefix, *command],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def run(self, limit: float) -> tuple[Results, Notes, str]:
        """Wait for the end, or for one test to take more than LIMIT seconds."""
        try:
            in_time = self.follow(limit)
        finally:
            if self.worker.poll() is None:
                self.worker.terminate()
            left = end_session(self.worker.pid)
            status = self.worker.wait()
            self.events.close()
        if in_time and self.current:
            self.results[self.current] = ("crashed", f"the worker ended with status {status}")
        if in_time and left:
            self.notes.append(("leak", f"{left} processes outlived the test class"))
        return self.results, self.notes, self.log.read_text(errors="replace")[-2000:]

    def follow(self, limit: float) -> bool:
        """Read events until the worker has ended: True; False if it had to be given up."""
        while True:
            ended = self.worker.poll() is not None
            self.read_events()
            if ended:
                return True
            if STOP.is_set():
                return False
            if time.monotonic() - self.since > limit:
                if self.current:
                    self.results[self.current] = ("timeout", f"no end after {limit:g} s")
                else:
                    self.notes.append(("timeout", "no test under way, and no exit"))
                return False
            time.sleep(POLL)

    def read_events(self) -> None:
        *lines, self.unfinished = (self.unfinished + self.events.read()).split("\n")
        for event in map(json.loads, lines):
            if "fixture" in event:
                self.notes.append((event["fixture"], event["detail"]))
                continue
            self.since = time.monotonic()
            self.current = event.get("start")
            # A test may report several subtests, and only the last word can be "passed".
            if "test" in event and self.results.get(event["test"], ("passed",))[0] == "passed":
                self.results[event["test"]] = (event["outcome"], event["detail"])


def session_members(session: int) -> Iterator[int]:
    """Processes of one session; a worker leads its own, its children stay in it."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue
        state, _, _, its_session = rest.split()[:4]
        if int(its_session) == session and state != "Z":
            yield int(pid.split()[0])


def end_session(session: int) -> int:
    """End what a worker left; return how many processes outlived a moment."""
    deadline = time.monotonic() + 10  # the resource tracker needs a moment, under load a long one
    while (left := list(session_members(session))) and time.monotonic() < deadline:
        time.sleep(POLL)
    for number in (signal.SIGTERM, signal.SIGKILL) if left else ():
        for pid in session_members(session):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        time.sleep(0.5)  # the tracker survives SIGTERM and cleans up
    return len(left)
