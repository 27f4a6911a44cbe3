"""Named structures are tested with both backends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.named import BACKENDS, using


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Make structures of this backend for as long as the test runs, in forked children too."""
    chosen: Any = request.param
    with using(chosen):
        yield chosen
