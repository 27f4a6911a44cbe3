"""The family of exceptions: one root, a built-in beside it, and they travel."""

from __future__ import annotations

import pickle

import pytest

from zeroipc import errors

FAMILY = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, errors.ZeroIPCError)
]


@pytest.mark.parametrize("kind", FAMILY)
def test_has_a_built_in_beside_the_root_and_a_docstring(kind: type[Exception]) -> None:
    built_in = [base for base in kind.__mro__ if base.__module__ in ("builtins", "_pickle")]
    assert kind is errors.ZeroIPCError or built_in[0] is not Exception
    assert kind.__doc__


@pytest.mark.parametrize("kind", FAMILY)
def test_survives_pickling(kind: type[Exception]) -> None:
    copy = pickle.loads(pickle.dumps(kind("what is wrong")))
    assert type(copy) is kind
    assert str(copy) == "what is wrong"


def test_attributes_survive_pickling() -> None:
    full = pickle.loads(pickle.dumps(errors.ShmFullError("full", asked=10, free=3)))
    assert (str(full), full.asked, full.free) == ("full", 10, 3)
    unready = pickle.loads(pickle.dumps(errors.SegmentNotReadyError("wait", nbytes=7)))
    assert (str(unready), unready.nbytes) == ("wait", 7)


def test_structure_not_found_does_not_quote_its_message() -> None:
    assert str(errors.StructureNotFoundError("no 'x' here")) == "no 'x' here"
