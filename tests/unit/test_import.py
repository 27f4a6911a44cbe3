"""`import zeroipc` is cheap, and everything public is there."""

from __future__ import annotations

import pytest

import zeroipc
from tests.support.programs import run_python


def test_import_loads_neither_numpy_nor_cloudpickle() -> None:
    run_python("""
        import sys, zeroipc
        from zeroipc import Memory, SegmentFormatError
        assert zeroipc.__version__
        assert not {"numpy", "cloudpickle"} & set(sys.modules), sys.modules.keys()
    """)


@pytest.mark.parametrize("name", zeroipc.__all__)
def test_every_public_name_loads(name: str) -> None:
    assert getattr(zeroipc, name) is not None
    assert name in dir(zeroipc)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = zeroipc.nonsense
