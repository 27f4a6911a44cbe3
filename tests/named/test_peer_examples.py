"""The worked examples of SPECIFICATION.md: Python makes these bytes, and the peer reads them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.support.peer import Peer
from tests.support.programs import ROOT
from zeroipc import Memory, Queue

pytestmark = pytest.mark.usefixtures("backend")
TEXT = (ROOT / "SPECIFICATION.md").read_text(encoding="utf-8")
HEX_LINE = re.compile(r"^([0-9a-f]{4}) {2}((?:[0-9A-F]{2} +)*[0-9A-F]{2})(?: {3}|$)", re.MULTILINE)
HEADINGS = set(re.findall(r"^### (Example of .*)$", TEXT, re.MULTILINE))


class Example(NamedTuple):
    """How to make what an example shows, and what a peer reads there."""

    make: Callable[[Memory], object]
    asked: list[tuple[str, str]]
    """Commands of the peer, and its answers."""


def make_queue(mem: Memory) -> None:
    items = Queue(mem, "it", 4, np.int32)
    items.push_many([7, 8, 9])
    assert items.pop() == 7


EXAMPLES: dict[str, Example] = {
    "Example of a queue": Example(
        make_queue,
        [("queue.pop it i4", "8"), ("queue.pop it i4", "9"), ("queue.try_pop it i4", "")],
    ),
}


def bytes_of(heading: str) -> list[bytes]:
    """Return the structures of an example, one for each block; what is left out is zero."""
    text = TEXT.split(f"### {heading}\n")[1].split("\n#")[0]
    found = []
    for block in re.findall(r"```\n(.*?)```", text, re.DOTALL):
        lines = {int(at, 16): bytes.fromhex(digits) for at, digits in HEX_LINE.findall(block)}
        content = bytearray(max(at + len(data) for at, data in lines.items()))
        for at, data in lines.items():
            content[at : at + len(data)] = data
        found.append(bytes(content))
    return found


def made(mem: Memory) -> dict[str, Any]:
    """Return the bytes of each structure, but for where our processes wait."""
    return {name: mem.view(mem.entry(name)) for name in mem.names()}


def test_every_example_is_tested() -> None:
    assert set(EXAMPLES) == HEADINGS


@pytest.mark.parametrize("heading", EXAMPLES)
def test_python_makes_these_bytes(heading: str, memory: Memory) -> None:
    EXAMPLES[heading].make(memory)
    for view, content in zip(made(memory).values(), bytes_of(heading), strict=True):
        assert bytes(view).hex(" ", 4) == content.ljust(len(view), b"\0").hex(" ", 4)


@pytest.mark.parametrize("heading", EXAMPLES)
def test_the_peer_reads_these_bytes(heading: str, memory: Memory, peer: Peer) -> None:
    EXAMPLES[heading].make(memory)
    for view, content in zip(made(memory).values(), bytes_of(heading), strict=True):
        view[:] = content.ljust(len(view), b"\0")
    for command, answer in EXAMPLES[heading].asked:
        assert " ".join(peer.ask(*command.split())) == answer, command
