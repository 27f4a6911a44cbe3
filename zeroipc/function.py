"""Functions that processes serve, and others call, by a name in a named segment.

Callers   any number of clients and servers, in any process and thread
Progress  every step is one compare-and-swap; calls sleep until a slot is free and the result is
          there, servers until there is a call
Crash     the death of a server fails the call that it was serving, and no other; what a dead
          client had is taken back
Bytes     FUNCTION, then slots: FUNCTION_CALL, arguments, result, message, see
          _core/named/layout.py. The types are fixed, so that C programs can serve and call
Source    SPECIFICATION.md, "Function"

The steps are in _calls.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from operator import index
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from . import _backend
from ._calls import Call, Calls, Outcome, Served, call_parts
from ._collector import Collector
from ._core.named.element import Element, element_of
from ._core.named.layout import FUNCTION, FUNCTION_VERSION
from ._core.status import OK, Status
from ._form import load, store
from ._structure import Structure, checked_capacity
from ._waiting import FOREVER, deadline_of, seconds_till
from .errors import CapacityError, DTypeError, SegmentFormatError, VersionError, WaitTimeoutError
from .memory import Memory
from .table import Entry, Part

SLOTS = 64
SLOTS_MAX = 65536

Arguments = DTypeLike | tuple[DTypeLike, ...]


class Function(Structure):
    """A callable that some processes serve and others call.

    Found by its name, or created when it is missing; clients and servers may come in any
    order. A call waits until somebody serves it.

    Args:
        mem: the segment.
        name: of the function in the segment, 1 to 31 bytes.
        arguments: the dtype of the only argument, or a tuple of the dtypes of several: they
            are stored like a C struct.
        result: the dtype of the result.
        slots: how many calls there can be at a time, from 1; by default that of the existing
            function, else 64.

    Raises:
        DTypeError: a dtype cannot be shared, or is not of the existing function's size.
        CapacityError: *slots* is out of range, or not that of the existing function.
        SegmentFormatError, VersionError: what is stored is not a function that we know.
        SegmentFullError, TableFullError, NameTooLongError: it cannot be created.

    >>> import threading
    >>> with Memory("/example", 65536) as mem:
    ...     power = Function(mem, "power", ("f8", "i4"), "f8", slots=4)
    ...     server = threading.Thread(target=power.serve, args=(pow,))
    ...     server.start()
    ...     power(1.5, 2), list(power.map([2.0, 3.0], [3, 2]))
    ...     type(power.submit(0.0, -1).exception())
    ...     power.stop()
    ...     server.join()
    ...     mem.unlink()
    (2.25, [8.0, 9.0])
    <class 'zeroipc.errors.RemoteError'>
    """

    def __init__(
        self,
        mem: Memory,
        name: str,
        arguments: Arguments,
        result: DTypeLike,
        slots: int | None = None,
    ) -> None:
        wanted = SLOTS if slots is None else checked_capacity(index(slots), 1, SLOTS_MAX)
        elements = _argument_of(arguments), element_of(result)
        entry = mem.find_or_add(*_part(name, *elements, wanted))
        self._attach(mem, entry, arguments, *elements, None if slots is None else wanted)

    @classmethod
    def create(
        cls,
        mem: Memory,
        name: str,
        arguments: Arguments,
        result: DTypeLike,
        slots: int = SLOTS,
    ) -> Self:
        """Create a function that must not exist.

        Raises:
            NameExistsError: the name is taken. Else as the constructor.
        """
        wanted = checked_capacity(index(slots), 1, SLOTS_MAX)
        elements = _argument_of(arguments), element_of(result)
        made = cls.__new__(cls)
        made._attach(mem, mem.add(*_part(name, *elements, wanted)), arguments, *elements)
        return made

    @classmethod
    def open(cls, mem: Memory, name: str, arguments: Arguments, result: DTypeLike) -> Self:
        """Open a function that must exist.

        Raises:
            StructureNotFoundError: it does not. Else as the constructor.
        """
        elements = _argument_of(arguments), element_of(result)
        found = cls.__new__(cls)
        found._attach(mem, mem.entry(name), arguments, *elements)
        return found

    def _attach(
        self,
        mem: Memory,
        entry: Entry,
        arguments: Arguments,
        argument: Element,
        result: Element,
        slots: int | None = None,
    ) -> None:
        stored = _stored_slots(mem.view(entry), entry, argument, result)
        if slots not in (None, stored):
            raise CapacityError(
                f"function {entry.name!r} exists, and slots must be {stored}: slots={slots}"
            )
        self._hold(mem, entry.name)
        self.slots = stored
        self._arguments, self._argument, self._result = arguments, argument, result
        self._several = isinstance(arguments, tuple)
        self._stopped = False
        self._collector: Collector | None = None
        self._core = Calls(mem, entry, stored, argument.nbytes, result.nbytes)
        word, at = _backend.named.Word, entry.offset
        fields = FUNCTION.called, FUNCTION.done, FUNCTION.freed
        self._called, self._done, self._freed = (self._bell(at + f.offset) for f in fields)
        self._core.watch(
            word(self._buf, at + FUNCTION.tickets.offset, "Q", None),
            word(self._buf, at + FUNCTION.called.offset, "I", self._called),
            word(self._buf, at + FUNCTION.done.offset, "I", self._done),
            word(self._buf, at + FUNCTION.freed.offset, "I", self._freed),
        )

    # --- calling ---

    def __call__(self, *args: Any, timeout: float | None = None) -> Any:
        """Call it, and return the result.

        Raises:
            WaitTimeoutError: it was not there within *timeout* seconds; if a server is at it,
                its result will be dropped.
            RemoteError: the function raised; the text says what.
            OwnerDiedError: the process that served the call died.
            DTypeError, OutOfRangeError: the dtypes cannot hold the arguments.
        """
        deadline = deadline_of(timeout)
        call = Call(self._core, self._packed(args))
        outcome: Any = Status.EMPTY
        try:
            self._start(call, deadline)
            outcome = self._wait_till(call.attempt, self._done, deadline)
        finally:
            if type(outcome) is Status:
                call.give_up()
        if type(outcome) is Status:
            raise WaitTimeoutError(f"{self._title} gave no result for {timeout} seconds")
        if isinstance(outcome, Exception):
            raise outcome
        return self._result.unpack(outcome)

    def submit(self, *args: Any) -> Future[Any]:
        """Make a call; return a future that will have its result.

        Waits while no slot is free. A thread of this process settles the futures. One that
        is not yet served can be cancelled.

        Raises:
            DTypeError, OutOfRangeError: the dtypes cannot hold the arguments.
        """
        return self._submit(args, FOREVER)

    def map(self, *iterables: Iterable[Any], timeout: float | None = None) -> Iterator[Any]:
        """Yield the results of calls with the items of *iterables*, in their order.

        Makes calls ahead, as many as there are slots, once the first result is asked for.

        Raises:
            WaitTimeoutError: *timeout* seconds after that, the next one was not there. Else
                as a call.
        """
        deadline = deadline_of(timeout)
        pending: deque[Future[Any]] = deque()
        try:
            for args in zip(*iterables, strict=False):
                if len(pending) == self.slots:
                    yield self._outcome(pending.popleft(), deadline)
                pending.append(self._submit(args, deadline))
            while pending:
                yield self._outcome(pending.popleft(), deadline)
        finally:
            for future in pending:
                future.cancel()

    def _outcome(self, future: Future[Any], deadline: int) -> Any:
        try:
            return future.result(seconds_till(deadline))
        except TimeoutError as error:
            if future.done():  # it is the call's own
                raise
            future.cancel()
            raise WaitTimeoutError(f"{self._title} gave no result in time") from error

    def _submit(self, args: tuple[Any, ...], deadline: int) -> Future[Any]:
        if self._collector is None or not self._collector.is_of_this_process():
            wait = partial(self._wait, bell=self._done, timeout=None)
            self._collector = Collector(wait, self._settle)
        call = Call(self._core, self._packed(args))
        try:
            self._start(call, deadline)
            return self._collector.add(call)
        except BaseException:
            call.give_up()
            raise

    def _settle(self, future: Future[Any], outcome: Outcome) -> None:
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(self._result.unpack(outcome))

    def _packed(self, args: tuple[Any, ...]) -> bytes:
        if self._several:
            return self._argument.pack(args)
        if len(args) != 1:
            raise DTypeError(f"{self._title} must be called with one argument: {len(args)} given")
        return self._argument.pack(args[0])

    def _start(self, call: Call, deadline: int) -> None:
        if self._wait_till(call.try_start, self._freed, deadline) is not OK:
            raise WaitTimeoutError(f"{self._title} had no free slot in time")

    # --- serving ---

    def serve(self, function: Callable[..., Any]) -> None:
        """Serve calls with *function* until somebody calls `stop` on this handle.

        What it raises goes to whoever called; what is no Exception (Ctrl-C) also ends this.
        """
        while not self._stopped:
            self.serve_one(function)

    def serve_one(self, function: Callable[..., Any], timeout: float | None = None) -> bool:
        """Serve one call with *function*, waiting for it.

        Returns:
            False when there was none within *timeout* seconds, or `stop` was called.
        """
        served = self._wait(self._try_take, self._called, timeout)
        if not isinstance(served, Served):
            return False
        try:
            served.finish(self._result.pack(function(*self._unpacked(served.argument))))
        except BaseException as error:
            served.fail(error)
            if not isinstance(error, Exception):
                raise
        return True

    def stop(self) -> None:
        """Let all `serve` and `serve_one` of this handle return, now and from now on."""
        self._stopped = True
        self._called.ring()

    def _try_take(self) -> Served | Status | None:
        return None if self._stopped else self._core.try_take()

    def _unpacked(self, raw: bytes) -> tuple[Any, ...]:
        value = self._argument.unpack(raw)
        return tuple(value.item()) if self._several else (value,)

    # --- the rest ---

    def repair(self) -> int:
        """Forget all calls, when nobody else is using the function; return how many there were."""
        return int(self._core.repair())

    def _reopen(self) -> tuple[Any, ...]:
        return self._arguments, self._result.dtype

    def _facts(self) -> str:
        types = f"{self._argument.dtype} -> {self._result.dtype}"
        return f"calls={self._core.in_use()}/{self.slots}, {types}"


def _argument_of(arguments: Arguments) -> Element:
    """Return the element that holds all arguments."""
    if not isinstance(arguments, tuple):
        return element_of(arguments)
    if not arguments:
        raise DTypeError("a function must have at least one argument")
    fields = [(f"f{i}", element_of(dtype).dtype) for i, dtype in enumerate(arguments)]
    return element_of(np.dtype(fields, align=True))


def _part(name: str, argument: Element, result: Element, slots: int) -> Part:
    """Return what is to be added to a segment for a new function."""

    def prepare(view: memoryview) -> None:
        view[:] = bytes(len(view))
        store(view, FUNCTION.version, FUNCTION_VERSION)
        store(view, FUNCTION.slots, slots)
        store(view, FUNCTION.argument_nbytes, argument.nbytes)
        store(view, FUNCTION.result_nbytes, result.nbytes)

    parts = call_parts(argument.nbytes, result.nbytes)
    return Part(name, FUNCTION.nbytes + slots * parts.nbytes, prepare)


def _stored_slots(view: memoryview, entry: Entry, argument: Element, result: Element) -> int:
    """Return the slots of a function, checked against its dtypes and size."""
    if entry.size < FUNCTION.nbytes:
        raise SegmentFormatError(f"not a function: it must have {FUNCTION.nbytes} bytes: {entry}")
    if load(view, FUNCTION.version) != FUNCTION_VERSION:
        raise VersionError(
            f"function {entry.name!r} must have version {FUNCTION_VERSION}: "
            f"version={load(view, FUNCTION.version)}"
        )
    for what, field, element in (
        ("arguments", FUNCTION.argument_nbytes, argument),
        ("results", FUNCTION.result_nbytes, result),
    ):
        if load(view, field) != element.nbytes:
            raise DTypeError(
                f"function {entry.name!r} has {what} of {load(view, field)} bytes: "
                f"dtype={element.dtype} has {element.nbytes}"
            )
    slots = load(view, FUNCTION.slots)
    nbytes = FUNCTION.nbytes + slots * call_parts(argument.nbytes, result.nbytes).nbytes
    if not 1 <= slots <= SLOTS_MAX or nbytes > entry.size:
        raise SegmentFormatError(f"not a function: {slots} slots must fit its size: {entry}")
    return slots
