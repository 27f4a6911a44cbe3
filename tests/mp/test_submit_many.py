"""submit_many: tasks that share messages, each with a future of its own."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

import zeroipc.mp
from tests.support import deadly, tasks
from zeroipc.errors import TaskTimeoutError, UnpicklableError, WorkerDiedError

METHODS = zeroipc.mp.get_all_start_methods()


def make(method: str = "fork", workers: int = 2, **options: Any) -> Any:
    context = zeroipc.mp.get_context(method)
    return zeroipc.mp.ProcessPoolExecutor(workers, mp_context=context, **options)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("chunksize", [None, 1, 7, 1000])
def test_each_task_has_its_result(method: str, chunksize: int | None) -> None:
    with make(method) as pool:
        futures = pool.submit_many(deadly.add, range(300), range(300), chunksize=chunksize)
        assert [future.result() for future in futures] == [2 * n for n in range(300)]
        assert pool.submit(tasks.echo, 1).result() == 1
        stats = pool.stats()
        assert (stats["submitted"], stats["done"]) == (301, 301)
        assert pool.submit_many(tasks.echo, []) == []


def test_they_travel_in_fewer_messages(gate: Path) -> None:
    with make(workers=1) as pool:
        blocking = pool.submit(tasks.wait_for_file, str(gate))
        while not blocking.running():
            pass
        futures = pool.submit_many(tasks.echo, range(64))
        assert pool._call_queue.qsize() == 4
        assert pool.stats()["queued"] == 64
        gate.touch()
        assert [future.result() for future in futures] == list(range(64))


def test_all_ways_to_wait() -> None:
    with make() as pool:
        futures = pool.submit_many(tasks.echo, range(50), chunksize=5)
        told: list[int] = []
        for future in futures:
            future.add_done_callback(lambda done: told.append(done.result()))
        assert set(as_completed(futures)) == set(futures)
        assert not wait(futures).not_done
        assert pool.submit(tasks.echo, 1).result() == 1
    assert sorted(told) == list(range(50))


def test_errors_are_each_task_s_own() -> None:
    with make() as pool:
        futures = pool.submit_many(deadly.fail_if_odd, range(20), chunksize=10)
        for number, future in enumerate(futures):
            if number % 2:
                error = future.exception()
                assert isinstance(error, ValueError)
                assert str(error) == str(number)
            else:
                assert future.result() == number
        stats = pool.stats()
        assert (stats["done"], stats["failed"]) == (10, 10)


def test_what_cannot_be_sent_or_returned_fails_alone() -> None:
    with make() as pool:
        arguments = [1, threading.Lock(), 3]
        one, bad, three = pool.submit_many(tasks.echo, arguments, chunksize=3)
        assert (one.result(), three.result()) == (1, 3)
        assert isinstance(bad.exception(), UnpicklableError)
        one, bad, three = pool.submit_many(deadly.lock_if_odd, [2, 1, 4], chunksize=3)
        assert (one.result(), three.result()) == (2, 4)
        assert isinstance(bad.exception(), (TypeError, UnpicklableError))
        assert pool.stats()["failed"] == 2


@pytest.mark.parametrize("watched", [False, True])
def test_one_of_a_batch_can_be_cancelled_until_a_worker_has_it(gate: Path, watched: bool) -> None:
    with make(workers=1) as pool:
        blocking = pool.submit(tasks.wait_for_file, str(gate))
        while not blocking.running():
            pass
        futures = pool.submit_many(tasks.echo, range(10), chunksize=5)
        told: list[Any] = []
        if watched:
            futures[3].add_done_callback(told.append)
        for number in (3, 5, 6, 7, 8, 9):
            assert futures[number].cancel()
            assert futures[number].cancel()
            assert futures[number].cancelled()
        assert told == [futures[3]] * watched
        gate.touch()
        rest = [0, 1, 2, 4]
        assert [futures[number].result() for number in rest] == rest
        assert not futures[0].cancel()
        with pytest.raises(CancelledError):
            futures[3].result()
        stats = pool.stats()
        assert (stats["done"], stats["cancelled"], stats["queued"]) == (5, 6, 0)


def test_what_a_worker_has_cannot_be_cancelled(gate: Path) -> None:
    with make(workers=1) as pool:
        futures = pool.submit_many(tasks.wait_for_file, [str(gate)] * 4, chunksize=4)
        while not futures[0].running():
            pass
        assert futures[3].running()
        assert not futures[3].cancel()
        assert not futures[3].cancel(running=True)
        gate.touch()
        assert [future.result() for future in futures] == [str(gate)] * 4


def test_shutdown_cancels_what_is_queued(gate: Path) -> None:
    with make(workers=1) as pool:
        futures = pool.submit_many(tasks.wait_for_file, [str(gate)] * 12, chunksize=4)
        while not futures[0].running():
            pass
        pool.shutdown(wait=False, cancel_futures=True)
        gate.touch()
        with pytest.raises(RuntimeError, match="after shutdown"):
            pool.submit_many(tasks.echo, [1])
    assert [future.cancelled() for future in futures] == [False] * 4 + [True] * 8


@pytest.mark.parametrize("method", METHODS)
def test_a_death_fails_those_that_share_the_message(method: str) -> None:
    with make(method, 1, on_death="respawn") as pool:
        futures = pool.submit_many(deadly.die_if, range(12), [5] * 12, chunksize=4)
        for number, future in enumerate(futures):
            if 4 <= number < 8:
                error = future.exception()
                assert type(error) is WorkerDiedError
                assert str(error).endswith(
                    "while it ran task 4 or one of the 3 sent with it, die_if"
                )
                assert error.task == number
            else:
                assert future.result() == number
        assert pool.stats()["failed"] == 4


def test_a_death_that_breaks_the_executor() -> None:
    with make(workers=1) as pool:
        futures = pool.submit_many(deadly.die_if, range(12), [1] * 12, chunksize=4)
        assert all(type(future.exception()) is BrokenProcessPool for future in futures)
        with pytest.raises(BrokenProcessPool):
            pool.submit_many(tasks.echo, [1])


def test_on_terms_each_travels_alone(tmp_path: Path) -> None:
    with make(on_death="respawn", retries=1) as pool:
        folders = [tmp_path / str(number) for number in range(6)]
        for folder in folders:
            folder.mkdir()
        futures = pool.submit_many(deadly.die_while, map(str, folders), [0, 1, 2, 0, 1, 2])
        errors = [type(future.exception()) for future in futures]
        assert errors == [type(None), type(None), WorkerDiedError] * 2
        in_time = pool.options(timeout=60).submit_many(deadly.wait_if_odd, [2, 4])
        assert [future.result() for future in in_time] == [2, 4]
        late = pool.options(timeout=0.1).submit_many(deadly.wait_if_odd, [1, 3])
        for future in late:
            with pytest.raises(TaskTimeoutError, match=r"^task \d+, wait_if_odd, ran for longer"):
                future.result()


def test_a_forked_child_is_told_that_they_are_not_its_own(gate: Path) -> None:
    with make() as pool:
        futures = pool.submit_many(tasks.wait_for_file, [str(gate)] * 4, chunksize=2)
        process = zeroipc.mp.get_context("fork").Process(target=deadly.check_foreign, args=futures)
        process.start()
        process.join()
        assert process.exitcode == 0
        gate.touch()
        assert [future.result() for future in futures] == [str(gate)] * 4


def test_the_size_is_checked() -> None:
    with make() as pool, pytest.raises(ValueError, match="chunksize must be >= 1: chunksize=0"):
        pool.submit_many(tasks.echo, [1], chunksize=0)
