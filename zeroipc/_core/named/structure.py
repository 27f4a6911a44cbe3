"""What the object of each structure has: the segment's words, and bells to ring."""

from __future__ import annotations

from ..layout import MAX_ALIGN
from .bell import Bell
from .words import Words


class Structure:
    """*nbytes* at an *offset* of a segment, and up to two bells that changes ring."""

    def __init__(self, buf: memoryview, offset: int, nbytes: int, *bells: Bell | None) -> None:
        if offset % MAX_ALIGN or offset < 0 or nbytes > len(buf) - offset:
            raise ValueError(
                f"a structure must start at a multiple of {MAX_ALIGN} and lie inside "
                f"{len(buf)} bytes: offset={offset}, nbytes={nbytes}"
            )
        self._words = Words(buf)
        self._bells = bells

    def _ring(self, which: int) -> None:
        """After a change: wake whoever may wait for it."""
        bell = self._bells[which]
        if bell is not None:
            bell.ring()
