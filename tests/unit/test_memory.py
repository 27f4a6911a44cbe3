"""Memory: open, create, discover, share, leave."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.golden import golden_bytes, write_segment
from tests.support.leaks import SHM, segments
from tests.support.programs import run_python
from zeroipc import Array, Memory, _segment, errors, memory
from zeroipc._segment import Segment


def nothing(view: memoryview) -> None:
    """Leave a structure's bytes as they are."""


def test_quick_start_again_and_again(segment_name: str) -> None:
    first = f"""
        from zeroipc import Memory, Array
        import numpy as np
        mem = Memory("/{segment_name}", size=10*1024*1024)
        results = Array(mem, "scores", capacity=100, dtype=np.float64)
        results[0] = 0.95
    """
    second = f"""
        from zeroipc import Memory, Array
        import numpy as np
        mem = Memory("/{segment_name}")
        print(Array(mem, "scores", dtype=np.float64)[0])
    """
    for _ in range(2):
        assert run_python(first).stderr == ""
        assert run_python(second).stdout == "0.95\n"
    Memory.remove(segment_name)


def test_size_opens_or_creates(segment_name: str) -> None:
    with pytest.raises(errors.SegmentNotFoundError, match=segment_name):
        Memory(segment_name)
    made = Memory("/" + segment_name, 8192)
    same, smaller = Memory(segment_name, 8192), Memory(segment_name, 4096)
    assert made.name == same.name == segment_name
    assert smaller.size == 8192
    with pytest.raises(errors.CapacityError, match="at most 8192: size=8193"):
        Memory(segment_name, 8193)
    made.unlink()
    with pytest.raises(errors.SegmentNotFoundError):
        same.unlink()


def test_create_and_open_are_exclusive(segment_name: str) -> None:
    with pytest.raises(errors.SegmentNotFoundError):
        Memory.open(segment_name)
    mem = Memory.create(segment_name, 4096, mode=0o640)
    assert stat.S_IMODE((SHM / segment_name).stat().st_mode) == 0o640
    with pytest.raises(errors.SegmentExistsError):
        Memory.create(segment_name, 4096)
    assert Memory.open(segment_name).size == 4096
    mem.unlink()


def test_mode_is_everybody_less_the_umask(segment_name: str) -> None:
    umask = os.umask(0)
    os.umask(umask)
    Memory(segment_name, 4096)
    assert stat.S_IMODE((SHM / segment_name).stat().st_mode) == 0o666 & ~umask
    Memory.remove(segment_name)


@pytest.mark.parametrize("version", [1, 2])
def test_discovery(make_memory: Callable[..., Memory], version: int) -> None:
    mem = make_memory(version=version, max_entries=5)
    assert (mem.version, mem.names(), list(mem), "a" in mem) == (version, [], [], False)
    assert mem  # true also when empty
    a, b = mem.add("a", 10, nothing), mem.add("b", 20, nothing)
    other = Memory(mem.name)
    assert other.names() == ["a", "b"]
    assert list(other) == [a, b]
    assert other.find("b") == b == other.entry("b")
    assert "a" in other
    assert "A" not in other
    assert 5 not in other
    assert other.find("c") is None
    with pytest.raises(errors.StructureNotFoundError, match="'c'"):
        other.entry("c")
    assert repr(other) == f"<Memory '{mem.name}', size=65536, version={version}, entries=2/5>"


def test_add_and_find_or_add(memory: Memory) -> None:
    entry = memory.find_or_add("a", 10, nothing)
    assert memory.find_or_add("a", 99, lambda view: pytest.fail("made twice")) == entry
    with pytest.raises(errors.NameExistsError):
        memory.add("a", 10, nothing)
    memory.view(entry)[:] = b"0123456789"
    assert bytes(Memory(memory.name).view(entry)) == b"0123456789"


def test_close_and_unlink(segment_name: str) -> None:
    with Memory(segment_name, 4096) as mem:
        array = Array(mem, "a", 3, np.int64)
    mem.close()
    assert repr(mem) == f"<Memory '{segment_name}', closed>"
    for use in (mem.names, lambda: mem.find("a"), lambda: mem.buf, lambda: "a" in mem):
        with pytest.raises(errors.ClosedError, match="closed"):
            use()
    with pytest.raises(errors.ClosedError):
        Array(mem, "b", 3, np.int64)
    mem.unlink()
    array[:] = [1, 2, 3]  # the view holds the mapping
    assert array.sum() == 6


def test_pickles_as_its_name(memory: Memory) -> None:
    copy = pickle.loads(pickle.dumps(memory))
    memory.add("a", 8, nothing)
    assert copy.names() == ["a"]


@pytest.mark.parametrize(
    ("size", "options", "kind"),
    [
        (100, {}, errors.CapacityError),
        (4096, {"max_entries": 0}, errors.CapacityError),
        (4096, {"version": 3}, errors.VersionError),
        (2**32, {"version": 1}, errors.CapacityError),
        (1 << 60, {}, errors.ShmFullError),
        (2**63, {}, errors.CapacityError),
    ],
)
def test_creation_refused_leaves_nothing(
    segment_name: str, size: int, options: dict[str, int], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        Memory(segment_name, size, **options)
    with pytest.raises(kind):
        Memory.create(segment_name, size, **options)
    assert not segments()


def test_interrupted_creation_leaves_nothing(
    segment_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zeroipc.memory.Table.create", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Memory(segment_name, 4096)
    assert not segments()


@pytest.mark.parametrize("name", ["zeroipc-x", "/zeroipc-x"])
def test_names_of_the_transport_are_refused(name: str) -> None:
    with pytest.raises(errors.InvalidNameError, match=r"belong to zeroipc\.mp"):
        Memory(name, 4096)


def test_missing_foreign_version_and_truncated_are_told_apart(segment_name: str) -> None:
    good = golden_bytes("v2_table_empty")
    for content, kind in [
        (b"", errors.SegmentNotReadyError),
        (bytes(4096), errors.SegmentNotReadyError),
        (b"\x7fELF" + bytes(4092), errors.SegmentFormatError),
        (good[:3], errors.SegmentFormatError),
        (good[:4095], errors.SegmentFormatError),
        (good[:4] + b"\x03" + good[5:], errors.VersionError),
    ]:
        write_segment(segment_name, content)
        with pytest.raises(errors.ZeroIPCError) as refusal:
            Memory.open(segment_name, timeout=0)
        assert refusal.type is kind
    Memory.remove(segment_name)
    with pytest.raises(errors.SegmentNotFoundError):
        Memory.remove(segment_name)


# --- a segment in the making ---


class Attempts:
    """Counts the openings that found a segment unready."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failed = threading.Semaphore(0)
        self.real = memory._attach_ready
        monkeypatch.setattr(memory, "_attach_ready", self)

    def __call__(self, name: str) -> Segment:
        try:
            return self.real(name)
        except errors.SegmentNotReadyError:
            self.failed.release()
            raise


@pytest.mark.parametrize("stage", ["empty", "zeros"])
def test_opener_waits_for_the_creator(
    segment_name: str, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    attempts = Attempts(monkeypatch)
    content = golden_bytes("v2_array_int32")
    write_segment(segment_name, b"" if stage == "empty" else bytes(len(content)))
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(Memory.open, segment_name, timeout=60)
        assert attempts.failed.acquire(timeout=60)
        assert attempts.failed.acquire(timeout=60)
        with open(SHM / segment_name, "r+b") as file:
            file.write(bytes(4) + content[4:])
            file.flush()
            os.pwrite(file.fileno(), content[:4], 0)  # magic last
        assert opening.result(60).names() == ["numbers"]
    Memory.remove(segment_name)


def test_opener_follows_a_segment_that_is_made_anew(
    segment_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = Attempts(monkeypatch)
    monkeypatch.setattr(memory, "READY_TIMEOUT", 60.0)
    write_segment(segment_name, bytes(4096))
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(Memory, segment_name, 8192)
        assert attempts.failed.acquire(timeout=60)
        Memory.remove(segment_name)
        assert opening.result(60).size == 8192
    Memory.remove(segment_name)


def test_waiting_goes_on_while_the_creator_makes_progress(
    segment_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that is a second later each time it is read."""
    attempts = Attempts(monkeypatch)
    now = iter(range(1000))
    segment = Segment(segment_name, create=True, size=1 << 20, reserve=False)

    def grow(seconds: float) -> None:
        if (nbytes := _segment.reserved_nbytes(segment.fd)) < 5 * 4096:
            segment.reserve(nbytes, nbytes + 4096)

    clock = SimpleNamespace(monotonic=lambda: next(now), sleep=grow)
    monkeypatch.setattr(memory, "time", clock)
    with pytest.raises(errors.SegmentNotReadyError):
        Memory.open(segment_name, timeout=3)
    looks = 0
    while attempts.failed.acquire(blocking=False):
        looks += 1
    assert looks > 5  # 3 without the growth
    segment.unlink()


# --- several at once ---


def take_part(start: Barrier, names: list[str], me: int) -> None:
    """Create the same segments and structures as everybody else, at the same time."""
    try:
        for name in names:
            start.wait(60)
            shared = create_all(name, me)
            start.wait(60)
            assert shared.tolist() == [1, 2, 3, 4]
    except BaseException:
        start.abort()  # the others need not wait
        raise


def create_all(name: str, me: int) -> Array:
    mem = Memory(name, 65536)
    shared = Array(mem, "shared", 4, np.int64)
    shared[me] = me + 1
    for number in range(5):
        Array(mem, f"both {number}", 8, np.int32)
        Array(mem, f"mine {me} {number}", 8, np.int32)[:] = me
    return shared


def test_processes_create_the_same_things_at_the_same_time(
    segment_names: Callable[[], str],
) -> None:
    context = multiprocessing.get_context("spawn")
    start, names = context.Barrier(4), [segment_names() for _ in range(10)]
    workers = [context.Process(target=take_part, args=(start, names, me)) for me in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(100)
        assert worker.exitcode == 0
        worker.close()
    for name in names:
        check_what_they_made(name)
        Memory.remove(name)


def check_what_they_made(name: str) -> None:
    mem = Memory(name)
    expected = {"shared"} | {f"both {number}" for number in range(5)}
    expected |= {f"mine {me} {number}" for me in range(4) for number in range(5)}
    assert len(mem.names()) == len(expected)
    assert set(mem.names()) == expected
    for me in range(4):
        assert Array(mem, f"mine {me} 4", dtype=np.int32).tolist() == [me] * 8


def test_threads_create_the_same_things_at_the_same_time(memory: Memory) -> None:
    handles = [memory, memory, Memory(memory.name), Memory(memory.name)]
    start = threading.Barrier(4)

    def work(mem: Memory) -> None:
        start.wait(60)
        for number in range(30):
            Array(mem, f"a{number}", 3, np.int16)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, handles))
    assert sorted(memory.names()) == sorted(f"a{number}" for number in range(30))


def test_forked_child_creates_beside_its_parent(memory: Memory) -> None:
    inside, release = os.pipe(), os.pipe()

    def slowly(view: memoryview) -> None:
        os.write(inside[1], b"x")
        os.read(release[0], 1)  # until the parent closes it

    if (child := os.fork()) == 0:
        try:
            os.close(release[1])
            memory.add("from the child", 100, slowly)
            os._exit(0)
        finally:
            os._exit(1)
    os.read(inside[0], 1)  # the child holds the lock
    with ThreadPoolExecutor(1) as pool:
        ours = pool.submit(memory.add, "from the parent", 100, nothing)
        os.close(release[1])
        ours.result(60)
    assert os.waitpid(child, 0)[1] == 0
    assert memory.names() == ["from the child", "from the parent"]
    for fd in (*inside, release[0]):
        os.close(fd)


def test_killed_creator_of_a_structure_leaves_no_trace(memory: Memory) -> None:
    killed = run_python(
        """
        import os, sys
        from zeroipc import Memory
        def die(view):
            view[:] = b"x" * len(view)
            os.kill(os.getpid(), 9)
        Memory(sys.argv[1]).add("a", 100, die)
        """,
        memory.name,
        check=False,
    )
    assert killed.returncode == -9
    assert memory.names() == []
    assert Array(memory, "a", 12, np.int64).tolist() == [0] * 12  # and it starts all zero
