"""What is acquired and released: semaphores, mutexes, and what has a mutex inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from .._core.status import OK
from .._direct import DirectStructure
from ._acquire import Waiting


class Acquire(Protocol):
    """How an acquire is called: as that of `threading.Lock`."""

    def __call__(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        """Acquire; return whether it worked."""


class Lock(DirectStructure):
    """A structure that `with` acquires and releases, by methods of the core."""

    __slots__ = {
        "__enter__": "Acquire, waiting as long as it takes.",
        "__exit__": "Release.",
        "acquire": "Acquire, waiting by default; return whether it worked in time.",
        "release": "Release; raises ReleaseError when there is nothing to be released.",
    }
    _direct = tuple(__slots__)
    _waiting: Waiting
    acquire: Acquire
    release: Any

    if TYPE_CHECKING:  # in a slot of the class, where a type checker would not look

        def __enter__(self) -> bool: ...  # type: ignore[override]

        def __exit__(self, *exception: object) -> None: ...

    def try_acquire(self) -> bool:
        """Acquire if that is possible now; return whether it was."""
        return self._core.try_acquire() is OK

    def _acquire_till(self, deadline: int) -> bool:
        """Acquire until a deadline, as from `deadline_of`; return whether it worked."""
        return self._core.try_acquire() is OK or self._waiting.till(self._core, deadline)
