"""What the executor has beyond the standard library: resources, progress, figures."""

from __future__ import annotations

import io
import math
import os
import sys
import threading
import types
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

import zeroipc.mp
from tests.support import deadly, tasks
from zeroipc.mp import cpus, executor, threads

METHODS = zeroipc.mp.get_all_start_methods()


def make(method: str = "fork", workers: int = 2, **options: Any) -> Any:
    context = zeroipc.mp.get_context(method)
    return zeroipc.mp.ProcessPoolExecutor(workers, mp_context=context, **options)


# --- A resource of each worker ----------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_each_worker_loads_its_resource_once(method: str, tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    with make(method, resource=lambda: tasks.note(path, os.getpid())) as pool:
        got = list(pool.map(deadly.pid_and_resource, range(40)))
    assert all(resource == pid * pid for pid, resource in got)
    loaded = deadly.begun(Path(path))
    assert {pid for pid, _ in got} <= loaded.keys()
    assert all(len(times) == 1 for times in loaded.values())


def test_the_initializer_comes_before_the_resource() -> None:
    with make(initializer=deadly.remember, initargs=(7,), resource=deadly.remembered) as pool:
        assert pool.submit(deadly.pid_and_resource).result()[1] == 7


def test_a_replaced_worker_loads_the_resource_too() -> None:
    with make(workers=1, resource=os.getpid, on_death="respawn") as pool:
        before = pool.submit(deadly.pid_and_resource).result()
        pool.submit(tasks.sigkill).exception()
        after = pool.submit(deadly.pid_and_resource).result()
        assert before[0] == before[1] != after[0] == after[1]


def test_a_resource_that_cannot_be_loaded_breaks_the_executor() -> None:
    with make(resource=lambda: 1 // 0) as pool:
        with pytest.raises(BrokenProcessPool, match="the initializer of worker") as info:
            pool.submit(tasks.echo, 1).result()
        assert "ZeroDivisionError" in str(info.value.__cause__)


def test_there_is_no_resource_elsewhere() -> None:
    with pytest.raises(RuntimeError, match="this process has loaded none"):
        zeroipc.mp.worker_resource()
    with make(resource=list) as pool:
        assert pool.submit(tasks.echo, 1).result() == 1
        with make() as other, pytest.raises(RuntimeError, match="has loaded none"):
            other.submit(zeroipc.mp.worker_resource).result()
    with pytest.raises(TypeError, match="resource must be a callable"):
        make(resource=3)


# --- Inner threads ----------------------------------------------------------------------------


def test_two_that_start_workers_at_once_leave_the_environment_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    inside, leave = threading.Event(), threading.Event()

    def start_another() -> None:
        with threads.environment(2):
            inside.set()
            leave.wait(60)

    with threads.environment(1):
        other = threading.Thread(target=start_another)
        other.start()
        assert not inside.wait(0.1)
    leave.set()
    other.join()
    assert not set(threads.VARIABLES) & set(os.environ)


@pytest.mark.parametrize("method", METHODS)
def test_inner_threads_are_limited(method: str) -> None:
    before = dict(os.environ)
    with make(method, inner_threads=3) as pool:
        seen = pool.submit(deadly.variables, threads.VARIABLES).result()
    assert seen == dict.fromkeys(threads.VARIABLES, "3")
    assert dict(os.environ) == before


def test_a_spawned_worker_has_the_variables_before_it_loads_anything() -> None:
    started = "/proc/{}/environ"
    with make("spawn", 1, inner_threads=5) as pool:
        pid = pool.submit(tasks.pid).result()
        assert b"OMP_NUM_THREADS=5" in Path(started.format(pid)).read_bytes().split(b"\0")


def test_what_is_loaded_is_told_by_threadpoolctl(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = types.ModuleType("threadpoolctl")
    module.threadpool_limits = deadly.remember
    monkeypatch.setitem(sys.modules, "threadpoolctl", module)
    with make("fork", inner_threads=2) as pool:
        assert pool.submit(deadly.remembered).result() == 2
    with pytest.raises(ValueError, match=r"inner_threads must be None or >= 1: inner_threads=0"):
        make(inner_threads=0)


# --- How many workers -------------------------------------------------------------------------


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(text)


def test_control_groups_of_version_2(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("0::/outer/inner\n")
    root = tmp_path / "root"
    assert cpus.cgroup_cpus(own, root) == math.inf
    group(root / "outer" / "inner", cpu_max="max 100000\n")
    assert cpus.cgroup_cpus(own, root) == math.inf
    group(root / "outer", cpu_max="250000 100000\n")
    assert cpus.cgroup_cpus(own, root) == 2.5
    group(root / "outer" / "inner", cpu_max="50000 100000\n")
    assert cpus.cgroup_cpus(own, root) == 0.5
    assert cpus.cgroup_cpus(tmp_path / "nowhere", root) == math.inf


def test_a_container_sees_its_own_group_at_the_root(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("0::/../../of/the/host\n")
    group(tmp_path / "root", cpu_max="300000 100000\n")
    assert cpus.cgroup_cpus(own, tmp_path / "root") == 3


@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpu"])
def test_control_groups_of_version_1(tmp_path: Path, mount: str) -> None:
    own = tmp_path / "cgroup"
    own.write_text("4:memory:/m\n3:cpu,cpuacct:/docker/1\n0::/\n")
    folder = tmp_path / mount / "docker" / "1"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    for quota, limit in (("-1", math.inf), ("150000", 1.5)):
        (folder / "cpu.cfs_quota_us").write_text(quota)
        assert cpus.cgroup_cpus(own, tmp_path) == limit


def test_the_default_is_what_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = len(os.sched_getaffinity(0))
    monkeypatch.setattr(cpus, "cgroup_cpus", lambda: 0.3)
    assert cpus.usable_cpus() == 1
    monkeypatch.setattr(cpus, "cgroup_cpus", lambda: math.inf)
    assert cpus.usable_cpus() == bound
    monkeypatch.setattr(os, "process_cpu_count", lambda: bound + 5, raising=False)
    assert cpus.usable_cpus() == bound + 5
    monkeypatch.setattr(executor, "usable_cpus", lambda: 10**6)
    with zeroipc.mp.ProcessPoolExecutor() as pool:
        assert pool._max_workers == executor.WORKERS_MAX


# --- Figures ----------------------------------------------------------------------------------


def test_the_figures_add_up(gate: Path) -> None:
    with make(workers=2, on_death="respawn") as pool:
        assert pool.stats()["workers"] == 0
        for number in range(5):
            pool.submit(tasks.echo, number).result()
        assert isinstance(pool.submit(tasks.fail, "so").exception(), ValueError)
        pool.submit(tasks.sigkill).exception()
        blocked = [pool.submit(tasks.wait_for_file, str(gate)) for _ in range(5)]
        while pool.stats()["running"] < 2:  # a worker may run a task before it is on the list
            pass
        assert blocked[4].cancel()
        stats = pool.stats()
        assert stats.pop("bytes") > 0
        assert stats == {
            "submitted": 12,
            "queued": 2,
            "running": 2,
            "done": 5,
            "failed": 2,
            "cancelled": 1,
            "respawned": 1,
            "workers": 2,
        }
        gate.touch()
    stats = pool.stats()
    assert (stats["done"], stats["queued"], stats["running"], stats["bytes"]) == (9, 0, 0, 0)
    assert stats["workers"] == 0


# --- Progress ---------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [1, 7])
@pytest.mark.parametrize("buffersize", [None, 3])
def test_progress_counts_to_the_end(chunksize: int, buffersize: int | None) -> None:
    told: list[Any] = []

    def report(done: int, total: int | None) -> None:
        told.append((done, total))

    with make() as pool:
        results = pool.map(
            tasks.echo, range(30), chunksize=chunksize, buffersize=buffersize, progress=report
        )
        assert list(results) == list(range(30))
        steps = range(1, 31) if chunksize == 1 else [done for done, _ in told]
        assert told == [(done, 30) for done in steps]
        assert told[-1] == (30, 30)
        told.clear()
        assert list(pool.map(tasks.echo, iter("ab"), progress=report)) == ["a", "b"]
        assert told == [(1, None), (2, None)]


def test_progress_does_not_wait_for_the_order_of_results(gate: Path) -> None:
    told = threading.Semaphore(0)
    with make() as pool:
        arguments = [str(gate), "/", "/", "/"]
        results = pool.map(tasks.wait_for_file, arguments, progress=lambda *_: told.release())
        for _ in range(3):
            told.acquire()
        gate.touch()
        assert list(results) == arguments


class Bar:
    """Stands for a bar of tqdm, and for one of rich."""

    def __init__(self, total: Any = None) -> None:
        self.total, self.n = total, 0
        self.ended = False
        bars.append(self)

    def add_task(self, _: str, total: Any) -> int:
        self.total = total
        return 5

    def start(self) -> None:
        self.ended = False

    def update(self, step: int, completed: int | None = None) -> None:
        self.n = self.n + step if completed is None else completed

    def close(self) -> None:
        self.ended = True

    stop = close


bars: list[Bar] = []


@pytest.mark.parametrize("library", ["tqdm", "rich", None])
def test_a_bar(library: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    bars.clear()
    for name, submodule, cls in (("tqdm", "auto", "tqdm"), ("rich", "progress", "Progress")):
        module: Any = types.ModuleType(f"{name}.{submodule}")
        setattr(module, cls, Bar)
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        there = module if name == library else None
        monkeypatch.setitem(sys.modules, f"{name}.{submodule}", there)
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    with make() as pool:
        assert list(pool.map(tasks.echo, range(9), progress=True)) == list(range(9))
    if library is None:
        assert written.getvalue().endswith("\r9/9\n")
    else:
        (bar,) = bars
        assert (bar.n, bar.total, bar.ended) == (9, 9, True)


# --- Ending workers ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", ["terminate_workers", "kill_workers"])
@pytest.mark.parametrize("on_death", ["break", "respawn"])
def test_workers_can_be_ended_at_once(method: str, how: str, on_death: str) -> None:
    pool = make(method, on_death=on_death)
    assert pool.submit(tasks.echo, 1).result() == 1
    futures = [pool.submit(tasks.wait_for_file, "/nowhere") for _ in range(6)]
    while not futures[0].running():
        pass
    getattr(pool, how)()
    with pytest.raises(RuntimeError):
        pool.submit(tasks.echo, 1)
    ends = []
    for future in futures:
        try:
            ends.append(type(future.exception()))
        except CancelledError:
            ends.append(CancelledError)
    assert set(ends) == {BrokenProcessPool, CancelledError}
    pool.shutdown()
    make(method).kill_workers()  # one without workers
