"""Everything that can be done with maps and sets, without ever waiting long."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np

from zeroipc import Map, Memory, Set, ZeroIPCError


def exercise_map(mem: Memory, name: str, dtype: object) -> None:
    for value_dtype in (np.int32, np.float64):
        with suppress(ZeroIPCError):
            use_map(Map(mem, name, None, dtype, value_dtype))  # type: ignore[arg-type]


def use_map(numbers: Map) -> None:
    key = np.zeros((), numbers.key_dtype)[()]
    for attempt in (
        numbers.copy,
        lambda: numbers.get(key),
        lambda: numbers.setdefault(key, 1),
        lambda: numbers.insert_many(np.zeros(3, numbers.key_dtype), [1, 2, 3]),
        lambda: numbers.pop(key, None),
        lambda: numbers.try_insert(key, 2),
    ):
        with suppress(ZeroIPCError):
            attempt()
    repr(numbers)
    numbers.repair()
    assert len(numbers) == len(list(numbers))
    assert numbers.try_insert(key, 3) == (numbers.get(key) == 3)
    numbers.clear()
    numbers[key] = 4
    assert list(numbers.values()) == [4]


def exercise_set(mem: Memory, name: str, dtype: object) -> None:
    values = Set(mem, name, dtype=dtype)  # type: ignore[arg-type]
    value = np.zeros((), values.dtype)[()]
    for attempt in (
        values.copy,
        lambda: value in values,
        lambda: values.update(np.zeros(3, values.dtype)),
        lambda: values.discard(value),
        lambda: values.add(value),
    ):
        with suppress(ZeroIPCError):
            attempt()
    values.repair()
    assert values.try_insert(value) == (value in values)
    repr(values)


HASHED_EXERCISES: tuple[Callable[[Memory, str, object], None], ...] = (exercise_map, exercise_set)
