"""SPECIFICATION.md says what the code does: its labels, constants, layouts and examples."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.programs import run_python
from zeroipc import Array, Memory
from zeroipc._core import layout
from zeroipc._core.fields import Layout
from zeroipc._core.named import layout as named_layout

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "SPECIFICATION.md").read_text(encoding="utf-8")
CODE = sorted(path for path in (ROOT / "zeroipc").rglob("*") if path.suffix in (".py", ".h", ".c"))
LABEL = re.compile(r"(?<![\w\])])\[[a-z]+\.[a-z_]+\]")  # and not a subscript, blocks[at.chunk]
COMMENT = re.compile(r"(?:#|/\*|^ *\*).*", re.MULTILINE)
CONSTANT = re.compile(r"^\| `([A-Z0-9_]+)` \| (\w+) \|", re.MULTILINE)
HEX_LINE = re.compile(r"^([0-9a-f]{4}) {2}((?:[0-9A-F]{2} +)*[0-9A-F]{2})(?: {3}|$)", re.MULTILINE)


def section(heading: str) -> str:
    """Return the text below a heading, up to the next one."""
    return re.split(r"^#+ ", TEXT.split(f"# {heading}\n")[1], flags=re.MULTILINE)[0]


def dump(heading: str) -> dict[int, bytes]:
    """Return the hexadecimal lines of a section, by offset."""
    return {
        int(offset, 16): bytes.fromhex(digits)
        for offset, digits in HEX_LINE.findall(section(heading))
    }


def labels_of_the_code() -> set[str]:
    """Return the labels in comments; a list of types may look like one elsewhere."""
    comments = (line for path in CODE for line in COMMENT.findall(path.read_text(encoding="utf-8")))
    return {label for comment in comments for label in LABEL.findall(comment)}


def constants_of_the_code() -> dict[str, int]:
    everything = vars(named_layout) | vars(layout)
    found = {name: value for name, value in everything.items() if type(value) is int}
    times = r"#define ZI_(\w+_NS) (?:UINT64_C\()?(\d+)"
    for header in CODE:
        found |= {name: int(value) for name, value in re.findall(times, header.read_text())}
    return found


def test_every_label_of_the_code_is_explained() -> None:
    labels = labels_of_the_code()
    assert labels >= {"[queue.tail]", "[segment.ready]", "[table.add]"}
    assert {label for label in labels if f"`{label}`" not in TEXT} == set()


def test_every_label_explained_is_in_the_code() -> None:
    assert set(LABEL.findall(TEXT)) - labels_of_the_code() == set()


def test_the_constants_are_those_of_the_code() -> None:
    code = constants_of_the_code()
    written = {name: int(value, 0) for name, value in CONSTANT.findall(TEXT)}
    assert written == {name: code.get(name) for name in written}


def test_every_constant_of_the_layout_is_written_down() -> None:
    public = {name for name, value in vars(layout).items() if name.isupper() and type(value) is int}
    assert public - {name for name, _ in CONSTANT.findall(TEXT)} == set()


def test_every_layout_has_its_table() -> None:
    layouts = {value.name for value in vars(layout).values() if isinstance(value, Layout)}
    named = {value.name for value in vars(named_layout).values() if isinstance(value, Layout)}
    written = set(re.findall(r"<!-- layout:(\w+) -->", TEXT))
    assert written == layouts | named


def test_the_example_of_a_segment(make_memory: Callable[..., Memory]) -> None:
    memory = make_memory(4096, max_entries=16)
    Array(memory, "numbers", 10, np.int32)[:] = np.arange(-5, 23, 3)
    written = bytearray(4096)
    for offset, data in dump("Example of a segment").items():
        written[offset : offset + len(data)] = data
    assert bytes(memory.buf) == bytes(written)


RING = """
    import mmap
    import numpy as np
    import zeroipc.mp as multiprocessing
    from zeroipc._core.layout import BLOCK, BLOCKS_OFFSET, QUEUE, QUEUES_OFFSET
    from zeroipc.mp import transport

    first, second = multiprocessing.Queue(), multiprocessing.Queue()
    second.put("hi")
    second.put(np.array([1, 2, 3], np.int16))
    home = transport.home()
    with mmap.mmap(home.fd, home.nbytes, prot=mmap.PROT_READ) as data:
        queue = QUEUES_OFFSET + second._handle[1] * QUEUE.nbytes
        cursors = (queue + field.offset for field in (QUEUE.head, QUEUE.tail))
        head, tail = (data[at : at + 8] for at in cursors)
        cursor = int.from_bytes(tail, "little")
        block = BLOCKS_OFFSET + (cursor >> 17) % (1 << 18) * BLOCK.nbytes + BLOCK.offset.offset
        start = int.from_bytes(data[block : block + 8], "little")
        print(head.hex(), tail.hex(), data[start : start + cursor % (1 << 17) * 8].hex())
"""


@pytest.fixture(scope="module")
def ring() -> list[bytes]:
    """Head, tail and records of the queue of the example, from a fresh process."""
    return [bytes.fromhex(digits) for digits in run_python(RING).stdout.split()]


def test_the_example_of_a_ring(ring: list[bytes]) -> None:
    assert b"".join(dump("Example of a ring").values()) == ring[2]


def test_the_example_of_a_cursor(ring: list[bytes]) -> None:
    head, tail, _ = ring
    assert f"\n{tail.hex(' ').upper()}\n" in section("Example of a ring")
    shifts = (layout.CURSOR_CHUNK_BITS + layout.CURSOR_OFFSET_BITS, layout.CURSOR_OFFSET_BITS)
    packed = [item << shifts[0] | 1 << shifts[1] | at // 8 for item, at in ((0, 0), (2, 56))]
    assert [int.from_bytes(cursor, "little") for cursor in (head, tail)] == packed
    assert f"{packed[1]:#X}".replace("X", "x") in section("Example of a ring")


def test_the_example_of_a_ring_decodes_as_it_says(ring: list[bytes]) -> None:
    text, array = ring[2][:16], ring[2][16:]
    record, head = layout.RECORD.nbytes, layout.ARRAY_HEAD
    assert int.from_bytes(text[:4], "little") == 2
    assert text[record : record + 2].decode() == "hi"
    assert array[record + head.ndim.offset] == 1
    assert array[record + head.format.offset : record + head.format.offset + 1] == b"h"
    data = record + head.nbytes + 8
    assert np.frombuffer(array[data : data + 6], "<i2").tolist() == [1, 2, 3]
