"""Functions whose workers, owners and clients are killed: the others learn of it, or go on."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

import zeroipc.mp
from tests.support import tasks
from zeroipc.errors import OwnerDiedError, WorkerDiedError

pytestmark = pytest.mark.kill

METHODS = zeroipc.mp.get_all_start_methods()


@pytest.fixture(params=METHODS)
def context(request: pytest.FixtureRequest) -> Any:
    return zeroipc.mp.get_context(request.param)


def perform(how: Callable[..., Any], *args: Any) -> Any:
    """Do what one is told: what the functions here call."""
    return how(*args)


# --- Workers ----------------------------------------------------------------------------------


def outcomes_in_client(queue: Any, function: Any) -> None:
    """Have workers die in the calls of a client, between others that succeed."""
    before = function.submit(tasks.echo, "before")
    deaths = [function.submit(how) for how in (tasks.sigkill, tasks.exit_3)]
    after = [function.submit(tasks.echo, number) for number in range(20)]
    queue.put(
        (
            before.result(),
            [(type(death.exception()), str(death.exception())) for death in deaths],
            [future.result() for future in after],
            function(tasks.echo, "again"),
        )
    )


def check_outcomes(outcomes: Any) -> None:
    before, deaths, after, again = outcomes
    assert (before, after, again) == ("before", list(range(20)), "again")
    assert [kind for kind, _ in deaths] == [WorkerDiedError] * 2
    causes = ("was killed by SIGKILL", "exited with status 3")
    for (_, text), cause in zip(deaths, causes, strict=True):
        assert re.match(rf"worker \d+ {cause} while it ran perform, call \d+ of process \d+", text)


def test_worker_dies_in_the_call_of_a_client(context: Any) -> None:
    function = zeroipc.mp.Function(perform, workers=2, mp_context=context)
    with closing(context.SimpleQueue()) as queue, function:
        client = context.Process(target=outcomes_in_client, args=(queue, function))
        client.start()
        check_outcomes(queue.get())
        client.join()
        outcomes_in_client(queue, function)
        check_outcomes(queue.get())


def count_outcomes(queue: Any, function: Any, calls: int) -> None:
    counts: Counter[str] = Counter()
    for future in [function.submit(tasks.square, number) for number in range(calls)]:
        number = counts.total()
        error = future.exception()
        right = error is None and future.result() == number * number
        counts[type(error).__name__ if error else "right" if right else "wrong"] += 1
    queue.put(counts)


def kill_one_of(function: Any) -> None:
    """Kill a worker that takes calls; many that die at their start would end it all."""
    crew = function._engine.crew
    processes = list(crew.processes.values())
    random.shuffle(processes)
    for process in processes:
        if crew.is_ready(process):
            with suppress(ProcessLookupError):  # it was killed before
                os.kill(process.pid, signal.SIGKILL)
            return


def test_storm_of_deaths_fails_only_what_the_dead_had(context: Any) -> None:
    """Each call of each process ends once, and no more of them fail than workers were killed."""
    calls, kills = 3000, 12
    function = zeroipc.mp.Function(perform, workers=2, mp_context=context)
    with closing(context.SimpleQueue()) as queue, function:
        clients = [
            context.Process(target=count_outcomes, args=(queue, function, calls)) for _ in range(2)
        ]
        for client in clients:
            client.start()
        owner = threading.Thread(target=count_outcomes, args=(queue, function, calls))
        owner.start()
        for _ in range(kills):
            kill_one_of(function)
            time.sleep(random.uniform(0, 0.02))
        counts: Counter[str] = Counter()
        for _ in range(3):
            counts += queue.get()
        owner.join()
        for client in clients:
            client.join()
    assert counts.total() == 3 * calls
    assert counts["right"] + counts["WorkerDiedError"] == counts.total()
    assert counts["WorkerDiedError"] <= kills


# --- Owners -----------------------------------------------------------------------------------


def own(queue: Any, forever: Any) -> None:
    """Own a function that others call."""
    context = zeroipc.mp.get_context("fork")
    function = zeroipc.mp.Function(perform, workers=2, mp_context=context)
    queue.put(function.start())
    queue.put(list(function._engine.crew.processes))  # type: ignore[union-attr]
    forever.get()


def await_end(pid: int) -> None:
    with suppress(FileNotFoundError, ProcessLookupError):
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
            time.sleep(0.005)


def by_result(future: Any) -> BaseException | None:
    return future.exception()  # type: ignore[no-any-return]


def by_callback(future: Any) -> BaseException | None:
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    done.wait()
    return by_result(future)


def by_asyncio(future: Any) -> BaseException | None:
    async def main() -> None:
        await future

    try:
        asyncio.run(main())
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize(
    ("method", "wait"),
    [*((method, by_result) for method in METHODS), ("fork", by_callback), ("fork", by_asyncio)],
)
def test_death_of_the_owner_fails_the_calls_of_its_clients(method: str, wait: Any) -> None:
    context: Any = zeroipc.mp.get_context(method)
    with closing(context.SimpleQueue()) as queue, closing(context.SimpleQueue()) as forever:
        owner = context.Process(target=own, args=(queue, forever))
        owner.start()
        function, workers = queue.get(), queue.get()
        assert function(tasks.echo, 1) == 1
        future = function.submit(time.sleep, 1000)
        killer = threading.Timer(0.1, owner.kill)
        killer.start()
        error = wait(future)
        assert isinstance(error, OwnerDiedError)
        assert str(owner.pid) in str(error)
        with pytest.raises(OwnerDiedError, match=str(owner.pid)):
            function(tasks.echo, 1)
        killer.join()
        owner.join()
        for worker in workers:
            await_end(worker)
        function.close()


def test_function_of_a_dead_owner_fails_at_the_first_call(context: Any) -> None:
    with closing(context.SimpleQueue()) as queue, closing(context.SimpleQueue()) as forever:
        owner = context.Process(target=own, args=(queue, forever))
        owner.start()
        function, _ = queue.get(), queue.get()
        owner.kill()
        owner.join()
        with pytest.raises(OwnerDiedError, match=str(owner.pid)):
            function(tasks.echo, 1)


# --- Clients ----------------------------------------------------------------------------------


def call_for_ever(function: Any) -> None:
    while True:
        list(function.map([tasks.echo] * 50, range(50)))


def test_death_of_clients_disturbs_nobody(context: Any) -> None:
    function = zeroipc.mp.Function(perform, workers=2, mp_context=context)
    with closing(context.SimpleQueue()) as queue, function:
        steady = context.Process(target=count_outcomes, args=(queue, function, 3000))
        steady.start()
        for _ in range(8):
            client = context.Process(target=call_for_ever, args=(function,))
            client.start()
            time.sleep(random.uniform(0, 0.1))
            client.kill()
            client.join()
            assert function(tasks.echo, 1) == 1
        assert queue.get() == {"right": 3000}
        steady.join()
        assert [function(tasks.echo, number) for number in range(100)] == list(range(100))
