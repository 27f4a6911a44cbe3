"""Telling how many calls of a `map` are done: to a callable, to a bar of tqdm or of rich."""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .._rlock import RLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class Progress:
    """Counts the calls that are done, in whatever order.

    Args:
        show: called with (done, total) after each task, one call at a time, in whatever thread
            notices; or True for a bar. The total is None where an iterable has no length.
        iterables: what is mapped over.
    """

    def __init__(self, show: Any, iterables: Iterable[Any]) -> None:
        self.total = _total(iterables)
        self.close: Callable[[], object] = lambda: None
        if callable(show):
            self._report = show
        else:
            self._report, self.close = _bar(self.total)
        self._done = 0
        self._awaited = 0
        self._changed = threading.Condition(RLock())

    def watch(self, future: Any, calls: int) -> Any:
        """Count a task's calls when it is done; return its future."""
        self._awaited += 1
        future.add_done_callback(lambda _: self._count(calls))
        return future

    def _count(self, calls: int) -> None:
        with self._changed:
            self._done += calls
            self._awaited -= 1
            self._changed.notify_all()
            self._report(self._done, self.total)

    def follow(self, results: Iterator[Any]) -> Iterator[Any]:
        """Yield the results; at their end all has been told."""
        try:
            yield from results
            with self._changed:
                self._changed.wait_for(lambda: self._awaited == 0)
        finally:
            self.close()


def _total(iterables: Iterable[Any]) -> int | None:
    """Return how many calls there will be, None if nobody knows."""
    lengths = [len(each) for each in iterables if hasattr(each, "__len__")]
    return min(lengths) if lengths else None


def _bar(total: int | None) -> tuple[Any, Any]:
    """Return the functions that move a bar and close it: of tqdm, of rich, or plain text."""
    for make in (_tqdm_bar, _rich_bar):
        try:
            return make(total)
        except ImportError:
            pass
    return _plain_bar()


def _tqdm_bar(total: int | None) -> tuple[Any, Any]:
    bar = import_module("tqdm.auto").tqdm(total=total)
    return (lambda done, _: bar.update(done - bar.n)), bar.close


def _rich_bar(total: int | None) -> tuple[Any, Any]:
    bar = import_module("rich.progress").Progress()
    task = bar.add_task("", total=total)
    bar.start()
    return (lambda done, _: bar.update(task, completed=done)), bar.stop


def _plain_bar() -> tuple[Any, Any]:
    def report(done: int, total: int | None) -> None:
        of = "" if total is None else f"/{total}"
        print(f"\r{done}{of}", end="", file=sys.stderr, flush=True)

    return report, lambda: print(file=sys.stderr)
