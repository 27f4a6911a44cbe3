"""What others find between two steps of an operation on a map: the pure twin, stopped there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.support.named import BACKENDS, using
from zeroipc import Map, Memory
from zeroipc._core.status import Status

Change = Callable[[], object]


@pytest.fixture
def stopped(memory: Memory) -> Map:
    """Return the map whose steps are watched; 0, 4 and 8 share a chain."""
    with using("pure"):
        return Map(memory, "map", 4, np.int64, np.int64)


@pytest.fixture(params=BACKENDS)
def other(request: pytest.FixtureRequest, stopped: Map, memory: Memory) -> Iterator[Map]:
    """Return the map as another process has it."""
    with using(request.param):
        yield Map.open(memory, "map", np.int64, np.int64)


def before(target: Any, method: str, change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make *change* once, just before *method* of *target* is called."""
    original, changes = getattr(target, method), iter([change])

    def changed(*args: Any) -> Any:
        for do in changes:
            do()
        return original(*args)

    monkeypatch.setattr(target, method, changed)


def replace(other: Map) -> None:
    """Let 4 take the entry of 0."""
    del other[0]
    other[4] = 44


def test_a_key_whose_entry_went_to_another_is_not_erased(
    stopped: Map, other: Map, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped[0] = 10
    with monkeypatch.context() as patched:
        before(stopped._core, "_claim", lambda: replace(other), patched)
        assert stopped.pop(0, None) is None
    assert other.copy() == {4: 44}


def test_a_key_whose_entry_went_to_another_is_inserted_elsewhere(
    stopped: Map, other: Map, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped[0] = 10
    with monkeypatch.context() as patched:
        before(stopped._core, "_claim", lambda: replace(other), patched)
        stopped[0] = 11
    assert other.copy() == {4: 44, 0: 11}


@pytest.mark.parametrize("step", ["_value_of", "_unchanged"])
def test_a_value_is_not_taken_for_that_of_another_key(
    stopped: Map, other: Map, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    stopped[0] = 10
    with monkeypatch.context() as patched:
        before(stopped._core, step, lambda: replace(other), patched)
        assert stopped.get(0) is None


def test_a_value_that_changes_while_it_is_copied_is_read_again(
    stopped: Map, other: Map, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped[0] = 10
    with monkeypatch.context() as patched:
        before(stopped._core, "_unchanged", lambda: other.insert(0, 11), patched)
        assert stopped[0] == 11
    with monkeypatch.context() as patched:
        before(stopped._core, "_unchanged", lambda: other.insert(0, 12), patched)
        assert list(stopped.items()) == [(0, 12)]


def test_a_popped_value_is_the_last_that_was_stored(
    stopped: Map, other: Map, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped[0] = 10
    with monkeypatch.context() as patched:
        before(stopped._core, "_claim", lambda: other.insert(0, 11), patched)
        assert stopped.pop(0) == 11
    assert not other


def test_a_claimed_entry_is_waited_for(
    stopped: Map, other: Map, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While 0 is stored anew: nobody misses it, and nobody inserts 8, which might be in there."""
    stopped.update({0: 10, 4: 14})
    seen: list[Any] = []

    def look() -> None:
        core = other._core
        seen.extend([core.find(0), core.erase(0), core.insert(8, 8, True), core.scan(0)])
        seen.extend([core.find(8), core.find(4), core.insert(4, 15, True)])

    with monkeypatch.context() as patched:
        before(stopped._core, "_write", look, patched)
        stopped[0] = 11
    assert seen == [Status.BUSY] * 4 + [Status.EMPTY, 14, False]
    assert other.copy() == {0: 11, 4: 15}


def test_one_key_in_two_entries_counts_once_at_a_time(
    stopped: Map, other: Map, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two insert 8 while a third erases 4, an entry that one of them has passed: as it is said."""
    stopped.update({0: 10, 4: 14})

    def meanwhile() -> None:
        del other[4]
        other[8] = 1

    with monkeypatch.context() as patched:
        before(stopped._core, "_claim", meanwhile, patched)
        stopped[8] = 2
    assert sorted(other.items()) == [(0, 10), (8, 1), (8, 2)]
    assert [other.pop(8, None) for _ in range(3)] == [1, 2, None]
