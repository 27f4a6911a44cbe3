"""Pickles any object, with its long buffers out of band.

`ForkingPickler` is used, so that registrations with it and with copyreg count, as they do
for the standard library's queues.
"""

from __future__ import annotations

import io
import pickle
import sys
from multiprocessing.reduction import ForkingPickler
from pickle import PickleBuffer, PicklingError
from typing import TYPE_CHECKING, Any

from ..errors import MovedError, UnpicklableError
from .dying import let_deaths_show

if TYPE_CHECKING:
    from collections.abc import Iterable

PROTOCOL = 5

PART_MIN = 4096
"""Bytes from which on a buffer leaves the pickle; a shorter one is copied inside it."""
PARTS_MAX = 256
"""Most buffers out of band; C keeps a table of this size."""
_PATH_DEPTH = 8


def dump_any(obj: object, buffers: list[PickleBuffer], shortest: int = PART_MIN) -> bytes:
    """Return the pickle of *obj*; its long contiguous buffers are appended to *buffers*.

    Args:
        obj: anything.
        buffers: gets those of at least *shortest* bytes.

    Raises:
        UnpicklableError: with the path from *obj* to what cannot be pickled.
    """

    def inside(buffer: PickleBuffer) -> bool:
        try:
            short = buffer.raw().nbytes < shortest
        except BufferError:  # not contiguous
            return True
        if short or len(buffers) == PARTS_MAX:
            return True
        buffers.append(buffer)
        return False

    file = io.BytesIO()
    pickler: Any = ForkingPickler(file, PROTOCOL, True, inside)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        pickler.dispatch_table.setdefault(numpy.ndarray, reduce_array)
    try:
        pickler.dump(obj)
    except (PicklingError, TypeError, AttributeError) as error:
        raise unpicklable(obj, error) from error
    return file.getvalue()


def codec_loads(data: Any, buffers: Iterable[Any] | None = None) -> Any:
    """Return the object of a pickle; an error waits for processes that are ending."""
    try:
        return pickle.loads(data, buffers=buffers)
    except BaseException:
        let_deaths_show()
        raise


def reduce_array(array: Any) -> Any:
    """Reduce an ndarray as NumPy does, but always with the array itself as its buffer.

    NumPy takes a view of an array in Fortran order, which hides that nothing else shows a loan.

    Raises:
        MovedError: *array* shows memory that was given away.
    """
    if getattr(getattr(array.base, "base", None), "moved", False):
        raise MovedError("the array was moved: it was put into a queue before")
    reduced = array.__reduce_ex__(PROTOCOL)
    if array.flags.fnc and type(reduced[1][0]) is PickleBuffer:
        return reduced[0], (PickleBuffer(array), *reduced[1][1:])
    return reduced


def unpicklable(obj: object, error: Exception) -> UnpicklableError:
    """Return an error that names the path from *obj* to the part that fails with *error*."""
    path, culprit = find_culprit(obj, "obj", _PATH_DEPTH)
    return UnpicklableError(f"cannot pickle {path}, a {type(culprit).__qualname__}: {error}")


def find_culprit(obj: object, path: str, depth: int) -> tuple[str, object]:
    """Return the deepest part of *obj* that cannot be pickled, with the path to it."""
    if depth:
        for name, part in parts(obj):
            if not can_pickle(part):
                return find_culprit(part, path + name, depth - 1)
    return path, obj


def parts(obj: object) -> list[tuple[str, object]]:
    """Return the parts of *obj* that its pickle would hold, with how to write the access."""
    if isinstance(obj, dict):
        keys = [(f" key {key!r}", key) for key in obj]
        return keys + [(f"[{key!r}]", value) for key, value in obj.items()]
    if isinstance(obj, (list, tuple)):
        return [(f"[{index}]", item) for index, item in enumerate(obj)]
    if isinstance(obj, (set, frozenset)):
        return [(f" element {item!r}", item) for item in obj]
    state: Any = getattr(obj, "__dict__", None)
    if isinstance(state, dict) and not isinstance(obj, type):
        return [(f".{name}", value) for name, value in state.items()]
    return []


def can_pickle(obj: object) -> bool:
    """Return whether *obj* alone can be pickled."""
    try:
        ForkingPickler(io.BytesIO(), PROTOCOL).dump(obj)
    except Exception:
        return False
    return True
