"""A segment with the structures of which there is no golden one, in the midst of their work."""

from __future__ import annotations

from functools import cache

from tests.support.golden import read_segment
from tests.support.leaks import PREFIX
from zeroipc import Channel, EventStream, Function, LazyBool, Memory
from zeroipc._calls import Call


@cache
def own_segment() -> bytes:
    """Return its bytes: the table has 16 slots, like that of golden ones."""
    name = f"{PREFIX}own"
    with Memory.create(name, 4096, max_entries=16) as mem:
        try:
            Channel(mem, "direct", 0, "i4")
            EventStream(mem, "events").emit()
            LazyBool.and_(mem, "both", True, False)
            function = Function(mem, "f", "i4", "i4", slots=3)
            for value in range(3):
                Call(function._core, function._packed((value,))).try_start()
            function.serve_one(abs)
            return read_segment(name)
        finally:
            mem.unlink()
