"""Everything that can be done with each kind of structure, without ever waiting long."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

import numpy as np

from tests.support.exercise_codata import CODATA_EXERCISES
from tests.support.exercise_hashed import HASHED_EXERCISES
from tests.support.exercise_sync import SYNC_EXERCISES
from zeroipc import Array, Memory, Pool, Queue, Ring, Stack, ZeroIPCError

DTYPES = (np.uint8, np.int32, np.float64, "V24")


def exercise_array(mem: Memory, name: str, dtype: object) -> None:
    array = Array(mem, name, dtype=dtype)  # type: ignore[arg-type]
    array.view(np.uint8).sum()  # touches every byte
    array[-1] = array[0]


def exercise_queue(mem: Memory, name: str, dtype: object) -> None:
    use_items(Queue(mem, name, dtype=dtype))  # type: ignore[arg-type]


def exercise_stack(mem: Memory, name: str, dtype: object) -> None:
    stack = Stack(mem, name, dtype=dtype)  # type: ignore[arg-type]
    with suppress(ZeroIPCError):
        stack.peek()
    use_items(stack)


def use_items(items: Queue | Stack) -> None:
    value = np.zeros((), items.dtype)[()]
    for attempt in (
        lambda: items.try_push(value),
        items.try_pop,
        lambda: items.push(value, 0),
        lambda: items.pop(0),
        lambda: items.push_many(np.zeros(5, items.dtype), 0),
        lambda: items.pop_many(7, 0),
    ):
        with suppress(ZeroIPCError):
            attempt()
    len(items)
    items.repair()
    assert items.try_pop() is not None or items.try_push(value)
    repr(items)


def exercise_ring(mem: Memory, name: str, dtype: object) -> None:
    ring = Ring(mem, name, dtype=dtype)  # type: ignore[arg-type]
    value = np.zeros((), ring.dtype)[()]
    for attempt in (
        lambda: ring.try_push(value),
        lambda: ring.write(np.zeros(5, ring.dtype), 0),
        lambda: window(ring.reserve(9, 0)),
        lambda: window(ring.peek(9, 0)),
        ring.try_pop,
        lambda: ring.read(7, 0),
    ):
        with suppress(ZeroIPCError):
            attempt()
    repr(ring)


def exercise_pool(mem: Memory, name: str, dtype: object) -> None:
    pool = Pool(mem, name, dtype=dtype)  # type: ignore[arg-type]
    for attempt in (
        lambda: pool.allocate(0).free(),
        lambda: setattr(pool.allocate(0), "value", np.zeros((), pool.dtype)[()]),
        lambda: pool.free(0),
        lambda: pool.adopt(pool.capacity - 1).free(),
        pool.repair,
    ):
        with suppress(ZeroIPCError):
            attempt()
    len(pool)
    pool.repair([0])
    assert (len(pool), pool[0].dtype, pool[0].nbytes > 0) == (1, pool.dtype, True)
    repr(pool)


def window(opening: AbstractContextManager[np.ndarray[Any, Any]]) -> None:
    with opening as items:
        items.view(np.uint8).sum()


EXERCISES: tuple[Callable[[Memory, str, object], None], ...] = (
    exercise_array,
    exercise_pool,
    exercise_queue,
    exercise_ring,
    exercise_stack,
    *HASHED_EXERCISES,
    *SYNC_EXERCISES,
    *CODATA_EXERCISES,
)


def exercise(mem: Memory) -> None:
    """Take every name for every kind of structure, with several dtypes; each may refuse."""
    suffixes = ("_header", "_buffer", "_slot", "_sem", "_state", "_mtx", "_rmtx", "_calls")
    names = mem.names()
    bases = {name.removesuffix(suffix) for name in names for suffix in suffixes}
    for name in sorted({*names, *bases}):
        for kind in EXERCISES:
            for dtype in DTYPES:
                with suppress(ZeroIPCError):
                    kind(mem, name, dtype)
    with suppress(ZeroIPCError):
        Array(mem, "new", 4, np.int32)[:] = 1
        assert Array(mem, "new", dtype=np.int32).tolist() == [1, 1, 1, 1]
