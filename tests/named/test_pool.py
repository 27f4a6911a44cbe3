"""The named pool: what one process sees."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support.golden import (
    differing,
    golden_bytes,
    golden_facts,
    golden_names,
    read_segment,
    write_segment,
)
from zeroipc import (
    CapacityError,
    ClosedError,
    DTypeError,
    FreedError,
    Memory,
    NameExistsError,
    OutOfRangeError,
    Pool,
    SegmentFormatError,
    StructureNotFoundError,
    WaitTimeoutError,
)
from zeroipc._core.named.layout import POOL_END

pytestmark = pytest.mark.usefixtures("backend")
PAIR = np.dtype([("id", "i4"), ("value", "f8")], align=True)
END = POOL_END


def header(pool: Pool) -> memoryview:
    """Return index and generation of the first free node, and how many are allocated."""
    return pool.memory.view(pool.memory.entry(pool.name))[:12].cast("I")


def links(pool: Pool) -> memoryview:
    """Return the next free indices of a pool of f8, one for each node and a word of padding."""
    return pool.memory.view(pool.memory.entry(pool.name))[24:].cast("I")[2::4]


def test_hands_out_each_node_once(memory: Memory) -> None:
    pool = Pool(memory, "pool", 3, np.float64)
    nodes = [pool.allocate() for _ in range(3)]
    assert [node.index for node in nodes] == [0, 1, 2]
    assert (len(pool), pool.allocated, pool.available) == (3, 3, 0)
    assert pool.try_allocate() is None
    nodes[1].free()
    nodes[0].free()
    assert (len(pool), pool.available) == (1, 2)
    assert [pool.allocate().index, pool.allocate().index] == [0, 1]  # last in, first out
    assert pool


@pytest.mark.parametrize(
    "dtype, value", [("u1", 200), ("f8", 0.5), ("S5", b"hello"), ("?", True), (">i2", -2)]
)
def test_a_node_is_its_element(memory: Memory, dtype: str, value: Any) -> None:
    pool = Pool(memory, "pool", 3, dtype)
    nodes = [pool.allocate() for _ in range(3)]
    for node in nodes:
        node.value = value
    assert [node.value for node in nodes] == [value] * 3
    assert (nodes[1].array.shape, nodes[1].array.dtype) == ((), pool.dtype)
    assert nodes[1][()] == pool[1] == np.asarray(nodes[1]) == value
    pool[1][...] = np.zeros((), dtype)
    assert nodes[1].value == np.zeros((), dtype)[()]
    assert nodes[2].value == value
    for node in nodes:  # no element has touched the list
        node.free()
    assert [pool.allocate().index for _ in range(3)] == [2, 1, 0]


def test_fields_of_a_node(memory: Memory) -> None:
    pool = Pool(memory, "pool", 3, PAIR)
    with pool.allocate() as node:
        node["id"], node["value"] = 3, 0.5
        assert (node["id"], node.value["value"]) == (3, 0.5)
        assert pool[node.index]["id"] == 3
        node[...] = (4, 1.5)
        assert node.array.tolist() == (4, 1.5)


def test_values_must_fit(memory: Memory) -> None:
    pool = Pool(memory, "pool", 3, np.uint8)
    node = pool.allocate()
    for value, error in ((256, OutOfRangeError), (1.5, DTypeError), ("1", DTypeError)):
        with pytest.raises(error, match="value must"):
            node.value = value


def test_with_frees_once(memory: Memory) -> None:
    pool = Pool(memory, "pool", 2, np.float64)
    with pool.allocate() as node:
        assert len(pool) == 1
    assert len(pool) == 0
    with pool.allocate() as node, pool.allocate() as other:
        node.free()
        assert len(pool) == 1
        assert pool.allocate() is not other  # the same node, by another handle
    assert len(pool) == 1
    with pytest.raises(ZeroDivisionError), Pool(memory, "pool", dtype="f8").allocate():
        _ = 1 // 0
    assert len(pool) == 1


def test_a_freed_handle_refuses_use(memory: Memory) -> None:
    pool = Pool(memory, "pool", 2, np.float64)
    freed, given_away = pool.allocate(), pool.allocate()
    freed.free()
    index = given_away.detach()
    for node in (freed, given_away):
        for use in (
            lambda n: n.free(),
            lambda n: n.detach(),
            lambda n: n.value,
            lambda n: n.array,
            lambda n: n.index,
            lambda n: n[()],
            lambda n: n.__enter__(),
            lambda n: n.__setitem__((), 1.0),
            lambda n: setattr(n, "value", 1.0),
            np.asarray,
        ):
            with pytest.raises(FreedError, match="freed or given away"):
                use(node)
        assert "freed or given away" in repr(node)
    by_index = pool.adopt(index)
    pool.free(index)
    with pytest.raises(FreedError):
        by_index.free()
    assert (len(pool), by_index is given_away) == (0, False)


def test_a_handle_does_not_free_what_another_has_now(memory: Memory) -> None:
    pool = Pool(memory, "pool", 2, np.float64)
    old = pool.allocate()
    pool.free(old.index)
    new = pool.allocate()
    with pytest.raises(FreedError):
        old.free()
    assert (len(pool), new.index) == (1, 0)
    pool.free(new)
    assert len(pool) == 0


def test_nothing_is_freed_twice(memory: Memory) -> None:
    """By index, by another handle of the pool, deep in the list or at its head."""
    pool, other = Pool(memory, "pool", 100, np.float64), Pool(memory, "pool", dtype=np.float64)
    nodes = [pool.allocate() for _ in range(90)]
    for number in (7, 8):
        other.free(number)
        with pytest.raises(FreedError, match="free already"):
            nodes[number].free()
        with pytest.raises(FreedError):
            nodes[number].free()
    before = bytes(memory.view(memory.entry("pool")))
    for number in (7, 8, 95, 99):
        with pytest.raises(FreedError, match="free already"):
            other.free(number)
    assert bytes(memory.view(memory.entry("pool"))) == before
    for number in range(9, 90):
        nodes[number].free()
    before = bytes(memory.view(memory.entry("pool")))
    with pytest.raises(FreedError, match="free already"):  # far from the head
        other.free(7)
    assert bytes(memory.view(memory.entry("pool"))) == before


def test_a_forked_child_does_not_free_its_parents_nodes(memory: Memory) -> None:
    pool = Pool(memory, "pool", 4, np.float64)
    with pool.allocate() as node:
        child = os.fork()
        if child == 0:
            try:
                node.free()
            except FreedError:
                with pool.allocate() as own:
                    os._exit(own.index)
            os._exit(99)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        assert node.value == 0
    assert pool.repair([1]) == 0  # the child's, which it died with
    assert pool.repair([]) == 1


def test_times_out(memory: Memory) -> None:
    pool = Pool(memory, "pool", 1, np.float64)
    with pool.allocate(), pytest.raises(WaitTimeoutError, match="no free node"):
        pool.allocate(timeout=0.01)
    assert pool.allocate(timeout=0).index == 0


def test_there_are_only_so_many(memory: Memory) -> None:
    pool = Pool(memory, "pool", 3, np.float64)
    for number in (-1, 3, 2**32):
        for use in (pool.free, pool.adopt, pool.__getitem__, lambda n: pool.repair([n])):
            with pytest.raises(IndexError, match="from 0 to 2"):
                use(number)
        with pytest.raises(IndexError, match="from 0 to 2"):
            pool._core.free(number, 3)
    with pytest.raises(TypeError):
        iter(pool)


def test_opens_only_what_fits(memory: Memory) -> None:
    with pytest.raises(StructureNotFoundError):
        Pool(memory, "pool", dtype=np.int32)
    Pool.create(memory, "pool", 5, np.int64).allocate().value = 7
    with pytest.raises(NameExistsError):
        Pool.create(memory, "pool", 5, np.int64)
    with pytest.raises(CapacityError, match="must be 5"):
        Pool(memory, "pool", 4, np.int64)
    with pytest.raises(DTypeError, match="8 bytes"):
        Pool.open(memory, "pool", np.int32)
    with pytest.raises(DTypeError, match="alignment of 4"):
        Pool.open(memory, "pool", np.dtype([("a", "i4"), ("b", "i4")], align=True))
    with pytest.raises(DTypeError, match="must be given"):
        Pool(memory, "pool")
    for capacity in (0, -3, 2**32):
        with pytest.raises(CapacityError):
            Pool(memory, "other", capacity, np.int32)
    assert Pool.open(memory, "pool", np.int64)[0] == 7


@pytest.mark.parametrize(
    "dtype, node_nbytes",
    [("u1", 8), ("i4", 8), ("V3", 8), ("V5", 12), ("f8", 16), ("i4,i4", 12), ("V20", 24)],
)
def test_sizes_of_nodes(memory: Memory, dtype: str, node_nbytes: int) -> None:
    Pool(memory, "pool", 10, dtype)
    assert memory.entry("pool").size == 24 + 10 * node_nbytes


@pytest.mark.parametrize(
    "capacity, elem_size", [(0, 8), (3, 0), (4, 8), (6, 8), (3, 16), (2**32 - 1, 8)]
)
def test_refuses_what_is_no_pool(memory: Memory, capacity: int, elem_size: int) -> None:
    pool = Pool(memory, "pool", 3, np.float64)
    memory.add("short", 8, lambda view: None)
    words = memory.view(memory.entry("pool"))[16:24].cast("I")
    words[0], words[1] = capacity, elem_size
    for name in ("short", pool.name):
        with pytest.raises((SegmentFormatError, DTypeError)):
            Pool(memory, name, dtype=np.float64)


@pytest.mark.parametrize("damage", ["head", "link", "circle"])
def test_says_that_the_list_is_damaged(memory: Memory, damage: str) -> None:
    pool = Pool(memory, "pool", 5, np.float64)
    pool.allocate()
    if damage == "head":
        header(pool)[0] = 5
    else:
        links(pool)[1] = 2**31 if damage == "link" else 1
    attempts: list[Callable[[], Any]] = [lambda: pool.free(0), pool.repair]
    if damage != "circle":  # which gives the same node again and again
        attempts += [pool.try_allocate, lambda: pool.allocate(0)]
    for attempt in attempts:
        with pytest.raises(SegmentFormatError, match="damaged"):
            attempt()
    assert pool.repair([0, 3]) == 3
    assert (len(pool), header(pool)[0]) == (2, 1)
    assert sorted(pool.allocate().index for _ in range(3)) == [1, 2, 4]
    assert pool.try_allocate() is None


def test_gives_back_what_the_dead_had(memory: Memory) -> None:
    pool = Pool(memory, "pool", 5, np.float64)
    nodes = [pool.allocate() for _ in range(4)]
    header(pool)[2] = 77  # somebody died between the list and the count
    assert len(pool) == 5
    assert (pool.repair(), len(pool)) == (0, 4)
    assert (pool.repair(nodes[2:3]), len(pool)) == (3, 1)
    assert nodes[2].value == 0
    with pytest.raises(FreedError):
        nodes[0].free()
    assert [pool.allocate().index for _ in range(4)] == [0, 1, 3, 4]
    assert (pool.repair(range(5)), len(pool), header(pool)[0]) == (0, 5, END)
    assert pool.try_allocate() is None


def test_a_count_that_runs_behind(memory: Memory) -> None:
    pool = Pool(memory, "pool", 5, np.float64)
    header(pool)[2] = 2**32 - 1  # somebody else freed before the allocation was counted
    assert len(pool) == 0


def test_closes_pickles_and_shows_itself(memory: Memory) -> None:
    with Pool(memory, "pool", 4, np.int32) as pool:
        node = pool.allocate()
        assert repr(pool) == "<Pool 'pool', allocated=1/4, dtype=int32>"
        assert repr(node) == "<Node 0 of 'pool'>"
        assert pickle.loads(pickle.dumps(pool)).allocate().index == 1
    assert repr(pool) == "<Pool 'pool', closed>"
    for use in (pool.try_allocate, node.free):
        with pytest.raises(ClosedError):
            use()


@pytest.mark.parametrize("golden", golden_names("pool"))
def test_golden_segments(golden: str, segment_name: str) -> None:
    write_segment(segment_name, golden_bytes(golden))
    with Memory(segment_name) as mem:
        for known in golden_facts(golden)["structures"]:
            pool = Pool(mem, known["name"], dtype=known["type"])
            assert (pool.capacity, len(pool)) == (known["capacity"], known["allocated"])
            assert [pool[i] for i in known["live_indices"]] == known["live_values"]
            assert list(header(pool)[:2]) == [known["free_list"][0], known["generation"]]
            free = [pool.allocate().index for _ in known["free_list"]]
            assert free == known["free_list"]
            assert pool.try_allocate() is None
        mem.unlink()


@pytest.mark.parametrize("golden", golden_names("pool"))
def test_golden_bytes(golden: str, make_memory: Callable[..., Memory]) -> None:
    facts = golden_facts(golden)
    mem = make_memory(facts["segment_size"], max_entries=facts["table"]["word_at_12"])
    for known in facts["structures"]:
        pool = Pool(mem, known["name"], known["capacity"], known["type"])
        nodes = [pool.allocate() for _ in range(3)]
        for node in nodes:
            node.value = 3 * node.index - 2
        nodes[1].free()
    assert differing(golden, read_segment(mem.name)) == []
