"""Callables on their way to a worker: which ones travel, how often, and where from."""

from __future__ import annotations

import functools
import math
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import zeroipc.mp
from tests.support import tasks
from tests.support.programs import ROOT, TIMEOUT
from zeroipc.errors import UnpicklableError
from zeroipc.mp.calls import Packer, unpack

METHODS = zeroipc.mp.get_all_start_methods()


@pytest.fixture(params=METHODS)
def pool(request: pytest.FixtureRequest) -> Iterator[Any]:
    context = zeroipc.mp.get_context(request.param)
    with zeroipc.mp.ProcessPoolExecutor(1, mp_context=context) as made:
        yield made


def make_adder(step: int) -> Callable[[int], int]:
    return lambda number: number + step


def double(function: Callable[..., int]) -> Callable[..., int]:
    @functools.wraps(function)
    def doubled(*args: int) -> int:
        return 2 * function(*args)

    return doubled


def test_callables_that_pickle_names(pool: Any) -> None:
    assert pool.submit(tasks.echo, 1).result() == 1
    assert pool.submit(abs, -1).result() == 1
    assert pool.submit(math.hypot, 3, 4).result() == 5
    assert pool.submit(complex, 1, imag=2).result() == 1 + 2j
    assert pool.submit("a-b".split, "-").result() == ["a", "b"]
    assert pool.submit(functools.partial(max, 3), 2).result() == 3
    assert pool.submit(dict.fromkeys, "ab").result() == {"a": None, "b": None}


def test_callables_that_pickle_refuses(pool: Any) -> None:
    class Scale:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        def __call__(self, number: int) -> int:
            return self.factor * number

        def method(self, number: int) -> int:
            return self(number) + 1

        @classmethod
        def make(cls, number: int) -> int:
            return cls(number)(2)

    assert pool.submit(lambda number: number + 1, 1).result() == 2
    assert pool.submit(make_adder(5), 1).result() == 6
    assert pool.submit(functools.partial(make_adder(5), 2)).result() == 7
    assert pool.submit(Scale(3), 2).result() == 6
    assert pool.submit(Scale(3).method, 2).result() == 7
    assert pool.submit(Scale.make, 2).result() == 4
    assert pool.submit(double(lambda number: number), 4).result() == 8
    for chunksize in (1, 3):
        numbers = range(10)
        assert list(pool.map(lambda n: n * n, numbers, chunksize=chunksize)) == [
            n * n for n in numbers
        ]


def test_a_changed_closure_is_sent_anew(pool: Any) -> None:
    number = 0

    def current() -> int:
        return number

    for number in range(5):
        assert pool.submit(current).result() == number


def test_initializers(tmp_path: Path) -> None:
    for method in METHODS:
        path = tmp_path / method
        with zeroipc.mp.ProcessPoolExecutor(
            1,
            mp_context=zeroipc.mp.get_context(method),
            initializer=lambda name: Path(name).write_text("here"),
            initargs=(str(path),),
        ) as pool:
            pool.submit(tasks.echo, 1).result()
        assert path.read_text() == "here"


class Counting(type):
    """Counts how often its classes are pickled."""

    pickled = 0


def test_what_pickle_names_is_pickled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import copyreg

    def reduce(cls: Any) -> str:
        Counting.pickled += 1
        return str(cls.__qualname__)

    copyreg.pickle(Counting, reduce)
    try:
        for made in (Counted, other_counted):
            Counting.pickled = 0
            packer = Packer(by_value=False)
            packed = [packer.pack(made) for _ in range(5)]
            assert packed == [packed[0]] * 5
            assert isinstance(packed[0], bytes)
            assert unpack(packed[0]) is unpack(packed[1]) is made
        assert Counting.pickled <= 1
    finally:
        copyreg.dispatch_table.pop(Counting)


class Counted(metaclass=Counting):
    """A callable that pickle names."""


def other_counted() -> None:
    """Another."""


def test_packers_do_not_mix_up_what_threads_pack() -> None:
    packer = Packer(by_value=False)
    wrong: list[Any] = []

    def run(function: Any) -> None:
        found = (unpack(packer.pack(function)) for _ in range(3000))
        wrong.extend(other for other in found if other is not function)

    threads = [
        threading.Thread(target=run, args=(function,)) for function in (abs, max, tasks.echo, len)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_callable_that_nothing_can_pickle(pool: Any) -> None:
    lock = threading.Lock()
    with pytest.raises(UnpicklableError, match=r"cannot pickle the callable .*lambda.*lock"):
        pool.submit(lambda: lock).result()
    with pytest.raises(UnpicklableError, match="cannot pickle the callable"):
        pool.map(lambda number: lock, range(3), chunksize=2)
    assert pool.submit(tasks.echo, 1).result() == 1


def test_a_name_that_workers_do_not_have(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The future fails, and not the executor."""
    pool.submit(tasks.echo, 1).result()

    def late() -> None:
        pass

    late.__qualname__ = late.__name__ = "late"
    late.__module__ = tasks.__name__
    monkeypatch.setattr(tasks, "late", late, raising=False)
    with pytest.raises(AttributeError, match="late"):
        pool.submit(late).result()
    assert pool.submit(tasks.echo, 1).result() == 1


# --- __main__ --------------------------------------------------------------------------

DEFINITIONS = """
import functools, sys
import zeroipc.mp as mp

def add(a, b=1):
    return a + b

def doubled(function):
    @functools.wraps(function)
    def run(*args):
        return 2 * function(*args)
    return run

@doubled
def decorated(a):
    return a

class Scale:
    def __init__(self, factor):
        self.factor = factor
    def __call__(self, number):
        return self.factor * number
    def method(self, number):
        return self(number) + 1

"""
USE = """
context = mp.get_context(METHOD)
with mp.ProcessPoolExecutor(2, mp_context=context) as pool:
    found = [
        pool.submit(add, 1).result(),
        pool.submit(decorated, 2).result(),
        pool.submit(Scale(3), 4).result(),
        pool.submit(Scale(3).method, 4).result(),
        pool.submit(functools.partial(add, b=5), 1).result(),
        list(pool.map(add, range(4), chunksize=2)),
        list(pool.map(lambda n: add(n), range(2))),
    ]
print(found, flush=True)
"""
FOUND = "[2, 4, 12, 13, 6, [1, 2, 3, 4], [1, 2]]\n"


def run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        input=text,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


# Of a program from stdin, multiprocessing's other methods look for a file named "<stdin>".
HOW = [(how, method) for how in ("command", "interactive", "script") for method in METHODS]


@pytest.mark.parametrize(("how", "method"), [*HOW, ("stdin", "fork")])
def test_what_the_main_program_defines(tmp_path: Path, how: str, method: str) -> None:
    use = USE.replace("METHOD", repr(method))
    if how == "command":
        assert run("-c", DEFINITIONS + use) == FOUND
    elif how == "stdin":
        assert run("-", text=DEFINITIONS + use) == FOUND
    elif how == "interactive":
        typed = (
            DEFINITIONS.replace("\n\ndef", "\n\n\ndef") + "\n" + use.replace("\nprint", "\n\nprint")
        )
        assert run("-i", "-c", "pass", text=dedent(typed)) == FOUND
    else:
        script = tmp_path / "script.py"
        body = use.replace("\n", "\n    ")
        script.write_text(f"{DEFINITIONS}\nif __name__ == '__main__':\n    {body}\n")
        assert run(str(script)) == FOUND
