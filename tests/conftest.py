"""What every test gets: a check for leaks, and names that nobody else uses."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support import leaks
from zeroipc import Memory

# No deadlines: how long an example takes depends on what else runs on the machine.
settings.register_profile(
    "zeroipc", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("zeroipc")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control starts jobs in the background so, and all children inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves a segment or a child process behind."""
    segments, children = leaks.segments(), leaks.children()
    yield
    left = leaks.segments() - segments
    for name in left:
        Memory.remove(name)
    assert not left, "the test left segments behind"
    assert not leaks.left(leaks.children, children), "the test left child processes behind"


@pytest.fixture
def segment_names(no_leaks: None) -> Callable[[], str]:
    """Return a function that gives an unused segment name on each call."""
    return lambda: f"{leaks.PREFIX}{next(_numbers)}"


@pytest.fixture
def segment_name(segment_names: Callable[[], str]) -> str:
    """Return an unused segment name; the test removes what it makes of it."""
    return segment_names()


@pytest.fixture
def make_memory(segment_names: Callable[[], str]) -> Iterator[Callable[..., Memory]]:
    """Return a function that creates a `Memory`, which is gone after the test."""
    made: list[Memory] = []

    def make(size: int = 65536, **options: Any) -> Memory:
        made.append(Memory.create(segment_names(), size, **options))
        return made[-1]

    yield make
    for memory in made:
        memory.close()
        memory.unlink()


@pytest.fixture
def memory(make_memory: Callable[..., Memory]) -> Memory:
    """Return a fresh `Memory` of 64 KB, which is gone after the test."""
    return make_memory()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """Return a file that tasks wait for; it appears at the end at the latest."""
    path = tmp_path / "gate"
    yield path
    path.touch()
