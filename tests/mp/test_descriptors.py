"""A process without descriptors, without the arena's descriptor, or without /proc."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.support import programs

EXHAUST = """
    import os, resource
    def exhaust():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        fds = []
        try:
            while True:
                fds.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            return fds
"""
"""The start of a program: a function that takes all descriptors there are."""


def run_python(*sources: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the parts of a program, each indented as you like."""
    return programs.run_python("".join(map(dedent, sources)), **options)


def test_a_daemon_that_closes_all_descriptors_keeps_its_files() -> None:
    run_python("""
        import os, tempfile, time
        import numpy as np
        import zeroipc.mp as mp
        from zeroipc.mp import transport

        q = mp.Queue()
        q.put(1)
        q.get()
        os.closerange(3, 256)
        text = b"x" * 20_000_000
        files = [tempfile.TemporaryFile() for _ in range(8)]
        for file in files:
            file.write(text)
            file.flush()
        fd = transport.home().fd
        assert fd in [file.fileno() for file in files]
        arena = transport.home().arena
        for i in range(20):
            q.put(np.full(500_000, i))
        assert arena.stats()["reserved"] > 50 << 20
        for i in range(20):
            assert (q.get() == i).all()
        arena.trim(0)
        assert arena.stats()["reserved"] < 5 << 20
        for file in files:
            file.seek(0)
            assert file.read() == text
    """)


def test_a_fork_does_not_map_the_file_of_another() -> None:
    run_python("""
        import os, tempfile
        import numpy as np
        import zeroipc.mp as mp
        from zeroipc.mp import transport

        array = mp.asarray(np.arange(1000.0))
        fd = transport.home().fd
        os.close(fd)
        file = tempfile.TemporaryFile()
        os.dup2(file.fileno(), fd)
        os.ftruncate(fd, 1 << 30)
        pid = os.fork()
        if pid == 0:
            os._exit(0 if (array == np.arange(1000.0)).all() else 1)
        assert os.waitpid(pid, 0)[1] == 0
    """)


def test_who_has_no_descriptors_takes_nobody_for_dead() -> None:
    run_python(
        EXHAUST,
        """
        import numpy as np
        import zeroipc.mp as mp
        from zeroipc.mp import transport

        def hold(given, ready, go, out):
            array = given.get()
            array[:] = 7
            ready.put(1)
            go.get()
            out.put(bool((array == 7).all()))

        context = mp.get_context("fork")
        queues = given, ready, go, out = [mp.Queue() for _ in range(4)]
        child = context.Process(target=hold, args=queues)
        child.start()
        given.put(np.zeros(200_000))
        ready.get()
        fds = exhaust()
        transport.home().arena.sweep()
        for _ in range(4):
            given.put(np.full(200_000, 99.0))
        for fd in fds:
            os.close(fd)
        go.put(1)
        assert out.get()
        child.join()
    """,
    )


def test_a_worker_without_descriptors_lives() -> None:
    run_python(
        EXHAUST,
        """
        from zeroipc.mp import ProcessPoolExecutor, get_context, worker

        ours, theirs = os.pipe()

        def look(*parent):
            answer = alive(*parent)
            os.write(theirs, b"%d" % answer)
            return answer

        def starve():
            global fds, alive
            fds = exhaust()
            alive, worker.owner_alive, worker.PARENT_CHECK = worker.owner_alive, look, 0.01
            return len(fds)

        with ProcessPoolExecutor(1, get_context("fork")) as pool:
            assert pool.submit(starve).result()
            assert os.read(ours, 1) == b"1"  # it looks when it has been idle for a while
            assert pool.submit(pow, 2, 3).result() == 8
    """,
    )


def test_without_proc_nothing_starts() -> None:
    hide = 'mount -t tmpfs none /proc && exec "$@"'
    prefix = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", hide, "sh")
    if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this system lets nobody hide /proc")
    result = run_python("import zeroipc.mp as mp; mp.Queue()", check=False, prefix=prefix)
    assert "SegmentAccessError: zeroipc.mp needs /proc" in result.stderr


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_children_of_a_process_that_hides_its_descriptors(method: str, tmp_path: Path) -> None:
    """As after setuid: children do not find them in /proc, but inherit the arena's."""
    program = tmp_path / "program.py"
    source = """
        import sys
        import zeroipc.mp as mp
        from zeroipc.mp import transport

        def refuse(*opening):
            raise PermissionError

        transport._attach_through = refuse

        def add(numbers, sums):
            sums.put(sum(numbers.get()))

        if __name__ == "__main__":
            context = mp.get_context(sys.argv[1])
            numbers, sums = context.Queue(), context.Queue()
            child = context.Process(target=add, args=(numbers, sums))
            child.start()
            numbers.put([1, 2, 3])
            print(sums.get(timeout=60))
            child.join()
            with mp.ProcessPoolExecutor(1, context) as pool:
                print(pool.submit(abs, -4).result())
    """
    program.write_text(dedent(source))
    result = subprocess.run(
        [sys.executable, program, method],
        capture_output=True,
        text=True,
        check=False,
        timeout=80,
        env={**os.environ, "PYTHONPATH": str(programs.ROOT)},
    )
    assert result.stdout == "6\n4\n", result.stderr
