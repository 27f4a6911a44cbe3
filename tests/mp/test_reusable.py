"""Workers that leave when there is nothing to do, and the executor that a program shares."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np
import pytest

import zeroipc.mp
from tests.support import deadly, tasks
from zeroipc.mp.reusable import get_reusable_executor

METHODS = zeroipc.mp.get_all_start_methods()


def make(method: str = "fork", workers: int = 2, **options: Any) -> Any:
    context = zeroipc.mp.get_context(method)
    return zeroipc.mp.ProcessPoolExecutor(workers, mp_context=context, **options)


# --- Workers that leave -----------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_idle_workers_leave_and_come_back(method: str) -> None:
    with make(method, idle_timeout=0.05) as pool:
        for number in range(3):
            assert pool.submit(tasks.echo, number).result() == number
            while pool._processes:
                pool._engine.thread.join(0.01)
        assert pool.stats()["respawned"] == 0
    with pytest.raises(ValueError, match=r"idle_timeout must be None or > 0: idle_timeout=0"):
        make(idle_timeout=0)


@pytest.mark.parametrize("method", METHODS)
def test_no_task_is_lost_when_workers_leave(method: str) -> None:
    """Tasks come at the very time that the workers go."""
    with make(method, idle_timeout=0.01) as pool:
        for number in range(40 if method == "fork" else 8):
            tasks_now = [pool.submit(tasks.echo, (number, part)) for part in range(3)]
            assert [task.result() for task in tasks_now] == [(number, part) for part in range(3)]
            deadly.spin(0.0075 + 0.0005 * (number % 12))


# --- The executor that a program shares ---------------------------------------------------------


@pytest.fixture
def no_reusable() -> Iterator[None]:
    yield
    get_reusable_executor(1, timeout=1).shutdown()


@pytest.mark.usefixtures("no_reusable")
def test_the_same_executor_while_it_works() -> None:
    first = get_reusable_executor(2, timeout=60)
    assert first.submit(tasks.echo, 1).result() == 1
    workers = set(first._processes)
    again = get_reusable_executor(2, timeout=60)
    assert again is first
    assert again.submit(tasks.pid).result() in workers
    assert get_reusable_executor(reuse=True) is first
    assert get_reusable_executor(2, timeout=60, reuse=False) is not first
    with pytest.raises(RuntimeError, match="after shutdown"):
        first.submit(tasks.echo, 1)


@pytest.mark.usefixtures("no_reusable")
@pytest.mark.parametrize("other", [{"max_workers": 1}, {"timeout": 3}, {"initializer": tasks.pid}])
def test_other_arguments_make_another_after_the_first_has_done_its_work(other: Any) -> None:
    first = get_reusable_executor(2, timeout=60)
    futures = [first.submit(tasks.echo, number) for number in range(20)]
    second = get_reusable_executor(**{"max_workers": 2, "timeout": 60, **other})
    assert second is not first
    assert [future.result() for future in futures] == list(range(20))
    assert second.submit(tasks.echo, 1).result() == 1


@pytest.mark.usefixtures("no_reusable")
def test_arguments_that_cannot_be_compared_make_another() -> None:
    def ask(values: Any) -> Any:
        return get_reusable_executor(1, initializer=tasks.echo, initargs=(values,))

    first = ask(ones := np.ones(3))
    assert ask(ones) is first
    assert ask(np.ones(3)) is not first


@pytest.mark.usefixtures("no_reusable")
@pytest.mark.parametrize("method", METHODS)
def test_a_broken_one_is_replaced(method: str) -> None:
    first = get_reusable_executor(2, method)
    assert isinstance(first.submit(tasks.sigkill).exception(), BrokenProcessPool)
    second = get_reusable_executor(2, method)
    assert second is not first
    assert second.submit(tasks.echo, 1).result() == 1
    second.shutdown()
    assert get_reusable_executor(2, method).submit(tasks.echo, 2).result() == 2


@pytest.mark.usefixtures("no_reusable")
def test_workers_that_are_killed_when_it_is_replaced() -> None:
    first = get_reusable_executor(2)
    stuck = first.submit(tasks.wait_for_file, "/nowhere")
    while not stuck.running():
        pass
    second = get_reusable_executor(1, kill_workers=True)
    assert isinstance(stuck.exception(), BrokenProcessPool)
    assert second.submit(tasks.echo, 1).result() == 1


@pytest.mark.usefixtures("no_reusable")
def test_a_forked_child_makes_its_own() -> None:
    first = get_reusable_executor(1)
    assert first.submit(tasks.echo, 1).result() == 1
    process = zeroipc.mp.get_context("fork").Process(target=deadly.use_reusable)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert get_reusable_executor(1) is first
