"""Functions that run in worker processes: calls in, values, errors or futures out.

    @mp.function(workers=4)                         call ──► task ring ──► worker 0..n-1
    def render(page): ...                                                      │
                                                    value ◄── result ring ◄────┘
    render(1); render.submit(2); render.map(pages); await render.acall(3)

- **Owner**: the process that starts the workers, at the first call. It has an engine, as an
  executor has (engine.py), whose workers have the callable from their start.
- **Worker**: takes a call, runs it, sends the outcome. One that dies fails the call that it ran
  and is replaced.
- **Client**: any other process that has the function, because it was forked from one that had, or
  was sent it: as an argument, through a queue, inside another object. It calls the same workers
  (function_client.py). When the owner ends or closes the function its calls fail. Only where no
  queue can be sent, as by `pickle.dumps`, a decorated function is sent as the plain one.

Who has what: sending a function starts its workers, if they are not running, and the receiver is
a client. A child that is forked before the workers are started, and a fresh interpreter that
imports the module of a decorated function, have a function of their own; its workers start at
their first call. `start()` and `with` start them earlier. A function with a name is found by it
while it is started, by any program of the user: `Function.open(name)`.

In a worker no call starts workers, or waits for those of its own function: the function that is
served, every decorated one, and those that nobody has started are called there and then.
"""

from __future__ import annotations

import functools
import os
import weakref
from multiprocessing import util
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from .._rlock import RLock
from ..errors import ClosedError
from . import function_served as served
from .calls import Packer
from .context import _default_context
from .cpus import usable_cpus
from .deaths import load_obituaries
from .executor import WORKERS_MAX
from .function_client import ClientEngine, Link
from .function_owner import ServingEngine
from .futures import AwaitableFuture
from .mapping import map_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

    from .engine import Engine
    from .function_named import Found
    from .futures import TaskFuture

T = TypeVar("T")

__all__ = ["Function", "function"]

_NAMES = ("__module__", "__name__", "__qualname__", "__doc__")
_known: weakref.WeakValueDictionary[bytes, Function[Any]] = weakref.WeakValueDictionary()
"""Those that this process owns or was sent, by their token."""


class Function(Generic[T]):
    """A callable whose calls run in worker processes.

    Callers: any threads, event loops and processes. What is called must be picklable by name, or a
    lambda, closure or object that cloudpickle can send; each worker has its own copy of an object.
    Arguments and results must be picklable; arrays travel in shared memory.

    Args:
        call: what to call.
        workers: how many processes; None for the number of CPUs this process may use, of those
            that it is bound to and its control group allows.
        mp_context: starts them, ours or the standard library's; None for the default one at the
            time of the first call.
        timeout: seconds that a plain call `f(x)` waits; None for ever. A call that no worker has
            taken by then is taken back.
        name: by which other programs of this user find the function while it is started. If one
            serves the name already, this function calls its workers.

    Raises:
        TypeError: *call* is not callable, or *workers* no integer.
        ValueError: *workers* is below 1 or above WORKERS_MAX.

    >>> from zeroipc import mp
    >>> with mp.Function(pow, workers=2) as power:
    ...     power(2, 10), power.submit(3, 4).result(), list(power.map([1, 2], [5, 5]))
    (1024, 81, [1, 32])
    """

    __wrapped__: Callable[..., T]
    """What is called; not there in a function that was received."""
    _context: Any = None
    _served_as: str | None = None
    _record: util.Finalize | None = None
    _closing: Engine | None = None

    def __init__(
        self,
        call: Callable[..., T],
        /,
        workers: int | None = None,
        *,
        mp_context: Any = None,
        timeout: float | None = None,
        name: str | None = None,
    ) -> None:
        if not callable(call):
            raise TypeError(f"a function needs a callable: {call!r}")
        if workers is not None and not isinstance(workers, int):
            raise TypeError(f"workers must be an integer or None: workers={workers!r}")
        if workers is not None and not 1 <= workers <= WORKERS_MAX:
            raise ValueError(f"workers must be from 1 to {WORKERS_MAX}: workers={workers}")
        functools.update_wrapper(self, call, updated=())
        more = getattr(call, "__dict__", {}).items()
        vars(self).update((name, value) for name, value in more if not hasattr(Function, name))
        self._set_up(os.urandom(16), workers, timeout)
        self._context, self._served_as = mp_context, name

    @classmethod
    def open(cls, name: str, *, timeout: float | None = None) -> Function[Any]:
        """Return the function that another process serves by a name.

        Args:
            name: that it was given.
            timeout: seconds that a plain call waits; None for ever.

        Raises:
            SegmentNotFoundError: nobody serves it, or the one who did has ended.
        """
        from .function_named import find

        found = find(name)
        return _same_or_new(found.token, found.link, found.names, timeout)

    def _set_up(self, token: bytes, workers: int | None, timeout: float | None) -> None:
        self._token, self._workers, self._timeout = token, workers, timeout
        self._engine: Engine | None = None
        self._link: Link | None = None
        self._closed = False
        self._lock = RLock()
        _known[token] = self
        served.functions.add(self)

    # --- Calling --------------------------------------------------------------------------

    def __call__(self, /, *args: Any, **kwargs: Any) -> T:
        """Call it in a worker and return what it returns, or raise what it raises.

        The remote traceback is the `__cause__` of the error.

        Raises:
            TimeoutError: it took longer than the function's *timeout*.
            ClosedError: the function is closed.
            WorkerDiedError: the worker died; the text names it and the signal.
            OwnerDiedError: in a client: the owner has ended.
        """
        engine = self._engine or self._enter()
        if engine is None:
            return self._here(*args, **kwargs)
        future: TaskFuture[T] = engine.submit(served.call, args, kwargs)
        try:
            return future.result(self._timeout)
        finally:
            if not future.is_done():
                future.cancel()
            del future  # break the cycle with an exception's traceback

    def submit(self, /, *args: Any, **kwargs: Any) -> AwaitableFuture[T]:
        """Begin a call; return its future, a `concurrent.futures.Future` that `await` takes too.

        What cannot be pickled fails the future.

        Raises:
            ClosedError: the function is closed.
        """
        engine = self._engine or self._enter()
        if engine is None:
            return _future_of(self._here, *args, **kwargs)
        return engine.submit(served.call, args, kwargs)

    async def acall(self, /, *args: Any, **kwargs: Any) -> T:
        """Call it without blocking the event loop; else as `f(x)`, without its *timeout*.

        No thread waits for it. Cancelled, it takes back a call that no worker has.
        """
        return await self.submit(*args, **kwargs)

    def map(
        self,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Return the results of calls with one argument from each of *iterables*, in order.

        Args:
            timeout: seconds for everything, counted from this call; None for ever.
            chunksize: how many calls a worker gets at a time.
            buffersize: most calls, or chunks, that are begun and not yet asked for; None: all are
                begun at once.

        Raises:
            ValueError: *chunksize* or *buffersize* is below 1.
            TimeoutError: from the iterator.
        """
        engine = self._engine or self._enter()
        if engine is None:
            one_by_one = functools.partial(map_calls, _future_of, Packer(by_value=False))
            return one_by_one(self._here, iterables, timeout, 1, buffersize)
        call, packer = served.call, engine.packer

        def submit(fn: Any, *args: Any) -> Any:
            return engine.submit(fn, args, {})

        return map_calls(submit, packer, call, iterables, timeout, chunksize, buffersize)

    # --- Starting -------------------------------------------------------------------------

    def start(self) -> Self:
        """Start the workers, or, in a client, what it needs to call them; return this.

        Raises:
            ClosedError: the function is closed.
            OwnerDiedError: the owner has ended.
        """
        with self._lock:
            if self._closed:
                raise ClosedError(f"the function is closed: {self!r}")
            if self._engine is None:
                self._engine = self._serve() if self._link is None else ClientEngine(self._link)
        return self

    def _enter(self) -> Engine | None:
        """Return the engine, started at first; None: calls are to be made here."""
        if served.token and (self._link is None or self._token == served.token):
            return None
        return self.start()._engine

    def _serve(self) -> Engine:
        """Return an engine with workers, or that of a client if another serves the name."""
        context = self._context or _default_context.get_context()
        size = self._workers or min(usable_cpus(), WORKERS_MAX)
        load = served.loader(self.__wrapped__, self._is_found_by_name(), context)
        engine = ServingEngine(context, size, self._token, self._name(), load)
        link = engine.prepare()
        other = self._record_name(link)
        if other is not None:
            self._token, self._link = other.token, other.link
            _known[self._token] = self
            return ClientEngine(other.link)
        load_obituaries()
        try:
            engine._start()
        except BaseException:
            self._remove_record()
            raise
        self._link = link
        # Before a child of multiprocessing, at its end, waits for the workers.
        util.Finalize(self, engine.close, (False,), exitpriority=10)
        return engine

    def _record_name(self, link: Link) -> Found | None:
        """Have others find *link* by the name, if there is one; or return who serves it."""
        if self._served_as is None:
            return None
        from .function_named import Found, find_or_record, forget

        ours = Found(self._token, link, self._names())
        other = find_or_record(self._served_as, ours)
        if other is None:
            name_and_token = self._served_as, self._token
            self._record = util.Finalize(self, forget, name_and_token, exitpriority=11)
        return other

    def _remove_record(self) -> None:
        if self._record is not None:
            self._record()

    def _is_found_by_name(self) -> bool:
        """Return whether this stands in its module in place of what it calls."""
        call = getattr(self, "__wrapped__", None)
        names = getattr(call, "__module__", None), getattr(call, "__qualname__", None)
        return None not in names and served.find(*names) is self  # type: ignore[arg-type]

    def _here(self, *args: Any, **kwargs: Any) -> T:
        """Call it in this process, a worker."""
        call = served.call if self._token == served.token else self.__wrapped__
        return call(*args, **kwargs)

    # --- The end --------------------------------------------------------------------------

    def close(self, wait: bool = True) -> None:
        """Take no more calls here; the owner's workers end when the calls begun here are done.

        The calls of clients fail then. In a client, nobody else is concerned.

        Args:
            wait: whether to wait for that.
        """
        with self._lock:
            engine = self._closing = self._engine or self._closing
            self._engine, self._closed = None, True
            if _known.get(self._token) is self:
                del _known[self._token]
        self._remove_record()
        if engine is not None:
            engine.close(cancel_pending=False)
            if wait and engine.thread is not None:
                engine.thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    # --- Other processes ------------------------------------------------------------------

    def __reduce__(self) -> Any:
        names = self._names()
        called = self.__dict__.get("__wrapped__")
        if called and served.is_packing_by_value():  # within what a worker is given
            return _received, (self._token, None, names, self._timeout), {"__wrapped__": called}
        if self._link is None:
            self.start()
        try:
            sent = self._link.sent()  # type: ignore[union-attr]
        except RuntimeError:  # it is neither being put into a queue nor given to a child
            if called and self._is_found_by_name():
                return served.load_by_name, (called.__module__, called.__qualname__)
            raise
        return _received, (self._token, sent, names, self._timeout)

    def _become_worker(self) -> None:
        """In a new worker: call no decorated function's workers."""
        if self._is_found_by_name():
            self._link = None

    def _renew(self) -> None:
        """In a forked child: be a client of the workers, if there were any."""
        self._lock = RLock()
        self._engine = None

    def __repr__(self) -> str:
        if self._closed:
            state = "closed"
        elif self._link is None:
            state = "not started"
        else:
            ours = self._link.owner[0] == os.getpid()
            of = "" if ours else f" of process {self._link.owner[0]}"
            state = f"{self._link.size} workers{of}"
        return f"<{type(self).__name__} {self._name()}: {state}>"

    def _names(self) -> dict[str, str]:
        texts = ((name, getattr(self, name, None)) for name in _NAMES)
        return {name: text for name, text in texts if isinstance(text, str)}

    def _name(self) -> str:
        name: str | None = getattr(self, "__qualname__", None)
        return name or repr(getattr(self, "__wrapped__", None))


def _received(
    token: bytes, sent: Any, names: dict[str, str], timeout: float | None
) -> Function[Any]:
    """Return the function that was sent."""
    link = None if sent is None else Link.received(sent)
    return _same_or_new(token, link, names, timeout)


def _same_or_new(
    token: bytes, link: Link | None, names: dict[str, str], timeout: float | None
) -> Function[Any]:
    """Return the function of that token that this process has, or a new client's."""
    known = _known.get(token)
    if known is not None and not known._closed:
        known._link = known._link or link
        return known
    function: Function[Any] = Function.__new__(Function)
    function.__dict__.update(names)
    function._set_up(token, None, timeout)
    function._link = link
    return function


def _future_of(call: Callable[..., T], *args: Any, **kwargs: Any) -> AwaitableFuture[T]:
    future: AwaitableFuture[T] = AwaitableFuture()
    try:
        future.set_result(call(*args, **kwargs))
    except Exception as error:
        future.set_exception(error)
    return future


@overload
def function(call: Callable[..., T], /) -> Function[T]: ...
@overload
def function(
    *,
    workers: int | None = None,
    mp_context: Any = None,
    timeout: float | None = None,
    name: str | None = None,
) -> Callable[[Callable[..., T]], Function[T]]: ...
def function(call: Any = None, /, **options: Any) -> Any:
    """Make a `Function` of what is defined below it; *options* are those of `Function`.

    >>> from zeroipc import mp
    >>> @mp.function(workers=2)
    ... def square(x):
    ...     return x * x
    >>> square(3), square.__name__
    (9, 'square')
    >>> square.close()
    """
    if call is None:
        return functools.partial(function, **options)
    return Function(call, **options)


def _after_fork_in_child() -> None:
    for function in list(served.functions):
        function._renew()


os.register_at_fork(after_in_child=_after_fork_in_child)
