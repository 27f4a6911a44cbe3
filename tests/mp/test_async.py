"""Queues in event loops: whoever waits gets its turn, and cancelling loses nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, suppress
from itertools import chain
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zeroipc.mp
from tests.support import tasks
from zeroipc.errors import ShmFullError

METHODS = zeroipc.mp.get_all_start_methods()
KINDS = ["Queue", "SimpleQueue", "JoinableQueue"]


@pytest.fixture
def queue() -> Iterator[Any]:
    with closing(zeroipc.mp.Queue()) as made:
        yield made


async def settled(*coroutines: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
    """Start tasks, each of which has come to its first wait, in this order."""
    started = [asyncio.create_task(coroutine) for coroutine in coroutines]
    await asyncio.sleep(0)
    return started


# --- Turns --------------------------------------------------------------------------------


def test_who_came_first_gets_first(queue: Any) -> None:
    async def main() -> None:
        waiting = await settled(*(queue.aget() for _ in range(50)))
        for number in range(50):
            queue.put(number)
        assert await asyncio.gather(*waiting) == list(range(50))

    asyncio.run(main())


def test_who_comes_later_does_not_overtake(queue: Any) -> None:
    async def main() -> None:
        [first] = await settled(queue.aget())
        queue.put("first")
        late = asyncio.create_task(queue.aget())
        queue.put("second")
        assert await first == "first"
        assert await late == "second"

    asyncio.run(main())


def test_who_comes_in_vain_keeps_its_place(queue: Any) -> None:
    async def main() -> None:
        first, second = await settled(queue.aget(), queue.aget())
        called = queue._state.watch(queue, "_poll")._line._called
        queue.put("for another")
        while not called:  # without letting the first one come
            pass
        assert queue.get() == "for another"
        while called:
            await asyncio.sleep(0)
        queue.put(1)
        queue.put(2)
        assert (await first, await second) == (1, 2)

    asyncio.run(main())


def test_who_waits_for_room_puts_in_order() -> None:
    async def main(queue: Any) -> list[int]:
        putting = await settled(*(queue.aput(number) for number in range(50)))
        got = [await queue.aget() for _ in range(50)]
        await asyncio.gather(*putting)
        return got

    with closing(zeroipc.mp.Queue(2)) as queue:
        assert asyncio.run(main(queue)) == list(range(50))


def test_waiting_takes_one_thread_however_many_wait(queue: Any) -> None:
    async def main() -> None:
        before = set(threading.enumerate())
        waiting = await settled(*(queue.aget() for _ in range(500)))
        more = [thread.name for thread in set(threading.enumerate()) - before]
        assert more.count("zeroipc-bridge") == 1
        assert set(more) <= {"zeroipc-bridge", "zeroipc-trim"}  # which gives memory back
        for number in range(500):
            queue.put(number)
        assert await asyncio.gather(*waiting) == list(range(500))

    asyncio.run(main())


# --- Cancelling ---------------------------------------------------------------------------


def test_cancelled_after_it_was_called_makes_place_for_the_next(queue: Any) -> None:
    async def main() -> None:
        first, second = await settled(queue.aget(), queue.aget())
        called = queue._state.watch(queue, "_poll")._line._called
        queue.put("item")
        while not called:  # without letting the first one come
            pass
        first.cancel()
        assert await second == "item"
        assert first.cancelled()

    asyncio.run(main())


def test_timeout_loses_nothing(queue: Any) -> None:
    async def main() -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await queue.aget()
        queue.put("item")
        async with asyncio.timeout(60):
            assert await queue.aget() == "item"

    asyncio.run(main())


async def storm(queue: Any, random: Random, count: int) -> list[int]:
    """Get *count* items, while gets are cancelled by time and by hand; return what was got."""
    got: list[int] = []

    async def take() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(random.choice([None, 0, 0.0001, 0.001])):
                got.append(await queue.aget())

    taking: set[asyncio.Task[None]] = set()
    while len(got) < count:
        while len(taking) < 20:
            taking.add(asyncio.create_task(take()))
        await asyncio.sleep(random.choice([0, 0, 0.0005]))
        for task in random.sample(sorted(taking, key=id), 5):
            task.cancel()
        taking = {task for task in taking if not task.done()}
    for task in taking:
        task.cancel()
    await asyncio.gather(*taking, return_exceptions=True)
    return got


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("maxsize", [0, 3])
def test_storm_of_cancelled_gets_loses_nothing(method: str, maxsize: int) -> None:
    count = 600
    context = zeroipc.mp.get_context(method)
    with closing(context.Queue(maxsize)) as queue:
        producer = context.Process(target=tasks.put_numbers, args=(queue, count))
        producer.start()
        got = asyncio.run(storm(queue, Random(maxsize), count))
        producer.join()
    assert sorted(got) == list(range(count))


@settings(max_examples=15)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_storm_of_cancelled_puts_and_gets(seed: int, maxsize: int) -> None:
    random = Random(seed)
    put: list[int] = []
    got: list[int] = []

    async def give(queue: Any, number: int) -> None:
        await queue.aput(number)
        put.append(number)

    async def take(queue: Any) -> None:
        got.append(await queue.aget())

    async def main(queue: Any) -> None:
        running: list[asyncio.Task[None]] = []
        for number in range(100):
            work = give(queue, number) if random.random() < 0.6 else take(queue)
            running.append(asyncio.create_task(work))
            if random.random() < 0.5:
                await asyncio.sleep(random.choice([0, 0.0005]))
            if random.random() < 0.4:
                random.choice(running).cancel()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        while not queue.empty():
            got.append(queue.get())

    with closing(zeroipc.mp.Queue(maxsize)) as queue:
        asyncio.run(main(queue))
    assert sorted(got) == sorted(put)


# --- Several loops ------------------------------------------------------------------------


def in_threads(count: int, main: Callable[[], Coroutine[Any, Any, Any]]) -> list[Any]:
    """Run a loop in each of *count* threads; return their results."""
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda: results.append(asyncio.run(main()))) for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("kind", KINDS)
def test_loops_in_threads_share_a_queue(kind: str) -> None:
    async def main() -> list[int]:
        got: list[int] = []

        async def take() -> None:
            while (item := await shared.aget()) is not None:
                got.append(item)

        await asyncio.gather(*(take() for _ in range(5)))
        return got

    with closing(getattr(zeroipc.mp, kind)()) as shared:
        feeding = threading.Thread(
            target=lambda: [shared.put(item) for item in [*range(900), *[None] * 15]]
        )
        feeding.start()
        results = in_threads(3, main)
        feeding.join()
    assert sorted(chain(*results)) == list(range(900))


def test_loop_that_stopped_does_not_keep_others_waiting(queue: Any) -> None:
    stopped = asyncio.new_event_loop()
    waiting = stopped.create_task(queue.aget())
    stopped.run_until_complete(asyncio.sleep(0))

    async def main() -> None:
        [task] = await settled(queue.aget())
        queue.put("item")  # it is the turn of the other one, which does not come
        assert await task == "item"

    asyncio.run(main())
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        stopped.run_until_complete(waiting)
    stopped.close()


def test_closed_loop_is_passed_over(queue: Any) -> None:
    closed = asyncio.new_event_loop()
    turn = closed.create_future()
    closed.close()
    watch = queue._state.watch(queue, "_poll")
    watch._line.join(turn, ahead=False)

    async def main() -> None:
        [task] = await settled(queue.aget())
        queue.put("item")
        assert await task == "item"

    asyncio.run(main())


# --- The end ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue"])
def test_async_for_ends_with_the_shutdown(kind: str) -> None:
    async def take(queue: Any) -> list[int]:
        return [item async for item in queue]

    async def main(queue: Any) -> Any:
        taking = await settled(*(take(queue) for _ in range(3)))
        for number in range(30):
            await queue.aput(number)
            await asyncio.sleep(0)
        queue.shutdown()
        return await asyncio.gather(*taking)

    with closing(getattr(zeroipc.mp, kind)()) as queue:
        results = asyncio.run(main(queue))
    assert sorted(chain(*results)) == list(range(30))


def test_shutdown_fails_those_who_wait_for_room() -> None:
    async def main(queue: Any) -> None:
        putting = await settled(*(queue.aput(number) for number in range(4)))
        queue.shutdown()
        outcomes = await asyncio.gather(*putting, return_exceptions=True)
        assert outcomes[0] is None
        assert all(isinstance(outcome, ValueError) for outcome in outcomes[1:])

    with closing(zeroipc.mp.Queue(1)) as queue:
        asyncio.run(main(queue))


def test_close_ends_all_who_wait(queue: Any) -> None:
    async def main() -> None:
        taking = await settled(*(queue.aget() for _ in range(4)))
        queue.close()
        outcomes = await asyncio.gather(*taking, return_exceptions=True)
        assert all(isinstance(outcome, ValueError) for outcome in outcomes)

    asyncio.run(main())


@pytest.mark.parametrize("maxsize", [0, 1])
def test_what_no_memory_can_hold_is_refused(maxsize: int) -> None:
    with closing(zeroipc.mp.Queue(maxsize)) as queue:
        limit = queue._handle[0].limit
        with pytest.raises(ShmFullError):
            asyncio.run(queue.aput(np.zeros(limit, np.uint8)))
