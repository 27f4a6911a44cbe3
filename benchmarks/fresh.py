"""Running a few lines in a fresh interpreter that prints one number."""

from __future__ import annotations

import subprocess
import sys


def number(source: str) -> float:
    """Run *source* in a new interpreter; give the float it prints.

    Raises:
        subprocess.CalledProcessError: it failed; what it wrote is on the terminal.
    """
    done = subprocess.run(
        [sys.executable, "-c", source], check=True, stdout=subprocess.PIPE, text=True
    )
    return float(done.stdout)
