"""What can be agreed about a task beyond the standard library."""

from __future__ import annotations

from types import BuiltinFunctionType
from typing import Any


class Terms:
    """How long a task may run, and how often it is run again.

    Args:
        timeout: seconds that it may run, from when a worker takes it; None for ever. It fails
            with TaskTimeoutError then, and the worker is killed and replaced.
        retries: how often it is run again when its worker dies; not after a timeout. Its
            arguments are sent anew, as they are then.

    Attributes:
        call: (fn, args, kwargs) while it may be run again.
        death: the error of its last worker's death.

    Raises:
        ValueError: *timeout* is not positive, or *retries* is below 0.
        TypeError: *timeout* is no number, or *retries* no integer.
    """

    call: Any = None
    death: BaseException | None = None

    def __init__(self, timeout: float | None = None, retries: int = 0) -> None:
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout must be None or > 0: timeout={timeout}")
        if not isinstance(retries, int):
            raise TypeError(f"retries must be an integer: retries={retries!r}")
        if retries < 0:
            raise ValueError(f"retries must be >= 0: retries={retries}")
        self.timeout = timeout
        self.retries = retries


def own_terms(fn: Any, kwargs: dict[str, Any], terms: Terms | None) -> Terms | None:
    """Take from *kwargs* those terms that are not arguments of *fn*; return the terms to use."""
    mine = {name for name in ("timeout", "retries") if name in kwargs and not _takes(fn, name)}
    if not mine:
        return terms
    given = {name: kwargs.pop(name) for name in mine}
    if terms is not None:
        given = {"retries": terms.retries, **given}
    return Terms(**given)


def _takes(fn: Any, name: str) -> bool:
    """Return whether a callable has a parameter of this name, as far as it says."""
    import inspect  # late: it takes longer to load than a task to run

    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):  # it does not say; few builtin functions take such names
        return not isinstance(fn, BuiltinFunctionType)
    return any(
        p.kind is p.VAR_KEYWORD or (p.name == name and p.kind is not p.POSITIONAL_ONLY)
        for p in parameters
    )
