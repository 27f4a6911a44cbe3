"""`zeroipc.mp.Pool`: as `multiprocessing.Pool`, and where that hangs, an error."""

from __future__ import annotations

import itertools
import multiprocessing
import multiprocessing.pool
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest

import zeroipc.mp
import zeroipc.mp.pool
import zeroipc.mp.pool_engine
from tests.support import leaks, tasks
from tests.support.programs import run_python
from zeroipc.errors import ClosedError, UnpicklableError

METHODS = zeroipc.mp.get_all_start_methods()
NUMBERS = list(range(100))
SQUARES = [number * number for number in NUMBERS]


def make(workers: int = 2, method: str = "fork", **options: Any) -> Any:
    return zeroipc.mp.get_context(method).Pool(workers, **options)


@pytest.fixture(scope="module")
def shared() -> Iterator[Any]:
    """Return a pool for tests that leave it as it was."""
    with make() as made:
        yield made


@pytest.fixture
def pool() -> Iterator[Any]:
    with make() as made:
        yield made


def square(number: int) -> int:
    return number * number


def odd_fails(number: int) -> int:
    if number % 2:
        raise ValueError(number)
    return number


def raises_after(count: int) -> Iterator[int]:
    """Give so many numbers, then raise a LookupError."""
    yield from range(count)
    raise LookupError("no more")


class Sized:
    """Has a length, and raises when it is iterated."""

    def __len__(self) -> int:
        return 7

    def __iter__(self) -> Any:
        return raises_after(3)


class Awkward(Exception):  # noqa: N818
    """Can be pickled and not unpickled, as many exceptions."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def raise_awkward() -> None:
    raise Awkward(1, 2)


# --- What the calls return ---------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_every_call(method: str) -> None:
    with make(method=method) as pool:
        assert pool.apply(divmod, (7, 2)) == (3, 1)
        assert pool.apply(int, ("11",), {"base": 2}) == 3
        assert pool.apply_async(square, (3,)).get() == 9
        for size in (None, 1, 7, 1000):
            assert pool.map(square, NUMBERS, size) == SQUARES
            assert pool.map(square, iter(NUMBERS), chunksize=size) == SQUARES
            assert pool.starmap(pow, [(number, 2) for number in NUMBERS], size) == SQUARES
            assert pool.map_async(square, range(100), size).get() == SQUARES
            assert pool.starmap_async(divmod, [[7, 2]], size).get() == [(3, 1)]
        kinds: tuple[Any, ...] = (list, tuple, iter)
        for size, kind in itertools.product((1, 7, 1000), kinds):
            assert list(pool.imap(square, kind(NUMBERS), size)) == SQUARES
            assert sorted(pool.imap_unordered(square, kind(NUMBERS), size)) == SQUARES
        assert list(pool.imap(square, range(100), 9)) == SQUARES
        assert pool.map(square, []) == list(pool.imap(square, [])) == []
        assert pool.map(square, iter(())) == list(pool.imap(square, iter(()))) == []
        pool.close()
        pool.join()


@pytest.mark.parametrize("size", [1, 3])
def test_errors_of_tasks(shared: Any, size: int) -> None:
    with pytest.raises(ValueError, match="1"):
        shared.map(odd_fails, range(3), size)
    with pytest.raises(TypeError):
        shared.starmap(odd_fails, [1, 2], size)
    with pytest.raises(ValueError, match="1") as caught:
        shared.apply(odd_fails, (1,))
    assert type(caught.value.__cause__) is multiprocessing.pool.RemoteTraceback  # type: ignore[attr-defined]
    assert "raise ValueError(number)" in str(caught.value.__cause__)
    results = shared.imap(odd_fails, range(3))
    assert next(results) == 0
    with pytest.raises(ValueError, match="1"):
        next(results)
    assert next(results) == 2
    with pytest.raises(StopIteration):
        next(results)


@pytest.mark.parametrize("size", [1, 2])
def test_errors_of_iterables(shared: Any, size: int) -> None:
    with pytest.raises(LookupError):
        shared.map(square, raises_after(3), size)
    with pytest.raises(LookupError):
        shared.map_async(square, Sized(), size).get()
    results = shared.imap(square, raises_after(5), size)
    assert [next(results) for _ in range(5 // size * size)] == [0, 1, 4, 9, 16][: 5 // size * size]
    with pytest.raises(LookupError):
        next(results)
    with pytest.raises(StopIteration):
        next(results)
    with pytest.raises(LookupError):
        list(shared.imap_unordered(square, raises_after(5), size))
    with pytest.raises(TypeError):
        shared.imap(square, 5)


@pytest.mark.parametrize("size", [0, -1])
def test_chunks_of_nothing_are_refused(shared: Any, size: int) -> None:
    for call in (shared.map, shared.imap, shared.imap_unordered):
        with pytest.raises(ValueError, match=f"Chunksize must be 1\\+, not {size}"):
            call(square, NUMBERS, size)


def test_what_cannot_be_pickled(shared: Any) -> None:
    lock = threading.Lock()
    for size in (1, 2):
        with pytest.raises(UnpicklableError):
            shared.map(tasks.echo, [1, lock, 2], size)
    results = shared.imap(tasks.echo, iter([1, lock, 2]))
    assert next(results) == 1
    with pytest.raises(UnpicklableError):
        next(results)
    assert next(results) == 2
    assert shared.map(lambda number: number + 1, [1, 2]) == [2, 3]
    with pytest.raises(UnpicklableError):
        shared.map(lambda _: lock, [1, 2])
    for call, name in ((threading.Lock, "lock"), (raise_awkward, "1 and 2")):
        with pytest.raises(zeroipc.mp.pool.MaybeEncodingError, match=name):
            shared.apply(call)
    assert shared.apply(square, (2,)) == 4


def test_waiting_has_a_limit(shared: Any, gate: Path) -> None:
    late = shared.apply_async(tasks.wait_for_file, (str(gate),))
    assert not late.ready()
    late.wait(0.01)
    with pytest.raises(zeroipc.mp.TimeoutError):
        late.get(0.01)
    with pytest.raises(ValueError, match="not ready"):
        late.successful()
    lates = shared.imap(tasks.wait_for_file, [str(gate)])
    for call in (lates.next, shared.imap_unordered(tasks.wait_for_file, [str(gate)]).next):
        with pytest.raises(zeroipc.mp.TimeoutError):
            call(timeout=0.01)
    gate.touch()
    assert late.get() == lates.next(timeout=60) == str(gate)
    assert late.successful()


def test_arrays_arrive_whole(shared: Any) -> None:
    for size in (10, 1 << 18):
        arrays = [np.full(size, number) for number in range(12)]
        for number, array in enumerate(shared.imap(tasks.echo, iter(arrays))):
            assert array.shape == (size,)
            assert (array == number).all()


def test_many_threads_share_a_pool(shared: Any) -> None:
    wrong: list[Any] = []

    def run(thread: int) -> None:
        for number in range(20):
            args = [(thread, number, part) for part in range(5)]
            calls: list[Callable[..., Any]] = [shared.map, shared.imap]
            got = [list(call(tasks.echo, args, size)) for call in calls for size in (1, 2)]
            wrong.extend(some for some in got if some != args)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_threads_share_an_iterator(shared: Any) -> None:
    results = shared.imap_unordered(square, iter(NUMBERS))
    got: list[int] = []
    threads = [threading.Thread(target=lambda: got.extend(results)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == SQUARES


# --- Callbacks ---------------------------------------------------------------------------------


def test_callbacks_run_before_the_outcome_is_ready(shared: Any) -> None:
    heard: list[Any] = []
    shared.map_async(square, [2, 3], 1, heard.append, heard.append).wait()
    shared.apply_async(square, (4,), callback=heard.append).wait()
    assert heard == [[4, 9], 16]
    shared.map_async(odd_fails, range(9), 1, heard.append, heard.append).wait()
    shared.apply_async(odd_fails, (5,), error_callback=heard.append).wait()
    assert [type(error) for error in heard[2:]] == [ValueError, ValueError]
    shared.apply_async(square, (1,), error_callback=heard.append).wait()
    assert len(heard) == 4


def test_callbacks_run_though_nobody_waits(shared: Any) -> None:
    heard: SimpleQueue[Any] = SimpleQueue()
    for number in range(20):
        shared.apply_async(square, (number,), callback=heard.put)
    assert sorted(heard.get(timeout=60) for _ in range(20)) == SQUARES[:20]


def test_a_callback_that_raises_is_shown_and_stops_nothing(
    shared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", shown.append)

    def callback(value: Any) -> None:
        raise RuntimeError("in a callback")

    assert shared.apply_async(square, (2,), callback=callback).get() == 4
    assert [str(args.exc_value) for args in shown] == ["in a callback"]
    assert shared.apply(square, (3,)) == 9


def test_a_callback_may_use_and_end_the_pool(pool: Any) -> None:
    heard: list[Any] = []

    def callback(value: int) -> None:
        heard.append(pool.apply(square, (value,)))
        pool.terminate()

    assert pool.apply_async(square, (2,), callback=callback).get() == 4
    assert heard == [16]
    pool.join()


# --- imap over what blocks, or never ends ------------------------------------------------------


def test_a_thread_that_cannot_start_fails_its_imap_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with make(1) as pool:
        with monkeypatch.context() as patch:
            patch.setattr(zeroipc.mp.pool_engine.Feeder, "start", fail)
            with pytest.raises(RuntimeError, match="start new thread"):
                pool.imap(tasks.square, iter(NUMBERS))
        assert list(pool.imap(tasks.square, iter(NUMBERS))) == SQUARES
        pool.close()
        pool.join()


def test_imap_over_an_endless_iterable_draws_no_more_than_it_sends(pool: Any) -> None:
    results = pool.imap(tasks.echo, map(bytes, itertools.repeat(1 << 20)))
    for _ in range(3):
        assert len(next(results)) == 1 << 20
    assert pool._engine.sender.nbytes < 64 << 20
    assert len(pool._engine.sender.backlog) <= 1


def test_an_iterable_that_blocks_holds_up_no_other_call(pool: Any) -> None:
    items: SimpleQueue[Any] = SimpleQueue()
    results = pool.imap(square, iter(items.get, None))
    for number in range(5):
        items.put(number)
        assert next(results) == number * number
        assert pool.apply(square, (3,)) == 9
    items.put(None)
    assert list(results) == []


def test_close_lets_an_iterable_end(pool: Any) -> None:
    items: SimpleQueue[Any] = SimpleQueue()
    results = pool.imap_unordered(square, iter(items.get, None), 2)
    pool.close()
    for item in (*NUMBERS, None):
        items.put(item)
    pool.join()
    assert sorted(results) == SQUARES


def test_terminate_does_not_wait_for_an_iterable_that_blocks() -> None:
    items: SimpleQueue[Any] = SimpleQueue()
    with make(1) as pool:
        results = pool.imap(square, iter(items.get, None))
        items.put(2)
        assert next(results) == 4
    with pytest.raises(ClosedError, match="the pool was terminated"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)
    items.put(None)
    for feeder in list(pool._engine._feeders):
        feeder.join()


# --- Workers -----------------------------------------------------------------------------------


remembered: list[Any] = []


def remember(*values: Any) -> None:
    remembered[:] = values


def recall(_: Any) -> Any:
    lock, value = remembered
    with lock:
        return value


@pytest.mark.parametrize("method", METHODS)
def test_initializer(method: str) -> None:
    lock = zeroipc.mp.get_context(method).Lock()
    with make(method=method, initializer=remember, initargs=(lock, 7)) as pool:
        assert pool.map(recall, range(9), 1) == [7] * 9


def test_under_fork_an_initializer_need_not_be_pickled() -> None:
    lock = threading.Lock()
    with make(initializer=lambda: remember(lock, 8)) as pool:
        assert pool.map(recall, range(3), 1) == [8] * 3


@pytest.mark.parametrize("method", METHODS)
def test_an_initializer_that_raises_breaks_the_pool(method: str) -> None:
    with make(method=method, initializer=tasks.fail, initargs=("no start",)) as pool:
        pool._engine.thread.join()
        with pytest.raises(Exception, match=r"the initializer of worker \d+ raised"):
            pool.map(square, [1])


@pytest.mark.parametrize("method", METHODS)
def test_workers_are_replaced_after_their_tasks(method: str) -> None:
    with make(1, method, maxtasksperchild=2) as pool:
        pids = pool.map(tasks.pid, range(8), 1)
    assert [len(list(group)) for _, group in itertools.groupby(pids)] == [2] * 4
    assert len(set(pids)) == 4


def test_workers_are_daemons_and_all_there_at_once(pool: Any) -> None:
    assert [process.daemon for process in pool._pool] == [True] * 2
    assert all("PoolWorker" in process.name for process in pool._pool)
    with pytest.raises(AssertionError, match="daemonic processes are not allowed"):
        pool.apply(inner_pool)


def inner_pool() -> Any:
    with make(1) as pool:
        return pool.apply(square, (5,))


class _Free(multiprocessing.get_context("fork").Process):  # type: ignore[misc]
    """A process that may have children, as programs define it."""

    @property
    def daemon(self) -> bool:
        return False

    @daemon.setter
    def daemon(self, value: bool) -> None:
        pass


class NestablePool(zeroipc.mp.pool.Pool):
    @staticmethod
    def Process(ctx: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N802
        return _Free(*args, **kwargs)


def test_pools_in_workers_that_are_no_daemons() -> None:
    with NestablePool(2, context=multiprocessing.get_context("fork")) as pool:
        assert pool.apply(inner_pool) == 25


# --- Its life ----------------------------------------------------------------------------------


def test_close_finishes_what_was_handed_in() -> None:
    pool = make()
    results = [pool.map_async(square, NUMBERS, 1), pool.apply_async(square, (2,))]
    rest = pool.imap(square, NUMBERS)
    with pytest.raises(ValueError, match="Pool is still running"):
        pool.join()
    pool.close()
    for call in (pool.apply, pool.map, pool.imap, pool.imap_unordered):
        with pytest.raises(ValueError, match="Pool not running"):
            call(square, [1])
    pool.join()
    assert [result.get() for result in results] == [SQUARES, 4]
    assert list(rest) == SQUARES
    assert pool._cache == {}


def test_terminate_fails_what_is_left_and_tells_who_waits(gate: Path) -> None:
    heard: list[Any] = []
    pool = make()
    lates = pool.map_async(tasks.wait_for_file, [str(gate)] * 5, 1, heard.append, heard.append)
    outcomes: list[Any] = []

    def wait() -> None:
        with pytest.raises(ClosedError) as caught:
            lates.get()
        outcomes.append(caught.value)

    waiting = threading.Thread(target=wait)
    waiting.start()
    pool.terminate()
    waiting.join()
    assert len(outcomes) == 1
    assert heard == []
    pool.terminate()
    pool.join()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", ["close", "terminate", "drop"])
def test_nothing_is_left(method: str, way: str) -> None:
    make(1, method).terminate()  # starts what multiprocessing and the arena keep
    threads, files, children = leaks.threads(), leaks.descriptors(), leaks.children()
    pool = make(method=method)
    assert pool.map(square, NUMBERS, 1) == SQUARES
    assert sum(pool.imap(square, iter(NUMBERS))) == sum(SQUARES)
    if way == "close":
        pool.close()
        pool.join()
    elif way == "terminate":
        pool.terminate()
    else:
        with pytest.warns(ResourceWarning, match="unclosed running multiprocessing pool <zeroipc"):
            del pool
    assert not leaks.left(leaks.threads, threads)
    assert not leaks.left(leaks.children, children)
    pool = None
    assert not leaks.left(leaks.descriptors, files)


@pytest.mark.parametrize("method", METHODS)
def test_a_program_may_end_with_a_pool_running(method: str) -> None:
    """At exit workers are terminated, whatever they do, as the standard library's are."""
    ended = run_python(
        """
        import sys, time
        import zeroipc.mp as mp
        if __name__ == "__main__":
            mp.set_start_method(sys.argv[1])
            pool = mp.Pool(2)
            print(pool.map(abs, [-1, -2]), flush=True)
            pool.map_async(time.sleep, [100] * 9, 1)
        """,
        method,
    )
    assert ended.stdout == "[1, 2]\n"
    assert ended.stderr == ""


def test_ctrl_c_ends_a_program_at_once_and_quietly() -> None:
    ended = run_python(
        """
        import os, signal, threading, time
        import zeroipc.mp as mp
        def interrupt(_):
            os.killpg(0, signal.SIGINT)
            time.sleep(100)
        if __name__ == "__main__":
            os.setpgid(0, 0)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            with mp.get_context("fork").Pool(2) as pool:
                try:
                    pool.map(interrupt, range(1))
                except KeyboardInterrupt:
                    print("interrupted")
                    print(pool.apply(abs, (-3,)))  # goes on, as the standard library's does
        """,
    )
    assert ended.stdout == "interrupted\n3\n"
    assert ended.stderr == ""


def test_a_forked_child_is_told_that_the_pool_is_not_its_own(pool: Any, gate: Path) -> None:
    late = pool.apply_async(tasks.wait_for_file, (str(gate),))
    child = os.fork()
    if child == 0:
        told = 0
        for call in (late.get, lambda: pool.apply(square, (1,))):
            try:
                call()
            except Exception as error:
                told += "belongs to process" in str(error)
        os._exit(told)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    gate.touch()
    assert late.get() == str(gate)


# --- As the standard library's -----------------------------------------------------------------


def test_it_is_a_pool_of_the_standard_library(shared: Any) -> None:
    theirs: Any = multiprocessing.pool
    assert isinstance(shared, theirs.Pool)
    assert isinstance(shared.apply_async(abs, (1,)), theirs.AsyncResult)
    assert isinstance(shared.map_async(abs, [1]), theirs.MapResult)
    assert isinstance(shared.imap(abs, [1]), theirs.IMapIterator)
    assert isinstance(shared.imap_unordered(abs, [1]), theirs.IMapUnorderedIterator)
    assert zeroipc.mp.pool.__all__ == theirs.__all__
    assert zeroipc.mp.pool.ThreadPool is theirs.ThreadPool
    assert zeroipc.mp.pool.ExceptionWithTraceback is theirs.ExceptionWithTraceback


def test_names_that_other_libraries_look_at(shared: Any) -> None:
    assert shared._processes == len(shared._pool) == 2
    assert shared._state == "RUN"
    assert shared._ctx.get_start_method() == "fork"
    assert shared._inqueue.qsize() + shared._outqueue.qsize() >= 0
    assert shared._worker_handler.is_alive()
    assert repr(shared) == "<zeroipc.mp.pool.Pool state=RUN pool_size=2>"
    with pytest.raises(NotImplementedError, match="pool objects cannot be passed between"):
        pickle.dumps(shared)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"processes": 0}, ValueError),
        ({"processes": -1}, ValueError),
        ({"processes": 5000}, ValueError),
        ({"initializer": 1}, TypeError),
        ({"maxtasksperchild": 0}, ValueError),
        ({"maxtasksperchild": 0.5}, ValueError),
    ],
)
def test_what_a_pool_refuses(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        zeroipc.mp.Pool(**options)
