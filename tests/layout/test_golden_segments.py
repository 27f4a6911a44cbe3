"""Segments written by C++ programs: opened, and reproduced byte for byte."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable

import numpy as np
import pytest

from tests.support.golden import (
    ALL_NAMES,
    golden_bytes,
    golden_facts,
    golden_names,
    read_segment,
    write_segment,
)
from zeroipc import Array, Memory

NAMES = golden_names("array")


@pytest.mark.parametrize("golden", ALL_NAMES)
def test_the_sample_is_intact(golden: str) -> None:
    content = golden_bytes(golden)
    assert hashlib.sha256(content).hexdigest() == golden_facts(golden)["sha256"]


@pytest.mark.parametrize("golden", NAMES)
def test_opens_and_holds_what_it_should(golden: str, segment_name: str) -> None:
    facts = golden_facts(golden)
    table = facts["table"]
    write_segment(segment_name, golden_bytes(golden))
    with Memory(segment_name) as mem:
        assert mem.version == facts["format_version"] == table["version"]
        assert [entry._asdict() for entry in mem] == table["entries"]
        assert mem.table.next_offset == table["next_offset"]
        assert mem.table.max_entries == table.get("word_at_12", 16)
        for known in facts["structures"]:
            array = Array(mem, known["name"], dtype=known["type"])
            assert array.tolist() == known["values"]
            assert len(array) == known["capacity"]
        mem.unlink()
    assert len(table["entries"]) == len(facts["structures"])


@pytest.mark.parametrize("golden", NAMES)
def test_our_writer_gives_the_same_bytes(golden: str, segment_name: str) -> None:
    facts = golden_facts(golden)
    with Memory.create(
        segment_name,
        facts["segment_size"],
        version=facts["format_version"],
        max_entries=facts["table"].get("word_at_12", 16),
    ) as mem:
        for known in facts["structures"]:
            Array(mem, known["name"], known["capacity"], known["type"])[:] = known["values"]
        assert read_segment(segment_name) == golden_bytes(golden)
        mem.unlink()


@pytest.mark.parametrize("golden", NAMES)
def test_structures_can_be_added_to_it(golden: str, segment_name: str) -> None:
    write_segment(segment_name, golden_bytes(golden))
    before = {known["name"]: known for known in golden_facts(golden)["structures"]}
    with Memory(segment_name) as mem:
        Array(mem, "added", 20, np.float64)[:] = np.arange(20)
        for name, known in before.items():
            assert Array(mem, name, dtype=known["type"]).tolist() == known["values"]
        assert mem.names() == [*before, "added"]
        mem.unlink()
    mem = Memory.create(segment_name, 4096)  # the name is free again
    mem.unlink()


def wide_v1(content: bytes, slots: int, *, recorded: bool) -> bytes:
    """Turn a version 2 segment into one of the early form with the same fields."""
    word = slots.to_bytes(4, "little") if recorded else bytes(4)
    return content[:4] + (1).to_bytes(4, "little") + content[8:12] + word + content[16:]


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("golden", ["v2_array_int32", "v2_array_scalars"])
def test_version_1_with_the_fields_of_version_2(
    golden: str, recorded: bool, segment_name: str
) -> None:
    write_segment(segment_name, wide_v1(golden_bytes(golden), 16, recorded=recorded))
    with Memory(segment_name) as mem:
        assert (mem.version, mem.table.max_entries) == (1, 16)
        for known in golden_facts(golden)["structures"]:
            assert Array(mem, known["name"], dtype=known["type"]).tolist() == known["values"]
        Array(mem, "added", 3, np.int64)[:] = 7
        mem.unlink()


@pytest.mark.parametrize("recorded", [True, False])
def test_empty_version_1_with_the_fields_of_version_2(recorded: bool, segment_name: str) -> None:
    write_segment(segment_name, wide_v1(golden_bytes("v2_table_empty"), 64, recorded=recorded))
    with Memory(segment_name) as mem:
        assert (mem.version, mem.table.max_entries, mem.names()) == (1, 64, [])
        Array(mem, "added", 3, np.int64)[:] = 7
        mem.unlink()


def test_slots_of_0_mean_the_default(segment_name: str) -> None:
    content = bytearray(golden_bytes("v2_table_empty"))
    content[12:16] = bytes(4)
    write_segment(segment_name, bytes(content))
    with Memory(segment_name) as mem:
        assert mem.table.max_entries == 64
        mem.unlink()


def test_array_of_the_c_library(make_memory: Callable[..., Memory]) -> None:
    """Its header has 16 bytes: capacity and element size."""

    def prepare(view: memoryview) -> None:
        view[:16].cast("Q")[0], view[:16].cast("Q")[1] = 5, 4
        view[16:].cast("i")[:] = array("i", range(5))

    mem = make_memory()
    mem.add("from C", 16 + 4 * 5, prepare)
    assert Array(mem, "from C", dtype=np.int32).tolist() == [0, 1, 2, 3, 4]
    Array(mem, "from C", 5, np.int32)[4] = 44
    assert Array(mem, "from C", dtype=np.int32)[4] == 44
