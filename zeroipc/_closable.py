"""What anybody can close for all: nothing more will be sent."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from . import _backend
from ._structure import Structure
from .errors import ClosedError


class Closable(Structure):
    """A structure with a word that says that it is closed, for all and for ever.

    `close` sets it. To let go of this handle only is `detach`, as the end of a `with` block
    does.
    """

    _ears: tuple[Any, ...]

    def _watch_end(self, closed_at: int, *ears: Any) -> None:
        """Find the word at an offset of the segment; closing rings the bells *ears*."""
        self._core = _backend.named.Word(self._buf, closed_at, "B", None)
        self._ears = ears

    def _is_over(self) -> bool:
        return bool(self._core.load())  # [closable.closed] acquire

    def close(self) -> None:
        """Say that nothing more will be sent, to all; what was sent before can be received."""
        self._core.store(1)  # [closable.closed] release: all that this process sent before
        for bell in self._ears:
            bell.ring()

    @property
    def closed(self) -> bool:
        """Whether somebody closed it for all, or this handle was let go of."""
        try:
            return self._is_over()
        except ClosedError:
            return True

    def detach(self) -> None:
        """Let go of this handle; for others nothing changes."""
        super().close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.detach()
