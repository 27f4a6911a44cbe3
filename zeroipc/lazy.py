"""Lazy values in a named segment: computed once, by the process that first forces them.

Callers   any number, in any process and thread; exactly one computes
Progress  value and state never wait; force waits while another process computes
Crash     one that dies while it computes leaves the value COMPUTING: others get StalledError,
          and repair() lets somebody else compute it
Bytes     state, operation, operands, value, message, count, see _core/named/lazy_parts.py
Source    SPECIFICATION.md, "Lazy"

The steps are in _deferred.py. Python functions are an external operation: a program in another
language cannot compute them, only read what somebody computed; one in C++ that forces such a
value before that makes it an error. Who computes one leaves its owner tag beside the operands,
so that others see it die.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from . import _backend
from ._core.named.element import Element, element_of
from ._core.named.holder import own_tag
from ._core.named.layout import (
    ERROR_NBYTES,
    LAZY_ADD,
    LAZY_AND,
    LAZY_BOOLEAN,
    LAZY_COMPUTED,
    LAZY_CONSTANT,
    LAZY_EXTERNAL,
    LAZY_MULTIPLY,
    LAZY_NEGATE,
    LAZY_NOT,
    LAZY_OR,
    LAZY_PENDING,
    LAZY_XOR,
)
from ._core.named.lazy_parts import lazy_parts
from ._core.named.message import message_of, message_text
from ._core.status import Status
from ._deferred import Deferred
from ._form import store
from ._vigil import Vigil
from .errors import DTypeError, SegmentFormatError, StalledError
from .memory import Memory
from .table import Entry, Part

_OPERATIONS: dict[int, tuple[str, int, Callable[..., Any]]] = {
    LAZY_CONSTANT: ("constant", 1, np.positive),
    LAZY_ADD: ("add", 2, np.add),
    LAZY_MULTIPLY: ("multiply", 2, np.multiply),
    LAZY_NEGATE: ("negate", 1, np.negative),
}
_TAG = 4
"""Of an external operation: where the tag of who computes is, from the operands on."""

_BOOLEAN: dict[int, Callable[[bool, bool], bool]] = {
    LAZY_CONSTANT: lambda a, b: a,
    LAZY_AND: lambda a, b: a and b,
    LAZY_OR: lambda a, b: a or b,
    LAZY_XOR: lambda a, b: a != b,
    LAZY_NOT: lambda a, b: not a,
}


class Lazy(Deferred):
    """A value that is computed when somebody first forces it, once for all processes.

    With a *function* it is found by its name, or created when it is missing; without, only
    found. `constant`, `add`, `multiply` and `negate` find or create values that programs in
    C++ can force too. The function is this handle's: another handle needs its own, or waits
    for somebody who has one.

    Args:
        mem: the segment.
        name: of the value in the segment, 1 to 31 bytes.
        dtype: of the value.
        function: called without arguments; returns the value.

    Raises:
        StructureNotFoundError: there is no such value, and no *function*.
        DTypeError: *dtype* cannot be shared, or the existing value is not of its layout.
        SegmentFullError, TableFullError, NameTooLongError: it cannot be created.

    >>> with Memory("/example", 4096) as mem:
    ...     answer = Lazy(mem, "answer", "i4", lambda: 6 * 7)
    ...     answer.value, answer.force(), answer.value
    ...     Lazy.add(mem, "sum", "f8", 0.5, 0.25).force()
    ...     mem.unlink()
    (None, 42, 42)
    0.75
    """

    def __init__(
        self,
        mem: Memory,
        name: str,
        dtype: DTypeLike,
        function: Callable[[], Any] | None = None,
    ) -> None:
        element = _numeric(dtype, LAZY_EXTERNAL)
        entry = (
            mem.entry(name)
            if function is None
            else mem.find_or_add(*_part(name, element, LAZY_EXTERNAL))
        )
        self._attach(mem, entry, element, function)

    @classmethod
    def create(cls, mem: Memory, name: str, dtype: DTypeLike, function: Callable[[], Any]) -> Self:
        """Create a value that must not exist.

        Raises:
            NameExistsError: the name is taken. Else as the constructor.
        """
        element = _numeric(dtype, LAZY_EXTERNAL)
        made = cls.__new__(cls)
        made._attach(mem, mem.add(*_part(name, element, LAZY_EXTERNAL)), element, function)
        return made

    @classmethod
    def open(
        cls, mem: Memory, name: str, dtype: DTypeLike, function: Callable[[], Any] | None = None
    ) -> Self:
        """Open a value that must exist; raises as the constructor."""
        found = cls.__new__(cls)
        found._attach(mem, mem.entry(name), _numeric(dtype, LAZY_EXTERNAL), function)
        return found

    @classmethod
    def constant(cls, mem: Memory, name: str, dtype: DTypeLike, value: Any) -> Self:
        """Find or create a value that needs no computing."""
        return cls._of(mem, name, dtype, LAZY_CONSTANT, value)

    @classmethod
    def add(cls, mem: Memory, name: str, dtype: DTypeLike, a: Any, b: Any) -> Self:
        """Find or create the sum of two numbers; integers wrap around."""
        return cls._of(mem, name, dtype, LAZY_ADD, a, b)

    @classmethod
    def multiply(cls, mem: Memory, name: str, dtype: DTypeLike, a: Any, b: Any) -> Self:
        """Find or create the product of two numbers; integers wrap around."""
        return cls._of(mem, name, dtype, LAZY_MULTIPLY, a, b)

    @classmethod
    def negate(cls, mem: Memory, name: str, dtype: DTypeLike, a: Any) -> Self:
        """Find or create the negative of a number; integers wrap around."""
        return cls._of(mem, name, dtype, LAZY_NEGATE, a)

    @classmethod
    def _of(cls, mem: Memory, name: str, dtype: DTypeLike, op: int, *operands: Any) -> Self:
        element = _numeric(dtype, op)
        raw = b"".join(element.pack(operand) for operand in operands)
        made = cls.__new__(cls)
        made._attach(mem, mem.find_or_add(*_part(name, element, op, raw)), element, None)
        return made

    def _attach(
        self, mem: Memory, entry: Entry, element: Element, function: Callable[[], Any] | None
    ) -> None:
        parts = lazy_parts(element)
        if entry.size != parts.nbytes:
            raise DTypeError(
                f"a lazy value of {element.dtype} must have {parts.nbytes} bytes: {entry}"
            )
        self._watch(mem, entry, element, parts.cached)
        self.dtype = element.dtype
        self._function = function
        self._vigil = Vigil()
        view, word, at = mem.view(entry), _backend.named.Word, entry.offset
        self._operands = view[parts.operands : parts.operands + 2 * element.nbytes]
        self._error = view[parts.error : parts.error + ERROR_NBYTES]
        self._op = word(self._buf, at + parts.op, "I", None)
        self._tag = word(self._buf, at + parts.operands + _TAG, "I", None)
        self._count = word(self._buf, at + parts.counter, "I", None)

    @property
    def count(self) -> int:
        """How many times it was computed, at some moment."""
        return int(self._count.load())

    # --- what Deferred asks ---

    def _way(self) -> Callable[[], bytes] | None:
        op = self._op.load()
        if op > LAZY_EXTERNAL:
            raise SegmentFormatError(f"damaged: {self._title} must have an op up to 5: {op}")
        if op == LAZY_CONSTANT:
            return lambda: bytes(self._operands[: self._element.nbytes])
        if op in _OPERATIONS:
            return partial(self._calculate, *_OPERATIONS[op])
        return self._call if op == LAZY_EXTERNAL and self._function is not None else None

    def _calculate(self, name: str, arity: int, function: Callable[..., Any]) -> bytes:
        numbers = np.frombuffer(bytes(self._operands), self.dtype)
        try:
            with np.errstate(all="ignore"):
                result = function(*(numbers[i : i + 1] for i in range(arity)))
        except TypeError as error:
            raise DTypeError(f"dtype must be of numbers to {name}: dtype={self.dtype}") from error
        return np.ascontiguousarray(result, self.dtype).tobytes()

    def _call(self) -> bytes:
        assert self._function is not None
        self._tag.store(own_tag())
        try:
            return self._element.pack(self._function())
        finally:
            self._tag.store(0)

    def _computing(self) -> Status:
        if self._op.load() != LAZY_EXTERNAL:
            return Status.BUSY
        tag = self._tag.load()
        if self._vigil.dead(tag):
            raise StalledError(
                f"{self._title}: the process that computed it has died; repair() lets another "
                "compute it"
            )
        return Status.EMPTY if tag else Status.BUSY

    def _fail(self, error: Exception) -> None:
        self._error[:] = message_of(error)

    def _message(self) -> str:
        return message_text(bytes(self._error)) or super()._message()

    def _count_one(self) -> None:
        self._count.fetch_add(1)

    # --- lifetime ---

    def _reopen(self) -> tuple[Any, ...]:
        return (self.dtype,)

    def _facts(self) -> str:
        return f"{self.state}, dtype={self.dtype}"


class LazyBool(Deferred):
    """A truth value that is computed when somebody first forces it.

    It has no message and no count; it is found by its name, or created by `constant`,
    `and_`, `or_`, `xor` and `not_`.

    >>> with Memory("/example", 4096) as mem:
    ...     LazyBool.xor(mem, "differ", True, False).force()
    ...     mem.unlink()
    True
    """

    def __init__(self, mem: Memory, name: str) -> None:
        self._attach(mem, mem.entry(name))

    @classmethod
    def open(cls, mem: Memory, name: str) -> Self:
        """Open a value that must exist.

        Raises:
            StructureNotFoundError: it does not.
            DTypeError: it is no lazy truth value.
        """
        return cls(mem, name)

    @classmethod
    def constant(cls, mem: Memory, name: str, value: bool) -> Self:
        """Find or create a value that needs no computing."""
        return cls._of(mem, name, LAZY_CONSTANT, value)

    @classmethod
    def and_(cls, mem: Memory, name: str, a: bool, b: bool) -> Self:
        """Find or create ``a and b``."""
        return cls._of(mem, name, LAZY_AND, a, b)

    @classmethod
    def or_(cls, mem: Memory, name: str, a: bool, b: bool) -> Self:
        """Find or create ``a or b``."""
        return cls._of(mem, name, LAZY_OR, a, b)

    @classmethod
    def xor(cls, mem: Memory, name: str, a: bool, b: bool) -> Self:
        """Find or create ``a != b``."""
        return cls._of(mem, name, LAZY_XOR, a, b)

    @classmethod
    def not_(cls, mem: Memory, name: str, a: bool) -> Self:
        """Find or create ``not a``."""
        return cls._of(mem, name, LAZY_NOT, a)

    @classmethod
    def _of(cls, mem: Memory, name: str, op: int, a: bool, b: bool = False) -> Self:
        def prepare(view: memoryview) -> None:
            view[:] = bytes(len(view))
            store(view, LAZY_BOOLEAN.op, op)
            view[LAZY_BOOLEAN.a.offset] = bool(a)
            view[LAZY_BOOLEAN.b.offset] = bool(b)
            if op == LAZY_CONSTANT:
                view[LAZY_BOOLEAN.cached.offset] = bool(a)
                store(view, LAZY_BOOLEAN.state, LAZY_COMPUTED)

        made = cls.__new__(cls)
        made._attach(mem, mem.find_or_add(name, LAZY_BOOLEAN.nbytes, prepare))
        return made

    def _attach(self, mem: Memory, entry: Entry) -> None:
        if entry.size != LAZY_BOOLEAN.nbytes:
            raise DTypeError(f"a lazy truth value must have {LAZY_BOOLEAN.nbytes} bytes: {entry}")
        self._watch(mem, entry, element_of(np.bool_), LAZY_BOOLEAN.cached.offset)
        self._view = mem.view(entry)
        op = entry.offset + LAZY_BOOLEAN.op.offset
        self._op = _backend.named.Word(self._buf, op, "I", None)

    def _way(self) -> Callable[[], bytes]:
        op = self._op.load()
        if op not in _BOOLEAN:
            raise SegmentFormatError(f"damaged: {self._title} must have an op up to 4: {op}")
        a, b = (self._view[field.offset] != 0 for field in (LAZY_BOOLEAN.a, LAZY_BOOLEAN.b))
        return lambda: bytes([_BOOLEAN[op](a, b)])

    def _fail(self, error: Exception) -> None:
        """There is no room for a message."""


def _numeric(dtype: DTypeLike, op: int) -> Element:
    """Return the element of a lazy value, which can have the operation."""
    element = element_of(dtype)
    if element.dtype.kind == "b":
        raise DTypeError("dtype must not be bool: a lazy truth value is a LazyBool")
    if op in (LAZY_ADD, LAZY_MULTIPLY, LAZY_NEGATE) and element.dtype.kind not in "iufc":
        raise DTypeError(f"dtype must be of numbers to {_OPERATIONS[op][0]}: dtype={element.dtype}")
    return element


def _part(name: str, element: Element, op: int, operands: bytes = b"") -> Part:
    """Return what is to be added to a segment for a new lazy value."""
    parts = lazy_parts(element)

    def prepare(view: memoryview) -> None:
        view[:] = bytes(len(view))
        view[parts.op : parts.op + 4] = op.to_bytes(4, "little")
        view[parts.operands : parts.operands + len(operands)] = operands
        state = LAZY_PENDING
        if op == LAZY_CONSTANT:
            view[parts.cached : parts.cached + len(operands)] = operands
            state = LAZY_COMPUTED
        view[:4] = state.to_bytes(4, "little")

    return Part(name, parts.nbytes, prepare)
