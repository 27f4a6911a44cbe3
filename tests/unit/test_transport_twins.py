"""The C core and its Python twin do the same operations in the same bytes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.arenas import BACKENDS, NATIVE, PURE, File, core, queue_of
from zeroipc._core import status
from zeroipc._core.arena import View, class_of_pages, class_pages
from zeroipc._core.fields import Layout
from zeroipc._core.layout import (
    ARENA,
    BLOCK,
    INLINE_MAX,
    KIND_RING,
    LAYOUTS,
    NOTE_CLAIMS,
    NOTE_TASKS,
    PAGE,
    PARTICIPANT,
    QUEUE,
)
from zeroipc._core.notes import tally_open
from zeroipc._core.records import struct_of
from zeroipc._core.ring import Cursor, cursor_load, cursor_pack, items_between
from zeroipc.errors import ClosedError, OwnerDiedError, SegmentFormatError

ROOT = Path(__file__).parents[2]
VARYING = {
    ARENA: {"creator_pid", "creator_start", "lock", "last_sweep"},
    PARTICIPANT: {"pid", "start", "reserved_at"},
    QUEUE: {"lock", "head_cpu", "tail_cpu"},
    BLOCK: set(),
}
"""What no two runs have in common: processes, times, CPUs, and the insides of mutexes."""


# --- The same bytes -------------------------------------------------------------------------


def fields_of(view: View, layout: Layout, at: int) -> dict[str, bytes]:
    """Return the bytes of each field of the record at *at* but the varying ones."""
    return {
        field.name: bytes(view.bytes[at + field.offset : at + field.end])
        for field in layout.fields
        if field.name not in VARYING[layout]
    }


def picture(file: File) -> dict[str, Any]:
    """Return all that an arena says of itself, and the bytes of its rings."""
    view = View(file.fd, file.nbytes)
    arena = view.arena
    tables = (
        ("participant", view.participants, PARTICIPANT, arena.participants_used),
        ("queue", view.queues, QUEUE, arena.queues_used),
        ("block", view.blocks, BLOCK, arena.blocks_used),
    )
    found: dict[str, Any] = {"arena": fields_of(view, ARENA, 0)}
    for name, table, layout, used in tables:
        for index in range(used):
            found[f"{name} {index}"] = fields_of(view, layout, table[index].at)
    for number in range(arena.blocks_used):
        block = view.blocks[number]
        if block.kind == KIND_RING and block.backed:
            nbytes = class_pages(block.cls) * PAGE
            found[f"ring {number}"] = bytes(view.bytes[block.offset : block.offset + nbytes])
    return found


class Twins:
    """The same operations in two arenas, one for each backend."""

    def __init__(self, maxsize: int = 0, noting: int = 0) -> None:
        self.files = {backend: File() for backend in BACKENDS}
        self.arenas = {name: file.create(name) for name, file in self.files.items()}
        self.queues = {
            name: queue_of(name, arena, maxsize=maxsize, noting=noting)
            for name, arena in self.arenas.items()
        }

    def both(self, call: Any) -> None:
        """Call with (backend, arena, queue) in both, and compare the answers and the bytes."""
        answers = {
            name: self._answer(call, name, self.arenas[name], self.queues[name])
            for name in BACKENDS
        }
        assert repr(answers[NATIVE]) == repr(answers[PURE])
        pictures = {name: picture(file) for name, file in self.files.items()}
        assert pictures[NATIVE] == pictures[PURE]

    @staticmethod
    def _answer(call: Any, *args: Any) -> Any:
        try:
            return call(*args)
        except Exception as error:
            return type(error).__name__, str(error)


OBJECTS: list[Any] = [
    1,
    "text",
    b"b" * 5000,
    None,
    2.5,
    {"k": [1, 2]},
    "\ud800",
    2**70,
    np.arange(10),
    np.arange(30_000),
    np.asfortranarray(np.ones((100, 90))),
    {"a": np.arange(5000), "b": [np.ones(3000, np.float32)]},
    b"x" * (INLINE_MAX + 1),
    list(range(50_000)),
]


def test_puts_and_gets() -> None:
    twins = Twins()
    for obj in OBJECTS:
        twins.both(lambda name, arena, queue, obj=obj: queue.put(obj))
    for _ in OBJECTS:
        twins.both(lambda name, arena, queue: queue.get())
    twins.both(lambda name, arena, queue: queue.get(False))


def test_many_at_a_time() -> None:
    twins = Twins(maxsize=12)
    for items in (OBJECTS, [1, 2, 3], list(range(40)), [lambda: None], [5, lambda: None], [], (6,)):
        twins.both(lambda name, arena, queue, items=items: queue.put_many(items, False))
        twins.both(lambda name, arena, queue: str(queue.get_many(9, False)))
    twins.both(lambda name, arena, queue: queue.put_many(iter("abcdefghijklmno"), False))
    twins.both(lambda name, arena, queue: str(queue.get_many(20, False)))
    twins.both(lambda name, arena, queue: queue.put_many(7))
    twins.both(lambda name, arena, queue: arena.stats())


def lent(arena: Any, nelem: int) -> Any:
    """Return an array over a block, filled."""
    array = np.ndarray((nelem,), float, arena.allocate(8 * nelem)).view()
    array[:] = np.arange(nelem)
    return array


def test_loans() -> None:
    twins = Twins(maxsize=4)
    kept: dict[str, list[Any]] = {name: [] for name in BACKENDS}

    def lend(name: str, arena: Any, queue: Any) -> None:
        kept[name][:] = [lent(arena, 1000 * (1 + number)) for number in range(17)]

    twins.both(lend)
    for pick in (
        lambda loans: loans[0],
        lambda loans: (1, loans[1]),
        lambda loans: {"a": loans[2], "b": [loans[3][5:], np.ones(5000)], "c": loans[4]},
        lambda loans: (loans[1], "moved"),
        lambda loans: loans,
        lambda loans: [*loans[5:], list(range(50_000))],
        lambda loans: (np.zeros(1000), loans[3]),
    ):
        twins.both(lambda name, arena, queue, pick=pick: queue.put(pick(kept[name]), False))
    twins.both(lambda name, arena, queue: [array.flags.writeable for array in kept[name]])
    for _ in range(4):
        twins.both(lambda name, arena, queue: str(queue.get(False)))
    twins.both(lambda name, arena, queue: kept[name].clear())
    twins.both(lambda name, arena, queue: queue.get(False))
    twins.both(lambda name, arena, queue: arena.stats())


def test_rings_wrap_grow_and_shrink() -> None:
    twins = Twins()
    for nbytes in (100, 1000, 3000, 16000):
        for step in range(12):
            twins.both(lambda name, arena, queue, nbytes=nbytes: queue.put(b"r" * nbytes))
            if step % 3:
                twins.both(lambda name, arena, queue: queue.get())
        twins.both(lambda name, arena, queue: queue.get_many(100))
        twins.both(lambda name, arena, queue: arena.shrink())
    twins.both(lambda name, arena, queue: arena.trim(0))
    twins.both(lambda name, arena, queue: arena.stats())


def test_bounds_and_shutdown() -> None:
    twins = Twins(maxsize=2)
    for obj in (1, b"2" * 20_000, 3):
        twins.both(lambda name, arena, queue, obj=obj: queue.put(obj, False))
    twins.both(lambda name, arena, queue: (queue._poll(0), queue._poll_room(0)))
    twins.both(lambda name, arena, queue: queue._shutdown(False))
    twins.both(lambda name, arena, queue: queue.put(4))
    twins.both(lambda name, arena, queue: queue.get())
    twins.both(lambda name, arena, queue: queue._shutdown(True))
    twins.both(lambda name, arena, queue: queue.get())


def test_tasks() -> None:
    twins = Twins(noting=NOTE_TASKS)
    for _ in range(3):
        twins.both(lambda name, arena, queue: queue.put("task"))
    twins.both(lambda name, arena, queue: queue._join_tasks(0))
    for _ in range(3):
        twins.both(lambda name, arena, queue: queue.get())
        twins.both(lambda name, arena, queue: queue._task_done())
    twins.both(lambda name, arena, queue: queue._join_tasks(None))
    twins.both(lambda name, arena, queue: queue._task_done())


def test_claims() -> None:
    twins = Twins(noting=NOTE_CLAIMS)
    twins.both(lambda name, arena, queue: queue._claim_as(3))
    for size in (10, 20_000, 5):
        twins.both(lambda name, arena, queue, size=size: queue._put_task(b"t" * size))
    twins.both(lambda name, arena, queue: (queue._claim(3), queue._queued(0), queue._queued(9)))
    twins.both(lambda name, arena, queue: queue._cancel(1))
    twins.both(lambda name, arena, queue: queue.get())
    twins.both(lambda name, arena, queue: (queue._claim(3), queue._cancel(0)))
    twins.both(lambda name, arena, queue: queue.get())
    twins.both(lambda name, arena, queue: (queue._claim(3), queue.qsize()))
    twins.both(lambda name, arena, queue: queue._claim(1024))


def test_blocks() -> None:
    twins = Twins()
    kept: dict[str, list[Any]] = {name: [] for name in BACKENDS}
    for nbytes in (0, 1, 4096, 4097, 70_000, 1 << 20, 70_000):
        twins.both(
            lambda name, arena, queue, nbytes=nbytes: kept[name].append(arena.allocate(nbytes))
        )
    assert [block.id for block in kept[NATIVE]] == [block.id for block in kept[PURE]]
    assert [memoryview(block).nbytes for block in kept[PURE]] == [
        memoryview(block).nbytes for block in kept[NATIVE]
    ]
    twins.both(lambda name, arena, queue: kept[name].pop(2) and None)
    twins.both(lambda name, arena, queue: kept[name].append(arena.allocate(4000)))
    twins.both(lambda name, arena, queue: kept[name].clear())
    twins.both(lambda name, arena, queue: arena.allocate(20 << 20) and None)
    twins.both(lambda name, arena, queue: arena.allocate(65 << 20))
    twins.both(lambda name, arena, queue: arena.allocate(-1))


def test_queues_come_and_go() -> None:
    twins = Twins()
    more: dict[str, list[Any]] = {name: [] for name in BACKENDS}

    def make(name: str, arena: Any, queue: Any) -> None:
        more[name].append(queue_of(name, arena, named=len(more[name]) % 2 == 1))

    for _ in range(20):
        twins.both(make)
    twins.both(lambda name, arena, queue: more[name].clear())
    twins.both(make)
    twins.both(lambda name, arena, queue: (arena.held(0), arena.holders(0)))
    twins.both(lambda name, arena, queue: arena.holders(99))
    twins.both(lambda name, arena, queue: queue_of(name, arena, (0, 99)))


def test_participants_come_and_go() -> None:
    twins = Twins()
    others: dict[str, list[Any]] = {name: [] for name in BACKENDS}
    for _ in range(3):
        twins.both(lambda name, arena, queue: others[name].append(twins.files[name].attach(name)))
    twins.both(lambda name, arena, queue: others[name].pop(1).deregister())
    twins.both(lambda name, arena, queue: others[name].append(twins.files[name].attach(name)))
    twins.both(lambda name, arena, queue: arena.sweep())
    twins.both(lambda name, arena, queue: others[name].clear())


# --- The same arena ---------------------------------------------------------------------------


@pytest.mark.parametrize("maker", BACKENDS)
def test_both_in_one_arena(maker: str) -> None:
    file = File()
    first = file.create(maker)
    seconds = {name: file.attach(name) for name in BACKENDS}
    assert seconds[NATIVE].token == seconds[PURE].token == 7
    queue = queue_of(maker, first)
    for name, arena in seconds.items():
        other = queue_of(name, arena, queue._handle[1:])
        queue.put(name)
        assert other.get() == name
        other.put(np.arange(30_000))
        assert queue.get().sum() == 449985000


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_no_arena_is_refused(backend: str) -> None:
    file = File()
    os.pwrite(file.fd, b"\x01" * 4096, 0)
    with pytest.raises(SegmentFormatError, match="of another layout"):
        file.attach(backend)
    good = File()
    arena = good.create(backend)
    assert arena.limit == 64 << 20
    os.ftruncate(good.fd, good.nbytes + PAGE)
    good.nbytes += PAGE
    with pytest.raises(SegmentFormatError, match="of another layout"):
        good.attach(backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_queue_that_was_not_made(backend: str) -> None:
    queue = core(backend).MessageQueue()
    for call in (queue.put_nowait, queue._poll, queue._task_done, queue.get, queue.qsize):
        with pytest.raises(RuntimeError, match="the queue's __init__ was not called"):
            call(*((0,) if call in (queue.put_nowait, queue._poll) else ()))
    assert queue._handle == (None, 0, 0)
    with pytest.raises(TypeError):
        queue._attach(queue, 0, 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_after_leaving(backend: str) -> None:
    file = File()
    arena = file.create(backend)
    queue = queue_of(backend, arena)
    arena.deregister()
    assert arena.identity == 0
    with pytest.raises(ClosedError, match="its last holder is gone"):
        queue.put(1)
    with pytest.raises(ClosedError):
        queue.get(False)


def test_lost_tasks_are_told_once() -> None:
    for backend in BACKENDS:
        file = File()
        arena = file.create(backend)
        queue = queue_of(backend, arena, noting=NOTE_TASKS)
        other = file.attach(backend)
        taker = queue_of(backend, other, queue._handle[1:])
        queue.put(1)
        queue.put(2)
        assert taker.get() == 1
        other.deregister()  # leaves as if it had died
        with pytest.raises(OwnerDiedError, match="1 tasks were taken by processes that died"):
            queue._join_tasks(None)
        assert queue.get() == 2
        queue._task_done()
        assert queue._join_tasks(None)


# --- The same words -----------------------------------------------------------------------------


def test_statuses_are_those_of_the_header() -> None:
    header = (ROOT / "zeroipc/_core/status.h").read_text()
    names = re.findall(r"^    ZI_(\w+)", header, re.MULTILINE)
    assert names == [one.name for one in status.Status]


def test_functions_are_those_of_the_headers() -> None:
    """Each function of a header has a twin; what C alone needs is named here."""
    only_c = {
        "zi_fence": "fence",
        "zi_pause": "",  # a spin in C
        "zi_now": "now",
        "zi_timespec": "timespec",
        "zi_this_cpu": "this_cpu",
        "wait_learn": "",  # Python spins shortly, whatever it learns
        "wait_linger": "",
        "view_map": "View",
        "arena_lock": "arena_locked",
        "arena_unlock": "",
        "queue_lock": "queue_locked",
        "queue_unlock": "",
        "mutex_mended": "",  # under() does it
        "mutex_unlock": "",
        "record_target": "",  # get_record() reads it
        "cpu_note": "",
        "memory_at": "memories",
        "memory_bytes": "memory_offset",
        "lock_at": "locks",
        "lock_visit": "queue_locked",
        "queue_mend": "queue_locked",
        "wait_spun": "",
        "wait_spin_word": "wait_spin",
    }
    for header in sorted((ROOT / "zeroipc/_core").glob("*.h")):
        twin = header.with_suffix(".py")
        if header.name in ("codec.h", "native.h", "patience.h", "hooks.h", "layout.h", "status.h"):
            continue
        names = re.findall(r"^static inline [\w ]+?\**(\w+)\(", header.read_text(), re.MULTILINE)
        text = twin.read_text()
        for name in names:
            wanted = only_c.get(name, name)
            assert re.search(rf"\b(def|class)? ?{wanted}\b", text), f"{header.name}: {name}"


def test_messages_are_those_of_c() -> None:
    """Each error text of the C files is in the Python files beside them."""
    folder = ROOT / "zeroipc/_core"
    python = "".join(re.sub(r'"\s*f?"', "", file.read_text()) for file in folder.glob("*.py"))
    python = re.sub(r"\{[^}]*\}", "%", python)
    for file in folder.glob("*.c"):
        source = re.sub(r'"\s*"', "", file.read_text())
        for text in re.findall(r'"([^"\n]* [^"\n]*: [^"\n]*%[^"\n]*)"', source):
            if text.startswith(("takes at most", "missing 1 req")):  # Python itself checks that
                continue
            wanted = re.sub(r"%(ll|z|l)?[udR]", "%", text)
            assert wanted in python, f"{file.name}: {text}"


def test_size_classes() -> None:
    sizes = [class_pages(cls) for cls in range(104)]
    assert sizes == sorted(set(sizes))
    assert sizes[:8] == [0, 1, 2, 3, 4, 5, 6, 7]
    for pages in range(1, 5000):
        found = class_pages(class_of_pages(pages))
        assert pages <= found
        assert (found - pages) * 4 <= found


def test_cursors() -> None:
    for item, chunk, offset in ((0, 0, 0), (2**29 - 1, 2**18 - 1, (1 << 20) - 8), (5, 6, 64)):
        assert cursor_load(cursor_pack(item, chunk, offset)) == Cursor(item, chunk, offset)
    assert cursor_load(cursor_pack(2**29, 1, 8)) == (0, 1, 8)
    assert items_between(2**29 - 1, 1) == 2
    assert tally_open(0xFFFFFFFF) == -1
    assert tally_open(5 << 32 | 7) == 7


def test_structs_are_as_long_as_their_layouts() -> None:
    for layout in LAYOUTS:
        if layout.name not in ("arena", "participant", "queue", "memory", "lock", "block"):
            assert struct_of(layout).size == layout.nbytes
