"""Two thousand damaged segments; `make fuzz` tries a hundred thousand."""

from __future__ import annotations

import pytest

from tests.support import fuzz
from tests.support.named import NO_NATIVE


@pytest.mark.parametrize(
    ("backend", "count"), [pytest.param("native", 1500, marks=NO_NATIVE), ("pure", 500)]
)
def test_damaged_segments(backend: str, count: int) -> None:
    assert fuzz.run(backend, 20261125, range(count)) == ""
