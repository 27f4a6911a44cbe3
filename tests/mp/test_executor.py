"""ProcessPoolExecutor: what goes on around it in the program that uses it."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

import zeroipc.mp
from tests.support import leaks, tasks
from tests.support.programs import run_python
from zeroipc.errors import UnpicklableError
from zeroipc.mp import executor as module
from zeroipc.mp.bell import Bell

METHODS = zeroipc.mp.get_all_start_methods()


def make(workers: int = 2, method: str = "fork", **options: Any) -> Any:
    context = zeroipc.mp.get_context(method)
    return zeroipc.mp.ProcessPoolExecutor(workers, mp_context=context, **options)


@pytest.fixture
def pool() -> Iterator[Any]:
    with make() as made:
        yield made


# --- Threads and re-entry --------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_many_threads_submit_and_wait(method: str) -> None:
    """Each gets its own results, by whatever thread they are collected."""
    wrong: list[Any] = []

    def run(thread: int) -> None:
        for number in range(100):
            futures = [executor.submit(tasks.echo, (thread, number, part)) for part in range(3)]
            got = [future.result() for future in futures]
            if got != [(thread, number, part) for part in range(3)]:
                wrong.append(got)

    with make(method=method) as executor:
        threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_one_thread_waits_while_another_collects(pool: Any, gate: Path) -> None:
    """The role passes on when its holder has what it wants."""
    slow = pool.submit(tasks.wait_for_file, str(gate))
    got: list[Any] = []
    waiting = threading.Thread(target=lambda: got.append(slow.result()))
    waiting.start()
    for number in range(50):
        assert pool.submit(tasks.echo, number).result() == number
    gate.touch()
    waiting.join()
    assert got == [str(gate)]


def test_several_threads_wait_for_one_future(pool: Any, gate: Path) -> None:
    future = pool.submit(tasks.wait_for_file, str(gate))
    got: list[Any] = []
    threads = [threading.Thread(target=lambda: got.append(future.result())) for _ in range(5)]
    for thread in threads:
        thread.start()
    gate.touch()
    for thread in threads:
        thread.join()
    assert got == [str(gate)] * 5


def test_callbacks_run_in_the_managers_thread_and_may_use_the_executor(pool: Any) -> None:
    told: list[Any] = []
    done = threading.Event()

    def later(future: Future[int]) -> None:
        told.append((future.result(), threading.current_thread().name))
        if len(told) < 3:
            pool.submit(tasks.echo, len(told)).add_done_callback(later)
        else:
            done.set()

    def first(future: Future[int]) -> None:
        assert pool.submit(tasks.echo, 7).result() == 7  # another's result, from a callback
        later(future)

    future = pool.submit(tasks.echo, 0)
    future.add_done_callback(first)
    future.result()
    done.wait()
    # A callback that is added to a future that is done runs at once, where it is added.
    assert [value for value, _ in told] == [0, 1, 2]
    assert {name for _, name in told} <= {"zeroipc-manager", threading.current_thread().name}


def test_a_callback_that_raises_stops_nothing(
    pool: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    for number, error in enumerate((ValueError("v"), SystemExit(3))):
        told = threading.Event()

        def callback(_: object, error: BaseException = error, told: Any = told) -> None:
            told.set()
            raise error

        gate = tmp_path / str(number)  # one that is added to a future that is done runs at once
        future = pool.submit(tasks.wait_for_file, str(gate))
        future.add_done_callback(callback)
        gate.touch()
        told.wait()
        assert future.result() == str(gate)
        assert pool.submit(tasks.echo, 1).result() == 1
    pool.shutdown()
    assert len(caplog.records) == 2


def test_shutdown_in_a_callback_ends_the_executor() -> None:
    pool = make()
    future = pool.submit(tasks.echo, 1)
    future.add_done_callback(lambda _: pool.shutdown(wait=False))
    pool._executor_manager_thread.join()
    assert future.result() == 1
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(tasks.echo, 2)


class Submitting:
    """Submits a task while it is being pickled."""

    def __init__(self, pool: Any, made: list[Any]) -> None:
        self.pool = pool
        self.made = made

    def __reduce__(self) -> Any:
        self.made.append(self.pool.submit(tasks.echo, "inner"))
        return tasks.echo, ("outer",)


@pytest.mark.parametrize("method", METHODS)
def test_an_argument_that_submits_while_it_is_pickled(method: str) -> None:
    made: list[Any] = []
    with make(method=method) as pool:
        future = pool.submit(tasks.echo, Submitting(pool, made))
        assert future.result() == "outer"
        assert [future.result() for future in made] == ["inner"]


def test_initial_arguments_that_submit_while_a_worker_is_started() -> None:
    made: list[Any] = []
    pool = make(2, "spawn", initializer=tasks.echo, initargs=())
    pool._engine.crew._start = _with_argument(pool._engine.crew._start, Submitting(pool, made))
    with pool:
        futures = [pool.submit(tasks.echo, number) for number in range(5)]
        assert [future.result() for future in futures] == list(range(5))
        assert len(pool._processes) == 2
        assert [future.result() for future in made] == ["inner"] * len(made)
        assert made


def _with_argument(start: Callable[..., Any], argument: Any) -> Callable[..., Any]:
    def begin(*args: Any) -> Any:
        told = start(*args)
        told.initargs = (argument,)
        return told

    return begin


# Signals run in a program of their own: pytest-timeout has the alarm here.
ALARMS = """
    import signal, sys, time, zeroipc.mp
    from tests.support import tasks

    class Alarm(Exception if "Exception" in sys.argv else BaseException):
        pass

    def set_alarm(seconds, handler=None):
        if handler:
            signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def raise_alarm(*_):
        if armed:
            raise Alarm

    context = zeroipc.mp.get_context("fork")
    pool = zeroipc.mp.ProcessPoolExecutor(2, mp_context=context)
    armed = False
"""


def test_signal_handlers_that_submit() -> None:
    run_python(
        ALARMS
        + """
    made = []
    def submit(*_):
        made.append(pool.submit(tasks.echo, 1))
        set_alarm(0.0005)
    set_alarm(0.001, submit)
    for number in range(3000):
        assert pool.submit(tasks.echo, number).result() == number
    set_alarm(0, signal.SIG_IGN)  # also one whose handler is about to set the next
    assert made
    assert [future.result() for future in made] == [1] * len(made)
    pool.shutdown()
    """
    )


@pytest.mark.parametrize("kind", ["BaseException", "Exception"])
@pytest.mark.parametrize(
    ("what", "lost"),
    [
        ("tasks.echo, number", False),
        ("tasks.echo, [number] * 3000", False),
        ("tasks.make_unpickling, tasks.echo, number", True),
    ],
)
def test_signal_handlers_that_raise_lose_nothing_silently(what: str, lost: bool, kind: str) -> None:
    """Only where unpickling runs Python code, a result can be lost; its future then says so.

    In the pure backend it always does.
    """
    lost = lost or zeroipc.backend == "pure"
    found = run_python(
        ALARMS
        + f"""
    futures, hits = [], 0
    signal.signal(signal.SIGALRM, raise_alarm)
    pool.submit(tasks.echo, 1).result()
    for number in range(5000):
        try:
            armed = True
            set_alarm(1e-6 * (1 + number % 150))
            future = None
            future = pool.submit({what})
            futures.append((number, future))
            future.result()
            future.done()
            future.cancel()
            armed = False
        except Alarm:
            armed = False
            hits += 1
    set_alarm(0)
    pool.shutdown()
    errors = [future.exception() for number, future in futures]
    assert pool._broken is None, pool._broken
    assert hits > 100, hits
    for error in errors:
        assert error is None or "a signal handler raised an exception" in str(error), error
    assert {lost} or not any(errors)
    """,
        kind,
    )
    assert found.stderr == "" or zeroipc.backend == "pure"  # where finalizers are Python as well


def test_signal_handlers_that_raise_while_workers_are_started() -> None:
    """No worker is left that nobody ends, and the executor can be used."""
    run_python(
        ALARMS
        + """
    import multiprocessing
    signal.signal(signal.SIGALRM, raise_alarm)
    pool.submit(tasks.echo, 1).result()
    pool.shutdown()
    hits = 0
    for number in range(100):
        pool = zeroipc.mp.ProcessPoolExecutor(2, mp_context=context)
        try:
            armed = True
            set_alarm(1e-6 * (1 + number * 50))
            pool.submit(tasks.echo, number).result()
            armed = False
        except Alarm:
            armed = False
            hits += 1
        set_alarm(0)
        assert pool.submit(tasks.echo, number).result() == number
        pool.shutdown()
        assert multiprocessing.active_children() == []
    assert hits > 10, hits
    """
    )


def test_signal_handlers_that_submit_while_workers_are_started() -> None:
    run_python(
        ALARMS
        + """
    made = []
    def submit(*_):
        if armed:
            made.append(pool.submit(tasks.echo, 1))
    signal.signal(signal.SIGALRM, submit)
    for number in range(100):
        pool = zeroipc.mp.ProcessPoolExecutor(2, mp_context=context)
        armed = True
        set_alarm(1e-6 * (1 + number * 50))
        assert pool.submit(tasks.echo, number).result() == number
        assert len(pool._processes) == 2
        armed = False  # an alarm that the kernel gave to another thread comes after its time
        pool.shutdown()
    assert [future.result() for future in made] == [1] * len(made)
    assert len(made) > 10, len(made)
    """
    )


@pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="nothing is loaded early there: see prepare_for_interrupts"
)
def test_ctrl_c_in_the_first_call_ends_the_program_by_its_signal() -> None:
    ended = run_python(
        """
        import os, signal, sys, threading, time, zeroipc.mp
        NAME = "concurrent.futures.process"
        def interrupt():
            while NAME not in sys.modules or sys.modules[NAME].__spec__._initializing:
                time.sleep(0.01)
            os.killpg(0, signal.SIGINT)
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        pool = zeroipc.mp.ProcessPoolExecutor(2, mp_context=zeroipc.mp.get_context("fork"))
        future = pool.submit(time.sleep, 1000)
        threading.Thread(target=interrupt).start()
        future.result()
        """,
        check=False,
    )
    assert ended.returncode == -signal.SIGINT
    assert ended.stderr.count("Traceback") == 1


def test_garbage_is_collected_at_every_step() -> None:
    old = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(3):
            cycle: list[Any] = [make()]
            cycle.append(cycle)
            assert list(cycle[0].map(tasks.echo, range(20))) == list(range(20))
            threads = [cycle[0]._executor_manager_thread]
            del cycle
            gc.collect()
            for thread in threads:
                thread.join()
    finally:
        gc.set_threshold(*old)


# --- The end ---------------------------------------------------------------------------


def test_an_executor_that_is_dropped_finishes_its_work(tmp_path: Path) -> None:
    pool = make()
    path = tmp_path / "lines"
    futures = [pool.submit(tasks.append_line, str(path), number) for number in range(20)]
    thread = pool._executor_manager_thread
    del pool
    thread.join()
    assert len(path.read_text().split()) == 20
    assert all(future.done() for future in futures)


def test_an_executor_without_work_starts_nothing() -> None:
    files, threads = leaks.descriptors(), leaks.threads()
    with make(), make(method="spawn"):
        pass
    del_later = make()
    assert not leaks.left(leaks.descriptors, files)
    assert not leaks.left(leaks.threads, threads)
    del_later.shutdown()


def test_shutdown_without_waiting_finishes_the_work(gate: Path) -> None:
    pool = make()
    futures = [pool.submit(tasks.wait_for_file, str(gate)) for _ in range(4)]
    pool.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit(tasks.echo, 1)
    assert not futures[0].done()
    gate.touch()
    assert [future.result() for future in futures] == [str(gate)] * 4
    pool.shutdown()


def test_shutdown_cancels_what_no_worker_has(gate: Path, tmp_path: Path) -> None:
    pool = make()
    ran = tmp_path / "ran"
    first = [
        pool.submit(tasks.touch_and_wait, str(tmp_path / str(number)), str(gate))
        for number in range(2)
    ]
    for number in range(2):
        tasks.wait_for_file(str(tmp_path / str(number)))
    rest = [pool.submit(tasks.append_line, str(ran), number) for number in range(500)]
    pool.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in rest)
    gate.touch()
    pool.shutdown()
    assert [future.result() for future in first] == [str(gate)] * 2
    assert not ran.exists()


@pytest.mark.parametrize("method", METHODS)
def test_the_end_of_the_program_finishes_the_work(method: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import atexit, time, zeroipc.mp\n"
        "from tests.support import tasks\n"
        "def late():\n"
        "    try:\n"
        "        pool.submit(tasks.echo, 1)\n"
        "    except RuntimeError as error:\n"
        "        print(error)\n"
        "if __name__ == '__main__':\n"
        f"    context = zeroipc.mp.get_context({method!r})\n"
        "    pool = zeroipc.mp.ProcessPoolExecutor(2, mp_context=context)\n"
        "    atexit.register(late)\n"
        f"    path = {str(tmp_path / 'lines')!r}\n"
        "    [pool.submit(tasks.append_line, path, number) for number in range(50)]\n"
    )
    found = run_python(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')")
    assert found.stdout == "cannot schedule new futures after interpreter shutdown\n"
    assert found.stderr == ""
    assert len((tmp_path / "lines").read_text().split()) == 50


def test_submitting_for_the_first_time_when_the_program_ends() -> None:
    found = run_python("""
        import atexit, zeroipc.mp
        pool = zeroipc.mp.ProcessPoolExecutor(1)
        other = zeroipc.mp.ProcessPoolExecutor(1)
        other.submit(abs, -1).result()
        def late():
            try:
                pool.submit(abs, -1)
            except RuntimeError as error:
                print(error)
        atexit.register(late)
    """)
    assert found.stdout == "cannot schedule new futures after interpreter shutdown\n"
    assert found.stderr == ""


# --- Forks -----------------------------------------------------------------------------


def test_a_forked_child_is_told_that_the_executor_is_not_its_own(pool: Any, gate: Path) -> None:
    context = get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    future = pool.submit(tasks.wait_for_file, str(gate))
    called: list[Any] = []
    future.add_done_callback(called.append)

    def child() -> None:
        told = [str(future.exception()), future.done(), future.cancel(), list(called)]
        try:
            pool.submit(tasks.echo, 1)
        except BrokenExecutor as error:
            told.append(str(error))
        pool.shutdown()
        with make() as own:
            told.append(own.submit(tasks.echo, 5).result())
        sending.send(told)

    process = context.Process(target=child)
    process.start()
    text = f"this executor belongs to process {os.getpid()}, which forked this one: make another"
    assert receiving.recv() == [text, True, False, [], text, 5]
    process.join()
    gate.touch()
    assert future.result() == str(gate)
    receiving.close()
    sending.close()


def test_forks_while_tasks_are_in_flight(pool: Any) -> None:
    context = get_context("fork")
    stop = threading.Event()
    wrong: list[Any] = []

    def run() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            if pool.submit(tasks.echo, number).result() != number:
                wrong.append(number)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        process = context.Process(target=tasks.echo, args=(1,))
        process.start()
        process.join()
        assert process.exitcode == 0
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_fork_while_a_bell_is_being_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child does not close the descriptor again, which may be somebody else's by then."""
    bell = Bell()
    bell.hang()
    close, closed = os.close, []

    def close_and_fork(fd: int) -> None:
        close(fd)
        closed.append(fd)
        bell.disown()  # as the child does

    monkeypatch.setattr(os, "close", close_and_fork)
    bell.close()
    assert len(closed) == 1


def nested(method: str, number: int) -> list[int]:
    with make(2, method) as pool:
        return list(pool.map(tasks.echo, range(number)))


@pytest.mark.parametrize("method", METHODS)
def test_workers_may_have_executors(method: str) -> None:
    with make(2, method) as pool:
        results = [pool.submit(tasks_nested, method, number) for number in range(4)]
        assert [future.result() for future in results] == [list(range(n)) for n in range(4)]


def tasks_nested(method: str, number: int) -> list[int]:
    return nested(method, number)


# --- Limits ----------------------------------------------------------------------------


def test_too_many_workers() -> None:
    with pytest.raises(ValueError, match="max_workers must be <= 1023: max_workers=1024"):
        make(1024)
    assert module.WORKERS_MAX == 1023


def test_workers_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is the caller's; nothing stays behind, and it can be tried again."""
    pool = make(3)
    calls = itertools.count()
    begin = pool._engine.crew._begin

    def fail_at_the_second() -> None:
        if next(calls) == 1:
            raise BlockingIOError("no more processes")
        begin()

    monkeypatch.setattr(pool._engine.crew, "_begin", fail_at_the_second)
    before = leaks.threads()
    with pytest.raises(BlockingIOError, match="no more"):
        pool.submit(tasks.echo, 1)
    assert not leaks.left(leaks.threads, before)
    assert pool.submit(tasks.echo, 2).result() == 2
    pool.shutdown()


@pytest.mark.parametrize("method", [method for method in METHODS if method != "fork"])
def test_workers_are_replaced_after_their_tasks(method: str) -> None:
    with make(2, method, max_tasks_per_child=3) as pool:
        pids = list(pool.map(tasks.pid, range(20)))
    assert max(map(pids.count, pids)) <= 3
    assert len(set(pids)) >= 7


def test_the_standard_librarys_contexts() -> None:
    for method in METHODS:
        with zeroipc.mp.ProcessPoolExecutor(2, mp_context=get_context(method)) as pool:
            assert list(pool.map(tasks.echo, range(5))) == list(range(5))


# --- map -------------------------------------------------------------------------------


def test_a_buffered_map_reads_an_endless_input_as_it_is_asked(pool: Any) -> None:
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for number in itertools.count():
            read.append(number)
            yield number

    results = pool.map(tasks.echo, numbers(), buffersize=3)
    assert read == [0, 1, 2]
    assert [next(results) for _ in range(10)] == list(range(10))
    assert len(read) == 13
    results.close()


@pytest.mark.parametrize("chunksize", [1, 2])
def test_closing_a_map_cancels_the_rest(
    pool: Any, gate: Path, tmp_path: Path, chunksize: int
) -> None:
    ran = tmp_path / "ran"

    def run(number: int) -> int:
        tasks.append_line(str(ran), number)
        if number >= chunksize:
            tasks.wait_for_file(str(gate))
        return number

    results = pool.map(run, range(400), chunksize=chunksize)
    assert next(results) == 0
    results.close()
    gate.touch()
    pool.shutdown()
    # The first, what the two workers had then, and what one took before it was cancelled.
    assert len(ran.read_text().split()) <= 4 * chunksize


def test_map_times_out(pool: Any, gate: Path) -> None:
    results = pool.map(tasks.wait_for_file, [str(gate)] * 3, timeout=0.05)
    with pytest.raises(TimeoutError):
        next(results)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"chunksize": 0}, ValueError),
        ({"buffersize": 0}, ValueError),
        ({"buffersize": 1.5}, TypeError),
    ],
)
def test_map_refuses(pool: Any, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(options))):
        pool.map(tasks.echo, [1], **options)


# --- Errors of arguments and results ---------------------------------------------------


def test_an_argument_that_cannot_be_pickled(pool: Any) -> None:
    lock = threading.Lock()
    future = pool.submit(tasks.echo, {"deep": [1, lock]})
    with pytest.raises(UnpicklableError, match=r"cannot pickle args\[0\]\['deep'\]\[1\], a lock: "):
        future.result()
    future = pool.submit(tasks.echo, value=lock)
    with pytest.raises(UnpicklableError, match=r"cannot pickle kwargs\['value'\], a lock: "):
        future.result()
    with pytest.raises(ZeroDivisionError):
        pool.submit(tasks.echo, tasks.Pickling(lambda: 1 / 0)).result()
    assert pool.submit(tasks.echo, 1).result() == 1


def make_lock() -> Any:
    return threading.Lock()


class StubbornError(Exception):
    """Cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("stubborn")


def raise_stubborn() -> None:
    raise StubbornError("the reason")


def test_an_outcome_that_cannot_be_pickled(pool: Any) -> None:
    with pytest.raises(UnpicklableError, match="a lock"):
        pool.submit(make_lock).result()
    with pytest.raises(UnpicklableError, match="stubborn") as caught:
        pool.submit(raise_stubborn).result()
    assert "the reason" in "".join(caught.value.__notes__)
    assert pool.submit(tasks.echo, 1).result() == 1


def test_the_workers_traceback_is_the_cause(pool: Any) -> None:
    with pytest.raises(ValueError, match="told") as caught:
        pool.submit(tasks.fail, "told").result()
    assert "in fail" in str(caught.value.__cause__)


def test_wait_sees_cancelled_tasks(pool: Any, gate: Path) -> None:
    futures = [pool.submit(tasks.wait_for_file, str(gate)) for _ in range(400)]
    cancelled = {future for future in futures if future.cancel()}
    assert len(cancelled) >= 398
    done, _ = wait(cancelled)
    assert done == cancelled


def test_a_worker_that_cannot_be_replaced_breaks_the_executor(
    gate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OSError("no more processes")

    with make(1, "spawn", max_tasks_per_child=1) as pool:
        futures = [pool.submit(tasks.wait_for_file, str(gate)), pool.submit(tasks.echo, 1)]
        while not futures[0].running():
            pass
        monkeypatch.setattr(pool._engine.crew, "_begin", refuse)
        gate.touch()
        assert futures[0].result() == str(gate)
        with pytest.raises(BrokenProcessPool) as caught:
            futures[1].result()
    assert "no more processes" in str(caught.value.__cause__)


KEPT: list[Any] = []


def leave_open(number: int) -> None:
    KEPT.append(zeroipc.mp.ProcessPoolExecutor(2))
    assert KEPT[0].submit(abs, -number).result() == number


@pytest.mark.parametrize("method", METHODS)
def test_a_child_that_leaves_an_executor_open_ends(method: str) -> None:
    child = zeroipc.mp.get_context(method).Process(target=leave_open, args=(7,))
    child.start()
    child.join()
    assert child.exitcode == 0
