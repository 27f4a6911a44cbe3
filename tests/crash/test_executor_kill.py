"""Workers that die at any moment: who waits is told, nobody hangs, nothing stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

import zeroipc.mp
from tests.support import leaks, tasks

pytestmark = pytest.mark.kill

METHODS = zeroipc.mp.get_all_start_methods()
Futures = list[Future[Any]]


@pytest.fixture(scope="module")
def servants() -> None:
    """Start what multiprocessing and the arena keep."""
    for method in METHODS:
        with zeroipc.mp.ProcessPoolExecutor(1, mp_context=zeroipc.mp.get_context(method)) as pool:
            pool.submit(tasks.echo, None).result()


@pytest.fixture
def leaves_nothing(servants: None) -> Iterator[None]:
    """Fail a test that leaves a thread or a descriptor behind."""
    threads, files = leaks.threads(), leaks.descriptors()
    yield
    assert not leaks.left(leaks.threads, threads)
    assert not leaks.left(leaks.descriptors, files)


def outcome(future: Future[Any]) -> Any:
    return future.exception() or future.result()


# --- Ways to wait: each returns the outcomes of all futures ------------------------------------


def by_result(futures: Futures) -> list[Any]:
    return [outcome(future) for future in futures]


def by_wait(futures: Futures) -> list[Any]:
    done, not_done = wait(futures)
    assert not not_done
    assert len(done) == len(futures)
    return [outcome(future) for future in futures]


def by_as_completed(futures: Futures) -> list[Any]:
    assert set(as_completed(futures)) == set(futures)
    return [outcome(future) for future in futures]


def by_callback(futures: Futures) -> list[Any]:
    told = threading.Semaphore(0)
    for future in futures:
        future.add_done_callback(lambda _: told.release())
    for _ in futures:
        told.acquire()
    return [outcome(future) for future in futures]


def by_asyncio(futures: Futures) -> list[Any]:
    async def gather() -> list[Any]:
        wrapped = [asyncio.wrap_future(future) for future in futures]
        return await asyncio.gather(*wrapped, return_exceptions=True)

    return asyncio.run(gather())


def by_threads(futures: Futures) -> list[Any]:
    outcomes: dict[int, Any] = {}

    def run(number: int, future: Future[Any]) -> None:
        outcomes[number] = outcome(future)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(futures)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [outcomes[number] for number in range(len(futures))]


WAYS = [by_result, by_wait, by_as_completed, by_callback, by_asyncio, by_threads]

# --- Ways to die ---------------------------------------------------------------------------------

HOW = {
    tasks.sigkill: r"worker (\d+) was killed by SIGKILL",
    tasks.sigsegv: r"worker (\d+) was killed by SIGSEGV",
    tasks.exit_0: r"worker (\d+) exited with status 0",
    tasks.exit_3: r"worker (\d+) exited with status 3",
}
WHERE: dict[str, tuple[Callable[..., Any], Callable[[Any], Any]]] = {
    "in the task": (lambda how: how, lambda how: None),
    "unpickling the task": (lambda how: tasks.echo, lambda how: tasks.Unpickling(how)),
    "pickling the result": (lambda how: tasks.make_pickling, lambda how: how),
}


def check_death(method: str, where: str, how: Any, way: Callable[[Futures], list[Any]]) -> None:
    function, argument = (part(how) for part in WHERE[where])
    with zeroipc.mp.ProcessPoolExecutor(2, mp_context=zeroipc.mp.get_context(method)) as pool:
        early = [pool.submit(tasks.echo, number) for number in range(5)]
        assert [future.result() for future in early] == list(range(5))
        workers = set(pool._processes)
        victim = pool.submit(function, argument)
        late = [pool.submit(tasks.wait_for_file, "/nowhere") for _ in range(5)]
        outcomes = way([victim, *late])
        assert [future.result() for future in early] == list(range(5))
    for error in outcomes:
        assert type(error) is BrokenProcessPool
        found = re.search(HOW[how] + r" while it ran task 5, (\w+)$", str(error))
        assert found is not None, str(error)
        assert int(found[1]) in workers
        assert found[2] == function.__name__


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("how", HOW, ids=lambda how: how.__name__)
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("way", WAYS)
def test_death_under_fork(where: str, how: Any, way: Callable[[Futures], list[Any]]) -> None:
    check_death("fork", where, how, way)


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("how", HOW, ids=lambda how: how.__name__)
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("method", [method for method in METHODS if method != "fork"])
def test_death_under_other_methods(method: str, where: str, how: Any) -> None:
    ways = [by_result, by_as_completed, by_asyncio]
    check_death(method, where, how, ways[(list(HOW).index(how) + len(where)) % len(ways)])


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", [*HOW, tasks.sys_exit], ids=lambda how: how.__name__)
@pytest.mark.parametrize("closing", [False, True])
def test_death_in_the_initializer(method: str, how: Any, closing: bool) -> None:
    context = zeroipc.mp.get_context(method)
    pool = zeroipc.mp.ProcessPoolExecutor(2, mp_context=context, initializer=how)
    futures: list[Any] = []
    with contextlib.suppress(BrokenProcessPool):
        futures.extend(pool.submit(tasks.echo, number) for number in range(4))
    pool.shutdown(wait=closing)
    assert futures
    for future in futures:
        text = HOW.get(how, "the initializer of worker")
        assert re.search(text, str(future.exception()))
    pool.shutdown()


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", HOW, ids=lambda how: how.__name__)
def test_death_while_the_executor_shuts_down(method: str, how: Any) -> None:
    with zeroipc.mp.ProcessPoolExecutor(1, mp_context=zeroipc.mp.get_context(method)) as pool:
        first = pool.submit(tasks.echo, 1)
        victim = pool.submit(how)
        last = pool.submit(tasks.echo, 2)
    assert first.result() == 1
    for future in (victim, last):
        assert re.search(HOW[how] + " while it ran task 1", str(future.exception()))


@pytest.mark.parametrize("method", METHODS)
def test_an_idle_worker_that_dies_breaks_the_executor(method: str) -> None:
    with zeroipc.mp.ProcessPoolExecutor(1, mp_context=zeroipc.mp.get_context(method)) as pool:
        worker = pool.submit(tasks.pid).result()
        os.kill(worker, signal.SIGKILL)
        pool._executor_manager_thread.join()
        with pytest.raises(BrokenProcessPool, match=f"worker {worker} was killed by SIGKILL$"):
            pool.submit(tasks.pid)


@pytest.mark.parametrize("method", METHODS)
def test_a_stopped_worker_does_not_hold_up_the_end(method: str) -> None:
    with zeroipc.mp.ProcessPoolExecutor(2, mp_context=zeroipc.mp.get_context(method)) as pool:
        futures = [pool.submit(tasks.wait_for_file, "/nowhere") for _ in range(3)]
        one, *others = pool._processes
        for other in others:
            os.kill(other, signal.SIGSTOP)
        os.kill(one, signal.SIGKILL)
        for future in futures:
            assert isinstance(future.exception(), BrokenProcessPool)


def test_sys_exit_in_a_task_is_its_outcome() -> None:
    with zeroipc.mp.ProcessPoolExecutor(1, mp_context=zeroipc.mp.get_context("fork")) as pool:
        error = pool.submit(tasks.sys_exit).exception()
        assert isinstance(error, SystemExit)
        assert error.code == 7
        assert pool.submit(tasks.echo, 1).result() == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", WAYS)
def test_a_result_that_cannot_be_unpickled(
    method: str, way: Callable[[Futures], list[Any]]
) -> None:
    with zeroipc.mp.ProcessPoolExecutor(2, mp_context=zeroipc.mp.get_context(method)) as pool:
        bad = pool.submit(tasks.make_unpickling, tasks.fail, "this one")
        late = pool.submit(tasks.wait_for_file, "/nowhere")
        for error in way([bad, late]):
            assert isinstance(error, BrokenProcessPool)
            assert "a result could not be unpickled" in str(error)
            assert "this one" in str(error.__cause__)


def begun(path: Path) -> dict[int, list[int]]:
    """Return the tasks that each worker has begun, in order."""
    found: dict[int, list[int]] = {}
    for line in path.read_text().splitlines():
        worker, number = map(int, line.split())
        found.setdefault(worker, []).append(number)
    return found


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("method", METHODS)
def test_random_kills_lose_nothing_that_was_sent(tmp_path: Path, method: str, seed: int) -> None:
    """A worker that begins another task has sent the result of the last: that must arrive."""
    chance = random.Random(seed)
    path = tmp_path / "begun"
    count = 400
    with zeroipc.mp.ProcessPoolExecutor(3, mp_context=zeroipc.mp.get_context(method)) as pool:
        futures = [pool.submit(tasks.note, str(path), number) for number in range(count)]
        for future in futures[: chance.randrange(count)]:
            future.result()
        killed = chance.choice(list(pool._processes))
        os.kill(killed, chance.choice([signal.SIGKILL, signal.SIGTERM]))
        outcomes = by_result([*futures])
    good = {number for number, value in enumerate(outcomes) if value == number * number}
    bad = [value for value in outcomes if type(value) is BrokenProcessPool]
    assert len(good) + len(bad) == count
    workers = begun(path)
    everything = [number for numbers in workers.values() for number in numbers]
    assert len(everything) == len(set(everything)), "a task was run twice"
    assert good <= set(everything)
    assert good >= set(workers.get(killed, [])[:-1])
