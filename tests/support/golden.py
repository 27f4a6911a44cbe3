"""The golden segments, and raw bytes as segments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.leaks import SHM

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
ALL_NAMES = sorted(path.stem for path in GOLDEN.glob("*.bin"))


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


def golden_names(*kinds: str) -> list[str]:
    """Return the golden segments all of whose structures are of these kinds."""
    return [
        name
        for name in ALL_NAMES
        if {known["kind"] for known in golden_facts(name)["structures"]} <= set(kinds)
    ]


def differing(name: str, content: bytes) -> list[int]:
    """Return the offsets at which *content* differs from a golden segment, volatile ones aside."""
    golden, facts = golden_bytes(name), golden_facts(name)
    ignored = {part["offset"] + i for part in facts["volatile"] for i in range(part["length"])}
    longer = range(min(len(golden), len(content)), max(len(golden), len(content)))
    pairs = enumerate(zip(golden, content, strict=False))
    return [at for at, (one, other) in pairs if one != other and at not in ignored] + [*longer]
