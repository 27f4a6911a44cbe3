"""`put_many`: several messages in one visit of the queue, as if they were put one by one."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import zeroipc.mp as mp
from tests.support.programs import run_python
from zeroipc import errors

MB = 1 << 20
SHAPES: list[Any] = [
    list,
    tuple,
    iter,
    deque,
    lambda items: (item for item in items),
    dict.fromkeys,
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100])
def test_items_come_out_in_order(shape: Any, count: int) -> None:
    q = mp.Queue()
    items = [(number, "x" * number) for number in range(count)]
    assert q.put_many(shape(items)) == count
    assert q.qsize() == count
    assert [q.get() for _ in range(count)] == items


@pytest.mark.parametrize("shape", [list, iter])
def test_only_so_many_fit(shape: Any) -> None:
    q = mp.Queue(11)
    assert q.put_many(shape(range(30)), block=False) == 11
    with pytest.raises(queue.Full):
        q.put_many(shape([99]), False)
    with pytest.raises(queue.Full):
        q.put_many(items=shape([99]), timeout=0.01)
    assert q.get() == 0
    assert q.put_many(shape([11, 12]), True, 0.01) == 1
    assert q.get_many(limit=20) == list(range(1, 12))
    assert q.put_many([], False) == 0


def test_it_waits_for_room() -> None:
    q = mp.Queue(3)
    got: list[int] = []
    taker = threading.Thread(target=lambda: got.extend(q.get() for _ in range(50)))
    taker.start()
    assert q.put_many(range(50)) == 50
    taker.join()
    assert got == list(range(50))


def test_items_of_a_generator_go_one_by_one() -> None:
    """Each is there before the next is asked for: the generator may wait for an answer."""
    q = mp.Queue()

    def echo() -> Iterator[int]:
        yield 0
        for number in range(1, 20):
            assert q.get_nowait() == number - 1
            yield number

    assert q.put_many(echo()) == 20
    assert q.get() == 19


def test_what_cannot_be_pickled_comes_after_those_before_it() -> None:
    q = mp.Queue()
    with pytest.raises(errors.UnpicklableError):
        q.put_many([1, 2, 3, lambda: None, 4])
    with pytest.raises(errors.UnpicklableError):
        q.put_many([lambda: None])
    assert q.get_many(10) == [1, 2, 3]
    bounded = mp.Queue(2)
    assert bounded.put_many([1, 2, 3, lambda: None], False) == 2


def test_an_iterator_that_fails() -> None:
    q = mp.Queue()

    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("broken")

    with pytest.raises(KeyError):
        q.put_many(broken())
    assert q.get_many(10) == [1]
    with pytest.raises(TypeError):
        q.put_many(5)
    with pytest.raises(TypeError):
        q.put_many()


def test_closed_and_shut() -> None:
    q = mp.Queue()
    q.shutdown()
    with pytest.raises(errors.ShutDown):
        q.put_many([1, 2])
    q.close()
    with pytest.raises(ValueError, match="is closed"):
        q.put_many([1, 2])


def test_arrays_and_loans_among_the_items() -> None:
    q = mp.Queue(6)
    loans: list[Any] = [mp.asarray(np.full(2000, number)) for number in range(4)]
    blocks = [loan.base.base.id for loan in loans]
    items = [0, loans[0], "a", np.ones(9000), loans[1], [loans[2]], "never", loans[3]]
    assert q.put_many(items, False) == 6
    assert [loan.flags.writeable for loan in loans] == [False, False, False, True]
    got = [q.get() for _ in range(6)]
    assert [got[1].base.base.id, got[4].base.base.id, got[5][0].base.base.id] == blocks[:3]
    loans[3][0] = 7
    assert q.put_many([loans[3]]) == 1
    assert q.get()[0] == 7


def test_memory_that_a_small_item_frees_is_waited_for_after_it() -> None:
    """Who holds the memory lets go of it only when it gets what is put before the large item."""
    run_python("""
        import threading
        import numpy as np
        import zeroipc.mp as mp
        from zeroipc.mp import transport
        transport.memory_limit = lambda: 48 << 20
        q = mp.Queue(100)
        q.put(np.ones(36 << 20, np.uint8))
        held = [q.get()]
        def take():
            assert q.get() == "let go"
            held.clear()
            held.append(q.get())
        taker = threading.Thread(target=take)
        taker.start()
        assert q.put_many(["let go", np.ones(36 << 20, np.uint8), "last"]) == 3
        taker.join()
        assert held[0].sum() == 36 << 20 and q.get() == "last"
    """)


def test_an_unbounded_queue_keeps_what_does_not_fit() -> None:
    run_python("""
        import numpy as np
        import zeroipc.mp as mp
        from zeroipc.mp import transport
        transport.memory_limit = lambda: 48 << 20
        q = mp.Queue()
        items = [part for n in range(12) for part in (n, np.full(9 << 20, n, np.uint8))]
        assert q.put_many(items) == 24
        for n in range(12):
            assert q.get() == n
            assert (q.get() == n).all()
    """)


def produce(q: Any, who: int) -> None:
    for start in range(0, 3000, 50):
        q.put_many([(who, number) for number in range(start, start + 50)])


@pytest.mark.parametrize("maxsize", [0, 5])
def test_from_several_processes(maxsize: int) -> None:
    context = mp.get_context("fork")
    q = context.Queue(maxsize)
    producers = [context.Process(target=produce, args=(q, who)) for who in range(2)]
    for process in producers:
        process.start()
    got: list[list[int]] = [[], []]
    while sum(map(len, got)) < 6000:
        for who, number in q.get_many(20):
            got[who].append(number)
    assert got == [list(range(3000))] * 2
    for process in producers:
        process.join()
