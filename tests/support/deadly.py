"""What tests have workers do that die and are replaced; importable by any start method."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import zeroipc.mp
from tests.support.tasks import note, sigkill


def begun(path: Path) -> dict[int, list[int]]:
    """Return the tasks that each worker has noted (`tasks.note`), in order."""
    found: dict[int, list[int]] = {}
    for line in path.read_text().splitlines():
        worker, number = map(int, line.split())
        found.setdefault(worker, []).append(number)
    return found


def die_while(folder: str, fewer: int) -> None:
    """Die, unless so many have."""
    if len(list(Path(folder).iterdir())) < fewer:
        Path(folder, str(os.getpid())).touch()
        sigkill()


def interrupted() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def wait_if_odd(number: int) -> int:
    if number % 2:
        time.sleep(60)
    return number


def spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def given(timeout: object, retries: object) -> tuple[object, object]:
    return timeout, retries


def pid_and_resource(_: object = None) -> tuple[int, object]:
    return os.getpid(), zeroipc.mp.worker_resource()


_remembered: list[object] = []


def remember(value: object) -> None:
    _remembered[:] = [value]


def remembered() -> object:
    return _remembered[0]


def variables(names: tuple[str, ...]) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in names}


def use_reusable() -> None:
    with zeroipc.mp.get_reusable_executor(1) as pool:
        assert pool.submit(os.getppid).result() == os.getpid()


def add(one: int, other: int) -> int:
    return one + other


def fail_if_odd(number: int) -> int:
    if number % 2:
        raise ValueError(number)
    return number


def lock_if_odd(number: int) -> object:
    return threading.Lock() if number % 2 else number


def die_if(number: int, fatal: int) -> int:
    if number == fatal:
        sigkill()
    return number


def note_or_die(path: str, number: int, fatal: Collection[int]) -> int:
    """Note the task; those of *fatal* numbers are the end of their worker."""
    note(path, number)
    return die_if(number, number if number in fatal else -1)


def check_foreign(*futures: Any) -> None:
    assert all("belongs to process" in str(future.exception()) for future in futures)
