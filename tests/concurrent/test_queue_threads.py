"""Many threads, forks, signals and garbage collections around the same queues."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import zeroipc.mp as mp
from tests.support.programs import run_python


def run_threads(*bodies: Any) -> None:
    threads = [threading.Thread(target=body) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("maxsize", [0, 1, 7])
def test_each_item_once_and_in_order_per_producer(maxsize: int) -> None:
    q = mp.Queue(maxsize)
    got: list[list[tuple[int, int]]] = [[] for _ in range(4)]

    def put(who: int) -> None:
        for number in range(1500):
            q.put((who, number) if number % 50 else (who, number, b"x" * 20000)[:2])

    def get(into: list[tuple[int, int]]) -> None:
        while (item := q.get()) is not None:
            into.append(item)
        q.put(None)

    producers = [threading.Thread(target=put, args=(who,)) for who in range(4)]
    consumers = [threading.Thread(target=get, args=(into,)) for into in got]
    for thread in producers + consumers:
        thread.start()
    for thread in producers:
        thread.join()
    q.put(None)
    # The last consumer leaves the end mark, which needs room in a bounded queue.
    for thread in consumers:
        thread.join()
    assert sorted(item for into in got for item in into) == [
        (who, number) for who in range(4) for number in range(1500)
    ]
    for into in got:
        for who in range(4):
            numbers = [number for producer, number in into if producer == who]
            assert numbers == sorted(numbers)


def test_get_many_and_put_many_from_threads() -> None:
    q = mp.Queue(50)
    got: list[int] = []
    lock = threading.Lock()

    def put() -> None:
        assert q.put_many(range(2000)) == 2000

    def get() -> None:
        count = 0
        while count < 2000:
            items = q.get_many(min(13, 2000 - count))
            count += len(items)
            with lock:
                got.extend(items)

    run_threads(put, put, get, get)
    assert sorted(got) == sorted(list(range(2000)) * 2)


def test_forks_while_threads_put_and_get() -> None:
    run_python("""
        import os, threading, zeroipc.mp as mp
        q, done, stop = mp.Queue(20), mp.Queue(), threading.Event()
        def churn():
            while not stop.is_set():
                q.put(b"x" * 30000)
                q.get()
        threads = [threading.Thread(target=churn) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(25):
            if (pid := os.fork()) == 0:
                inner = mp.Queue()
                inner.put(number)
                done.put(inner.get())
                os._exit(0)
            os.waitpid(pid, 0)
        stop.set()
        for thread in threads:
            thread.join()
        assert sorted(done.get() for _ in range(25)) == list(range(25))
        assert q.empty()
    """)


def test_a_storm_of_signals_whose_handler_puts() -> None:
    run_python("""
        import signal, threading, zeroipc.mp as mp
        q, seen = mp.Queue(), mp.Queue(1000000)
        calls = 0
        def handler(*_):
            global calls
            calls += 1
            mine = calls  # the next signal may interrupt this one
            seen.put(("signal", mine, b"s" * 100))
            q.put(("signal", mine))
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        sent = got = 0
        while sent < 40000 or calls < 50:
            q.put(("main", sent, [sent] * (sent % 60), b"z" * (sent % 7000)))
            sent += 1
            if sent % 3 == 0:
                for _ in range(2):
                    item = q.get()
                    got += item[0] == "main"
        signal.setitimer(signal.ITIMER_REAL, 0)
        signals = [seen.get()[1] for _ in range(calls)]
        assert sorted(signals) == list(range(1, calls + 1)) and seen.empty()
        left = [q.get() for _ in range(q.qsize())]
        mains = [item[1] for item in left if item[0] == "main"]
        assert len(mains) + got == sent and mains == sorted(mains)
    """)


def test_garbage_collection_at_every_step() -> None:
    run_python("""
        import gc, numpy as np, zeroipc.mp as mp
        gc.set_threshold(1)
        class Cycle:
            q = mp.Queue()
            def __init__(self):
                self.me = self
                self.block = mp.empty(2000)
                self.inner = mp.Queue()
            def __del__(self):
                self.q.put(b"deleted" * 100)
                self.q.get()
        q = mp.Queue()
        for number in range(150):
            Cycle()
            q.put({"n": number, "a": np.full(3000, number), "q": mp.Queue()})
            got = q.get()
            assert got["n"] == number and (got["a"] == number).all() and got["q"].empty()
    """)


@pytest.mark.parametrize(
    "call", ["q.get()", "full.put(1)", "q.get(timeout=1000)", "tasks.join()", "q.get_many(5)"]
)
def test_ctrl_c_ends_a_blocked_call(call: str) -> None:
    run_python(f"""
        import os, signal, threading, zeroipc.mp as mp
        q, full, tasks = mp.Queue(), mp.Queue(1), mp.JoinableQueue()
        full.put(0)
        tasks.put(0)
        try:
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
            {call}
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError
        assert (q.qsize(), full.qsize(), tasks.qsize()) == (0, 1, 1)
        q.put(1)
        assert q.get() == 1 and full.get() == 0
    """)


def test_a_stopped_consumer_holds_nobody_up() -> None:
    """Unless it is stopped while it has the queue's lock: then it goes on, and is stopped again."""
    run_python("""
        import os, signal, zeroipc.mp as mp
        from zeroipc._core import transport as pure
        from zeroipc._core.mqueue import queue_locked
        from zeroipc._core.status import OK
        from zeroipc.mp import transport
        q, ready = mp.Queue(), mp.Queue()
        view = pure.Arena(transport.home().fd, transport.home().nbytes).view
        def take():
            ready.put(os.getpid())
            while q.get() is not None:
                pass
        def stop(pid):
            os.kill(pid, signal.SIGSTOP)
            os.waitpid(pid, os.WUNTRACED)  # it stops a moment later
            return queue_locked(view, q._handle[1], 0, lambda: OK) is OK
        children = [mp.get_context("fork").Process(target=take) for _ in range(2)]
        for child in children:
            child.start()
        stopped = ready.get()
        ready.get()
        for _ in range(20):
            while not stop(stopped):
                os.kill(stopped, signal.SIGCONT)
            for number in range(2000):
                q.put(number)
            while not q.empty():
                pass
            os.kill(stopped, signal.SIGCONT)
        q.put(None)
        q.put(None)
        for child in children:
            child.join()
    """)


def test_what_was_put_before_os_exit_is_delivered() -> None:
    q = mp.Queue()

    def leave() -> None:
        import os

        for number in range(100):
            q.put((number, b"x" * number * 300))
        os._exit(3)

    child = mp.get_context("fork").Process(target=leave)
    child.start()
    child.join()
    assert child.exitcode == 3
    assert [q.get()[0] for _ in range(100)] == list(range(100))
