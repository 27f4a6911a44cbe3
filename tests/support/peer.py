"""The peer of tests/peer: a C program that shares segments with the tests."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "peer"
FLAGS = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"]
HAS_COMPILER = shutil.which("gcc") is not None


def build(folder: Path) -> Path:
    """Compile the peer; return the program."""
    program = folder / "peer"
    command = ["gcc", *FLAGS, str(SOURCES / "main.c"), "-o", str(program), "-lrt"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return program


class PeerError(Exception):
    """The peer answered that it could not."""


class Peer:
    """A running peer. It ends by itself if a command takes too long, see wire.h."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, *words: object) -> None:
        """Let it begin with a command, for `answer` later."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()

    def answer(self) -> list[str]:
        """Wait for the end of the command; return the words of its answer.

        Raises:
            PeerError: it answers with an error.
            AssertionError: it has ended, because it crashed or hung.
        """
        assert self._process.stdout is not None
        kind, _, rest = self._process.stdout.readline().rstrip("\n").partition(" ")
        if kind == "error":
            raise PeerError(rest)
        assert kind == "ok", f"the peer has ended: status {self._process.wait()}"
        return rest.split()

    def ask(self, *words: object) -> list[str]:
        """Run a command; return the words of its answer."""
        self.start(*words)
        return self.answer()

    def numbers(self, *words: object) -> list[int]:
        """Run a command whose answer is integers."""
        return [int(word) for word in self.ask(*words)]

    def number(self, *words: object) -> int:
        """Run a command whose answer is one integer."""
        (value,) = self.numbers(*words)
        return value

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def kill(self) -> None:
        """Kill it, if it still runs."""
        self._process.kill()
        self._process.communicate()
