"""The futures of an executor: states, cancelling, timeouts, asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Future,
    InvalidStateError,
    as_completed,
    wait,
)
from pathlib import Path
from typing import Any

import pytest

import zeroipc.mp
from tests.support import tasks
from zeroipc.mp import collector

METHODS = zeroipc.mp.get_all_start_methods()


@pytest.fixture(params=METHODS)
def pool(request: pytest.FixtureRequest) -> Iterator[Any]:
    context = zeroipc.mp.get_context(request.param)
    with zeroipc.mp.ProcessPoolExecutor(1, mp_context=context) as made:
        yield made


def occupy(pool: Any, gate: Path) -> Any:
    """Return the future of a task that the one worker has taken and that waits for *gate*."""
    started = gate.with_name("started")
    future = pool.submit(tasks.touch_and_wait, str(started), str(gate))
    tasks.wait_for_file(str(started))
    return future


def test_states(pool: Any, gate: Path) -> None:
    running = occupy(pool, gate)
    waiting = pool.submit(tasks.echo, 1)
    assert isinstance(running, Future)
    assert (running.running(), running.done(), running.cancelled()) == (True, False, False)
    assert (waiting.running(), waiting.done(), waiting.cancelled()) == (False, False, False)
    assert "state=running" in repr(running)
    assert "state=pending" in repr(waiting)
    gate.touch()
    assert waiting.result() == 1
    assert (running.running(), running.done(), running.cancelled()) == (False, True, False)
    assert "state=finished returned str" in repr(running)
    failed = pool.submit(tasks.fail, "text")
    assert isinstance(failed.exception(), ValueError)
    assert "state=finished raised ValueError" in repr(failed)


def test_looking_collects(pool: Any) -> None:
    """A loop over `done` comes to an end though nobody asks for a result."""
    future = pool.submit(tasks.echo, 1)
    while not future.done():
        pass
    future = pool.submit(tasks.echo, 1)
    while "finished" not in repr(future):
        pass
    future = pool.submit(tasks.echo, 2)
    while True:
        try:
            assert future.result(timeout=0) == 2
            break
        except TimeoutError:
            pass


def test_timeouts(pool: Any, gate: Path) -> None:
    future = occupy(pool, gate)
    for timeout in (0.02, 0, -1):
        with pytest.raises(TimeoutError):
            future.result(timeout)
        with pytest.raises(TimeoutError):
            future.exception(timeout)
    with pytest.raises(TimeoutError):
        list(as_completed([future], timeout=0.02))
    assert wait([future], timeout=0.02).not_done == {future}
    gate.touch()
    assert future.result(60) == str(gate)
    assert future.exception(0) is None


def test_cancelled_tasks_never_run(pool: Any, gate: Path, tmp_path: Path) -> None:
    """In the ring and behind it: every task is cancelled or runs, never both."""
    running = occupy(pool, gate)
    ran = tmp_path / "ran"
    ran.touch()
    futures = [pool.submit(tasks.append_line, str(ran), number) for number in range(1000)]
    assert futures[0].item is not None
    assert futures[-1].item is None
    assert all(future.cancel() for future in futures[::2])
    assert all(future.cancel() for future in futures[::2])
    assert not running.cancel()
    gate.touch()
    pool.shutdown()
    assert not running.cancel()
    assert sorted(map(int, ran.read_text().split())) == list(range(1, 1000, 2))
    for future in futures[::2]:
        assert future.cancelled()
        assert future.done()
        assert not future.running()
        with pytest.raises(CancelledError):
            future.result()
        with pytest.raises(CancelledError):
            future.exception()
        assert "state=cancelled" in repr(future)
    assert not futures[1].cancel()


def test_who_watches_is_told_of_cancelling(pool: Any, gate: Path) -> None:
    running = occupy(pool, gate)
    told: list[Any] = []
    before = [pool.submit(tasks.echo, number) for number in range(2)]
    for future in before:
        future.add_done_callback(told.append)
    waiter: list[Any] = []
    thread = threading.Thread(target=lambda: waiter.extend(as_completed(before)))
    thread.start()
    for future in before:
        assert future.cancel()
    thread.join()
    assert set(waiter) == set(before) == set(told)
    assert wait([running, before[0]], return_when=FIRST_COMPLETED).done == {before[0]}
    gate.touch()


def test_cancelling_wakes_who_waits_for_the_result(pool: Any, gate: Path) -> None:
    running = occupy(pool, gate)
    for count in (1, 3):
        future = pool.submit(tasks.echo, 1)
        raised = threading.Semaphore(0)
        waiting = threading.Semaphore(0)

        def run(future: Any = future, raised: Any = raised, waiting: Any = waiting) -> None:
            waiting.release()
            with pytest.raises(CancelledError):
                future.result()
            raised.release()

        threads = [threading.Thread(target=run) for _ in range(count)]
        for thread in threads:
            thread.start()
            waiting.acquire()
        assert future.cancel()
        for _ in threads:
            raised.acquire()
        for thread in threads:
            thread.join()
    gate.touch()
    assert running.result()


def test_a_future_that_the_user_finishes(pool: Any, gate: Path) -> None:
    running = occupy(pool, gate)
    future = pool.submit(tasks.echo, 1)
    assert future.set_running_or_notify_cancel()
    future.set_result(7)
    with pytest.raises(InvalidStateError):
        future.set_result(8)
    gate.touch()
    assert running.result()
    assert pool.submit(tasks.echo, 3).result() == 3
    assert future.result() == 7


def test_asyncio(pool: Any) -> None:
    async def gather() -> list[Any]:
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(pool, tasks.echo, number) for number in range(1000)]
        wrapped = asyncio.wrap_future(pool.submit(tasks.fail, "text"))
        with pytest.raises(ValueError, match="text"):
            await wrapped
        return await asyncio.gather(*calls)

    assert asyncio.run(gather()) == list(range(1000))


def test_asyncio_cancels(pool: Any, gate: Path, tmp_path: Path) -> None:
    running = occupy(pool, gate)
    ran = tmp_path / "ran"

    async def cancel() -> None:
        loop = asyncio.get_running_loop()
        call = loop.run_in_executor(pool, tasks.append_line, str(ran), 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call, 0.02)

    asyncio.run(cancel())
    gate.touch()
    assert running.result()
    pool.shutdown()
    assert not ran.exists()


def test_as_completed_yields_in_the_order_of_the_ends(pool: Any) -> None:
    futures = [pool.submit(tasks.echo, number) for number in range(600)]
    assert sorted(future.result() for future in as_completed(futures)) == list(range(600))


def test_result_of_a_watched_future_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The manager finishes it, and wakes who collects meanwhile."""
    monkeypatch.setattr(collector, "SLICE", 1000.0)
    with zeroipc.mp.get_context("fork").ProcessPoolExecutor(1) as pool:
        for number in range(20):
            future = pool.submit(tasks.echo, number)
            future.add_done_callback(lambda _: None)
            assert future.result() == number
