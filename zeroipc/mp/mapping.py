"""`map` of the executors: many calls, their results in order, as they are asked for."""

from __future__ import annotations

import itertools
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from .calls import Chunk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .calls import Packer

T = TypeVar("T")


def map_calls(
    submit: Callable[..., Any],
    packer: Packer,
    fn: Callable[..., Any],
    iterables: tuple[Iterable[Any], ...],
    timeout: float | None,
    chunksize: int,
    buffersize: int | None,
    progress: Any = None,
) -> Iterator[Any]:
    """Return the results of `map(fn, *iterables)`; see `ProcessPoolExecutor.map`."""
    if chunksize < 1:
        raise ValueError("chunksize must be >= 1.")
    if buffersize is not None and not isinstance(buffersize, int):
        raise TypeError("buffersize must be an integer or None")
    if buffersize is not None and buffersize < 1:
        raise ValueError("buffersize must be None or > 0")
    deadline = None if timeout is None else time.monotonic() + timeout
    calls: Iterator[tuple[Any, ...]] = zip(*iterables, strict=False)
    follow = None
    if progress:
        submit, follow = _shown(submit, progress, iterables, chunksize)
    if chunksize == 1:
        submits = (partial(submit, fn, *args) for args in calls)
        results = _results(submits, deadline, buffersize)
    else:
        chunk: Callable[..., Any] = Chunk(fn, packer.pack(fn))
        submits = (partial(submit, chunk, some) for some in _chunks(calls, chunksize))
        results = _flat(_results(submits, deadline, buffersize))
    return results if follow is None else follow(results)


def _shown(
    submit: Callable[..., Any], show: Any, iterables: Iterable[Any], chunksize: int
) -> tuple[Callable[..., Any], Callable[[Iterator[Any]], Iterator[Any]]]:
    """Return a *submit* that counts what is done, and what the results go through."""
    from .progress import Progress

    progress = Progress(show, iterables)

    def counted(fn: Callable[..., Any], *args: Any) -> Any:
        return progress.watch(submit(fn, *args), 1 if chunksize == 1 else len(args[0]))

    return counted, progress.follow


def _chunks(calls: Iterator[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    while some := list(itertools.islice(calls, size)):
        yield some


def _flat(lists: Iterator[list[T]]) -> Iterator[T]:
    for some in lists:
        some.reverse()
        while some:  # and keep no reference to what was given away
            yield some.pop()


def _results(
    submits: Iterator[Callable[[], Any]], deadline: float | None, buffersize: int | None
) -> Iterator[Any]:
    """Submit all, or the first *buffersize*, now; return an iterator of the results."""
    futures = deque(submit() for submit in itertools.islice(submits, buffersize))

    def collect() -> Iterator[Any]:
        try:
            while futures:
                if submit := next(submits, None):
                    futures.append(submit())
                left = None if deadline is None else deadline - time.monotonic()
                yield _result_of(futures.popleft(), left)  # and keep no reference to it
        finally:
            for future in futures:
                future.cancel()

    return collect()


def _result_of(future: Any, timeout: float | None) -> Any:
    try:
        return future.result(timeout)
    finally:
        future.cancel()
        del future  # break the cycle with an exception's traceback
