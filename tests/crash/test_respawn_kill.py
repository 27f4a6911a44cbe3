"""Workers that die while others take their places: only the task in flight fails, once."""

from __future__ import annotations

import collections
import contextlib
import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

import zeroipc.mp
from tests.support import deadly, tasks
from zeroipc.errors import OwnerDiedError, TaskTimeoutError, WorkerDiedError

pytestmark = pytest.mark.kill

METHODS = zeroipc.mp.get_all_start_methods()
HOW = {
    tasks.sigkill: (-9, "was killed by SIGKILL"),
    tasks.sigsegv: (-11, "was killed by SIGSEGV"),
    tasks.exit_0: (0, "exited with status 0"),
    tasks.exit_3: (3, "exited with status 3"),
}
WHERE: dict[str, tuple[Callable[..., Any], Callable[[Any], Any]]] = {
    "in the task": (lambda how: how, lambda how: None),
    "unpickling the task": (lambda how: tasks.echo, lambda how: tasks.Unpickling(how)),
    "pickling the result": (lambda how: tasks.make_pickling, lambda how: how),
}


def make(method: str, workers: int = 2, **options: Any) -> Any:
    context = zeroipc.mp.get_context(method)
    return zeroipc.mp.ProcessPoolExecutor(
        workers, mp_context=context, on_death="respawn", **options
    )


def kill_one_of(pool: Any, chance: random.Random) -> None:
    ready = [pid for pid, process in pool._processes.items() if pool._engine.crew.is_ready(process)]
    with contextlib.suppress(ProcessLookupError):  # it was killed before
        if ready:  # too many that die before they are break the executor
            os.kill(chance.choice(ready), chance.choice([signal.SIGKILL, signal.SIGTERM]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("how", HOW, ids=lambda how: how.__name__)
def test_only_the_task_in_flight_fails(method: str, where: str, how: Any) -> None:
    watched = (METHODS.index(method) + list(HOW).index(how)) % 2
    function, argument = (part(how) for part in WHERE[where])
    with make(method) as pool:
        early = [pool.submit(tasks.echo, number) for number in range(5)]
        victims = [pool.submit(function, argument) for _ in range(3)]
        late = [pool.submit(tasks.echo, number) for number in range(40)]
        if watched:
            told = threading.Semaphore(0)
            for future in victims + late:
                future.add_done_callback(lambda _: told.release())
            for _ in victims + late:
                told.acquire()
        assert [future.result() for future in early + late] == [*range(5), *range(40)]
        code, text = HOW[how]
        for task, victim in enumerate(victims, start=5):
            error = victim.exception()
            assert type(error) is WorkerDiedError
            assert isinstance(error, BrokenProcessPool)
            assert isinstance(error, OwnerDiedError)
            assert str(error) == (
                f"worker {error.pid} {text} while it ran task {task}, {function.__name__}"
            )
            assert (error.exitcode, error.task) == (code, task)
        assert len({victim.exception().pid for victim in victims}) == 3
        assert len(pool._processes) <= 2


@pytest.mark.parametrize("method", METHODS)
def test_idle_workers_that_die_are_replaced(method: str) -> None:
    with make(method) as pool:
        for _ in range(3):
            worker = pool.submit(tasks.pid).result()
            for pid in list(pool._processes):
                os.kill(pid, signal.SIGKILL)
            again = pool.submit(tasks.pid)
            assert again.result() != worker


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", [tasks.sigkill, tasks.exit_0], ids=lambda how: how.__name__)
def test_workers_that_never_come_up_break_it(method: str, how: Any) -> None:
    with make(method, 2, initializer=how) as pool:
        futures = []
        for number in range(4):
            try:
                futures.append(pool.submit(tasks.echo, number))
            except BrokenProcessPool:  # already
                break
        for future in futures:
            with pytest.raises(BrokenProcessPool, match="5 workers in a row died before") as info:
                future.result()
            assert re.search(HOW[how][1] + "$", str(info.value))
        with pytest.raises(BrokenProcessPool, match="in a row died before they were ready"):
            pool.submit(tasks.echo, 1)


@pytest.mark.parametrize("method", METHODS)
def test_some_deaths_at_start_are_survived(method: str, tmp_path: Path) -> None:
    with make(method, 1, initializer=deadly.die_while, initargs=(str(tmp_path), 3)) as pool:
        assert pool.submit(tasks.echo, 1).result() == 1
        pool.submit(tasks.sigkill).exception()
        assert pool.submit(tasks.echo, 2).result() == 2


@pytest.mark.parametrize("method", METHODS)
def test_an_initializer_that_raises_breaks_it(method: str) -> None:
    with make(method, 1, initializer=tasks.sys_exit) as pool:
        future = pool.submit(tasks.echo, 1)
        with pytest.raises(BrokenProcessPool, match="the initializer of worker"):
            future.result()


@pytest.mark.parametrize("method", METHODS)
def test_deaths_while_the_executor_shuts_down(method: str) -> None:
    with make(method) as pool:
        futures = [
            pool.submit(tasks.sigkill if number % 3 == 1 else tasks.echo, number)
            for number in range(12)
        ]
    for number, future in enumerate(futures):
        if number % 3 == 1:
            assert isinstance(future.exception(), WorkerDiedError)
        else:
            assert future.result() == number


def test_a_worker_that_ends_by_a_ctrl_c_breaks_it() -> None:
    with make("fork", 1) as pool:
        assert isinstance(pool.submit(deadly.interrupted).exception(), KeyboardInterrupt)
        pool._executor_manager_thread.join()
        with pytest.raises(BrokenProcessPool, match=r"exited with status 130$"):
            pool.submit(tasks.pid)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("method", METHODS)
def test_random_kills(tmp_path: Path, method: str, seed: int) -> None:
    """Each task ends once: with its value, or with the death of the worker that began it."""
    chance = random.Random(seed)
    path = tmp_path / "begun"
    count, kills = 300, 5
    ends: dict[int, int] = {}
    with make(method, 3) as pool:
        futures = [pool.submit(tasks.note, str(path), number) for number in range(count)]
        for number, future in enumerate(futures):
            future.add_done_callback(lambda _, n=number: ends.update({n: ends.get(n, 0) + 1}))
        for number in sorted(chance.sample(range(count), kills)):
            futures[number].exception()
            kill_one_of(pool, chance)
        died = {}
        for number, future in enumerate(futures):
            error = future.exception()
            if error is None:
                assert future.result() == number * number
            else:
                assert type(error) is WorkerDiedError
                assert error.task == number
                died[number] = error.pid
    assert ends == dict.fromkeys(range(count), 1)
    assert len(died) <= kills
    begun = deadly.begun(path)
    everything = [number for numbers in begun.values() for number in numbers]
    assert len(everything) == len(set(everything)), "a task was run twice"
    assert set(everything) | died.keys() == set(range(count))
    for number, pid in died.items():  # it was the last that this worker began, if it came so far
        assert number not in begun.get(pid, [])[:-1]


@pytest.mark.parametrize("method", METHODS)
def test_large_results_of_workers_that_are_killed(method: str) -> None:
    with make(method, 2) as pool:
        futures = [pool.submit(bytes, 1 << 20) for _ in range(60)]
        for number in range(0, 50, 10):
            futures[number].exception()
            kill_one_of(pool, random.Random(number))
        good = [future for future in futures if future.exception() is None]
        assert all(future.result() == bytes(1 << 20) for future in good)
        assert len(good) >= 55


def test_a_worker_that_dies_before_its_task_is_known_as_sent() -> None:
    with make("fork", 1) as pool:
        assert pool.submit(tasks.echo, 1).result() == 1
        engine = pool._engine
        put = engine.tasks._put_task

        def put_and_wait_for_the_death(task: Any) -> Any:
            sent = put(task)
            worker = next(iter(pool._processes))
            while worker in pool._processes:
                engine.thread.join(0.01)
            return sent

        engine.tasks._put_task = put_and_wait_for_the_death
        victim = pool.submit(tasks.sigkill)
        engine.tasks._put_task = put
        error = victim.exception()
        assert type(error) is WorkerDiedError
        assert str(error).endswith("was killed by SIGKILL while it ran task 1, sigkill")
        assert pool.submit(tasks.echo, 2).result() == 2


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("method", METHODS)
def test_everything_at_once(tmp_path: Path, method: str, seed: int) -> None:
    """Tasks of all kinds under random kills and cancels: each ends once, and the sums agree."""
    chance = random.Random(seed)
    path = str(tmp_path / "begun")
    with make(method, 3) as pool:
        once, timed = pool.options(retries=1), pool.options(timeout=60)
        futures = []
        for number in range(0, 200, 4):
            futures += [pool.submit(tasks.note, path, number)]
            futures += [once.submit(tasks.note, path, number + 1)]
            futures += [timed.submit(tasks.note, path, number + 2)]
            futures += pool.submit_many(tasks.note, [path], [number + 3])
        late = pool.options(timeout=0.1).submit(time.sleep, 60)
        many = pool.submit_many(tasks.note, [path] * 100, range(200, 300), chunksize=6)
        everything = [*futures, *many]
        everything[0].exception()  # a worker is ready
        for number in sorted(chance.sample(range(300), 12)):
            if chance.random() < 0.5:
                everything[number].cancel(running=True)
            else:
                kill_one_of(pool, chance)
        ends = [outcome_of(future) for future in everything]
        stats = pool.stats()
        assert isinstance(late.exception(), (TaskTimeoutError, WorkerDiedError))
    good = [number for number, end in enumerate(ends) if end == number * number]
    died = [end for end in ends if isinstance(end, WorkerDiedError)]
    cancelled = [end for end in ends if end is CancelledError]
    assert len(good) + len(died) + len(cancelled) == 300
    assert all(re.search(r"worker \d+ was killed by SIG", str(error)) for error in died)
    assert stats["submitted"] == 301
    assert stats["cancelled"] == len(cancelled)
    assert stats["done"] == len(good)
    counts = collections.Counter(n for each in deadly.begun(Path(path)).values() for n in each)
    assert set(good) <= counts.keys()
    assert {number for number, times in counts.items() if times > 1} <= {*range(1, 200, 4)}


def outcome_of(future: Any) -> Any:
    try:
        return future.exception() or future.result()
    except CancelledError:
        return CancelledError
