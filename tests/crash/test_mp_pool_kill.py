"""Workers of a `Pool` that die: their task fails with an error that names it, the rest goes on."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import zeroipc.mp
from tests.support import leaks, tasks
from tests.support.programs import run_python
from zeroipc.errors import WorkerDiedError

pytestmark = pytest.mark.kill

METHODS = zeroipc.mp.get_all_start_methods()
HOW = {
    tasks.sigkill: r"worker (\d+) was killed by SIGKILL",
    tasks.sigsegv: r"worker (\d+) was killed by SIGSEGV",
    tasks.exit_0: r"worker (\d+) exited with status 0",
    tasks.exit_3: r"worker (\d+) exited with status 3",
}
COUNT = 300


@pytest.fixture(scope="module")
def servants() -> None:
    """Start what multiprocessing and the arena keep."""
    for method in METHODS:
        make(1, method).terminate()


@pytest.fixture(autouse=True)
def leaves_nothing(servants: None) -> Iterator[None]:
    """Fail a test that leaves a thread or a descriptor behind."""
    threads, files = leaks.threads(), leaks.descriptors()
    yield
    assert not leaks.left(leaks.threads, threads)
    assert not leaks.left(leaks.descriptors, files)


def make(workers: int, method: str, **options: Any) -> Any:
    return zeroipc.mp.get_context(method).Pool(workers, **options)


def dies_at(number: int, modulus: int) -> int:
    if number % modulus == modulus - 1:
        tasks.sigkill()
    return number


def dies_at_sevens(number: int) -> int:
    return dies_at(number, 7)


def outcomes_of(results: Any) -> list[Any]:
    """Return what an iterator of results gives and raises, in order."""
    found: list[Any] = []
    while True:
        try:
            found.append(next(results))
        except StopIteration:
            return found
        except Exception as error:
            found.append(error)


def outcome_of(result: Any) -> Any:
    try:
        return result.get()
    except Exception as error:
        return error


# --- Ways to hand in and to wait: each returns the outcomes of dies_at_sevens for all numbers ----


def by_apply(pool: Any, numbers: Any) -> list[Any]:
    return [outcome_of(pool.apply_async(dies_at_sevens, (number,))) for number in numbers]


def by_apply_async(pool: Any, numbers: Any) -> list[Any]:
    results = [pool.apply_async(dies_at_sevens, (number,)) for number in numbers]
    return [outcome_of(result) for result in results]


def by_callbacks(pool: Any, numbers: Any) -> list[Any]:
    heard: list[Any] = []
    told = threading.Semaphore(0)

    def hear(outcome: Any) -> None:
        heard.append(outcome)
        told.release()

    for number in numbers:
        pool.apply_async(dies_at_sevens, (number,), {}, hear, hear)
    for _ in numbers:
        told.acquire()
    return heard


def by_imap(pool: Any, numbers: Any) -> list[Any]:
    return outcomes_of(pool.imap(dies_at_sevens, list(numbers)))


def by_imap_of_a_generator(pool: Any, numbers: Any) -> list[Any]:
    return outcomes_of(pool.imap(dies_at_sevens, iter(numbers)))


def by_imap_unordered(pool: Any, numbers: Any) -> list[Any]:
    return outcomes_of(pool.imap_unordered(dies_at_sevens, iter(numbers)))


WAYS = [by_apply, by_apply_async, by_callbacks, by_imap, by_imap_of_a_generator, by_imap_unordered]
IN_ORDER = WAYS[:2] + WAYS[3:5]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", METHODS)
def test_each_death_fails_one_task_and_no_other(
    method: str, way: Callable[[Any, Any], list[Any]]
) -> None:
    numbers = range(70 if method == "fork" else 14)
    with make(3, method) as pool:
        outcomes = way(pool, numbers)
        assert pool.map(abs, [-1, -2]) == [1, 2]
    good = [value for value in outcomes if isinstance(value, int)]
    bad = [value for value in outcomes if type(value) is WorkerDiedError]
    assert sorted(good) == [number for number in numbers if number % 7 != 6]
    assert len(bad) == len(numbers) // 7
    assert {error.task for error in bad} == {number for number in numbers if number % 7 == 6}
    if way in IN_ORDER:
        assert [isinstance(value, int) for value in outcomes] == [n % 7 != 6 for n in numbers]


@pytest.mark.parametrize("how", HOW, ids=lambda how: how.__name__)
@pytest.mark.parametrize("method", METHODS)
def test_the_error_says_who_died_how_and_with_what(method: str, how: Any) -> None:
    with make(2, method) as pool:
        for call in (pool.apply, lambda task: pool.map(task, [None, None], 2)):
            with pytest.raises(WorkerDiedError) as caught:
                call(how)
            found = re.fullmatch(HOW[how] + r" while it ran task (\d+), (\w+)", str(caught.value))
            assert found is not None, str(caught.value)
            assert (int(found[2]), found[3]) == (caught.value.task, how.__name__)
            assert caught.value.pid == int(found[1])
            assert caught.value.pid not in {process.pid for process in pool._pool}
        assert pool.apply(abs, (-1,)) == 1


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("method", METHODS)
def test_a_map_with_a_death_ends_when_all_its_tasks_have(
    method: str, size: int, tmp_path: Path
) -> None:
    path = tmp_path / "begun"
    calls = [(str(path), number) for number in range(40)]
    with make(3, method) as pool:
        late = pool.starmap_async(note_or_die, calls, size)
        with pytest.raises(WorkerDiedError):
            late.get()
        begun = Counter(int(line.split()[1]) for line in path.read_text().splitlines())
        assert max(begun.values()) == 1, "a task was run twice"
        assert len(begun) == 40 - (size - 1 - 13 % size)  # the rest of its chunk has not


def note_or_die(path: str, number: int) -> int:
    """Note the task; number 13 is the end of its worker."""
    tasks.note(path, number)
    if number == 13:
        tasks.sigkill()
    return number


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("method", METHODS)
def test_random_kills_from_outside(tmp_path: Path, method: str, seed: int) -> None:
    """Each task has one outcome: its result, or the death of the worker that had begun it."""
    chance = random.Random(seed)
    path = tmp_path / "begun"
    with make(3, method) as pool:
        results = pool.imap_unordered(
            note_one, iter([(str(path), number) for number in range(COUNT)])
        )
        outcomes: list[Any] = []
        for _ in range(3):
            outcomes += take(results, chance.randrange(COUNT // 4))
            kill_one(pool, chance)
        outcomes += outcomes_of(results)
        assert len(pool.map(tasks.pid, range(30), 1)) == 30
    good = [value for value in outcomes if isinstance(value, int)]
    bad = [value for value in outcomes if type(value) is WorkerDiedError]
    assert len(good) + len(bad) == len(outcomes) == COUNT
    assert len(bad) <= 3
    assert len(set(good)) == len(good)
    begun = [int(line.split()[1]) for line in path.read_text().splitlines()]
    assert len(begun) == len(set(begun)), "a task was run twice"
    assert {number * number for number in begun} >= set(good)


def kill_one(pool: Any, chance: random.Random) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just died
        os.kill(chance.choice(pool._pool).pid, chance.choice([signal.SIGKILL, signal.SIGTERM]))


def note_one(call: tuple[str, int]) -> int:
    return tasks.note(*call)


def take(results: Any, count: int) -> list[Any]:
    found: list[Any] = []
    while len(found) < count:
        try:
            found.append(next(results))
        except WorkerDiedError as error:
            found.append(error)
    return found


@pytest.mark.parametrize("method", METHODS)
def test_idle_workers_that_die_are_replaced(method: str) -> None:
    with make(2, method) as pool:
        assert pool.map(abs, [-1] * 10, 1) == [1] * 10
        for process in pool._pool:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        assert pool.map(abs, [-1] * 10, 1) == [1] * 10
        while len(pool._pool) < 2:  # one of them may have done it alone
            time.sleep(0.01)


@pytest.mark.parametrize("method", METHODS)
def test_workers_that_always_die_at_start_break_the_pool(method: str) -> None:
    with make(2, method, initializer=tasks.sigkill) as pool:
        pool._engine.thread.join()
        with pytest.raises(Exception, match="died before they were ready"):
            pool.apply(abs, (-1,))


@pytest.mark.parametrize("method", METHODS)
def test_deaths_while_a_closed_pool_ends(method: str) -> None:
    pool = make(2, method)
    results = pool.imap_unordered(dies_at_sevens, iter(range(28)))
    pool.close()
    pool.join()
    outcomes = outcomes_of(results)
    assert len(outcomes) == 28
    good = [number for number in range(28) if number % 7 != 6]
    assert sorted(value for value in outcomes if isinstance(value, int)) == good


@pytest.mark.parametrize("method", METHODS)
def test_stopped_workers_do_not_hold_up_terminate(method: str, tmp_path: Path) -> None:
    with make(2, method) as pool:
        late = pool.map_async(tasks.wait_for_file, [str(tmp_path / "never")] * 2, 1)
        for process in pool._pool:
            os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(Exception, match="terminated"):
        late.get()


@pytest.mark.parametrize("method", METHODS)
def test_workers_end_when_their_program_is_killed(method: str) -> None:
    """run_python waits for all that hold the output, so for the workers as well."""
    ended = run_python(
        """
        import os, signal, sys, time
        import zeroipc.mp as mp
        if __name__ == "__main__":
            mp.set_start_method(sys.argv[1])
            pool = mp.Pool(2)
            pool.map(abs, [-1, -2])
            pool.map_async(time.sleep, [100] * 9, 1)
            os.kill(os.getpid(), signal.SIGKILL)
        """,
        method,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
