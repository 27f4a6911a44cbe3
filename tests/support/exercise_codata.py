"""Everything that can be done with what has values later, without ever waiting long."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np

from zeroipc import (
    Channel,
    EventStream,
    Function,
    Future,
    Lazy,
    LazyBool,
    Memory,
    Stream,
    ZeroIPCError,
    select,
)


def exercise_future(mem: Memory, name: str, dtype: object) -> None:
    future = Future.open(mem, name, dtype)  # type: ignore[arg-type]
    for use in (lambda: repr(future), future.try_result, lambda: future.result(0)):
        with suppress(ZeroIPCError):
            use()
    future.repair()
    future.try_set_result(np.zeros((), future.dtype)[()])
    with suppress(ZeroIPCError):
        future.exception(0)


def exercise_lazy(mem: Memory, name: str, dtype: object) -> None:
    value: Lazy | LazyBool = (
        LazyBool(mem, name) if dtype is np.uint8 else Lazy(mem, name, dtype)  # type: ignore[arg-type]
    )
    for use in (lambda: repr(value), lambda: value.value, lambda: value.force(0)):
        with suppress(ZeroIPCError):
            use()
    value.repair()
    value.reset()
    with suppress(ZeroIPCError):
        value.force(0)


def exercise_channel(mem: Memory, name: str, dtype: object) -> None:
    values = Channel(mem, name, dtype=dtype)  # type: ignore[arg-type]
    value = np.zeros((), values.dtype)[()]
    for use in (
        lambda: repr(values),
        lambda: values.try_send(value),
        lambda: values.try_recv(),
        lambda: values.send(value, 0),
        lambda: values.recv(0),
        lambda: select(values, timeout=0),
        values.close,
    ):
        with suppress(ZeroIPCError):
            use()
    values.repair()
    assert values.closed


def exercise_function(mem: Memory, name: str, dtype: object) -> None:
    function = Function.open(mem, name, dtype, dtype)  # type: ignore[arg-type]
    value = np.zeros((), function._result.dtype)[()]
    for use in (
        lambda: repr(function),
        lambda: function.serve_one(lambda x: x, 0),
        lambda: function(value, timeout=0),
        lambda: list(function.map([value], timeout=0)),
        function.repair,
        lambda: function.serve_one(lambda x: x, 0),
    ):
        with suppress(ZeroIPCError):
            use()


def exercise_stream(mem: Memory, name: str, dtype: object) -> None:
    stream = Stream(mem, name, dtype=dtype)  # type: ignore[arg-type]
    value = np.zeros((), stream.dtype)[()]
    for use in (
        lambda: repr(stream),
        lambda: stream.emit(value, 0),
        lambda: stream.next(timeout=0),
        stream.close,
        lambda: list(stream.window(2).take(1)),
    ):
        with suppress(ZeroIPCError):
            use()
    assert stream.closed


def exercise_events(mem: Memory, name: str, dtype: object) -> None:
    events = EventStream.open(mem, name)
    for use in (lambda: repr(events), lambda: events.next(timeout=0), events.emit, events.close):
        with suppress(ZeroIPCError):
            use()
    assert list(events) == []


CODATA_EXERCISES: tuple[Callable[[Memory, str, object], None], ...] = (
    exercise_future,
    exercise_lazy,
    exercise_channel,
    exercise_function,
    exercise_stream,
    exercise_events,
)
