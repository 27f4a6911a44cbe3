"""terminate_workers and kill_workers: an executor's end by force, whatever it is doing."""

from __future__ import annotations

import signal
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

import zeroipc.mp
from tests.support import tasks

METHODS = zeroipc.mp.get_all_start_methods()
SIGNALS = {"terminate_workers": signal.SIGTERM, "kill_workers": signal.SIGKILL}

pytestmark = pytest.mark.parametrize("call", SIGNALS)


def make(workers: int = 1, method: str = "fork", **options: Any) -> Any:
    context = zeroipc.mp.get_context(method)
    return zeroipc.mp.ProcessPoolExecutor(workers, mp_context=context, **options)


@pytest.mark.parametrize("on_death", ["break", "respawn"])
@pytest.mark.parametrize("method", METHODS)
def test_running_tasks_fail_and_queued_ones_are_cancelled(
    call: str, method: str, on_death: str, tmp_path: Path
) -> None:
    started, never = tmp_path / "started", tmp_path / "never"
    with make(method=method, on_death=on_death) as pool:
        running = pool.submit(tasks.touch_and_wait, str(started), str(never))
        queued = [pool.submit(tasks.echo, number) for number in range(20)]
        tasks.wait_for_file(str(started))
        (worker,) = pool._processes.values()
        getattr(pool, call)()
        with pytest.raises(BrokenProcessPool, match=rf"forcefully shut down by {call}\(\)"):
            running.result()
        assert all(future.cancelled() for future in queued)
        with pytest.raises(RuntimeError):
            pool.submit(tasks.echo, 1)
    assert worker.exitcode == -SIGNALS[call]


def test_before_there_are_workers_and_again(call: str) -> None:
    with make() as pool:
        getattr(pool, call)()
        getattr(pool, call)()
        with pytest.raises(RuntimeError, match="after shutdown"):
            pool.submit(tasks.echo, 1)


def test_idle_workers(call: str) -> None:
    with make() as pool:
        assert pool.submit(tasks.echo, 1).result() == 1
        (worker,) = pool._processes.values()
        getattr(pool, call)()
    assert worker.exitcode in (0, -SIGNALS[call])  # 0: it was told sooner to end


def test_when_the_workers_are_dead_already(call: str) -> None:
    with make() as pool:
        with pytest.raises(BrokenProcessPool):
            pool.submit(tasks.sigkill).result()
        getattr(pool, call)()
