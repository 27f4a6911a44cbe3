"""What tests have workers do; importable, so that any start method finds it."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


def echo(value: Any) -> Any:
    return value


def square(number: int) -> int:
    return number * number


def pid(_: object = None) -> int:
    return os.getpid()


def fail(text: str) -> None:
    raise ValueError(text)


def wait_for_file(path: str) -> str:
    """Return when the file exists."""
    while not Path(path).exists():
        time.sleep(0.005)
    return path


def touch_and_wait(started: str, path: str) -> str:
    """Make a file, and return when the other exists."""
    Path(started).touch()
    return wait_for_file(path)


def append_line(path: str, line: object) -> None:
    """Add a line to a file in one write, so that lines of processes do not mix."""
    with open(path, "ab", buffering=0) as file:
        file.write(f"{line}\n".encode())


# --- Ways to die --------------------------------------------------------------------------


def sigkill(_: object = None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sigsegv(_: object = None) -> None:
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)  # faulthandler would print the stack
    os.kill(os.getpid(), signal.SIGSEGV)


def sigterm(_: object = None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def exit_0(_: object = None) -> None:
    os._exit(0)


def exit_3(_: object = None) -> None:
    os._exit(3)


def sys_exit(_: object = None) -> None:
    sys.exit(7)


class Unpickling:
    """Calls something when it is unpickled."""

    def __init__(self, call: Any, *args: Any) -> None:
        self.call = call
        self.args = args

    def __reduce__(self) -> Any:
        return self.call, self.args


class Pickling:
    """Calls something when it is pickled."""

    def __init__(self, call: Any, *args: Any) -> None:
        self.call = call
        self.args = args

    def __reduce__(self) -> Any:
        return echo, (self.call(*self.args),)


def make_pickling(call: Any) -> Pickling:
    return Pickling(call)


def make_unpickling(call: Any, *args: Any) -> Unpickling:
    return Unpickling(call, *args)


def note(path: str, number: int) -> int:
    """Note who begins this task; return something that depends on it."""
    append_line(path, f"{os.getpid()} {number}")
    return number * number


def size(array: Any) -> int:
    return int(array.nbytes)


def put_numbers(queue: Any, count: int) -> None:
    for number in range(count):
        queue.put(number)
