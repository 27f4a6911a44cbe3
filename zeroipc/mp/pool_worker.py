"""What the worker of a `Pool` does: as any worker, but errors travel as `multiprocessing.pool`'s.

`multiprocessing.pool` is loaded here only for an error: it brings half of multiprocessing along.
"""

from __future__ import annotations

import itertools
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

from .calls import unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .calls import Packed


def begin(initializer: Callable[..., object], initargs: Iterable[Any]) -> None:
    """Call the initializer, which has come with the process and not in a message.

    So it may be whatever a process can be started with: a method of an object with locks, or,
    under fork, a lambda.
    """
    initializer(*initargs)


def map_chunk(packed: Packed, items: Iterable[Any]) -> list[Any]:
    """Return the results of a callable for each of *items*."""
    return list(map(unpack(packed), items))


def starmap_chunk(packed: Packed, items: Iterable[Iterable[Any]]) -> list[Any]:
    """Return the results of a callable for the arguments in each of *items*."""
    return list(itertools.starmap(unpack(packed), items))


def run_pool_call(call: tuple[Any, ...], results: Any) -> None:
    """Call, and send (number, whether it returned, what it returned or raised)."""
    number, packed, args, kwargs = call
    try:
        outcome = number, True, unpack(packed)(*args, **kwargs)
    except BaseException as error:
        outcome = number, False, _portable(error)
    try:
        results.put(outcome)
    except Exception as error:
        results.put((number, False, _encoding_error(error, outcome[2])))


def _portable(error: BaseException) -> Any:
    """Return *error* so that it takes its traceback along, and arrives.

    Many exceptions cannot be unpickled, those whose `__init__` wants other arguments than
    `args`. The pool would never know which task such a one came from.
    """
    from multiprocessing import pool

    wrapped = pool.ExceptionWithTraceback(error, error.__traceback__)  # type: ignore[attr-defined]
    try:
        ForkingPickler.loads(ForkingPickler.dumps(wrapped))
    except Exception as reason:
        return _encoding_error(reason, error)
    return wrapped


def _encoding_error(reason: Exception, value: Any) -> Exception:
    from multiprocessing import pool

    return pool.MaybeEncodingError(reason, value)  # type: ignore[attr-defined, no-any-return]
