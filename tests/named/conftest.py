"""Named structures are tested with both backends, and against a program in C."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import peer as peers
from tests.support.named import BACKENDS, using
from tests.support.peer import Peer
from zeroipc import Memory


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Make structures of this backend for as long as the test runs, in forked children too."""
    chosen: Any = request.param
    with using(chosen):
        yield chosen


@pytest.fixture(scope="session")
def peer_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The peer of tests/peer, compiled."""
    if not peers.HAS_COMPILER:
        pytest.skip("the peer in C needs gcc")
    return peers.build(tmp_path_factory.mktemp("peer"))


@pytest.fixture
def start_peer(peer_program: Path, no_leaks: None) -> Iterator[Callable[..., Peer]]:
    """Return a function that starts a peer; with a segment, the peer opens it."""
    started: list[Peer] = []

    def start(memory: Memory | None = None) -> Peer:
        started.append(Peer(peer_program))
        if memory is not None:
            started[-1].ask("open", memory.name)
        return started[-1]

    yield start
    for one in started:
        one.kill()


@pytest.fixture
def peer(start_peer: Callable[..., Peer], memory: Memory) -> Peer:
    """Return a peer that has opened the segment `memory`."""
    return start_peer(memory)
