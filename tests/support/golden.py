"""The golden segments, and raw bytes as segments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.leaks import SHM

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.bin"))


def golden_bytes(name: str) -> bytes:
    """Return a golden segment."""
    return (GOLDEN / f"{name}.bin").read_bytes()


def golden_facts(name: str) -> dict[str, Any]:
    """Return what a golden segment holds."""
    facts: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    return facts


def write_segment(name: str, content: bytes) -> None:
    """Make *content* the whole of segment *name*."""
    (SHM / name).write_bytes(content)


def read_segment(name: str) -> bytes:
    """Return the whole of segment *name*."""
    return (SHM / name).read_bytes()
