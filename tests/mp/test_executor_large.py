"""Large arguments and results: what they take, and what happens when it is not there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import zeroipc.mp
from tests.support import tasks
from tests.support.programs import run_python
from zeroipc.mp import transport
from zeroipc.mp.sender import RING_NBYTES

METHODS = zeroipc.mp.get_all_start_methods()
MB = 1 << 20


def filled(nbytes: int, seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, nbytes, np.uint8)


def digest(array: Any) -> str:
    return hashlib.sha256(array).hexdigest()


def lent(nbytes: int, seed: int) -> Any:
    """Return an array that already lives in shared memory."""
    array = zeroipc.mp.empty(nbytes, np.uint8)
    array[:] = filled(nbytes, seed)
    return array


def in_a_dict(nbytes: int, seed: int) -> Any:
    return {"array": filled(nbytes, seed), "lent": [lent(nbytes, seed)]}


@pytest.fixture(params=METHODS)
def pool(request: pytest.FixtureRequest) -> Iterator[Any]:
    context = zeroipc.mp.get_context(request.param)
    with zeroipc.mp.ProcessPoolExecutor(2, mp_context=context) as made:
        yield made


@pytest.mark.parametrize("nbytes", [MB, 16 * MB])
def test_arrays_in_and_out(pool: Any, nbytes: int) -> None:
    array = filled(nbytes, 1)
    assert pool.submit(digest, array).result() == digest(array)
    for function in (filled, lent):
        found = pool.submit(function, nbytes, 2).result()
        assert digest(found) == digest(filled(nbytes, 2))
        found[0] = 1  # it is ours
    found = pool.submit(in_a_dict, nbytes, 3).result()
    assert digest(found["array"]) == digest(found["lent"][0]) == digest(filled(nbytes, 3))
    assert digest(pool.submit(tasks.echo, array).result()) == digest(array)


def test_what_is_in_flight_is_bounded(pool: Any) -> None:
    """Ten thousand tasks of a megabyte each are references until their turn comes."""
    array = np.ones(MB, np.uint8)
    pool.submit(tasks.echo, 1).result()
    before = transport.home().arena.stats()["reserved"]
    futures = [pool.submit(tasks.size, array) for _ in range(10_000)]
    peak = 0
    for future in futures:
        assert future.result() == MB
        peak = max(peak, transport.home().arena.stats()["reserved"])
    in_flight = RING_NBYTES + 4 * MB  # the ring, one task over, and one with each worker
    assert peak - before <= 1.25 * in_flight + 32 * MB


SMALL_ARENA = """
    import sys
    import time
    import numpy as np
    import zeroipc.mp
    from zeroipc.mp import transport
    from zeroipc.errors import ShmFullError
    from tests.support import tasks
    transport.memory_limit = lambda: 48 << 20
    MB = 1 << 20
    context = zeroipc.mp.get_context("fork")
    pool = zeroipc.mp.ProcessPoolExecutor(2, mp_context=context)
"""


def test_tasks_wait_while_the_arena_is_full() -> None:
    run_python(
        SMALL_ARENA
        + """
    arrays = [np.full(12 * MB, number, np.uint8) for number in range(40)]
    futures = [pool.submit(np.max, array) for array in arrays]
    assert [future.result() for future in futures] == list(range(40))
    pool.shutdown()
    """
    )


def test_results_that_the_program_keeps_do_not_fill_the_arena() -> None:
    run_python(
        SMALL_ARENA
        + """
    futures = [pool.submit(np.full, 3 * MB, number, np.uint8) for number in range(60)]
    results = [future.result() for future in futures]
    for number, result in enumerate(results):
        assert len(result) == 3 * MB and (result == number).all()
    nested = [pool.submit(tasks.echo, {"part": results[0]}).result() for _ in range(60)]
    assert all((part["part"] == 0).all() for part in nested)
    pool.shutdown()
    """
    )


def test_what_can_never_fit_fails_its_future() -> None:
    run_python(
        SMALL_ARENA
        + """
    for call in [(np.zeros, 64 * MB, np.uint8), (np.max, np.zeros(64 * MB, np.uint8))]:
        error = pool.submit(*call).exception()
        assert type(error) is ShmFullError and "limit=" in str(error), repr(error)
        assert error.asked >= 64 * MB
    assert pool.submit(tasks.echo, 1).result() == 1
    pool.shutdown()
    """
    )


def test_a_task_waits_a_moment_for_memory_that_others_have() -> None:
    run_python(
        SMALL_ARENA
        + """
    from zeroipc.mp import sender
    def hold_most():
        while True:  # a worker lets go of its arguments a moment after its result is there
            try:
                return zeroipc.mp.empty(40 * MB, np.uint8)
            except ShmFullError:
                time.sleep(0.001)
    sender.PATIENCE = 60
    assert pool.submit(tasks.echo, 1).result() == 1
    held = hold_most()
    future = pool.submit(np.max, np.full(12 * MB, 7, np.uint8))
    del held
    assert future.result() == 7
    sender.PATIENCE = 0.1
    held = hold_most()
    error = pool.submit(np.max, np.full(12 * MB, 7, np.uint8)).exception()
    assert type(error) is ShmFullError and error.asked >= 12 * MB, repr(error)
    pool.shutdown()
    """
    )


def test_arguments_go_back_when_the_task_has_run(pool: Any) -> None:
    arena = transport.home().arena
    pool.submit(tasks.echo, 1).result()
    before = arena.stats()["blocks_live"]
    for _ in range(50):
        assert pool.submit(tasks.size, np.ones(MB, np.uint8)).result() == MB
        assert pool.submit(filled, MB, os.getpid()).result().nbytes == MB
    pool.shutdown()
    assert arena.stats()["blocks_live"] <= before
