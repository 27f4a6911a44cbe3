"""Segments: names, tracking, reserving, locking, lifetime."""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory

import pytest

from tests.support.golden import write_segment
from tests.support.leaks import SHM, descriptors, segments
from tests.support.programs import run_python
from zeroipc import _segment, errors
from zeroipc._segment import RESERVE_STEP, Segment, bare_name, reserved_nbytes


def test_create_attach_close_unlink(segment_name: str) -> None:
    made = Segment("/" + segment_name, create=True, size=5000)
    found = Segment(segment_name)
    assert (found.name, found.size, len(found.buf)) == (segment_name, 5000, 5000)
    made.buf[4999] = 7
    assert found.buf[4999] == 7
    made.close()
    made.close()
    made.unlink()
    found.buf[0] = 1  # still attached
    with pytest.raises(errors.SegmentNotFoundError):
        found.unlink()
    found.close()
    with pytest.raises(errors.ClosedError, match="is closed"):
        _ = found.buf
    with pytest.raises(errors.ClosedError, match="is closed"):
        _ = found.fd


def test_close_leaves_views_alone(segment_name: str) -> None:
    segment = Segment(segment_name, create=True, size=100)
    view = segment.buf[10:20]
    segment.unlink()
    segment.close()
    view[0] = 9
    assert view[0] == 9
    assert segment_name in _mapped()
    del view
    assert segment_name not in _mapped()


def _mapped() -> str:
    with open("/proc/self/maps") as maps:
        return maps.read()


def test_missing_and_existing(segment_name: str) -> None:
    with pytest.raises(errors.SegmentNotFoundError, match=segment_name) as missing:
        Segment(segment_name)
    assert missing.value.errno == errno.ENOENT
    segment = Segment(segment_name, create=True, size=100)
    with pytest.raises(errors.SegmentExistsError, match=segment_name):
        Segment(segment_name, create=True, size=100)
    assert len(segment.buf) == 100  # untouched
    segment.close()
    segment.unlink()


@pytest.mark.parametrize("name", ["", "/", "//x", "a/b", "x\0y", ".", "..", "/..", "\udfff\ud800"])
def test_names_that_cannot_be_used(name: str) -> None:
    with pytest.raises(errors.InvalidNameError):
        Segment(name, create=True, size=100)


def test_name_length_counts_bytes() -> None:
    assert bare_name("/" + "é" * 127) == "é" * 127
    with pytest.raises(errors.NameTooLongError, match="has 256"):
        bare_name("é" * 128)
    with pytest.raises(TypeError, match="must be a str"):
        bare_name(b"bytes")  # type: ignore[arg-type]


def test_longest_name_works(segment_name: str) -> None:
    name = segment_name.ljust(255, "x")
    Segment(name, create=True, size=100).unlink()


@pytest.mark.parametrize("size", [0, -1, 2**63])
def test_size_out_of_range(segment_name: str, size: int) -> None:
    with pytest.raises(errors.CapacityError, match="size must be"):
        Segment(segment_name, create=True, size=size)
    assert not segments()


@pytest.mark.parametrize("kind", ["directory", "fifo", "socket", "link"])
def test_other_kinds_of_file(segment_name: str, kind: str) -> None:
    path = SHM / segment_name
    listener = socket.socket(socket.AF_UNIX)
    make: dict[str, Callable[[], None]] = {
        "directory": path.mkdir,
        "fifo": lambda: os.mkfifo(path),
        "socket": lambda: listener.bind(str(path)),
        "link": lambda: path.symlink_to("/etc/passwd"),
    }
    make[kind]()
    listener.close()
    try:
        with pytest.raises(errors.SegmentFormatError, match="not a regular file"):
            Segment(segment_name)
    finally:
        path.rmdir() if kind == "directory" else path.unlink()


def test_empty_file_is_not_ready(segment_name: str) -> None:
    write_segment(segment_name, b"")
    with pytest.raises(errors.SegmentNotReadyError, match="empty"):
        Segment(segment_name)
    _segment.unlink(segment_name)


# --- who may attach ---


def test_private_wants_owner_and_mode(segment_name: str) -> None:
    segment = Segment(segment_name, create=True, size=100)
    Segment(segment_name, private=True).close()
    os.fchmod(segment.fd, 0o660)
    with pytest.raises(errors.SegmentAccessError, match="mode=0o660"):
        Segment(segment_name, private=True)
    Segment(segment_name).close()
    segment.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_private_refuses_other_owners(segment_name: str) -> None:
    segment = Segment(segment_name, create=True, size=100)
    os.fchown(segment.fd, 12345, -1)
    with pytest.raises(errors.SegmentAccessError, match="owner=12345"):
        Segment(segment_name, private=True)
    segment.unlink()


def test_pickled_segment_attaches_and_stays_private(segment_name: str) -> None:
    segment = Segment(segment_name, create=True, size=100, private=True)
    pickled = pickle.dumps(segment)
    pickle.loads(pickled).buf[3] = 4
    assert segment.buf[3] == 4
    os.fchmod(segment.fd, 0o666)
    with pytest.raises(errors.SegmentAccessError):
        pickle.loads(pickled)
    segment.unlink()


# --- the resource tracker ---


def test_attaching_and_untracked_creation_leave_no_trace(segment_name: str) -> None:
    made = run_python(
        """
        import sys
        from zeroipc._segment import Segment
        Segment(sys.argv[1], create=True, size=100)
        Segment(sys.argv[1])
        """,
        segment_name,
    )
    assert made.stderr == ""
    Segment(segment_name).unlink()


def test_tracked_segment_goes_with_its_killed_program(segment_name: str) -> None:
    # run_python returns when the tracker, which shares its stderr, has ended.
    killed = run_python(
        """
        import os, sys
        from zeroipc._segment import Segment
        segment = Segment(sys.argv[1], create=True, size=100, tracked=True)
        os.kill(os.getpid(), 9)
        """,
        segment_name,
        check=False,
    )
    assert killed.returncode == -9
    assert segment_name not in segments()


def test_tracked_segment_unlinked_in_child_and_parent_is_quiet(segment_name: str) -> None:
    result = run_python(
        """
        import os, sys
        from zeroipc import SegmentNotFoundError
        from zeroipc._segment import Segment
        segment = Segment(sys.argv[1], create=True, size=100, tracked=True)
        if (child := os.fork()) == 0:
            segment.unlink()
            os._exit(0)
        os.waitpid(child, 0)
        try:
            segment.unlink()
        except SegmentNotFoundError:
            print("gone")
        """,
        segment_name,
    )
    assert (result.stdout, result.stderr) == ("gone\n", "")


# --- reserving pages ---


def test_all_pages_are_reserved_at_creation(segment_name: str) -> None:
    segment = Segment(segment_name, create=True, size=1 << 20)
    assert reserved_nbytes(segment.fd) >= 1 << 20
    segment.unlink()


def test_sparse_segment_reserves_on_request(segment_name: str) -> None:
    segment = Segment(segment_name, create=True, size=1 << 30, reserve=False)
    assert (segment.size, reserved_nbytes(segment.fd)) == (1 << 30, 0)
    segment.reserve(1 << 20, 3 << 20)
    assert reserved_nbytes(segment.fd) == 2 << 20
    segment.unlink()


class FullAt:
    """Stands in for `allocate_pages`: reports a full file system at the n-th call."""

    def __init__(self, call: int) -> None:
        self.calls_left = call
        self.real = _segment.allocate_pages

    def __call__(self, fd: int, offset: int, nbytes: int) -> None:
        self.calls_left -= 1
        if self.calls_left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.real(fd, offset, nbytes)


@pytest.mark.parametrize("call", [1, 2, 3])
def test_full_file_system_leaves_nothing(
    segment_name: str, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    monkeypatch.setattr(_segment, "allocate_pages", FullAt(call))
    before = descriptors()
    size = 2 * RESERVE_STEP + 1
    with pytest.raises(errors.ShmFullError, match=f"asked={size} bytes.*enlarge") as full:
        Segment(segment_name, create=True, size=size)
    assert full.value.asked == size
    assert full.value.free > 0
    assert not segments()
    assert descriptors() <= before


def test_more_than_is_free_is_refused_at_once(
    segment_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_segment, "allocate_pages", lambda *args: pytest.fail("tried anyway"))
    with pytest.raises(errors.ShmFullError, match="asked=1152921504606846976"):
        Segment(segment_name, create=True, size=1 << 60)
    assert not segments()


def in_small_tmpfs(source: str) -> subprocess.CompletedProcess[str]:
    """Run a program whose /dev/shm is a tmpfs of 4 MB that nobody else sees."""
    mount = "mount -t tmpfs -o size=4m tmpfs /dev/shm"
    if not shutil.which("unshare"):
        pytest.skip("unshare is not installed")
    if subprocess.run(["unshare", "--mount", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    prefix = ("unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh")
    return run_python(source, prefix=prefix)


def test_real_full_file_system() -> None:
    result = in_small_tmpfs("""
        import os
        from zeroipc import Memory, ShmFullError
        try:
            Memory("x", 8 << 20)
        except ShmFullError as error:
            print(error.asked, error.free)
        print(os.listdir("/dev/shm"))
        mem = Memory("x", 3 << 20)
        mem.buf[4096:] = bytes(len(mem.buf) - 4096)  # every page is there
        try:
            Memory("y", 2 << 20)
        except ShmFullError as error:
            print(error.asked, error.free)
        print(os.listdir("/dev/shm"))
    """)
    assert result.stdout.splitlines() == ["8388608 4194304", "[]", "2097152 1048576", "['x']"]


def test_sparse_segment_of_a_peer_on_a_full_file_system() -> None:
    result = in_small_tmpfs("""
        import os
        from zeroipc import Memory, ShmFullError
        Memory("x", 1 << 20).close()
        head = open("/dev/shm/x", "rb").read(4096)
        with open("/dev/shm/y", "wb") as file:
            file.write(head[:16] + (8 << 20).to_bytes(8, "little") + head[24:])
            file.truncate(8 << 20)
        try:
            Memory("y")
        except ShmFullError as error:
            print(error.asked)
        print(os.stat("/dev/shm/y").st_blocks * 512)
    """)
    assert result.stdout == "8384512\n4096\n"  # nothing was reserved in vain


# --- the lock ---


def _busy(segment: Segment) -> bool:
    """Tell whether somebody holds the lock, seen from a descriptor of our own."""
    fd = os.open(f"/proc/self/fd/{segment.fd}", os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def test_lock_excludes_other_handles_and_is_freed(segment_name: str) -> None:
    segment, other = Segment(segment_name, create=True, size=100), Segment(segment_name)
    segment.unlink()  # the lock is the file's, not the name's
    with segment.locked():
        assert _busy(other)
        assert _busy(segment)
    assert not _busy(other)
    with pytest.raises(RuntimeError, match="inside"), segment.locked():
        raise RuntimeError("inside")
    assert not _busy(other)


def test_lock_across_fork(segment_name: str) -> None:
    """A child forked under the lock is kept out, and does not keep the lock alive."""
    segment = Segment(segment_name, create=True, size=100)
    segment.unlink()
    report, release = os.pipe(), os.pipe()
    with segment.locked():
        if (child := os.fork()) == 0:
            try:
                os.close(release[1])
                os.write(report[1], b"busy" if _busy(segment) else b"free")
                os.read(release[0], 1)  # until the parent closes it
            finally:
                os._exit(0)
        state = os.read(report[0], 4)
    busy = _busy(segment)
    os.close(release[1])
    os.waitpid(child, 0)
    assert (state, busy) == (b"busy", False)
    for fd in (*report, release[0]):
        os.close(fd)


def test_lock_of_a_killed_process_is_free(segment_name: str) -> None:
    segment = Segment(segment_name, create=True, size=100)
    killed = run_python(
        """
        import os, sys
        from zeroipc._segment import Segment
        with Segment(sys.argv[1]).locked():
            os.kill(os.getpid(), 9)
        """,
        segment_name,
        check=False,
    )
    assert killed.returncode == -9
    assert not _busy(segment)
    segment.unlink()


# --- beside the standard library ---


def test_standard_library_sees_the_same_bytes(segment_name: str) -> None:
    segment = Segment(segment_name, create=True, size=100)
    segment.buf[:5] = b"hello"
    # It registers with the tracker on attaching, so its own unlink must end that.
    theirs = SharedMemory(segment_name)
    assert theirs.buf is not None
    assert bytes(theirs.buf[:5]) == b"hello"
    assert isinstance(segment, SharedMemory)
    theirs.close()
    theirs.unlink()


def test_no_descriptor_or_mapping_leaks(segment_names: Callable[[], str]) -> None:
    names = [segment_names() for _ in range(200)]
    before = descriptors()
    for name in names:
        segment = Segment(name, create=True, size=100)
        with segment.locked():
            pass
        segment.unlink()
    del segment
    assert descriptors() <= before
    if sys.platform == "linux":
        mapped = _mapped()
        assert [name for name in names if f"/{name} (deleted)" in mapped] == []
