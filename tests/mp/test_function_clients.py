"""Functions called from processes that do not own their workers."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zeroipc.mp
from tests.support import leaks, tasks
from zeroipc.errors import ClosedError, OwnerDiedError, ShutDown

METHODS = zeroipc.mp.get_all_start_methods()


@pytest.fixture(params=METHODS)
def context(request: pytest.FixtureRequest) -> Any:
    return zeroipc.mp.get_context(request.param)


@pytest.fixture
def forking() -> Any:
    return zeroipc.mp.get_context("fork")


def in_child(context: Any, target: Any, *args: Any) -> Any:
    """Return what *target* puts into the queue that it gets, in a child, before its arguments."""
    with closing(context.SimpleQueue()) as queue:
        process = context.Process(target=target, args=(queue, *args))
        process.start()
        result = queue.get()
        process.join()
        assert process.exitcode == 0
    return result


# --- Ways to get a function -------------------------------------------------------------------


def use(queue: Any, function: Any) -> None:
    """Use everything that a function offers."""

    async def main() -> Any:
        return await asyncio.gather(*(function.acall(number) for number in range(10)))

    try:
        function(None)
    except TypeError as error:
        traceback = str(error.__cause__)
    queue.put(
        (
            function(-1),
            function.submit(-2).result(),
            list(function.map(range(-5, 0))),
            list(function.map(range(-5, 0), chunksize=2)),
            asyncio.run(main()),
            "run_call" in traceback,
            "of process" in repr(function),
        )
    )


USED = (1, 2, [5, 4, 3, 2, 1], [5, 4, 3, 2, 1], list(range(10)), True, True)


def test_child_gets_it_as_an_argument(context: Any) -> None:
    with zeroipc.mp.Function(abs, workers=2, mp_context=context) as function:
        assert in_child(context, use, function) == USED
        assert function(-3) == 3


def use_sent(queue: Any, inbox: Any) -> None:
    use(queue, inbox.get())


def test_it_goes_through_a_queue_and_starts_by_that(context: Any) -> None:
    function = zeroipc.mp.Function(abs, workers=2, mp_context=context)
    with closing(context.Queue()) as queue, closing(function):
        queue.put(function)
        assert in_child(context, use_sent, queue) == USED
        queue.put(function)
        assert queue.get() is function


def pids_of(function: Any) -> set[int]:
    return set(function.map([None] * 100))


def test_task_of_an_executor_gets_it(context: Any) -> None:
    with (
        zeroipc.mp.Function(tasks.pid, workers=2, mp_context=context) as function,
        context.ProcessPoolExecutor(1) as executor,
    ):
        engine: Any = function._engine
        workers = set(engine.crew.processes)
        for _ in range(3):
            assert executor.submit(pids_of, function).result() <= workers


def grandchild(queue: Any, function: Any) -> None:
    function(-1)
    queue.put(in_child(zeroipc.mp.get_context("fork"), use_in_grandchild, function))


def use_in_grandchild(queue: Any, function: Any) -> None:
    queue.put((function(-5), function._link.owner[0]))


def test_client_passes_it_on(forking: Any) -> None:
    with zeroipc.mp.Function(abs, workers=1, mp_context=forking) as function:
        assert in_child(forking, grandchild, function) == (5, os.getpid())


def report_pid(queue: Any, function: Any) -> None:
    queue.put((function(), function._link.owner[0] == os.getpid()))


def test_child_forked_before_the_start_has_workers_of_its_own(forking: Any) -> None:
    with closing(zeroipc.mp.Function(tasks.pid, workers=1, mp_context=forking)) as function:
        theirs, owned = in_child(forking, report_pid, function)
        assert owned
        assert theirs != function()


def test_it_cannot_be_pickled_elsewhere() -> None:
    with (
        zeroipc.mp.Function(abs, workers=1) as function,
        pytest.raises(RuntimeError, match="inheritance"),
    ):
        pickle.dumps(function)


def test_decorated_one_is_the_plain_one_there(
    forking: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = report_pid
    with zeroipc.mp.Function(plain, workers=1) as decorated:
        monkeypatch.setitem(globals(), "report_pid", decorated)
        assert pickle.loads(pickle.dumps(decorated)) is plain


# --- Many clients -----------------------------------------------------------------------------


def square_all(queue: Any, function: Any, client: int) -> None:
    numbers = range(client * 1000, client * 1000 + 300)
    queue.put((list(function.map(numbers)), sum(function(number) for number in numbers)))


def test_many_clients_get_their_own_results(context: Any) -> None:
    function = zeroipc.mp.Function(tasks.square, workers=2, mp_context=context)
    with closing(context.SimpleQueue()) as queue, closing(function):
        function.start()
        clients = [
            context.Process(target=square_all, args=(queue, function, client))
            for client in range(4)
        ]
        for client in clients:
            client.start()
        assert list(function.map(range(500))) == [number**2 for number in range(500)]
        got = sorted(queue.get() for _ in clients)
        for client in clients:
            client.join()
    expected = [[number**2 for number in range(c * 1000, c * 1000 + 300)] for c in range(4)]
    assert got == [(squares, sum(squares)) for squares in expected]


def call_with_arrays(queue: Any, function: Any) -> None:
    wrong = 0
    for number in range(50):
        array = np.full(1 << 17, number, dtype=float)
        back = function(array)
        wrong += not np.array_equal(array, back)
    queue.put(wrong)


def test_arrays_of_clients(forking: Any) -> None:
    with zeroipc.mp.Function(tasks.echo, workers=2, mp_context=forking) as function:
        assert in_child(forking, call_with_arrays, function) == 0


def cancel_second(queue: Any, function: Any, gate: Path) -> None:
    first, second = function.submit(str(gate)), function.submit("a file that never comes")
    cancelled = second.cancel()
    gate.touch()
    try:
        second.result()
    except CancelledError:
        queue.put((cancelled, first.result(), second.cancelled()))


def test_client_cancels_what_no_worker_has(forking: Any, gate: Path) -> None:
    with zeroipc.mp.Function(tasks.wait_for_file, workers=1) as function:
        assert in_child(forking, cancel_second, function, gate) == (True, str(gate), True)


def send_one(queue: Any, function: Any, gate: Path) -> None:
    future = function.submit(str(gate))
    queue.put(len(function._engine.sender.backlog))
    future.result()


def test_others_calls_do_not_keep_a_client_from_the_ring(forking: Any, gate: Path) -> None:
    with zeroipc.mp.Function(tasks.wait_for_file, workers=1) as function:
        futures = [function.submit(str(gate)) for _ in range(600)]  # more than one process may
        with closing(forking.SimpleQueue()) as queue:
            client = forking.Process(target=send_one, args=(queue, function, gate))
            client.start()
            assert queue.get() == 0
            gate.touch()
            client.join()
        assert {future.result() for future in futures} == {str(gate)}


# --- The end ------------------------------------------------------------------------------------


def wait_and_call(queue: Any, function: Any, started: Path, gate: Path) -> None:
    first = function.submit(str(started), str(gate))
    others = [function.submit(str(started), str(gate)) for _ in range(20)]
    tasks.wait_for_file(str(started))
    queue.put("submitted")
    errors = {type(future.exception()) for future in others}
    try:
        function(str(started), str(gate))
    except ClosedError as error:
        queue.put((first.result(), errors, type(error)))


def test_closing_by_the_owner_fails_the_calls_of_clients(
    forking: Any, gate: Path, tmp_path: Path
) -> None:
    function = zeroipc.mp.Function(tasks.touch_and_wait, workers=1, mp_context=forking).start()
    arguments = function, tmp_path / "started", gate
    with closing(forking.SimpleQueue()) as queue:
        client = forking.Process(target=wait_and_call, args=(queue, *arguments))
        client.start()
        assert queue.get() == "submitted"
        ring = function._engine.tasks  # type: ignore[union-attr]
        function.close(wait=False)
        while ring.qsize():  # what no worker has is dropped, then told when the worker has ended
            pass
        gate.touch()
        assert queue.get() == (str(gate), {ShutDown}, ShutDown)
        client.join()
        function.close()


def close_ours(queue: Any, function: Any) -> None:
    function(-1)
    function.close()
    try:
        function(-1)
    except ClosedError as error:
        queue.put((type(error), repr(function)))


def test_closing_by_a_client_concerns_nobody_else(forking: Any) -> None:
    with zeroipc.mp.Function(abs, workers=1, mp_context=forking) as function:
        for _ in range(2):
            assert in_child(forking, close_ours, function) == (
                ClosedError,
                "<Function abs: closed>",
            )
        assert function(-1) == 1


def queues_in_use() -> int:
    gc.collect()
    arena = zeroipc.mp.transport.home().arena
    arena.sweep()
    zeroipc.mp.SimpleQueue()  # making one reclaims those that nobody has any more
    return int(arena.stats()["queues"])


def test_nothing_is_left_of_clients(forking: Any) -> None:
    with zeroipc.mp.Function(abs, workers=1) as function:
        in_child(forking, use, function)
        before = queues_in_use()
        for _ in range(5):
            in_child(forking, use, function)
        while queues_in_use() > before:  # the dead are found when somebody looks
            pass


# --- By name ------------------------------------------------------------------------------------

SERVER = """
import sys
import zeroipc.mp as mp

def add(a, b=1):
    return a + b

with mp.Function(add, workers=1, name=sys.argv[1]):
    print("serving", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def name() -> str:
    return f"{leaks.PREFIX}function"


@pytest.fixture
def server(name: str) -> Iterator[subprocess.Popen[str]]:
    """Return a program that serves `add` by the name until its input ends."""
    command = [sys.executable, "-c", SERVER, name]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "serving\n"
        yield process


def test_other_program_finds_it_by_name(name: str, server: Any) -> None:
    for _ in range(2):
        with zeroipc.mp.Function.open(name) as add:
            assert (add(1), add(1, b=2), list(add.map(range(3)))) == (2, 3, [1, 2, 3])
            assert repr(add) == f"<Function add: 1 workers of process {server.pid}>"
            assert vars(add)["__name__"] == "add"
    late = zeroipc.mp.Function.open(name)
    server.communicate()
    with pytest.raises(OwnerDiedError, match=str(server.pid)):
        late(1)
    with pytest.raises(FileNotFoundError, match="no function is served"):
        zeroipc.mp.Function.open(name)


def test_first_serves_the_name_and_others_call_it(name: str, server: Any) -> None:
    with zeroipc.mp.Function(abs, workers=1, name=name) as other:
        assert other(1) == 2
    server.communicate()
    with zeroipc.mp.Function(abs, workers=1, name=name) as first:
        assert first(-1) == 1
        assert zeroipc.mp.Function.open(name) is first
    with pytest.raises(FileNotFoundError):
        zeroipc.mp.Function.open(name)


def test_name_of_a_dead_server_is_free(name: str, server: Any) -> None:
    server.kill()
    server.wait()
    with pytest.raises(FileNotFoundError):
        zeroipc.mp.Function.open(name)
    with zeroipc.mp.Function(abs, workers=1, name=name) as first:
        assert first(-1) == 1
