"""What can be agreed about a task: how long it may run, how often it is run again."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import zeroipc.mp
from tests.support import deadly, tasks
from zeroipc.errors import MovedError, TaskTimeoutError, WorkerDiedError
from zeroipc.mp import collector, limits

METHODS = zeroipc.mp.get_all_start_methods()


def make(method: str = "fork", workers: int = 2, **options: Any) -> Any:
    context = zeroipc.mp.get_context(method)
    return zeroipc.mp.ProcessPoolExecutor(workers, mp_context=context, **options)


# --- Timeouts ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("on_death", ["break", "respawn"])
def test_a_task_that_runs_too_long_is_ended_and_the_others_go_on(
    method: str, on_death: str
) -> None:
    with make(method, on_death=on_death) as pool:
        late = pool.options(timeout=0.2).submit(tasks.wait_for_file, "/nowhere")
        others = [pool.options(timeout=60).submit(tasks.echo, number) for number in range(50)]
        error = late.exception()
        assert type(error) is TaskTimeoutError
        assert str(error) == (
            "task 0, wait_for_file, ran for longer than its timeout=0.2 s, and was ended with "
            "its worker"
        )
        assert [future.result() for future in others] == list(range(50))


def test_the_time_begins_when_a_worker_takes_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock of its own: an hour passes before."""
    started, gates = tmp_path / "started", [tmp_path / "one", tmp_path / "two"]
    clock = SimpleNamespace(sleep=time.sleep, passed=0.0)
    clock.monotonic = lambda: time.monotonic() + clock.passed
    monkeypatch.setattr(limits, "time", clock)
    with make(workers=1) as pool:
        first = pool.submit(tasks.wait_for_file, str(gates[0]))
        second = pool.options(timeout=60).submit(tasks.touch_and_wait, str(started), str(gates[1]))
        for clock.passed in (0.0, 3600.0):
            with pytest.raises(TimeoutError) as info:
                second.result(timeout=5 * limits.LOOK)
            assert type(info.value) is TimeoutError
        gates[0].touch()
        tasks.wait_for_file(str(started))
        with pytest.raises(TimeoutError) as info:
            second.result(timeout=5 * limits.LOOK)
        assert type(info.value) is TimeoutError
        gates[1].touch()
        assert (first.result(), second.result()) == (str(gates[0]), str(gates[1]))


def test_a_timeout_is_noticed_while_somebody_watches_and_while_nobody_does() -> None:
    with make() as pool:
        watched = pool.options(timeout=0.1).submit(time.sleep, 60)
        told = threading.Event()
        watched.add_done_callback(lambda _: told.set())
        told.wait()
        assert isinstance(watched.exception(), TaskTimeoutError)
        unwatched = pool.options(timeout=0.1).submit(time.sleep, 60)
        while not unwatched.done():
            told.wait(0.01)
        assert isinstance(unwatched.exception(), TaskTimeoutError)


def test_timeouts_hold_for_map() -> None:
    with make() as pool:
        assert list(pool.options(timeout=60).map(deadly.wait_if_odd, [0, 2])) == [0, 2]
        results = pool.options(timeout=0.1).map(deadly.wait_if_odd, [1, 3])
        with pytest.raises(TaskTimeoutError):
            next(results)


def test_a_task_that_ran_too_long_is_not_run_again() -> None:
    with make(on_death="respawn", retries=3) as pool:
        late = pool.options(timeout=0.1).submit(time.sleep, 60)
        assert isinstance(late.exception(), TaskTimeoutError)
        assert pool._engine.deaths.replaced <= 1


# --- Cancelling what runs ------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("watched", [False, True])
def test_a_running_task_is_cancelled_with_its_worker(
    method: str, watched: bool, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    with make(method) as pool:
        victim = pool.submit(tasks.touch_and_wait, str(started), "/nowhere")
        told = threading.Event()
        if watched:
            victim.add_done_callback(lambda _: told.set())
        tasks.wait_for_file(str(started))
        assert not victim.cancel()
        assert victim.cancel(running=True)
        assert victim.cancelled()
        assert not watched or told.wait(60)
        assert [pool.submit(tasks.echo, number).result() for number in range(20)] == [*range(20)]
        assert victim.cancel(running=True)  # it is


def test_what_is_queued_or_done_is_cancelled_as_ever(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with make(workers=1) as pool:
        first = pool.submit(tasks.wait_for_file, str(gate))
        queued = pool.submit(tasks.echo, 1)
        assert queued.cancel(running=True)
        gate.touch()
        assert first.result() == str(gate)
        assert not first.cancel(running=True)
        assert pool._engine.deaths.replaced == 0


def test_a_callback_may_cancel_what_runs(tmp_path: Path) -> None:
    started, gate = tmp_path / "started", tmp_path / "gate"
    with make(workers=2) as pool:
        victim = pool.submit(tasks.touch_and_wait, str(started), "/nowhere")
        tasks.wait_for_file(str(started))
        first = pool.submit(tasks.wait_for_file, str(gate))
        answers: list[bool] = []
        first.add_done_callback(lambda _: answers.append(victim.cancel(running=True)))
        gate.touch()
        assert first.result() == str(gate)
    assert answers == [True]
    assert victim.cancelled()


def test_cancelling_at_any_moment_hits_no_other_task() -> None:
    """Tasks end by themselves at the very time that they are cancelled."""
    with make(workers=2) as pool:
        ends = []
        for number in range(150):
            victim = pool.submit(deadly.spin, 0.0002 * (number % 10))
            other = [pool.submit(tasks.echo, (number, part)) for part in range(3)]
            deadly.spin(0.0001 * (number % 7))
            ends.append(victim.cancel(running=True))
            assert [future.result() for future in other] == [(number, part) for part in range(3)]
            assert ends[-1] == victim.cancelled()
            assert ends[-1] or victim.exception() is None
    assert any(ends)


# --- Retries -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_task_is_run_again_when_its_worker_dies(method: str, tmp_path: Path) -> None:
    with make(method, on_death="respawn", retries=2) as pool:
        futures = []
        for number in range(4):
            folder = tmp_path / str(number)
            folder.mkdir()
            futures.append(pool.submit(deadly.die_while, str(folder), number))
        assert [future.exception() for future in futures[:3]] == [None] * 3
        error = futures[3].exception()
        assert type(error) is WorkerDiedError
        assert str(error).endswith("was killed by SIGKILL while it ran task 3, die_while, again")
        assert type(error.__cause__) is WorkerDiedError
        assert len(list((tmp_path / "3").iterdir())) == 3


def test_retries_of_one_task(tmp_path: Path) -> None:
    with make(on_death="respawn") as pool:
        once = pool.options(retries=1)
        assert once.submit(deadly.die_while, str(tmp_path), 1).exception() is None
        assert isinstance(once.submit(tasks.sigkill).exception(), WorkerDiedError)
        assert isinstance(pool.submit(tasks.sigkill).exception(), WorkerDiedError)


def test_what_cannot_be_sent_again_fails_with_the_death() -> None:
    with make(on_death="respawn", retries=1) as pool:
        error = pool.submit(tasks.sigkill, zeroipc.mp.empty(1 << 16)).exception()
        assert type(error) is WorkerDiedError
        assert isinstance(error.__cause__, MovedError)


def test_a_task_that_waits_to_be_run_again_can_be_cancelled(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with make(workers=1, on_death="respawn", retries=100000) as pool:
        victim = pool.submit(tasks.sigkill)
        last = pool.submit(tasks.wait_for_file, str(gate))
        while not last.running():
            gate.exists()
        assert victim.cancel()
        gate.touch()
        assert last.result() == str(gate)


# --- Which arguments are terms ----------------------------------------------------------------


def test_plain_submit_takes_no_argument_from_the_function() -> None:
    with make() as pool:
        assert pool.submit(deadly.given, timeout=3, retries=4).result() == (3, 4)
        with pytest.raises(TypeError, match="timeout"):
            pool.submit(tasks.echo, 1, timeout=3).result()


def test_a_respawning_executor_takes_those_that_the_function_does_not() -> None:
    with make(on_death="respawn") as pool:
        assert pool.submit(deadly.given, timeout=3, retries=4).result() == (3, 4)
        assert pool.submit(dict, timeout=3).result() == {"timeout": 3}
        assert pool.submit(tasks.echo, 1, timeout=3).result() == 1
        late = pool.submit(time.sleep, 60, timeout=0.1)
        assert isinstance(late.exception(), TaskTimeoutError)
        assert pool.options(timeout=9).submit(deadly.given, timeout=3, retries=4).result() == (3, 4)


def test_terms_are_checked() -> None:
    with make() as pool:
        with pytest.raises(ValueError, match=r'retries must be 0 unless on_death="respawn": ret'):
            pool.options(retries=1)
        with pytest.raises(ValueError, match=r"timeout must be None or > 0: timeout=0"):
            pool.options(timeout=0)
    with pytest.raises(ValueError, match=r"retries must be >= 0: retries=-1"):
        make(on_death="respawn", retries=-1)
    with pytest.raises(TypeError, match="retries must be an integer"):
        make(on_death="respawn", retries=1.5)
    with pytest.raises(ValueError, match=r"on_death must be one of .*: on_death='go on'"):
        make(on_death="go on")


# --- Who waits for what is told -----------------------------------------------------------------


def test_who_collects_the_result_of_a_watched_future_is_woken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collector, "SLICE", 3600.0)
    with make() as pool:
        for number in range(200):
            future = pool.submit(tasks.echo, number)
            future.add_done_callback(lambda _: None)
            assert future.result() == number
