"""Functions: calls in, values, errors and futures out, in the process that owns the workers."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, as_completed
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zeroipc.mp
from tests.support import tasks
from tests.support.leaks import children
from tests.support.programs import run_python
from zeroipc.errors import ClosedError, UnpicklableError
from zeroipc.mp import cpus

METHODS = zeroipc.mp.get_all_start_methods()
Make = Callable[..., Any]


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def make() -> Iterator[Make]:
    """Return a function that makes a `Function`, which is closed after the test."""
    made: list[Any] = []

    def make(call: Any, method: str = "fork", workers: int = 2, **options: Any) -> Any:
        context = zeroipc.mp.get_context(method)
        made.append(zeroipc.mp.Function(call, workers=workers, mp_context=context, **options))
        return made[-1]

    yield make
    for function in made:
        function.close()


def power(base: int, *, exponent: int = 2) -> int:
    """Raise a number."""
    return int(base**exponent)


class Wide:
    """A class whose names are those of a `Function`'s methods, and one that is not."""

    _record = close = map = submit = start = unit = 1

    def __init__(self, size: int) -> None:
        self.size = size


class Counter:
    """An object with a state: each worker has its own."""

    def __init__(self, start: int) -> None:
        self.count = start

    def __call__(self) -> int:
        self.count += 1
        return self.count


# --- Calls ----------------------------------------------------------------------------------


def test_values_futures_and_maps(make: Make, method: str) -> None:
    raised = make(power, method)
    assert raised(3) == 9
    assert raised(2, exponent=10) == 1024
    futures = [raised.submit(number) for number in range(20)]
    assert sorted(future.result() for future in as_completed(futures)) == [n * n for n in range(20)]
    assert list(raised.map(range(50))) == [n * n for n in range(50)]
    assert list(raised.map(range(50), chunksize=7)) == [n * n for n in range(50)]
    assert list(raised.map(range(50), buffersize=3)) == [n * n for n in range(50)]


def test_calls_run_in_workers_that_stay(make: Make) -> None:
    pids = set(make(tasks.pid).map(range(100)))
    assert os.getpid() not in pids
    assert len(pids) <= 2


def test_map_with_several_arguments() -> None:
    with zeroipc.mp.Function(pow, workers=1) as raised:
        assert list(raised.map([1, 2, 3], [3, 3], chunksize=2)) == [1, 8]
        for wrong in ({"chunksize": 0}, {"buffersize": 0}):
            with pytest.raises(ValueError, match="size must be"):
                raised.map([1], [1], **wrong)


def test_error_comes_with_its_traceback(make: Make, method: str) -> None:
    fail = make(tasks.fail, method, workers=1)
    for ask in (fail, lambda text: fail.submit(text).result(), lambda text: next(fail.map([text]))):
        with pytest.raises(ValueError, match="as told") as caught:
            ask("as told")
        assert "in fail" in str(caught.value.__cause__)


def test_what_can_be_called(make: Make, method: str) -> None:
    three = 3
    calls = (lambda x: 3 + x, lambda x: three + x, three.__add__, partial(max, 7))
    for call in calls:
        assert make(call, method, workers=1)(4) == 7


def test_object_keeps_its_state_in_the_worker(make: Make, method: str) -> None:
    count = make(Counter(10), method, workers=1)
    assert [count() for _ in range(3)] == [11, 12, 13]


def test_arrays_there_and_back(make: Make) -> None:
    array = np.arange(1 << 17, dtype=float)
    echo = make(tasks.echo)
    for _ in range(3):
        back = echo(array)
        assert np.array_equal(back, array)
        back[0] = 1  # it is writable


def test_unpicklable_argument_fails_the_call(make: Make) -> None:
    echo = make(tasks.echo)
    with pytest.raises(UnpicklableError, match=r"args\[0\]\['lock'\]"):
        echo({"lock": threading.Lock()})
    assert echo(1) == 1


def test_what_is_called_hides_no_method(make: Make) -> None:
    wide = make(Wide)
    assert [each.size for each in wide.map([1, 2])] == [1, 2]
    assert wide.submit(3).result().size == 3
    assert wide.unit == 1
    wide.close()


def test_as_many_workers_as_the_control_group_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "cgroup_cpus", lambda: 1.0)
    with zeroipc.mp.Function(abs) as function:
        assert "1 workers" in repr(function)


def test_unpicklable_callable_fails_the_call() -> None:
    lock = threading.Lock()
    context = zeroipc.mp.get_context("spawn")
    function = zeroipc.mp.Function(lambda: lock, workers=1, mp_context=context)
    with pytest.raises(UnpicklableError):
        function()
    assert "not started" in repr(function)


def test_many_threads_call() -> None:
    wrong: list[Any] = []

    def run(thread: int) -> None:
        for number in range(100):
            got = echo((thread, number))
            if got != (thread, number):
                wrong.append(got)

    with zeroipc.mp.Function(tasks.echo, workers=2) as echo:
        threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_timeout_takes_the_call_back(gate: Path) -> None:
    with zeroipc.mp.Function(tasks.wait_for_file, workers=1, timeout=0.05) as wait:
        first = wait.submit(str(gate))
        with pytest.raises(TimeoutError):
            wait("a file that never comes")  # it is queued behind the first one
        gate.touch()
        assert first.result() == str(gate)
        assert wait.submit(str(gate)).result() == str(gate)


# --- asyncio --------------------------------------------------------------------------------


def test_coroutines_await_calls(make: Make) -> None:
    echo, fail = make(tasks.echo), make(tasks.fail)

    async def main() -> None:
        assert await echo.acall("value") == "value"
        assert await echo.submit("value") == "value"
        before = set(threading.enumerate())
        got = await asyncio.gather(*(echo.acall(number) for number in range(200)))
        assert got == list(range(200))
        more = {thread.name for thread in set(threading.enumerate()) - before}
        assert more <= {"zeroipc-trim"}  # which the pure backend starts when memory was freed
        with pytest.raises(ValueError, match="as told"):
            await fail.acall("as told")

    asyncio.run(main())


def test_cancelled_coroutine_takes_its_call_back(gate: Path) -> None:
    async def main(wait: Any) -> None:
        first = asyncio.create_task(wait.acall(str(gate)))
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await wait.acall("a file that never comes")
        gate.touch()
        assert await first == str(gate)

    with zeroipc.mp.Function(tasks.wait_for_file, workers=1) as wait:
        asyncio.run(main(wait))


# --- What a function looks like ---------------------------------------------------------------


def test_it_looks_like_what_it_calls() -> None:
    function: Any = zeroipc.mp.function(workers=3)(power)
    assert (function.__name__, function.__doc__, function.__module__) == (
        "power",
        "Raise a number.",
        __name__,
    )
    assert function.__wrapped__ is power
    assert inspect.signature(function) == inspect.signature(power)
    assert repr(function) == "<Function power: not started>"
    with function:
        assert repr(function) == "<Function power: 3 workers>"
    assert repr(function) == "<Function power: closed>"
    assert "<Function functools.partial(" in repr(zeroipc.mp.Function(partial(power, 2)))


@pytest.mark.parametrize(
    ("error", "wrong"),
    [
        (TypeError, {"call": 3}),
        (TypeError, {"workers": "3"}),
        (ValueError, {"workers": 0}),
        (ValueError, {"workers": 10**6}),
    ],
)
def test_arguments_are_checked(error: type[Exception], wrong: dict[str, Any]) -> None:
    with pytest.raises(error):
        zeroipc.mp.Function(wrong.pop("call", power), **wrong)


# --- Beginning and end ------------------------------------------------------------------------


def test_workers_start_with_the_first_call(make: Make) -> None:
    before = children()
    function = make(tasks.echo)
    assert children() <= before
    assert function(1) == 1
    assert children() - before
    function.close()


def test_decorating_settles_no_start_method() -> None:
    program = """
    import zeroipc.mp

    @zeroipc.mp.function
    def f(x): return x + 1

    zeroipc.mp.set_start_method("fork")
    print(f(1))
    """
    assert run_python(program).stdout == "2\n"


def test_closed_function_takes_no_calls(make: Make) -> None:
    echo = make(tasks.echo)
    started = [echo.submit(number) for number in range(20)]
    echo.close()
    assert [future.result() for future in started] == list(range(20))
    for call in (echo, echo.submit, echo.map):
        with pytest.raises(ClosedError, match="closed"):
            call([1])
    echo.close()


def test_cancelled_future_says_so(gate: Path) -> None:
    with zeroipc.mp.Function(tasks.wait_for_file, workers=1) as wait:
        first, second = wait.submit(str(gate)), wait.submit(str(gate))
        assert second.cancel()
        gate.touch()
        first.result()
        with pytest.raises(CancelledError):
            second.result()


def test_workers_end_with_the_object() -> None:
    function = zeroipc.mp.Function(tasks.echo, workers=1)
    function(1)
    engine: Any = function._engine
    del function
    gc.collect()
    engine.thread.join()
    assert not any(process.is_alive() for process in engine.crew.processes.values())


# --- Decorated, in a program of its own ----------------------------------------------------------

PROGRAM = """
import os, sys
import zeroipc.mp as mp

@mp.function(workers=1)
def factorial(n):
    return 1 if n < 2 else n * factorial(n - 1)

@mp.function(workers=1)
def is_even(n):
    return [os.getpid()] + (is_odd(n - 1) if n else [])

@mp.function(workers=1)
def is_odd(n):
    return [os.getpid()] + (is_even(n - 1) if n else [])

@mp.function(workers=1)
def inner_results(n):
    with mp.Function(abs, workers=1) as started:
        return mp.Function(abs)(n), list(mp.Function(abs).map([n], chunksize=2)), started(n)

def child():
    print(factorial(3), flush=True)

if __name__ == "__main__":
    mp.set_start_method(sys.argv[1])
    print(factorial(5), factorial.submit(4).result(), list(factorial.map([1, 2, 3], chunksize=2)))
    for call in (is_even, is_odd, is_even):
        pids = call(4)
        print(len(pids), len(set(pids)), os.getpid() in pids)
    print(inner_results(-7), flush=True)
    process = mp.Process(target=child)
    process.start()
    process.join()
    print(process.exitcode)
"""


def test_decorated_functions_of_a_script(method: str, tmp_path: Path) -> None:
    """Their workers import the script anew, and call what is decorated there; it ends by itself."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    program = (
        f"import os, sys; os.execv(sys.executable, [sys.executable, {str(script)!r}, sys.argv[1]])"
    )
    assert run_python(program, method).stdout.splitlines() == [
        "120 24 [1, 2, 6]",
        *["5 1 False"] * 3,
        "(7, [7], 7)",
        "6",
        "0",
    ]


def test_decorated_functions_of_an_interactive_session(method: str) -> None:
    program = """
    import sys
    import zeroipc.mp as mp
    mp.set_start_method(sys.argv[1])

    @mp.function(workers=1)
    def factorial(n):
        return 1 if n < 2 else n * factorial(n - 1)

    print(factorial(5))
    """
    assert run_python(program, method).stdout == "120\n"


INTERRUPTED = """
import sys, time
import zeroipc.mp as mp

def slow():
    print("running", flush=True)
    time.sleep(1000)

mp.Function(slow, workers=2, mp_context=mp.get_context("fork"))()
"""


def test_ctrl_c_in_the_first_call_ends_the_program() -> None:
    """By the signal, as it should, and without a word from the workers."""
    command = [sys.executable, "-c", INTERRUPTED]
    with subprocess.Popen(
        command, stdout=-1, stderr=-1, text=True, start_new_session=True
    ) as program:
        assert program.stdout
        assert program.stdout.readline() == "running\n"
        os.killpg(program.pid, signal.SIGINT)
        _, errors = program.communicate()
    assert program.returncode == -signal.SIGINT
    assert errors.count("Traceback") == 1
