"""The example of docs/executor.md prints what it says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.support.programs import ROOT, run_python

TEXT = (ROOT / "docs" / "executor.md").read_text(encoding="utf-8")
[EXAMPLE] = re.findall(r"(?ms)^```python\n(.*?)^```\n\n```text\n(.*?)^```\n", TEXT)


def test_the_example(tmp_path: Path) -> None:
    source, output = EXAMPLE
    file = tmp_path / "program.py"
    file.write_text(source, encoding="utf-8")
    ended = run_python(f"import subprocess; subprocess.run([{sys.executable!r}, {str(file)!r}])")
    assert (ended.stdout, ended.stderr) == (output, "")
