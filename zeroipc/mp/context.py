"""The contexts: what `multiprocessing`'s offer, with queues and executor of our own.

Each of ours derives from the standard library's of the same name, so that libraries that insist on
a `multiprocessing.context.BaseContext` accept it. The start method is kept by the standard
library's default context and nowhere else: what either module sets, both see, and so do the
children of both, whose Process classes are the same.
"""

import sys
from multiprocessing import context as standard
from typing import TYPE_CHECKING, Any

from zeroipc.mp.standard import names_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from zeroipc.mp.connection import Connection
    from zeroipc.mp.executor import ProcessPoolExecutor
    from zeroipc.mp.pool import Pool
    from zeroipc.mp.queues import JoinableQueue, Queue, SimpleQueue
    from zeroipc.mp.synchronize import (
        Barrier,
        BoundedSemaphore,
        Condition,
        Event,
        Lock,
        RLock,
        Semaphore,
    )


class SharedMemoryContext(standard.BaseContext):
    """The methods in which a context of ours differs from the standard library's."""

    def Queue(  # type: ignore[override, unused-ignore]
        self, maxsize: int = 0, *, name: str | None = None
    ) -> "Queue[Any]":
        """Return a queue; *maxsize* items at most, 0 for no bound; shared by *name*."""
        from zeroipc.mp.queues import Queue

        return Queue(maxsize, ctx=self.get_context(), name=name)

    def JoinableQueue(  # type: ignore[override, unused-ignore]
        self, maxsize: int = 0, *, name: str | None = None
    ) -> "JoinableQueue[Any]":
        """Return a queue with `task_done` and `join`; else as `Queue`."""
        from zeroipc.mp.queues import JoinableQueue

        return JoinableQueue(maxsize, ctx=self.get_context(), name=name)

    def SimpleQueue(self) -> "SimpleQueue[Any]":  # type: ignore[override, unused-ignore]
        """Return an unbounded queue with `put`, `get`, `empty` and `close` only."""
        from zeroipc.mp.queues import SimpleQueue

        return SimpleQueue(ctx=self.get_context())

    def Pipe(self, duplex: bool = True) -> "tuple[Connection, Connection]":
        """Return two ends: the first receives, the second sends; both do both if *duplex*."""
        from zeroipc.mp.connection import Pipe

        return Pipe(duplex)

    def Pool(  # type: ignore[override, unused-ignore]
        self,
        processes: int | None = None,
        initializer: "Callable[..., object] | None" = None,
        initargs: "Iterable[Any]" = (),
        maxtasksperchild: int | None = None,
    ) -> "Pool":
        """Return a pool of worker processes; see `zeroipc.mp.pool.Pool`."""
        from zeroipc.mp.pool import Pool

        context = self.get_context()
        return Pool(processes, initializer, initargs, maxtasksperchild, context=context)

    def RawValue(self, typecode_or_type: Any, *args: Any) -> Any:
        """Return a ctypes object in shared memory, without a lock."""
        from zeroipc.mp.sharedctypes import RawValue

        return RawValue(typecode_or_type, *args)

    def RawArray(self, typecode_or_type: Any, size_or_initializer: Any) -> Any:
        """Return a ctypes array in shared memory, without a lock."""
        from zeroipc.mp.sharedctypes import RawArray

        return RawArray(typecode_or_type, size_or_initializer)

    def Value(self, typecode_or_type: Any, *args: Any, lock: Any = True) -> Any:
        """Return a ctypes object in shared memory, with a lock around each access."""
        from zeroipc.mp.sharedctypes import Value

        return Value(typecode_or_type, *args, lock=lock, ctx=self.get_context())

    def Array(self, typecode_or_type: Any, size_or_initializer: Any, *, lock: Any = True) -> Any:
        """Return a ctypes array in shared memory, with a lock around each access."""
        from zeroipc.mp.sharedctypes import Array

        return Array(typecode_or_type, size_or_initializer, lock=lock, ctx=self.get_context())

    def Lock(self) -> "Lock":  # type: ignore[override, unused-ignore]
        """Return a lock that survives its holder."""
        from zeroipc.mp.synchronize import Lock

        return Lock(ctx=self.get_context())

    def RLock(self) -> "RLock":  # type: ignore[override, unused-ignore]
        """Return a recursive lock that survives its holder."""
        from zeroipc.mp.synchronize import RLock

        return RLock(ctx=self.get_context())

    def Condition(  # type: ignore[override, unused-ignore]
        self, lock: Any = None
    ) -> "Condition":
        """Return a condition over *lock*, or over a recursive lock of its own."""
        from zeroipc.mp.synchronize import Condition

        return Condition(lock, ctx=self.get_context())

    def Semaphore(  # type: ignore[override, unused-ignore]
        self, value: int = 1
    ) -> "Semaphore":
        """Return a semaphore of a first *value*."""
        from zeroipc.mp.synchronize import Semaphore

        return Semaphore(value, ctx=self.get_context())

    def BoundedSemaphore(  # type: ignore[override, unused-ignore]
        self, value: int = 1
    ) -> "BoundedSemaphore":
        """Return a semaphore that cannot be raised above its first *value*."""
        from zeroipc.mp.synchronize import BoundedSemaphore

        return BoundedSemaphore(value, ctx=self.get_context())

    def Event(self) -> "Event":  # type: ignore[override, unused-ignore]
        """Return an event."""
        from zeroipc.mp.synchronize import Event

        return Event(ctx=self.get_context())

    def Barrier(  # type: ignore[override, unused-ignore]
        self, parties: int, action: Any = None, timeout: float | None = None
    ) -> "Barrier":
        """Return a barrier of so many *parties*."""
        from zeroipc.mp.synchronize import Barrier

        return Barrier(parties, action, timeout, ctx=self.get_context())

    def ProcessPoolExecutor(
        self, max_workers: int | None = None, **options: Any
    ) -> "ProcessPoolExecutor":
        """Return an executor whose workers start by this context's method.

        Args:
            max_workers: how many processes; None for as many as there are CPUs.
            options: the executor's other arguments, all but `mp_context`.
        """
        from zeroipc.mp.executor import ProcessPoolExecutor

        return ProcessPoolExecutor(max_workers, mp_context=self.get_context(), **options)

    def get_context(self, method: str | None = None) -> Any:
        """Return the context that starts processes by *method*; None for this context.

        Raises:
            ValueError: there is no such method on this system.
        """
        if method is None:
            return self
        theirs = super().get_context(method)
        # A method that another library has added has no counterpart of ours.
        return _concrete_contexts.get(method, theirs)


class DefaultContext(SharedMemoryContext, standard.DefaultContext):
    """The context behind the functions of `zeroipc.mp`: the one of the current start method."""

    def __init__(self) -> None:
        super().__init__(standard._default_context)

    def get_context(self, method: str | None = None) -> Any:
        """Return the context of *method*; None for the current one, which is then settled.

        Raises:
            ValueError: there is no such method on this system.
        """
        if method is None:
            method = standard._default_context.get_start_method()
        return super().get_context(method)

    def set_start_method(self, method: str | None, force: bool = False) -> None:
        """Choose how both this module and `multiprocessing` start processes.

        Args:
            method: one of `get_all_start_methods()`; None, with *force*, for not yet chosen.
            force: whether an earlier choice may be replaced.

        Raises:
            RuntimeError: the method has been settled and *force* is false.
            ValueError: there is no such method on this system.
        """
        standard._default_context.set_start_method(method, force)

    def get_start_method(self, allow_none: bool = False) -> Any:
        """Return the name of the start method, which is then settled.

        Args:
            allow_none: whether to return None, settling nothing, while it is not.
        """
        return standard._default_context.get_start_method(allow_none)

    def get_all_start_methods(self) -> list[str]:
        """Return the names of the start methods there are, this system's default first."""
        return standard._default_context.get_all_start_methods()


class SpawnContext(SharedMemoryContext, standard.SpawnContext):
    """Starts a fresh interpreter."""


_concrete_contexts: dict[str, standard.BaseContext] = {"spawn": SpawnContext()}

if sys.platform != "win32":

    class ForkContext(SharedMemoryContext, standard.ForkContext):
        """Starts a copy of the calling process."""

    class ForkServerContext(SharedMemoryContext, standard.ForkServerContext):
        """Starts a copy of a server process that has done nothing yet."""

    _concrete_contexts |= {"fork": ForkContext(), "forkserver": ForkServerContext()}

_default_context = DefaultContext()

__all__ = ()
__getattr__ = names_of(__name__)
