"""The queues' interface: what `multiprocessing` promises, and what is added to it."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import queue
import socket
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zeroipc.mp as mp
from tests.support.programs import run_python
from zeroipc import errors
from zeroipc.mp import transport
from zeroipc.mp.queues import ShutDown

METHODS = multiprocessing.get_all_start_methods()
KINDS: list[Callable[[], Any]] = [mp.Queue, mp.JoinableQueue, mp.SimpleQueue]


# --- The standard library's promises --------------------------------------------------------


def test_full_and_empty() -> None:
    q = mp.Queue(1)
    gets: list[Callable[[], Any]] = [
        lambda: q.get(False),
        lambda: q.get(timeout=-1),
        lambda: q.get(True, 0.01),
    ]
    for get in gets:
        with pytest.raises(queue.Empty):
            get()
    q.put(None)
    puts: list[Callable[[], None]] = [
        lambda: q.put(1, False),
        lambda: q.put(1, timeout=-3),
        lambda: q.put_nowait(1),
    ]
    for put in puts:
        with pytest.raises(queue.Full):
            put()
    assert (q.full(), q.empty(), q.qsize()) == (True, False, 1)
    assert q.get(timeout=-1) is None
    assert (q.full(), q.empty(), q.qsize()) == (False, True, 0)


def test_negative_maxsize_means_no_bound() -> None:
    q = mp.Queue(-1)
    q.put_many(range(5000))
    assert q.get_many(10000) == list(range(5000))
    assert not q.full()


@pytest.mark.parametrize("make", KINDS)
def test_closed_is_a_value_error_and_an_os_error(make: Callable[[], Any]) -> None:
    q = make()
    q.put(0)
    q.close()
    q.close()
    for call in (lambda: q.put(1), q.get, q.empty):
        for kind in (ValueError, OSError, errors.ClosedError):
            with pytest.raises(kind, match=f"Queue <.*{type(q).__name__} object at .*> is closed"):
                call()


@pytest.mark.parametrize("make", [mp.Queue, mp.JoinableQueue])
def test_closed_before_a_put_can_be_asked_whether_it_is_empty(make: Callable[[], Any]) -> None:
    q = make()
    q.close()
    assert q.empty()


def test_simple_queue_says_that_its_ends_are_closed() -> None:
    q = mp.SimpleQueue()
    assert not q._reader.closed
    assert not q._writer.closed
    q.close()
    assert q._reader.closed
    assert q._writer.closed


def test_join_thread_needs_a_closed_queue() -> None:
    q = mp.Queue()
    with pytest.raises(AssertionError):
        q.join_thread()
    q.put(1)
    q.cancel_join_thread()
    q.close()
    q.join_thread()


@pytest.mark.parametrize("make", KINDS)
def test_is_pickled_for_a_child_or_a_queue_only(make: Callable[[], Any]) -> None:
    q = make()
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(RuntimeError, match="should only be shared between processes"):
            way(q)


def test_a_queue_that_was_never_made_raises() -> None:
    kind = type(mp.Queue())
    q = kind.__new__(kind)
    for call in (lambda: q.put(1), q.get, q.qsize, lambda: q.put_nowait(1), lambda: q.get_many(1)):
        with pytest.raises(RuntimeError):
            call()


def test_task_done_is_called_once_for_each_task() -> None:
    q = mp.JoinableQueue()
    q.put(1)
    q.put(2)
    q.get()
    q.task_done()
    q.task_done()
    q.join()
    with pytest.raises(ValueError):
        q.task_done()


def test_wrong_calls_are_type_errors() -> None:
    q = mp.Queue()
    calls: list[Callable[[], Any]] = [
        lambda: q.put(),
        lambda: q.put(1, True, None, 4),
        lambda: q.get(True, None, 3),
        lambda: q.get(wait=True),
        lambda: q.get(timeout="soon"),
        lambda: q.get_many(),
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()
    with pytest.raises(ValueError):
        (lambda: q.get_many(0))()


class Subclass(type(mp.Queue())):  # type: ignore[misc]
    """As programs written for the standard library extend its queues."""

    def __init__(self, extra: object) -> None:
        super().__init__(ctx=multiprocessing.get_context())
        self.extra = extra

    def __getstate__(self) -> Any:
        return super().__getstate__(), self.extra

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state[0])
        self.extra = state[1]


def answer(q: Any, back: Any) -> None:
    back.put((q.extra, q.get()))


@pytest.mark.parametrize("method", METHODS)
def test_subclass_keeps_its_state(method: str) -> None:
    context = mp.get_context(method)
    q, back = Subclass("more"), context.Queue()
    child = context.Process(target=answer, args=(q, back))
    child.start()
    q.put("item")
    assert back.get() == ("more", "item")
    child.join()


# --- Errors of put --------------------------------------------------------------------------


class Holder:
    def __init__(self, part: object) -> None:
        self.part = part


@pytest.mark.parametrize(
    "make, path",
    [
        (lambda: lambda: 1, "obj, a function"),
        (lambda: {"a": [1, threading.Lock()]}, r"obj\['a'\]\[1\], a lock"),
        (lambda: Holder((0, socket.SocketType.recv, lambda: 1)), r"obj\.part\[2\], a function"),
        (lambda: [np.array([lambda: 1], dtype=object)], r"obj\[0\], a ndarray"),
        (lambda: (x for x in "ab"), "obj, a generator"),
    ],
)
def test_unpicklable_raises_from_put_with_the_path(make: Callable[[], Any], path: str) -> None:
    obj = make()
    q = mp.Queue()
    with pytest.raises(errors.UnpicklableError, match=path) as caught:
        q.put(obj)
    assert isinstance(caught.value, type(caught.value.__cause__))
    assert q.empty()
    q.put("next")
    assert q.get() == "next"


class Refuses:
    def __reduce__(self) -> Any:
        raise LookupError("not today")


def test_an_error_of_the_objects_own_is_left_alone() -> None:
    q = mp.Queue()
    with pytest.raises(LookupError, match="not today"):
        q.put([Refuses()])
    assert q.empty()


# --- shutdown -------------------------------------------------------------------------------


def test_shutdown_lets_gets_take_what_is_left() -> None:
    q = mp.Queue()
    q.put(1)
    q.shutdown()
    with pytest.raises(ShutDown):
        q.put(2)
    assert q.get() == 1
    with pytest.raises(ShutDown):
        q.get()
    with pytest.raises(errors.ClosedError):
        q.get_nowait()


def test_shutdown_now_drops_what_is_left() -> None:
    q = mp.JoinableQueue()
    q.put(1)
    q.shutdown(immediate=True)
    with pytest.raises(ShutDown):
        q.get()
    q.join()


def test_shutdown_is_the_standard_librarys_where_it_has_one() -> None:
    assert issubclass(ShutDown, getattr(queue, "ShutDown", errors.ClosedError))


@pytest.mark.parametrize("act", ["get", "put"])
def test_shutdown_wakes_those_who_wait(act: str) -> None:
    q = mp.Queue(1)
    if act == "put":
        q.put(0)
    caught: list[BaseException] = []

    def blocked() -> None:
        try:
            q.get() if act == "get" else q.put(1)
        except Exception as error:
            caught.append(error)

    threads = [threading.Thread(target=blocked) for _ in range(3)]
    for thread in threads:
        thread.start()
    q.shutdown()
    for thread in threads:
        thread.join()
    assert [type(error) for error in caught] == [ShutDown] * 3


# --- Content --------------------------------------------------------------------------------

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=40000),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=12,
)


@settings(max_examples=150)
@given(st.lists(plain, max_size=8))
def test_objects_come_out_as_they_went_in(items: list[object]) -> None:
    q = mp.Queue()
    assert q.put_many(items) == len(items)
    assert [q.get() for _ in items] == items


@settings(max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20000)), max_size=60), st.integers(0, 5))
def test_behaves_as_a_bounded_list(steps: list[tuple[bool, int]], maxsize: int) -> None:
    q = mp.Queue(maxsize)
    model: list[bytes] = []
    for put, nbytes in steps:
        if put and (maxsize == 0 or len(model) < maxsize):
            q.put_nowait(b"z" * nbytes)
            model.append(b"z" * nbytes)
        elif put:
            with pytest.raises(queue.Full):
                q.put_nowait(b"")
        elif model:
            assert q.get_nowait() == model.pop(0)
        else:
            with pytest.raises(queue.Empty):
                q.get_nowait()
        assert q.qsize() == len(model)


@pytest.mark.parametrize(
    "dtype", ["?", "i1", "u8", "f4", "c16", "M8[s]", "S5", "U3", "i4,f8", ">f8"]
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (4, 0, 2), (7000,), (30, 40, 5)])
def test_arrays_come_out_as_they_went_in(dtype: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    array = np.frombuffer(rng.bytes(max(nbytes, 1)), np.uint8)[:nbytes]
    values = array.reshape(-1).view("u1") if nbytes else array
    source = np.zeros(shape, dtype)
    if nbytes and np.dtype(dtype).kind in "iu":
        source = values.view(dtype).reshape(shape)
    q = mp.Queue()
    for sent in (source, source.T, source[..., ::-1] if shape else source, {"in": source}):
        q.put(sent)
        got = q.get()
        if isinstance(sent, dict):
            sent, got = sent["in"], got["in"]
        pickled = pickle.loads(pickle.dumps(sent, 5))  # NumPy may change the byte order itself
        assert (got.dtype, got.shape) == (pickled.dtype, sent.shape)
        assert np.array_equal(got, sent)


@pytest.mark.parametrize("nbytes", [100, 100_000])
def test_read_only_arrays_arrive_as_pickle_would_make_them(nbytes: int) -> None:
    source = np.zeros(nbytes, np.uint8)
    source.flags.writeable = False
    q = mp.Queue()
    q.put(source)
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(source, 5, buffer_callback=buffers.append)
    assert q.get().flags.writeable == pickle.loads(data, buffers=buffers).flags.writeable


def test_received_arrays_are_ones_own() -> None:
    q = mp.Queue()
    source = np.arange(50_000)
    q.put(source)
    q.put(source)
    first, second = q.get(), q.get()
    first[:] = 0
    assert second.sum() == source.sum() == np.arange(50_000).sum()


# --- At the end of the interpreter ----------------------------------------------------------


def test_daemon_threads_blocked_at_exit_say_nothing() -> None:
    program = """
        import threading, zeroipc.mp as mp
        q, full = mp.Queue(), mp.Queue(1)
        full.put(0)
        for call in (q.get, lambda: full.put(1)):
            for _ in range(4):
                threading.Thread(target=call, daemon=True).start()
    """
    for _ in range(5):
        assert run_python(program).stderr == ""


def test_leaves_nothing_in_shared_memory() -> None:
    program = """
        import os, sys, signal, zeroipc.mp as mp
        before = set(os.listdir("/dev/shm"))
        q = mp.Queue()
        q.put(bytes(1 << 20))
        print({x for x in set(os.listdir("/dev/shm")) - before if f"-{os.getpid()}-" in x})
        sys.stdout.flush()
        if sys.argv[1] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if sys.argv[1] == "exit":
            os._exit(0)
    """
    for end in ("kill", "exit", "return"):
        assert run_python(program, end, check=False).stdout == "set()\n"


def test_ten_thousand_queues_leave_no_trace() -> None:
    program = """
        import os, resource, zeroipc.mp as mp
        from zeroipc.mp import transport
        def make(count):
            for i in range(count):
                q = mp.JoinableQueue() if i % 2 else mp.Queue()
                q.put(i)
        make(1000)
        fds = len(os.listdir("/proc/self/fd"))
        pages = int(open("/proc/self/statm").read().split()[1])
        make(9000)
        assert len(os.listdir("/proc/self/fd")) == fds
        grown = int(open("/proc/self/statm").read().split()[1]) - pages
        assert grown < 256, grown  # one megabyte
        assert transport.home().arena.stats()["queues"] <= 2
    """
    run_python(program)


def test_three_thousand_live_queues() -> None:
    queues = [mp.Queue() for _ in range(3000)]
    for number, q in enumerate(queues):
        q.put(number)
    assert [q.get() for q in queues] == list(range(3000))
    assert transport.home().arena.stats()["queues"] >= 3000
