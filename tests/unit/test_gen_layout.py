"""tools/gen_layout.py: what it writes compiles, and what is stale is noticed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from zeroipc._core.fields import Mutex

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "zeroipc" / "_core"
TOOL = ROOT / "tools" / "gen_layout.py"

LAYOUT = '''
from .fields import Chars, Layout, Mutex, U8, U32, U64

MAGIC = b'Z"\\x011?\\\\\\x00\\xff'
"""What a latch
starts with."""
LIMIT = 4096
MASK = 0xFFFFFFFF
HUGE = 1 << 40
LEAST = -3
_PRIVATE = 7
LATCH = Layout("latch", (
    U32("count", "counts down | to zero"),
    Chars("tag", 3),
    U64("tail", "written by the other side", line=True),
    Mutex("lock", "guards the rest"),
    U8("flags", count=5),
), doc="many wait, once")
_SECRET = Layout("secret", (U32("word"),))
'''
MUTEX = f"typedef struct {{ char bytes[{Mutex('lock').nbytes}]; }} zi_mutex;\n"
USE = """
#include "layout.h"
#if ZI_HUGE != 1099511627776 || ZI_LEAST != -3 || ZI_LIMIT != 4096
#error "constants differ"
#endif
_Static_assert((~UINT64_C(0) & ~ZI_MASK) == 0xffffffff00000000, "a mask keeps the upper half");
_Static_assert(sizeof(ZI_MAGIC) == 9, "the magic has eight bytes");
_Static_assert(ZI_MAGIC_WORD == 0xff005c3f3101225a, "the magic as a little-endian word");
_Static_assert(offsetof(zi_latch, tail) == 64 && offsetof(zi_latch, lock) == 128, "lines");
"""

compiler = shutil.which("gcc")
needs_gcc = pytest.mark.skipif(compiler is None, reason="gcc is not installed")


@pytest.fixture
def core(tmp_path: Path) -> Path:
    """A folder like zeroipc/_core with a small layout, and a specification with its table."""
    shutil.copy(CORE / "fields.py", tmp_path)
    (tmp_path / "layout.py").write_text(LAYOUT)
    (tmp_path / "mutex.h").write_text(MUTEX)
    (tmp_path / "spec.md").write_text(
        "before\n<!-- layout:latch -->\nold\n<!-- /layout -->\nafter\n"
    )
    return tmp_path


def gen_layout(core: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [sys.executable, TOOL, "--spec", core / "spec.md", *options]
    command += ["--layout", core / "layout.py"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def compiles(folder: Path, text: str) -> bool:
    (folder / "use.c").write_text(text)
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    command = ["gcc", *flags, "-I", str(folder), str(folder / "use.c")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_files_of_this_project_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, TOOL, "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_stale_files_are_named_and_left_alone(core: Path) -> None:
    before = (core / "spec.md").read_text()
    done = gen_layout(core, "--check")
    assert done.returncode == 1
    assert "layout.h is stale" in done.stderr
    assert "spec.md is stale" in done.stderr
    assert not (core / "layout.h").exists()
    assert (core / "spec.md").read_text() == before


@pytest.mark.parametrize("name", ["layout.h", "spec.md"])
def test_a_changed_file_is_stale_until_written_again(core: Path, name: str) -> None:
    assert gen_layout(core).returncode == 0
    assert gen_layout(core, "--check").returncode == 0
    changed = (core / name).read_text().replace("64", "72")
    (core / name).write_text(changed)
    done = gen_layout(core, "--check")
    assert done.returncode == 1
    assert done.stderr.count(" is stale") == 1
    gen_layout(core)
    assert (core / name).read_text() != changed


def test_the_specification_keeps_what_is_outside_its_regions(core: Path) -> None:
    gen_layout(core)
    text = (core / "spec.md").read_text()
    assert text.startswith("before\n<!-- layout:latch -->\n| offset |")
    assert text.endswith("<!-- /layout -->\nafter\n")
    assert "| 64 | 8 | `uint64_t` | `tail` | written by the other side |" in text
    assert "counts down \\| to zero" in text


def test_a_region_of_an_unknown_layout_is_refused(core: Path) -> None:
    (core / "spec.md").write_text("<!-- layout:ladder -->\n<!-- /layout -->\n")
    done = gen_layout(core)
    assert done.returncode == 1
    assert "ladder" in done.stderr


def test_tables_show_public_layouts_only(core: Path) -> None:
    tables = gen_layout(core, "--tables").stdout
    assert "### latch" in tables
    assert "secret" not in tables


def test_private_names_stay_out_of_the_header(core: Path) -> None:
    gen_layout(core)
    text = (core / "layout.h").read_text()
    assert "/* What a latch starts with. */" in text
    assert "PRIVATE" not in text
    assert "secret" not in text


@needs_gcc
def test_the_header_compiles_to_the_same_offsets(core: Path) -> None:
    gen_layout(core)
    assert compiles(core, USE)


@needs_gcc
def test_the_compiler_notices_a_wrong_offset(core: Path) -> None:
    gen_layout(core)
    header = (core / "layout.h").read_text()
    (core / "layout.h").write_text(header.replace("uint8_t pad_7[57];", "uint8_t pad_7[121];"))
    assert not compiles(core, '#include "layout.h"\n')


@needs_gcc
def test_the_header_of_this_project_compiles(tmp_path: Path) -> None:
    assert compiles(tmp_path, f'#define _GNU_SOURCE\n#include "{CORE / "layout.h"}"\n')
