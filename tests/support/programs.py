"""Programs run in a fresh interpreter, as a user would run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import zeroipc

ROOT = Path(zeroipc.__file__).parents[1]
TIMEOUT = 80
"""Seconds until a program that hangs is killed: before the test's own watchdogs."""


def run_python(
    source: str, *args: object, check: bool = True, prefix: tuple[str, ...] = (), **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a program and wait until it, and all that holds its output, have ended.

    Args:
        source: Python source, indented as you like.
        args: become sys.argv[1:].
        check: fail if it does not exit with 0.
        prefix: a command that runs the interpreter, such as ("unshare", "--mount").
        env: environment variables to set.
    """
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    result = subprocess.run(
        [*prefix, sys.executable, "-c", dedent(source), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        env={**os.environ, "PYTHONPATH": path, **env},
    )
    assert not check or result.returncode == 0, result.stderr
    return result
