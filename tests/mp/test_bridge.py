"""A queue's ends as those of a pipe: what select, asyncio and the standard library do with them."""

from __future__ import annotations

import asyncio
import gc
import os
import selectors
import signal
import threading
from collections import deque
from collections.abc import Iterator
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from multiprocessing.connection import wait
from multiprocessing.pool import Pool
from pathlib import Path
from queue import Empty
from select import select
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import zeroipc.mp
from tests.support.programs import run_python

METHODS = zeroipc.mp.get_all_start_methods()
KINDS = ["Queue", "SimpleQueue", "JoinableQueue"]


@pytest.fixture
def queue() -> Iterator[Any]:
    with closing(zeroipc.mp.Queue()) as made:
        yield made


def is_readable(queue: Any) -> bool:
    return bool(select([queue._reader], [], [], 0)[0])


def descriptors() -> set[str]:
    """The event descriptors that this process has open."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            if "[eventfd]" in os.readlink(link):
                found.add(link.name)
    return found


def descriptors_before() -> set[str]:
    """As `descriptors`, once what earlier tests dropped is gone; some of it may go later."""
    gc.collect()
    return descriptors()


# --- Readiness ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_readable_while_there_is_an_item(kind: str) -> None:
    with closing(getattr(zeroipc.mp, kind)()) as queue:
        assert not is_readable(queue)
        queue._writer.send("item")
        assert select([queue._reader], [], [])[0] == [queue._reader]
        assert queue._reader.poll()
        assert queue._reader.recv() == "item"
        assert not is_readable(queue)
        assert not queue._reader.poll()


def test_readable_at_first_use_when_items_are_there(queue: Any) -> None:
    queue.put(1)
    assert is_readable(queue)


def test_last_item_taken_by_any_get_leaves_it_unreadable(queue: Any) -> None:
    takers = [
        queue.get,
        queue.get_nowait,
        queue._reader.recv,
        lambda: queue.get(timeout=1),
        lambda: queue.get_many(8),
    ]
    for take in takers:
        queue.put(1)
        assert wait([queue._reader]) == [queue._reader]
        take()
        assert not is_readable(queue)


@given(st.lists(st.sampled_from(["put", "get", "recv", "get_many"]), max_size=30))
def test_readiness_follows_the_items(operations: list[str]) -> None:
    model: deque[int] = deque()
    with closing(zeroipc.mp.Queue()) as queue, selectors.DefaultSelector() as selector:
        selector.register(queue._reader, selectors.EVENT_READ)  # asks for the descriptor once
        for number, operation in enumerate(operations):
            if operation == "put":
                queue.put(number)
                model.append(number)
            elif model:
                if operation == "get_many":
                    assert queue.get_many(2) == [model.popleft() for _ in range(min(2, len(model)))]
                else:
                    take = queue.get if operation == "get" else queue._reader.recv
                    assert take() == model.popleft()
            # Items make it readable after a moment; the lack of them, at once.
            assert bool(selector.select(None if model else 0)) == bool(model)


def test_several_queues_and_a_pipe_are_waited_for_together() -> None:
    first, second = zeroipc.mp.Queue(), zeroipc.mp.SimpleQueue()
    receiving, sending = zeroipc.mp.Pipe(duplex=False)
    with closing(first), closing(second), receiving, sending:
        readers: list[Any] = [first._reader, second._reader, receiving]
        for reader, send in zip(readers, [first.put, second.put, sending.send], strict=True):
            assert wait(readers, 0) == []
            send("item")
            ready = wait(readers)
            assert ready == [reader]
            assert reader.recv() == "item"


def test_threads_that_compete_get_each_item_once(queue: Any) -> None:
    got: list[int] = []

    def consume() -> None:
        while True:
            wait([queue._reader])
            with suppress(Empty):
                item = queue.get_nowait()
                if item is None:
                    queue.put(None)
                    return
                got.append(item)

    threads = [threading.Thread(target=consume) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(500):
        queue.put(number)
    queue.put(None)
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(500))


def test_get_works_beside_a_watch_of_the_same_queue(queue: Any) -> None:
    """Both sleep until an item comes, and only one sleeper is woken by it."""
    assert not is_readable(queue)
    got: list[int] = []
    getter = threading.Thread(target=lambda: got.extend(queue.get() for _ in range(50)))
    getter.start()
    for number in range(50):
        queue.put(number)
    getter.join()
    assert got == list(range(50))
    assert not is_readable(queue)


# --- Other processes ----------------------------------------------------------------------


def echo(inbox: Any, outbox: Any) -> None:
    """Send back what comes, until None; waiting as an event loop does."""
    while True:
        wait([inbox._reader])
        item = inbox._reader.recv()
        outbox._writer.send(item)
        if item is None:
            return


@pytest.mark.parametrize("method", METHODS)
def test_child_and_parent_wait_for_each_other(method: str) -> None:
    context = zeroipc.mp.get_context(method)
    inbox, outbox = context.SimpleQueue(), context.Queue()
    # Watched before the fork: the child has to make a watch of its own.
    assert not is_readable(inbox)
    assert not is_readable(outbox)
    process = context.Process(target=echo, args=(inbox, outbox))
    process.start()
    for item in [1, "two", None]:
        inbox.put(item)
        wait([outbox._reader])
        assert outbox.get() == item
        assert not is_readable(outbox)
    process.join()
    assert process.exitcode == 0
    inbox.close()
    outbox.close()


def empty_it(queue: Any) -> None:
    while not queue.empty():
        queue.get()


@pytest.mark.parametrize("method", METHODS)
def test_queue_that_another_process_emptied_is_not_readable(method: str, queue: Any) -> None:
    queue.put(1)
    queue.put(2)
    assert is_readable(queue)
    process = zeroipc.mp.get_context(method).Process(target=empty_it, args=(queue,))
    process.start()
    process.join()
    assert not is_readable(queue)


def test_selector_learns_that_another_process_emptied_the_queue(queue: Any) -> None:
    queue.put(1)
    with selectors.DefaultSelector() as selector:
        selector.register(queue._reader, selectors.EVENT_READ)
        assert selector.select()
        process = zeroipc.mp.get_context("fork").Process(target=empty_it, args=(queue,))
        process.start()
        process.join()
        while selector.select(0):
            pass
        queue.put(2)
        assert selector.select()
        assert queue.get() == 2


def send_through(writer: Any) -> None:
    writer.send("item")


@pytest.mark.parametrize("method", METHODS)
def test_end_is_sent_to_a_child(method: str, queue: Any) -> None:
    context = zeroipc.mp.get_context(method)
    process = context.Process(target=send_through, args=(queue._writer,))
    process.start()
    wait([queue._reader])
    assert queue._reader.recv() == "item"
    process.join()


# --- Closing ------------------------------------------------------------------------------


def test_closed_queue_has_closed_ends_and_no_descriptor(queue: Any) -> None:
    before = descriptors_before()
    reader, writer = queue._reader, queue._writer
    number = str(reader.fileno())
    assert number in descriptors()
    queue.close()
    assert number not in descriptors()
    assert descriptors() <= before | {number}
    assert reader.closed
    assert writer.closed
    for call in (reader.fileno, reader.poll, reader.recv, lambda: writer.send(1)):
        with pytest.raises(OSError, match="handle is closed"):
            call()


def test_one_end_is_closed_alone(queue: Any) -> None:
    before = descriptors_before()
    queue._writer.close()
    assert queue._writer.closed
    assert not queue._reader.closed
    queue._reader.fileno()
    queue._reader.close()
    assert queue._reader.closed
    assert descriptors() <= before
    queue.put(1)
    assert queue.get() == 1


def test_descriptor_goes_with_the_queue() -> None:
    before = descriptors_before()
    for _ in range(300):
        queue = zeroipc.mp.Queue()
        queue._reader.fileno()
        del queue
        assert descriptors() <= before


def test_forked_child_does_not_keep_the_parents_descriptor(queue: Any) -> None:
    before = descriptors_before()
    queue._reader.fileno()
    answer = zeroipc.mp.SimpleQueue()
    context = zeroipc.mp.get_context("fork")
    process = context.Process(target=lambda: answer.put(descriptors()))
    process.start()
    assert answer.get() <= before
    process.join()
    answer.close()


def test_shut_down_queue_is_readable_and_at_its_end(queue: Any) -> None:
    queue.put(1)
    assert is_readable(queue)
    queue.shutdown()
    assert queue._reader.recv() == 1
    wait([queue._reader])
    assert queue._reader.poll()
    with pytest.raises(EOFError):
        queue._reader.recv()


@pytest.mark.parametrize("items", [0, 1])
def test_program_ends_although_its_queues_are_watched(items: int) -> None:
    program = """
    import sys, zeroipc.mp
    queues = [zeroipc.mp.Queue() for _ in range(3)]
    for queue in queues:
        queue._reader.fileno()
        for item in range(int(sys.argv[1])):
            queue.put(item)
            zeroipc.mp.connection.wait([queue._reader])
    print("done")
    """
    assert run_python(program, items).stdout == "done\n"


# --- Locks of the ends --------------------------------------------------------------------


def test_item_shown_under_the_lock_is_nobody_elses(queue: Any) -> None:
    queue.put(1)
    with queue._rlock:
        assert queue._reader.poll()
        with pytest.raises(Empty):  # as another process would find it
            queue.get_nowait()
        assert queue._reader.recv() == 1
        assert not queue._reader.poll()


def test_item_shown_and_not_received_is_put_back(queue: Any) -> None:
    queue.put(1)
    with queue._rlock:
        assert queue._reader.poll()
    assert queue.get() == 1


def test_locks_exclude_threads_and_take_timeouts(queue: Any) -> None:
    for lock in (queue._rlock, queue._wlock):
        assert lock.acquire()
        assert not lock.acquire(False)
        assert not lock.acquire(True, 0.001)
        lock.release()
        with pytest.raises(RuntimeError):
            lock.release()


# --- asyncio ------------------------------------------------------------------------------


def test_event_loop_reads_a_queue(queue: Any) -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        got: list[int] = []
        done = loop.create_future()

        def on_item() -> None:
            got.append(queue.get_nowait())
            if len(got) == 20:
                done.set_result(None)

        loop.add_reader(queue._reader.fileno(), on_item)
        for number in range(20):
            await loop.run_in_executor(None, queue.put, number)
        await done
        loop.remove_reader(queue._reader.fileno())
        return got

    assert asyncio.run(main()) == list(range(20))


@pytest.mark.parametrize("maxsize", [0, 1, 3])
def test_coroutines_exchange_items_in_order(maxsize: int) -> None:
    async def put_all(queue: Any) -> None:
        for number in range(100):
            await queue.aput(number)

    async def main(queue: Any) -> list[int]:
        putting = asyncio.create_task(put_all(queue))
        got = [await queue.aget() for _ in range(100)]
        await putting
        return got

    with closing(zeroipc.mp.Queue(maxsize)) as queue:
        assert asyncio.run(main(queue)) == list(range(100))


def test_cancelled_aget_loses_nothing(queue: Any) -> None:
    async def main() -> None:
        tasks = [asyncio.create_task(queue.aget()) for _ in range(4)]
        await asyncio.sleep(0)
        for task in tasks[:3]:
            task.cancel()
        queue.put("item")
        assert await tasks[3] == "item"

    asyncio.run(main())


def test_close_ends_a_waiting_aget(queue: Any) -> None:
    async def main() -> None:
        task = asyncio.create_task(queue.aget())
        await asyncio.sleep(0)
        queue.close()
        with pytest.raises(ValueError):
            await task

    asyncio.run(main())


# --- The standard library's own machinery ---------------------------------------------------


def square(number: int) -> int:
    return number * number


def fail(_: int) -> None:
    raise LookupError("as told")


def kill_self(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("method", METHODS)
def test_standard_executor_with_our_context(method: str) -> None:
    context = zeroipc.mp.get_context(method)
    with futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        assert list(executor.map(square, range(30), chunksize=7)) == [n * n for n in range(30)]
        with pytest.raises(LookupError, match="as told"):
            executor.submit(fail, 0).result()
        with pytest.raises(BrokenProcessPool):
            executor.submit(kill_self, 0).result()
        with pytest.raises(BrokenProcessPool):
            executor.submit(square, 1)


@pytest.mark.parametrize("method", METHODS)
def test_standard_pool_with_our_context(method: str) -> None:
    with Pool(2, context=zeroipc.mp.get_context(method)) as pool:
        assert pool.map(square, range(30)) == [n * n for n in range(30)]
        assert sorted(pool.imap_unordered(square, range(5))) == [0, 1, 4, 9, 16]
        with pytest.raises(LookupError, match="as told"):
            pool.apply(fail, (0,))
    pool.join()


def test_standard_pool_is_terminated_while_its_workers_take_tasks() -> None:
    for taken in range(0, 60, 3):
        pool = Pool(2, context=zeroipc.mp.get_context("fork"))
        results = pool.imap_unordered(square, range(500))
        for _ in range(taken):
            next(results)
        pool.terminate()
        pool.join()
