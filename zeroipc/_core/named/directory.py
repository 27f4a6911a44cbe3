"""Where a segment's table is, for code that has to look into it by itself."""

from __future__ import annotations

from typing import NamedTuple


class Directory(NamedTuple):
    """Offsets and sizes in bytes: of the count, the entries, one entry; and how many slots."""

    count_at: int
    entries_at: int
    stride: int
    slots: int
