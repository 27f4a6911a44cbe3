"""The examples of README.md run as they stand, and print what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import zeroipc
from tests.support.peer import HAS_COMPILER
from tests.support.programs import ROOT, TIMEOUT
from zeroipc import Memory

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"(?ms)^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?")
EXAMPLES = [match.groups(default="") for match in EXAMPLE.finditer(TEXT)]
EXAMPLE_IN_C = re.compile(r"(?ms)^```c\n(.*?)^```\n")
SESSION = re.compile(r"(?ms)^```pycon\n(.*?)^```\n")
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
ELSEWHERE = "# ... elsewhere ...\n"
QUICK_START = """\
from zeroipc import Memory, Array
import numpy as np
mem = Memory("/analytics", size=10*1024*1024)
results = Array(mem, "scores", capacity=100, dtype=np.float64)
results[0] = 0.95
# ... elsewhere ...
mem = Memory("/analytics")
print(Array(mem, "scores", dtype=np.float64)[0])    # 0.95
"""


def run(source: str, folder: Path, name: str) -> str:
    """Run a program from a file, as users do; its shared names are made this test's own."""
    source = source.replace('"/analytics"', f'"/{name}"').replace('"jobs"', f'"{name}"')
    file = folder / "program.py"
    file.write_text(source, encoding="utf-8")
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, str(file)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        env={**os.environ, "PYTHONPATH": path, "ZEROIPC_BACKEND": zeroipc.backend},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(("source", "output"), EXAMPLES[1:])
def test_an_example_prints_what_is_written(
    source: str, output: str, tmp_path: Path, segment_name: str
) -> None:
    assert output
    assert run(source, tmp_path, segment_name) == output


def test_the_quick_start_stands_first_word_for_word() -> None:
    assert EXAMPLES[0][0] == QUICK_START


def test_the_quick_start_runs_again_and_again(
    tmp_path: Path, segment_names: Callable[[], str]
) -> None:
    name = segment_names()
    try:
        assert [run(QUICK_START, tmp_path, name) for _ in range(2)] == ["0.95\n", "0.95\n"]
    finally:
        Memory.remove(name)


def test_the_quick_start_runs_in_two_processes(
    tmp_path: Path, segment_names: Callable[[], str]
) -> None:
    name = segment_names()
    imports = "from zeroipc import Memory, Array\nimport numpy as np\n"
    here, _, elsewhere = QUICK_START.partition(ELSEWHERE)
    try:
        assert run(here, tmp_path, name) == ""
        assert run(imports + elsewhere, tmp_path, name) == "0.95\n"
    finally:
        Memory.remove(name)


@pytest.mark.skipif(not HAS_COMPILER, reason="the example in C needs gcc")
def test_the_example_in_c(tmp_path: Path, segment_name: str) -> None:
    (program,), (session,) = EXAMPLE_IN_C.findall(TEXT), SESSION.findall(TEXT)
    source = tmp_path / "program.c"
    source.write_text(program.replace('"/analytics"', f'"/{segment_name}"'), encoding="utf-8")
    compiled = str(tmp_path / "program")
    subprocess.run(["gcc", *WARNINGS, str(source), "-o", compiled, "-lrt"], check=True)
    run(QUICK_START, tmp_path, segment_name)
    try:
        done = subprocess.run([compiled], capture_output=True, text=True, check=True)
        assert done.stdout == "0.95\n"
        given, wanted = session.splitlines()
        imports = "from zeroipc import Memory, Array\nimport numpy as np\n"
        line = f"print(repr({given.removeprefix('>>> ')}))\n"
        assert run(imports + line, tmp_path, segment_name) == f"{wanted}\n"
    finally:
        Memory.remove(segment_name)


def test_every_file_it_names_is_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", TEXT)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
