"""Arenas: what they hold when idle, and what a fork sees."""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zeroipc.mp as mp
from tests.support.programs import run_python
from zeroipc import errors
from zeroipc.mp import arena_file, transport

MB = 1 << 20


def block_of(array: Any) -> int:
    """Return the number of the block that *array* shows."""
    number: int = array.base.base.id
    return number


# --- Memory ---------------------------------------------------------------------------------


def wait_until(what: Any) -> None:
    """Poll; the test's own timeout is the only deadline."""
    while not what():
        time.sleep(0.02)


def sum_all(arrays: Any, results: Any) -> None:
    while (array := arrays.get()) is not None:
        results.put(float(array[0] + array[-1]))
        del array


def test_arrays_in_flight_bound_what_is_reserved() -> None:
    arrays, results = mp.Queue(3), mp.Queue()
    arena = transport.home().arena
    start = arena.stats()["reserved"]
    child = mp.get_context("fork").Process(target=sum_all, args=(arrays, results))
    child.start()
    source = np.ones(16 * MB // 8)
    peak = 0
    for _ in range(40):
        arrays.put(source)
        peak = max(peak, arena.stats()["reserved"] - start)
    arrays.put(None)
    assert [results.get() for _ in range(40)] == [2.0] * 40
    child.join()
    in_flight = (3 + 2) * 16 * MB  # in the queue, one being put, one being summed
    assert peak <= 1.25 * in_flight + 32 * MB
    wait_until(lambda: arena.stats()["reserved"] <= 32 * MB)


def test_an_emptied_queue_shrinks_to_a_page() -> None:
    q = mp.Queue()
    arena = transport.home().arena
    gc.collect()
    live = arena.stats()["blocks_live"]
    for round_ in range(3):
        for number in range(300):
            q.put((round_, number, b"x" * 15000))
        assert arena.stats()["blocks_live"] > live
        for number in range(300):
            assert q.get() == (round_, number, b"x" * 15000)
        wait_until(lambda: arena.stats()["blocks_live"] <= live)


def test_a_queue_in_use_may_shrink_at_any_moment() -> None:
    run_python("""
        import threading, zeroipc.mp as mp
        from zeroipc.mp import arena_file, transport
        queues = [mp.Queue() for _ in range(4)]
        def use(q, seed):
            sent = got = 0
            for burst in range(1500):
                for _ in range(burst * seed % 40):
                    q.put((sent, b"x" * (sent * 131 % 5000)))
                    sent += 1
                while not q.empty():
                    assert q.get() == (got, b"x" * (got * 131 % 5000))
                    got += 1
            assert sent == got
        threads = [threading.Thread(target=use, args=(q, 7 + i)) for i, q in enumerate(queues)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            transport.home().arena.shrink()
    """)


def test_backlogs_in_rings_are_given_back() -> None:
    q = mp.Queue()
    for _ in range(4000):
        q.put(b"x" * 16000)
    assert transport.home().arena.stats()["reserved"] > 60 * MB
    for _ in range(4000):
        q.get()
    wait_until(lambda: transport.home().arena.stats()["reserved"] <= 32 * MB)


# --- Fork -----------------------------------------------------------------------------------


def test_a_child_sees_a_snapshot_and_writes_its_own() -> None:
    q, back = mp.Queue(), mp.Queue()
    q.put(np.arange(100_000))
    array = q.get()
    loan = mp.asarray(np.arange(100_000))
    pid = os.fork()
    if pid == 0:
        try:
            array[:] += 1
            loan[:] = 9
            back.put((int(array.sum()), int(loan.sum())))
        finally:
            os._exit(0)
    assert back.get() == (np.arange(100_000).sum() + 100_000, 900_000)
    os.waitpid(pid, 0)
    assert (array == np.arange(100_000)).all()
    assert (loan == np.arange(100_000)).all()


def test_a_block_is_not_reused_while_a_child_shows_it() -> None:
    q, go, back = mp.Queue(), mp.Queue(), mp.Queue()
    arena = transport.home().arena
    q.put(np.full(100_000, 7))
    array = q.get()
    block = block_of(array)
    pid = os.fork()
    if pid == 0:
        try:
            go.get()
            back.put(bool((array == 7).all()))
        finally:
            os._exit(0)
    del array
    others = [mp.empty(100_000, int) for _ in range(5)]
    assert block not in [block_of(other) for other in others]
    for other in others:
        other[:] = 0
    go.put(None)
    assert back.get() is True
    os.waitpid(pid, 0)
    arena.sweep()
    more = [mp.empty(100_000, int) for _ in range(5)]
    assert block in [block_of(other) for other in more]


# --- The arena itself -----------------------------------------------------------------------


def home_token(results: Any) -> None:
    results.put(transport.home().arena.token)


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_family_has_one_arena(method: str) -> None:
    context = mp.get_context(method)
    results = context.Queue()
    child = context.Process(target=home_token, args=(results,))
    child.start()
    assert results.get() == transport.home().arena.token
    child.join()


def test_an_arena_is_the_users_own() -> None:
    found = os.fstat(transport.home().fd)
    assert found.st_mode & 0o777 == 0o600
    assert found.st_uid == os.geteuid()


def test_what_is_no_arena_is_not_opened() -> None:
    reading, writing = os.pipe()
    address = transport.Address(1, 4096, ((os.getpid(), reading), (os.getpid(), 0), (1, 99)))
    with pytest.raises(errors.OwnerDiedError, match="every process that had it has ended"):
        transport.attach(address)
    os.close(reading)
    os.close(writing)


def test_the_limit_is_never_below_32_mb() -> None:
    assert arena_file.memory_limit() >= 32 * MB


# --- The start --------------------------------------------------------------------------------


def test_the_name_of_an_arena_whose_maker_was_killed_goes() -> None:
    """It was between making the file and removing its name."""
    killed = run_python(
        """
        import os, signal
        import zeroipc.mp as mp
        mp.get_start_method()  # Python 3.14 makes and removes a file to find it
        def die(path):
            assert os.path.exists(path)
            print(path, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        os.unlink = die
        mp.Queue()
        """,
        check=False,
    )
    stray = Path(killed.stdout.strip())  # still there, unless another program has removed it
    assert stray.name.startswith(arena_file.PREFIX), killed.stderr
    alive = stray.with_name(f"zeroipc-{os.getpid()}-1")
    other = stray.with_name(f"zeroipc-{os.getpid()}-other")
    full = stray.with_name(f"{stray.name}0")
    try:
        for path in (alive, other):
            path.touch()
        full.write_text("not an arena of ours")
        run_python("import zeroipc.mp as mp; mp.Queue()")
        assert [path.exists() for path in (stray, alive, other, full)] == [False, True, True, True]
    finally:
        for path in (stray, alive, other, full):
            path.unlink(missing_ok=True)


def test_a_limit_of_file_sizes_is_kept() -> None:
    source = """
        import resource, sys
        import numpy as np
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
        import zeroipc.mp as mp
        q = mp.Queue()
        q.put(np.ones(1 << 20))
        print(q.get().sum())
    """
    assert float(run_python(source, 100 * MB + 1).stdout) == MB
    failed = run_python(source, 20 * MB, check=False)
    assert "ShmFullError: files may have 20971520 bytes" in failed.stderr


def test_no_address_space_is_a_clear_error() -> None:
    failed = run_python(
        """
        import resource
        import zeroipc.mp as mp
        mp.ProcessPoolExecutor, mp.empty  # what is loaded later is loaded now
        pages = int(open("/proc/self/statm").read().split()[0])
        most = pages * resource.getpagesize() + (24 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        mp.Queue()
        """,
        check=False,
    )
    assert "ShmFullError: no address space to map" in failed.stderr, failed.stderr


def test_a_program_ends_while_idle_memory_is_given_back() -> None:
    """In Python 3.13 a thread that is joined too late never ends: the pure backend has one."""
    program = """
        import threading
        import numpy as np
        import zeroipc.mp
        queue = zeroipc.mp.Queue()
        for _ in range(2):  # as long as the array is there, so is the thread that gives back
            queue.put(np.zeros(5_000_000))
            array = queue.get()
        print(*(thread.name for thread in threading.enumerate()))
    """
    names = run_python(program, ZEROIPC_BACKEND="pure").stdout.split()
    assert names == ["MainThread", "zeroipc-trim"]
