"""Pieces of memory: shared by all who have them, zero at first, gone with the last."""

from __future__ import annotations

import gc
import os
from typing import Any

import pytest

from tests.support.arenas import BACKENDS, PAIRS, File, core, ended_well, fork_child, queue_of
from zeroipc._core.layout import MEMORY_INLINE, QUEUES
from zeroipc.errors import ClosedError, ShmFullError

SIZES = [0, 1, 8, MEMORY_INLINE, MEMORY_INLINE + 1, 5000, 1 << 20]


def memory_of(backend: str, arena: Any, nbytes: int = -1, handle: Any = None) -> Any:
    """Return new memory of *nbytes*, or what *handle* names."""
    memory = core(backend).Memory()
    memory._attach(arena, *(handle or arena.create_memory(nbytes)))
    return memory


@pytest.mark.parametrize("nbytes", SIZES)
@pytest.mark.parametrize(("maker", "user"), PAIRS)
def test_both_see_the_same_bytes(maker: str, user: str, nbytes: int) -> None:
    file = File()
    arena = file.create(maker)
    made = memory_of(maker, arena, nbytes)
    used = memory_of(user, file.attach(user), handle=made._handle[1:])
    assert made.nbytes == used.nbytes == nbytes
    assert bytes(made.buffer) == bytes(nbytes)
    for at in range(0, nbytes, max(1, nbytes // 7)):
        made.buffer[at] = 1 + at % 255
    assert used.buffer == made.buffer
    assert used.buffer.format == "B"
    assert not used.buffer.readonly


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("nbytes", [8, 9000])
def test_recycled_memory_is_zero(backend: str, nbytes: int) -> None:
    arena = File().create(backend)
    first = memory_of(backend, arena, nbytes)
    slot = first._handle[1]
    first.buffer[:] = b"\xff" * nbytes
    del first
    again = memory_of(backend, arena, nbytes)
    assert again._handle[1] == slot
    assert bytes(again.buffer) == bytes(nbytes)
    assert arena.stats()["blocks_live"] == (nbytes > MEMORY_INLINE)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_view_keeps_the_memory(backend: str) -> None:
    arena = File().create(backend)
    memory = memory_of(backend, arena, 5000)
    handle, view = memory._handle[1:], memory.buffer
    del memory
    memory_of(backend, arena, 8)  # would reclaim it
    view[4999] = 3
    assert memory_of(backend, arena, handle=handle).buffer[4999] == 3
    view = None
    gc.collect()
    memory_of(backend, arena, 8)
    with pytest.raises(ClosedError, match="its last holder is gone"):
        memory_of(backend, arena, handle=handle)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("nbytes", [8, 9000])
def test_a_forked_child_shares_it(backend: str, nbytes: int) -> None:
    arena = File().create(backend)
    memory = memory_of(backend, arena, nbytes)
    view = memory.buffer
    view[0] = 1

    def work() -> None:
        arena.after_fork()
        assert view[0] == 1
        view[1] = memory.buffer[0] + 1

    arena.before_fork()
    assert ended_well(fork_child(work))
    assert view[1] == 2


@pytest.mark.parametrize(("maker", "user"), PAIRS)
def test_who_died_holds_it_no_more(maker: str, user: str) -> None:
    file = File()
    arena = file.create(maker)
    memory = memory_of(maker, arena, 9000)
    handle = memory._handle[1:]

    def work() -> None:
        held = memory_of(user, file.attach(user), handle=handle)
        os.write(writing, b"x")
        os._exit(held.buffer[0])

    reading, writing = os.pipe()
    child = fork_child(work)
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    assert ended_well(child)
    del memory
    memory_of(maker, arena, 8)
    assert arena.sweep() == 1
    memory_of(maker, arena, 8)
    with pytest.raises(ClosedError):
        memory_of(maker, arena, handle=handle)
    assert arena.stats()["blocks_live"] == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_slot_of_another_role_is_refused(backend: str) -> None:
    arena = File().create(backend)
    queue, memory = queue_of(backend, arena), memory_of(backend, arena, 8)
    with pytest.raises(ClosedError):
        memory_of(backend, arena, handle=queue._handle[1:])
    with pytest.raises(ClosedError):
        queue_of(backend, arena, memory._handle[1:])


@pytest.mark.parametrize("backend", BACKENDS)
def test_whoever_has_memory_does_not_leave(backend: str) -> None:
    arena = File().create(backend)
    view = memory_of(backend, arena, 8).buffer
    arena.deregister()
    assert arena.identity != 0
    del view
    gc.collect()
    arena.deregister()
    assert arena.identity == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_cannot_be(backend: str) -> None:
    arena = File().create(backend)
    with pytest.raises(ValueError, match="nbytes must not be negative: -1"):
        arena.create_memory(-1)
    with pytest.raises(ShmFullError):
        arena.create_memory(1 << 40)
    with pytest.raises(RuntimeError, match="__init__ was not called"):
        _ = core(backend).Memory().buffer
    memory = memory_of(backend, arena, 8)
    with pytest.raises(TypeError, match="once"):
        memory._attach(arena, *memory._handle[1:])


def test_as_many_as_there_are_slots() -> None:
    file = File()
    arena = file.create(BACKENDS[0])
    many = [memory_of(BACKENDS[0], arena, 8) for _ in range(QUEUES)]
    with pytest.raises(ShmFullError, match="a table of the arena is full"):
        arena.create_memory(8)
    slot = many.pop(QUEUES // 2)._handle[1]
    assert memory_of(BACKENDS[0], arena, 8)._handle[1] == slot
