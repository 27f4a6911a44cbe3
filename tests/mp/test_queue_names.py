"""Queues found by name: attached from anywhere, gone with their last holder."""

from __future__ import annotations

import fcntl
import gc
import itertools
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import zeroipc.mp as mp
from tests.support.programs import ROOT, run_python
from zeroipc import errors
from zeroipc.mp import named

_numbers = itertools.count()


@pytest.fixture
def name() -> Iterator[str]:
    name = f"zi-test-{os.getpid()}-{next(_numbers)}"
    yield name
    gc.collect()
    left = record(name).exists()
    record(name).unlink(missing_ok=True)
    assert not left, "the queue's record was left behind"


def record(name: str) -> Path:
    return named.FOLDER / named.record_name(name)


def other(source: str, name: str) -> subprocess.Popen[str]:
    """Start an unrelated process that talks on its standard input and output."""
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys, zeroipc.mp as mp; name = sys.argv[1]; {source}", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_unrelated_processes_share_it(name: str) -> None:
    q = mp.Queue(name=name)
    q.put(20)
    run_python(
        "import sys, zeroipc.mp as mp; q = mp.Queue(name=sys.argv[1]); q.put(q.get() + 1)", name
    )
    assert q.get() == 21


def test_one_process_may_open_it_twice(name: str) -> None:
    first = mp.Queue(3, name=name)
    second = mp.Queue(name=name)
    second.put(1)
    assert first.get() == 1
    del first
    assert record(name).exists()
    assert second._maxsize == 3


def test_goes_with_its_last_holder(name: str) -> None:
    q = mp.Queue(name=name)
    q.put("old")
    assert record(name).stat().st_mode & 0o777 == 0o600
    del q
    assert not record(name).exists()
    assert mp.Queue(name=name).empty()


def test_outlives_its_maker(name: str) -> None:
    maker = other("q = mp.Queue(name=name); q.put(1); print(flush=True); input()", name)
    assert maker.stdout is not None
    maker.stdout.readline()
    q = mp.Queue(name=name)
    maker.kill()
    maker.communicate()
    assert q.get() == 1
    run_python("import sys, zeroipc.mp as mp; mp.Queue(name=sys.argv[1]).put(2)", name)
    assert q.get() == 2


def wait_for_the_end_of(pid: int) -> None:
    """Wait for a process that is not our child; a zombie has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        while Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] not in "ZX":
            time.sleep(0.01)


def test_is_found_through_a_child_of_its_killed_maker(name: str) -> None:
    # The child has inherited the queue and is in no record: it is found by what it has open.
    maker = other(
        "import os; q = mp.Queue(name=name); q.put(1); pid = os.fork();"
        "print(os.getpid(), flush=True) if pid == 0 else None; sys.stdin.read()",
        name,
    )
    assert maker.stdout is not None
    assert maker.stdin is not None
    child = int(maker.stdout.readline())
    try:
        maker.kill()
        os.waitpid(maker.pid, 0)
        assert mp.Queue(name=name).get() == 1
    finally:
        os.kill(child, signal.SIGKILL)
        wait_for_the_end_of(child)
        maker.returncode = -9
        maker.stdin.close()
        maker.stdout.read()
        maker.stdout.close()
        assert mp.Queue(name=name).empty()


def test_a_dead_one_is_replaced(name: str) -> None:
    maker = other("q = mp.Queue(name=name); q.put(1); print(flush=True); input()", name)
    assert maker.stdout is not None
    maker.stdout.readline()
    assert record(name).exists()
    maker.kill()
    maker.communicate()
    assert mp.Queue(name=name).empty()


def test_strays_go_when_a_name_is_used_next(name: str) -> None:
    stray = f"{name}-stray"
    maker = other("q = mp.Queue(name=name); print(flush=True); input()", stray)
    assert maker.stdout is not None
    maker.stdout.readline()
    assert record(stray).exists()  # later, any program that uses a name may remove it
    maker.kill()
    maker.communicate()
    mp.Queue(name=name)
    assert not record(stray).exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"token": "x"}', b"\xff" * 5000])
def test_a_damaged_record_counts_as_none(name: str, content: bytes) -> None:
    record(name).touch(0o600)
    record(name).write_bytes(content)
    assert mp.Queue(name=name).empty()


def test_a_record_that_others_may_read_is_refused(name: str) -> None:
    record(name).touch(0o600)
    record(name).chmod(0o644)
    with pytest.raises(errors.SegmentAccessError, match="mode=644"):
        mp.Queue(name=name)
    record(name).unlink()


def test_what_differs_is_refused(name: str) -> None:
    q = mp.Queue(2, name=name)
    with pytest.raises(TypeError, match="the queue is a Queue, not a JoinableQueue"):
        mp.JoinableQueue(name=name)
    with pytest.raises(errors.CapacityError, match="maxsize=5, the queue's=2"):
        mp.Queue(5, name=name)
    assert q.empty()


@pytest.mark.parametrize("bad", ["", "a/b", "a\0b"])
def test_bad_names(bad: str) -> None:
    with pytest.raises(errors.InvalidNameError):
        mp.Queue(name=bad)


def test_too_long_a_name_is_measured_in_bytes() -> None:
    with pytest.raises(errors.NameTooLongError):
        mp.Queue(name="ä" * 125)


def take(name: str, results: object) -> None:
    results.put(mp.Queue(name=name).get())  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_many_create_or_attach_at_once(name: str, method: str) -> None:
    context = mp.get_context(method)
    q, results = context.Queue(name=name), context.Queue()
    children = [context.Process(target=take, args=(name, results)) for _ in range(4)]
    for child in children:
        child.start()
    q.put_many(range(4))
    assert sorted(results.get() for _ in children) == [0, 1, 2, 3]
    for child in children:
        child.join()


def test_a_record_that_is_locked_for_long(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a process that is stopped, say. Meanwhile other threads may fork."""
    monkeypatch.setattr(named, "PATIENCE", 0.2)
    path = record(name)
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with pytest.raises(errors.WaitTimeoutError, match="another process holds"):
        mp.Queue(name=name)
    monkeypatch.setattr(named, "PATIENCE", 60.0)
    thread = threading.Thread(target=lambda: mp.Queue(name=name))
    thread.start()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert thread.is_alive()
    os.close(fd)
    thread.join()


@pytest.mark.parametrize("kind", ["directory", "symlink", "socket"])
def test_what_is_no_file_is_no_record(name: str, kind: str) -> None:
    path = record(name)
    listening = socket.socket(socket.AF_UNIX)
    if kind == "directory":
        path.mkdir()
    elif kind == "symlink":
        path.symlink_to("nowhere")
    else:
        listening.bind(str(path))
    try:
        with pytest.raises(errors.SegmentAccessError, match="regular file"):
            mp.Queue(name=name)
    finally:
        listening.close()
        path.rmdir() if kind == "directory" else path.unlink()


@pytest.mark.parametrize("slot", [-1, 1 << 20, 1 << 40])
def test_a_record_with_a_number_that_no_queue_has(name: str, slot: int) -> None:
    q = mp.Queue(name=name)
    path = record(name)
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, "slot": slot}))
    other = mp.Queue(name=name)
    assert other._handle != q._handle
    other.put(1)
    assert other.get() == 1


def test_a_name_is_a_string() -> None:
    bad: Any = 3
    with pytest.raises(TypeError, match="must be a str"):
        mp.Queue(name=bad)


def test_a_record_that_is_nested_too_deep(name: str) -> None:
    path = record(name)
    path.touch(0o600)
    path.write_text("[" * 50_000)
    assert mp.Queue(name=name).empty()
