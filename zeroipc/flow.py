"""Values one after the other, possibly without end, and what is made of them on the way.

Nothing happens until somebody asks for the next value, and then only what it takes to get it,
in the thread and process that ask.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from operator import index
from typing import Any, Generic, Self, TypeVar

from .errors import CapacityError

T = TypeVar("T")
U = TypeVar("U")


class Flow(Iterator[T], Generic[T]):
    """An iterator over *values* with the operations of a stream; a generator may be endless.

    >>> squares = Flow(itertools.count()).map(lambda n: n * n)
    >>> list(squares.filter(lambda n: n % 2).skip(1).take(3))
    [9, 25, 49]
    >>> list(Flow(range(5)).window(2))
    [(0, 1), (2, 3)]
    """

    def __init__(self, values: Iterable[T]) -> None:
        self._values = iter(values)

    @classmethod
    def iterate(cls, function: Callable[[Any], Any], start: Any) -> Self:
        """Return the endless flow of *start*, ``function(start)`` and so on."""
        return cls(itertools.accumulate(itertools.repeat(start), lambda value, _: function(value)))

    def __next__(self) -> T:
        return next(self._values)

    def map(self, function: Callable[[T], U]) -> Flow[U]:
        """Return the flow of what *function* makes of each value."""
        return Flow(map(function, self._values))

    def filter(self, predicate: Callable[[T], object]) -> Flow[T]:
        """Return the flow of the values for which *predicate* is true."""
        return Flow(filter(predicate, self._values))

    def take(self, count: int) -> Flow[T]:
        """Return the flow of the first *count* values; it asks for no more."""
        return Flow(itertools.islice(self._values, index(count)))

    def skip(self, count: int) -> Flow[T]:
        """Return the flow without its first *count* values."""
        return Flow(itertools.islice(self._values, index(count), None))

    def window(self, size: int, step: int | None = None) -> Flow[tuple[T, ...]]:
        """Return the flow of *size* values each, as tuples; an incomplete last one is left out.

        Args:
            step: from the start of one to that of the next; by default *size*, so that they
                do not overlap.
        """
        stride = size if step is None else step
        for what, number in (("size", size), ("step", stride)):
            if index(number) < 1:
                raise CapacityError(f"{what} must be at least 1: {what}={number}")
        return Flow(_windows(self._values, size, stride))

    def zip(self, *others: Iterable[Any]) -> Flow[tuple[Any, ...]]:
        """Return the flow of tuples of values of this and of *others*.

        It ends with the first that ends; what was asked of those before it is lost.
        """
        return Flow(zip(self._values, *others, strict=False))

    def fold(self, function: Callable[[U, T], U], start: U) -> U:
        """Return *start* combined with one value after the other; it must have an end."""
        return reduce(function, self._values, start)


def _windows(values: Iterator[T], size: int, step: int) -> Iterator[tuple[T, ...]]:
    held: deque[T] = deque(itertools.islice(values, size))
    while len(held) == size:
        yield tuple(held)
        for _ in range(min(step, size)):
            held.popleft()
        skipped = sum(1 for _ in itertools.islice(values, max(step - size, 0)))
        if skipped < step - size:
            return
        held.extend(itertools.islice(values, size - len(held)))
