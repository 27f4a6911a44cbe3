"""The driver, compiled once: as shipped, and with named points to die at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.driver import build, has_compiler


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the driver over the core as it is shipped."""
    if not has_compiler():
        pytest.skip("there is no gcc to compile the driver with")
    return build(tmp_path_factory.mktemp("crash") / "driver")


@pytest.fixture(scope="session")
def hooked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the driver that can die at named points."""
    if not has_compiler():
        pytest.skip("there is no gcc to compile the driver with")
    return build(tmp_path_factory.mktemp("crash") / "hooked", "-DZI_HOOKS")
