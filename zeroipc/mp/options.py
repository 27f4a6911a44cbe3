"""An executor's tasks on other terms: `executor.options(timeout=..., retries=...)`."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, TypeVar

from .batches import submit_many
from .mapping import map_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .executor import ProcessPoolExecutor
    from .futures import TaskFuture
    from .terms import Terms

T = TypeVar("T")


class Options(Executor):
    """Runs calls in the workers of another executor, on terms of its own.

    It holds nothing: make one for a single call, or pass it to whoever wants an executor.

    Args:
        executor: whose workers run the tasks.
        terms: on which.
    """

    def __init__(self, executor: ProcessPoolExecutor, terms: Terms) -> None:
        self._executor = executor
        self._given = terms

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> TaskFuture[T]:
        """Schedule `fn(*args, **kwargs)`; return its future. All keywords are the function's."""
        return self._executor._engine.submit(fn, args, kwargs, self._given)

    def submit_many(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        chunksize: int | None = None,
    ) -> list[TaskFuture[T]]:
        """Schedule calls as the executor's `submit_many` does, each with a message of its own."""
        calls = zip(*iterables, strict=False)
        return submit_many(self._executor._engine, fn, calls, chunksize, self._given)

    def map(  # type: ignore[override, unused-ignore]
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        progress: bool | Callable[[int, int | None], object] = False,
    ) -> Iterator[T]:
        """Return results as the executor's `map` does; the terms hold for each task."""
        packer = self._executor._engine.packer
        return map_calls(
            self.submit, packer, fn, iterables, timeout, chunksize, buffersize, progress
        )

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut the executor itself down."""
        self._executor.shutdown(wait, cancel_futures=cancel_futures)
