"""A full arena and a full /dev/shm: queues wait, or keep what does not fit; nothing is lost."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import threading
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace

import pytest

from tests.support.programs import run_python
from zeroipc.mp.spill import Spill

SMALL = """
    import gc, os, queue, sys, threading, time
    import numpy as np
    import zeroipc.mp as mp
    from zeroipc import errors
    from zeroipc.mp import transport
    if not os.environ.get("REAL"):
        transport.memory_limit = lambda: 4 << 20
    MB = 1 << 20
"""


def test_where_no_thread_starts_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    arena = SimpleNamespace(limit=1 << 30)
    q = SimpleNamespace(_handle=(arena, 0, 0), _spilling=False)
    spill = Spill()
    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(RuntimeError, match="can't start"):
        spill.put(q, 1)
    spill.join()  # does not wait, as the end of the process would
    assert not q._spilling


def run(source: str, **options: object) -> str:
    return run_python(dedent(SMALL) + dedent(source), **options).stdout  # type: ignore[arg-type]


def test_a_bounded_queue_waits_and_says_why() -> None:
    run("""
        q = mp.Queue(100)
        for _ in range(3):
            q.put(bytes(MB))
        for put in (lambda: q.put_nowait(bytes(MB)), lambda: q.put(bytes(MB), timeout=0.2)):
            try:
                put()
            except queue.Full as error:
                assert isinstance(error, errors.ShmFullError) and "limit=4194304" in str(error)
                assert error.asked >= MB > error.free
            else:
                raise AssertionError
        assert q.qsize() == 3
        put = threading.Thread(target=q.put, args=(b"x" * MB,))
        put.start()
        for _ in range(3):
            assert q.get() == bytes(MB)
        put.join()
        assert q.get() == b"x" * MB
    """)


def test_a_bounded_queue_waits_for_its_ring_too() -> None:
    run("""
        q = mp.Queue(10000)
        q.put(0)
        count = 0
        try:
            while True:
                q.put(b"y" * 16000, timeout=0.1)
                count += 1
        except queue.Full:
            assert 100 < count < 300
        q.get()
        assert [q.get() for _ in range(count)] == [b"y" * 16000] * count
    """)


def test_an_unbounded_queue_keeps_the_order() -> None:
    run("""
        q = mp.Queue()
        sizes = [i * 7919 % 300_000 for i in range(300)]
        for number, size in enumerate(sizes):
            q.put((number, b"x" * size))
        assert q._spilling
        q.put(("last", None))
        for number, size in enumerate(sizes):
            assert q.get() == (number, b"x" * size)
        assert q.get() == ("last", None)
        q.close()
        q.join_thread()
        q2 = mp.Queue()
        q2.put(1)
        assert not q._spilling and q2.get() == 1
    """)


def test_exit_waits_until_all_is_put() -> None:
    run("""
        def feed(q):
            for number in range(40):
                q.put((number, bytes(MB)))
        q = mp.Queue()
        child = mp.get_context("fork").Process(target=feed, args=(q,))
        child.start()
        assert [q.get()[0] for _ in range(40)] == list(range(40))
        child.join()
        assert child.exitcode == 0
    """)


def test_exit_does_not_wait_after_cancel_join_thread() -> None:
    run("""
        def feed(q, early):
            if early:
                q.cancel_join_thread()
            for number in range(40):
                q.put((number, bytes(MB)))
            q.cancel_join_thread()
        q = mp.Queue()
        for early in (True, False):
            child = mp.get_context("fork").Process(target=feed, args=(q, early))
            child.start()
            child.join()
            assert child.exitcode == 0 and q.get() == (0, bytes(MB))
            while not q.empty():
                q.get()
    """)


def test_join_waits_for_tasks_that_did_not_fit() -> None:
    run("""
        def work(q):
            while (item := q.get()) is not None:
                q.task_done()
            q.task_done()
        q = mp.JoinableQueue()
        worker = mp.get_context("fork").Process(target=work, args=(q,))
        for number in range(40):
            q.put(bytes(MB))
        assert q._spilling
        worker.start()
        q.join()
        assert q.empty() and not q._spilling
        q.put(None)
        worker.join()
    """)


def test_queues_may_be_among_what_does_not_fit() -> None:
    run("""
        q = mp.Queue()
        q.put(bytes(3 * MB))
        for number in range(3):
            inner = mp.Queue()
            inner.put(number)
            q.put([bytes(MB), inner])
            del inner
        assert q._spilling
        q.get()
        for number in range(3):
            assert q.get()[1].get() == number
    """)


@pytest.mark.parametrize("maxsize", [0, 5])
def test_what_can_never_fit_is_refused_at_once(maxsize: int) -> None:
    run(f"""
        q = mp.Queue({maxsize})
        for big in (bytes(8 * MB), np.zeros(MB), {{"a": np.zeros(MB)}}, [b"z" * 5 * MB]):
            try:
                q.put(big)
            except errors.ShmFullError as error:
                assert "limit=4194304" in str(error) and error.asked > 4 * MB, error
            else:
                raise AssertionError
        assert q.empty() and not q._spilling
        q.put(1)
        assert q.get() == 1
        try:
            mp.empty(MB)
        except errors.ShmFullError:
            pass
    """)


def test_what_fits_alone_is_not_refused_by_a_full_arena() -> None:
    run("""
        q = mp.Queue()
        q.put(bytes(2 * MB))
        try:
            q.put(np.zeros(int(3.7 * MB), np.uint8))  # fits alone, but not as one pickle and more
        except errors.ShmFullError:
            pass
        assert len(q.get()) == 2 * MB
        while not q.empty() or q._spilling:
            q.get()
        q.put(np.zeros(int(3.5 * MB), np.uint8))
        assert q.get().size == int(3.5 * MB)
    """)


def test_a_full_arena_does_not_spoil_threads() -> None:
    run("""
        q, results = mp.Queue(8), []
        def feed(who):
            for number in range(60):
                q.put((who, number, bytes(700_000)))
        threads = [threading.Thread(target=feed, args=(who,)) for who in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(240):
            who, number, data = q.get()
            results.append((who, number))
        for thread in threads:
            thread.join()
        for who in range(4):
            assert [n for w, n in results if w == who] == list(range(60))
    """)


# --- A real /dev/shm that is small ----------------------------------------------------------


def mounted(size: str) -> tuple[str, ...]:
    script = f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$0" "$@"'
    command = ("unshare", "--mount", "--propagation", "private", "sh", "-c", script)
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare to mount a small /dev/shm with")
    probe = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"mounting is not allowed here: {probe.stderr.strip()}")
    return command


def test_dev_shm_that_others_fill() -> None:
    run(
        """
        assert transport.memory_limit() > 200 * MB
        q, bounded = mp.Queue(), mp.Queue(50)
        q.put(0)
        with open("/dev/shm/filler", "wb") as filler:
            try:
                while True:
                    filler.write(bytes(MB))
            except OSError:
                pass
        for number in range(20):
            q.put((number, bytes(MB)))
        assert q._spilling
        try:
            bounded.put(bytes(MB), timeout=0.1)
        except queue.Full as error:
            assert isinstance(error, errors.ShmFullError) and "/dev/shm" in str(error)
        try:
            mp.empty(MB)
        except errors.ShmFullError as error:
            assert "/dev/shm" in str(error)
        else:
            raise AssertionError
        os.unlink("/dev/shm/filler")
        assert q.get() == 0
        assert [q.get()[0] for _ in range(20)] == list(range(20))
        """,
        prefix=mounted("300m"),
        REAL="1",
    )


def test_a_containers_dev_shm() -> None:
    run(
        """
        q = mp.Queue()
        q.put(np.ones(20 * MB))
        assert q.get().sum() == 20 * MB
        assert os.listdir("/dev/shm") == []
        def child(q):
            q.put(np.ones(MB))
        process = mp.get_context("spawn").Process(target=print, args=(q,))
        process.start()
        process.join()
        assert process.exitcode == 0
        """,
        prefix=mounted("64m"),
        REAL="1",
    )


# --- A system that refuses at any moment ----------------------------------------------------

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
/* Every REFUSE_EVERY-th reservation finds no memory. */
int fallocate(int fd, int mode, off_t offset, off_t length)
{
    static int (*real)(int, int, off_t, off_t);
    static int count;
    if (real == NULL) real = (int (*)(int, int, off_t, off_t))dlsym(RTLD_NEXT, "fallocate");
    int every = atoi(getenv("REFUSE_EVERY"));
    if (mode == 0 && ++count > 8 && count % every == 0) {
        errno = ENOSPC;
        return -1;
    }
    return real(fd, mode, offset, length);
}
int fallocate64(int fd, int mode, off_t offset, off_t length)
{
    return fallocate(fd, mode, offset, length);
}
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler for the shim")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    command = [compiler, "-shared", "-fPIC", "-o", "shim.so", "shim.c", "-ldl"]
    subprocess.run(command, cwd=folder, check=True)
    ctypes.CDLL(os.fspath(folder / "shim.so"))
    return folder / "shim.so"


@pytest.mark.parametrize("every", [2, 3, 7])
def test_reservations_that_fail_at_random(shim: Path, every: int) -> None:
    run(
        """
        q = mp.Queue()
        spilled, sizes = False, [i * 7919 % 200_000 for i in range(200)]
        for number, size in enumerate(sizes):
            q.put((number, np.full(size, number % 256, np.uint8)))
            spilled = spilled or q._spilling
        for number, size in enumerate(sizes):
            got = q.get()
            assert got[0] == number and got[1].size == size and (got[1] == number % 256).all()
        q.close()
        q.join_thread()
        assert spilled
        """,
        LD_PRELOAD=str(shim),
        REFUSE_EVERY=str(every),
        REAL="1",
    )
