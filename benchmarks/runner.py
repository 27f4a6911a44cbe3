"""Runs a scenario: rivals interleaved, each measurement in a fresh process under a watchdog."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from benchmarks import rivals
from benchmarks.scenario import Sample, Scenario

LIMIT = "limit"  # stands among the rivals, so that it is measured in the same rounds
GRACE = 10.0  # seconds that a measurement may take to end after it has given its result

ABSENT = "not installed"
NONE = "has no such thing"


@dataclass
class Runs:
    """All measurements of one scenario: name -> round -> sample; why the others have none."""

    scenario: Scenario
    samples: dict[str, dict[int, Sample]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def run(scenario: Scenario, names: Sequence[str], rounds: int, count: int, method: str) -> Runs:
    """Measure every rival and the limit once a round, starting with another one each round.

    A rival that fails, hangs or has no such thing is not asked again.
    """
    rounds = min(rounds, scenario.most_rounds or rounds)
    runs = Runs(scenario)
    runs.failures.update({name: ABSENT for name in names if not rivals.installed(name)})
    for number in range(rounds):
        for name in rotated([*names, LIMIT], number):
            if name not in runs.failures:
                outcome = measure(scenario, name, count, method)
                if isinstance(outcome, Sample):
                    runs.samples.setdefault(name, {})[number] = outcome
                else:
                    runs.failures[name] = outcome
    return runs


def rotated(names: list[str], number: int) -> list[str]:
    start = number % len(names)
    return names[start:] + names[:start]


def measure(scenario: Scenario, name: str, count: int, method: str) -> Sample | str:
    """One measurement in a process of its own: the sample, or why there is none."""

    def take() -> Sample | None:
        if name == LIMIT:
            return Sample(scenario.limit.measure())
        return scenario.run(rivals.load(name, method), count)

    return guarded(take, scenario.timeout)


def guarded(take: Callable[[], Sample | None], timeout: float) -> Sample | str:
    """Call *take* in a forked session, and end whatever is left of the session afterwards."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_host, args=(theirs, take))
    process.start()
    theirs.close()
    try:
        if not ours.poll(timeout):
            return f"timed out after {timeout:g} s"
        outcome: Sample | str = ours.recv()
        process.join(GRACE)
        return outcome
    except EOFError:
        process.join(GRACE)
        return f"its process died: exit code {process.exitcode}"
    finally:
        assert process.pid is not None
        end_session(process.pid)
        process.join()
        ours.close()


def _host(connection: Connection, take: Callable[[], Sample | None]) -> None:
    os.setsid()
    try:
        sample = take()
        connection.send(NONE if sample is None else sample)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = f"failed: {type(error).__name__}: {error}".splitlines()[0]
        connection.send(f"{text[:120]} ({place.filename}:{place.lineno})")
    connection.close()


def end_session(session: int) -> None:
    """Kill the processes of a session, but not resource trackers, which clean up what is left."""
    for pid in session_members(session):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if b"resource_tracker" not in file.read():
                    os.kill(pid, signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue


def session_members(session: int) -> list[int]:
    members = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.getsid(int(entry)) == session:
                members.append(int(entry))
        except ProcessLookupError:
            continue
    return members
