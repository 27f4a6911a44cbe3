"""The joblib backend: what programs on "loky" rely on, and what is better."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import programs, tasks

joblib = pytest.importorskip("joblib", reason="joblib is not installed: make recipes")

from zeroipc.mp import joblib_workers  # noqa: E402 - needs joblib

pytestmark = pytest.mark.recipes
Parallel, delayed = joblib.Parallel, joblib.delayed
MB = 1 << 20


@pytest.fixture(autouse=True)
def two_jobs(no_leaks: None) -> Iterator[None]:
    with joblib.parallel_config(backend="zeroipc", n_jobs=2):
        yield
    joblib_workers.end_idle()


def test_results_come_in_order_and_are_the_same_as_in_one_process() -> None:
    calls = [delayed(divmod)(i, 7) for i in range(3000)]  # enough to make batches grow
    assert Parallel()(calls) == [divmod(i, 7) for i in range(3000)]
    assert Parallel()([]) == []


def test_any_number_of_jobs_means_what_joblib_says() -> None:
    def effective(n_jobs: int) -> int:
        return int(joblib.effective_n_jobs(n_jobs))

    assert effective(-1) == joblib.cpu_count()
    assert effective(-10_000) == effective(1) == 1
    assert effective(3) == 3
    with pytest.raises(ValueError, match="n_jobs == 0"):
        effective(0)
    assert Parallel(n_jobs=1)(delayed(os.getpid)() for _ in range(2)) == [os.getpid()] * 2


def test_workers_stay_for_the_next_call_and_others_are_found_for_two_at_a_time() -> None:
    def pids() -> set[int]:
        return set(Parallel(pre_dispatch="all")(delayed(slow_pid)() for _ in range(4)))

    first = pids()
    assert os.getpid() not in first
    assert pids() <= first or len(first) == 1
    found: list[set[int]] = []

    def call() -> None:
        with joblib.parallel_config(backend="zeroipc", n_jobs=2):
            found.append(pids())

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not found[0] & found[1]


def slow_pid() -> int:
    time.sleep(0.02)  # work, so that one worker does not take it all
    return os.getpid()


@pytest.mark.parametrize("return_as", ["generator", "generator_unordered"])
def test_generators(return_as: str) -> None:
    results = Parallel(return_as=return_as)(delayed(abs)(-i) for i in range(30))
    assert sorted(results) == list(range(30))


def test_a_generator_may_run_beside_other_calls_and_be_dropped() -> None:
    results = Parallel(return_as="generator")(delayed(abs)(-i) for i in range(300))
    assert next(results) == 0
    assert Parallel()(delayed(abs)(-i) for i in range(5)) == list(range(5))
    assert next(results) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joblib's, about work that was in vain
        del results
    assert Parallel()(delayed(abs)(-i) for i in range(5)) == list(range(5))


def fail_at(number: int, at: int) -> int:
    if number == at:
        raise ValueError(f"no: {number}")
    return number


def test_an_error_has_its_type_and_the_workers_traceback() -> None:
    with Parallel() as parallel:
        with pytest.raises(ValueError, match="no: 5") as caught:
            parallel(delayed(fail_at)(i, 5) for i in range(100))
        assert "in fail_at" in str(caught.value.__cause__)
        assert parallel(delayed(abs)(-i) for i in range(5)) == list(range(5))


def test_an_error_ends_the_call_while_an_earlier_task_runs(tmp_path: Path) -> None:
    never = str(tmp_path / "never")
    with pytest.raises(ValueError, match="no"):
        Parallel()([delayed(tasks.wait_for_file)(never), delayed(tasks.fail)("no")])


def test_a_late_task_ends_the_call(tmp_path: Path) -> None:
    never = str(tmp_path / "never")
    with pytest.raises(multiprocessing.TimeoutError):
        Parallel(timeout=0.2)(delayed(tasks.wait_for_file)(never) for _ in range(3))


@pytest.mark.parametrize("return_as", ["list", "generator"])
def test_what_cannot_be_pickled_is_an_error_not_a_hang(return_as: str) -> None:
    with pytest.raises(TypeError, match="cannot pickle"):
        list(Parallel(return_as=return_as)(delayed(id)(threading.Lock()) for _ in range(20)))
    with pytest.raises(TypeError, match="cannot pickle"):
        list(Parallel(return_as=return_as)(delayed(threading.Lock)() for _ in range(20)))


@pytest.mark.parametrize("return_as", ["list", "generator"])
def test_a_killed_worker_is_an_error_and_the_next_call_works(return_as: str) -> None:
    from concurrent.futures.process import BrokenProcessPool

    with pytest.raises(BrokenProcessPool, match=r"killed by SIGKILL while it ran"):
        list(Parallel(return_as=return_as)(delayed(die_at)(i) for i in range(20)))
    assert Parallel()(delayed(abs)(-i) for i in range(5)) == list(range(5))


def die_at(number: int) -> None:
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)


def describe(array: Any, more: list[Any]) -> tuple[Any, ...]:
    """Return what it is, having written to it."""
    total = float(array.sum()) + float(more[0].sum())
    array[0] = -1.0
    flags = array.flags
    return type(array).__name__, total, flags.f_contiguous, flags.c_contiguous, array.shape


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_large_array_is_copied_once_and_each_worker_may_write(
    order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zeroipc.mp import joblib_calls

    copies = []

    class Counted(joblib_calls.SharedCopy):
        def __init__(self, array: Any) -> None:
            copies.append(array.nbytes)
            super().__init__(array)

    monkeypatch.setattr(joblib_calls, "SharedCopy", Counted)
    array = np.ones((4, MB), order=order)
    found = Parallel()(delayed(describe)(array, [array]) for _ in range(12))
    assert set(found) == {("ndarray", 8.0 * MB, order == "F", order == "C", (4, MB))}
    assert array.min() == 1.0
    assert copies == [32 * MB]
    assert open_copies() == 0
    array[:] = 2.0  # the next call sees it
    found = Parallel()(delayed(np.sum)(array[:, ::2]) for _ in range(2))
    assert found == [4.0 * MB] * 2


def open_copies() -> int:
    links = [os.readlink(f"/proc/self/fd/{fd}") for fd in safely_listed()]
    return sum("zeroipc-joblib" in link for link in links)


def safely_listed() -> list[str]:
    return [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]


def test_results_and_passing_arrays_leave_nothing_open() -> None:
    for i, result in enumerate(
        Parallel(return_as="generator")(delayed(np.add)(np.full(MB, i), 1) for i in range(20))
    ):
        assert result.nbytes == 8 * MB
        assert (result == i + 1).all()
    assert open_copies() == 0


def fill_row(table: Any, row: int) -> None:
    table[row] = row


def test_a_mapped_file_is_mapped_again_so_that_workers_can_write_results(tmp_path: Path) -> None:
    table = np.memmap(tmp_path / "table", dtype=np.int64, shape=(6, 1000), mode="w+")
    Parallel()(delayed(fill_row)(table, row) for row in range(6))
    assert (table == np.arange(6)[:, None]).all()


def nested(number: int) -> tuple[list[int], str]:
    backend, _ = joblib.parallel.get_active_backend()
    return Parallel(n_jobs=2)(delayed(abs)(-i) for i in range(number)), type(backend).__name__


def test_nested_calls_use_threads() -> None:
    expected = [(list(range(i)), "ThreadingBackend") for i in range(4)]
    assert Parallel()(delayed(nested)(i) for i in range(4)) == expected


def nested_processes(number: int) -> list[int]:
    results: list[int] = Parallel(n_jobs=2, backend="zeroipc")(
        delayed(abs)(-i) for i in range(number)
    )
    return results


def test_nested_calls_may_ask_for_processes() -> None:
    expected = [list(range(i)) for i in range(3)]
    assert Parallel()(delayed(nested_processes)(i) for i in range(3)) == expected


def thread_limits() -> list[str | None]:
    return [os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")]


def test_threads_inside_workers_are_limited() -> None:
    share = str(max(joblib.cpu_count() // 2, 1))
    assert Parallel()([delayed(thread_limits)()] * 2) == [[share, share]] * 2
    with joblib.parallel_config(backend="zeroipc", n_jobs=2, inner_max_num_threads=3):
        assert Parallel()([delayed(thread_limits)()] * 2) == [["3", "3"]] * 2


def remember(value: str) -> None:
    os.environ["REMEMBERED"] = value


def remembered() -> str | None:
    return os.environ.get("REMEMBERED")


def test_an_initializer_runs_in_each_worker() -> None:
    with joblib.parallel_config(
        backend="zeroipc", n_jobs=2, initializer=remember, initargs=("this",)
    ):
        found = Parallel()(delayed(remembered)() for _ in range(4))
    assert found == ["this"] * 4


def test_idle_workers_end_after_their_time() -> None:
    with joblib.parallel_config(backend="zeroipc", n_jobs=2, idle_worker_timeout=0.01):
        [pid] = set(Parallel()(delayed(os.getpid)() for _ in range(1)))
    while os.path.exists(f"/proc/{pid}"):
        multiprocessing.active_children()
        time.sleep(0.005)


SCRIPT = """
    import sys
    from joblib import Parallel, delayed, parallel_config
    import zeroipc.mp

    class Point:
        def __init__(self, x): self.x = x

    class Refusal(Exception):
        def __init__(self, a, b): super().__init__(a, b)

    def square(point): return Point(point.x ** 2)

    def refuse(x): raise Refusal(x, "no")

    with parallel_config(backend="zeroipc", n_jobs=2):
        points = Parallel()(delayed(square)(Point(i)) for i in range(9))
        assert [p.x for p in points] == [i * i for i in range(9)]
        assert {type(p) for p in points} == {Point}
        square = lambda x: x + offset
        offset = 1
        assert Parallel()(delayed(square)(i) for i in range(9)) == list(range(1, 10))
        offset = 2
        assert Parallel()(delayed(square)(i) for i in range(9)) == list(range(2, 11))
        try:
            Parallel()(delayed(refuse)(i) for i in range(1))
        except Refusal as error:
            assert error.args == (0, "no")
        else:
            raise AssertionError
    print("done")
"""


@pytest.mark.parametrize("how", ["file", "text"])
def test_a_script_needs_no_guard_and_its_classes_travel(how: str, tmp_path: Path) -> None:
    if how == "text":
        assert programs.run_python(SCRIPT).stdout == "done\n"
        return
    file = tmp_path / "script.py"
    file.write_text("import textwrap\n" + "\n".join(x[4:] for x in SCRIPT.splitlines()))
    run = f"import subprocess, sys; subprocess.run([sys.executable, {str(file)!r}], check=True)"
    assert programs.run_python(run).stdout == "done\n"


@pytest.mark.parametrize(
    "imports", ["import joblib, zeroipc.mp", "import zeroipc.mp, joblib", "import zeroipc.mp"]
)
def test_the_order_of_imports_does_not_matter(imports: str) -> None:
    programs.run_python(f"""
        {imports}
        import inspect, joblib.parallel
        assert inspect.getsource(joblib.parallel.Parallel)
        assert joblib.Parallel(2, backend="zeroipc")([joblib.delayed(abs)(-1)]) == [1]
    """)


def test_joblib_is_not_loaded_without_need() -> None:
    source = "import sys, zeroipc.mp; print('joblib' in sys.modules)"
    assert programs.run_python(source).stdout == "False\n"


def test_a_daemon_works_alone() -> None:
    programs.run_python("""
        import warnings
        import joblib
        import zeroipc.mp as multiprocessing

        def work(results):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                with joblib.parallel_config(backend="zeroipc", n_jobs=2):
                    results.put(joblib.Parallel()([joblib.delayed(abs)(-1)] * 3))
            results.put(any("daemonic" in str(w.message) for w in caught))

        context = multiprocessing.get_context("fork")
        results = context.Queue()
        process = context.Process(target=work, args=(results,), daemon=True)
        process.start()
        assert results.get() == [1, 1, 1]
        assert results.get()
        process.join()
    """)


def test_a_forked_child_makes_workers_of_its_own() -> None:
    assert Parallel()(delayed(abs)(-i) for i in range(3)) == [0, 1, 2]
    pid = os.fork()
    if pid == 0:
        try:
            same = Parallel()(delayed(abs)(-i) for i in range(3)) == [0, 1, 2]
            joblib_workers.end_idle()
            os._exit(0 if same else 1)
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0


def test_an_interrupt_ends_the_call_and_its_workers(tmp_path: Path) -> None:
    started = tmp_path / "started"

    def interrupt() -> None:
        tasks.wait_for_file(str(started))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        Parallel()(
            delayed(tasks.touch_and_wait)(str(started), str(tmp_path / "never")) for _ in range(3)
        )
    thread.join()
    assert Parallel()(delayed(abs)(-i) for i in range(3)) == [0, 1, 2]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_scikit_learn_finds_the_same_with_each_backend() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: make recipes")
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import cross_val_score

    samples, labels = make_classification(20_000, 10, random_state=0)  # above max_nbytes
    forest = RandomForestClassifier(5, max_depth=5, random_state=0)
    ours = cross_val_score(forest, samples, labels, cv=4)
    with joblib.parallel_config(backend="sequential"):
        np.testing.assert_array_equal(ours, cross_val_score(forest, samples, labels, cv=4))
