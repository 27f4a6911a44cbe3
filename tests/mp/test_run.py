"""`python -m zeroipc run`: programs run as by `python`, with queues and executors of ours."""

from __future__ import annotations

import os
import py_compile
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.programs import ROOT, TIMEOUT
from zeroipc import Array, Memory

# Shows all that a program sees of how it was started, and then fails.
TELL = """\
import sys
names = sorted(set(globals()) - {"__annotations__"})
print(sys.argv, sys.path[0], names, __name__, __file__, __package__, type(__builtins__))
print(__spec__, __loader__, sys.modules["__main__"].__dict__ is globals())
def fail():
    raise ValueError("failed")
fail()
"""

FORMS = [
    "tell.py 1 --flag",
    "./tell.py",
    "folder/../tell.py",
    "folder/link.py",
    "no_suffix",
    "compiled.pyc",
    "folder 1",
    "folder/",
    "packed.zip 1",
    "-m tell 1 -x",
    "-m package",
    "-m package.tell",
    "-m missing",
    "-m package.missing",
    "missing.py",
    "wrong.py",
    "status.py",
    "message.py",
    "hook.py",
    "cause.py",
    "kept.py",
]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with programs in every form that python accepts."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "folder").mkdir()
    (folder / "package").mkdir()
    sources = {
        **dict.fromkeys(("tell.py", "no_suffix", "folder/__main__.py"), TELL),
        **dict.fromkeys(("package/__main__.py", "package/tell.py"), TELL),
        "package/__init__.py": "",
        "wrong.py": "print('never')\nx = (\n",
        "status.py": "import sys; sys.exit(7)",
        "message.py": "raise SystemExit('a message')",
        "hook.py": "import sys, traceback\n"
        "sys.excepthook = lambda *what: print(what[:2], len(traceback.extract_tb(what[2])))\n"
        "raise KeyError('mine')",
        "cause.py": "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n"
        "    raise ValueError('two') from error\n",
        "kept.py": "import os\nclass Kept:\n    def __del__(self): print(os.name)\n"
        "def fail():\n    kept = Kept()\n    raise ValueError('failed')\nfail()\n",
    }
    for name, source in sources.items():
        (folder / name).write_text(source)
    (folder / "folder/link.py").symlink_to("../tell.py")
    py_compile.compile(str(folder / "tell.py"), str(folder / "compiled.pyc"))
    with zipfile.ZipFile(folder / "packed.zip", "w") as packed:
        packed.writestr("__main__.py", TELL)
    return folder


def python(
    *arguments: str, cwd: Path, stdin: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env={**os.environ, "PYTHONPATH": path, **env},
    )


def run(*arguments: str, cwd: Path, **options: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "zeroipc", "run", *arguments, cwd=cwd, **options)


def shown(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    return done.returncode, re.sub("0x[0-9a-f]+", "0x...", done.stdout), done.stderr


@pytest.mark.parametrize("form", FORMS)
def test_a_program_sees_and_shows_what_it_does_under_python(programs: Path, form: str) -> None:
    arguments = form.split()
    assert shown(run(*arguments, cwd=programs)) == shown(python(*arguments, cwd=programs))


def test_without_the_scripts_folder_on_the_path(programs: Path) -> None:
    for form in ("tell.py", "folder"):
        safe = [shown(start(form, cwd=programs, PYTHONSAFEPATH="1")) for start in (run, python)]
        assert safe[0] == safe[1]


def test_code_and_standard_input(programs: Path) -> None:
    code = "import sys; print(sys.argv, sys.path[0], __name__, __loader__); sys.exit(3)"
    theirs, ours = (start("-c", code, "-m", cwd=programs) for start in (python, run))
    assert shown(theirs) == shown(ours)
    theirs, ours = (start("-", "-c", cwd=programs, stdin=code) for start in (python, run))
    assert shown(theirs) == shown(ours)


INTERRUPTED = """
import sys, time
print("ready", flush=True)
while True:
    time.sleep(0.01)
"""


@pytest.mark.parametrize("how", [["script.py"], ["-m", "script"], ["-c", INTERRUPTED]])
def test_ctrl_c_ends_a_program_by_its_signal(tmp_path: Path, how: list[str]) -> None:
    (tmp_path / "script.py").write_text(INTERRUPTED)
    with subprocess.Popen(
        [sys.executable, "-m", "zeroipc", "run", *how],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(signal.SIGINT)
        error = program.stderr.read()
    assert program.returncode == -signal.SIGINT
    assert error.endswith("KeyboardInterrupt\n")
    assert "_program.py" not in error


# --- Programs as people write them --------------------------------------------------------

WORKERS = """
import multiprocessing as mp
import os

def work(tasks, results):
    for number in iter(tasks.get, None):
        results.put((os.getpid(), number, number * number))

if __name__ == "__main__":
    mp.set_start_method({method!r})
    tasks, results = mp.Queue(), mp.Queue()
    workers = [mp.Process(target=work, args=(tasks, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for number in range(50):
        tasks.put(number)
    for _ in workers:
        tasks.put(None)
    squares = sorted(results.get()[1:] for _ in range(50))
    for worker in workers:
        worker.join()
    assert squares == [(n, n * n) for n in range(50)]
    print(type(tasks).__module__, [worker.exitcode for worker in workers])
"""

SHARED = """
from multiprocessing import Pool, Lock, Value, Process, set_start_method

lock = counter = None

def set_up(the_lock, the_counter):
    global lock, counter
    lock, counter = the_lock, the_counter

def count(amount):
    with lock:
        counter.value += amount
    return amount

def add(value, times):
    for _ in range(times):
        with value.get_lock():
            value.value += 1

if __name__ == "__main__":
    set_start_method({method!r})
    counter = Value("i", 0)
    with Pool(2, initializer=set_up, initargs=(Lock(), counter)) as pool:
        assert sum(pool.imap_unordered(count, range(100))) == 4950
        assert pool.apply_async(count, (50,)).get() == 50
        assert pool.starmap(pow, [(2, 3), (3, 2)]) == [8, 9]
    pool.join()
    assert counter.value == 5000
    processes = [Process(target=add, args=(counter, 100)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert counter.value == 5200
    print("counted by", type(pool).__module__)
"""

FUTURES = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed, wait

def divide(a, b):
    return a / b

def main():
    with ProcessPoolExecutor(max_workers=2) as executor:
        futures = {{executor.submit(divide, n, n % 3): n for n in range(9)}}
        failed = 0
        for future in as_completed(futures):
            try:
                assert future.result() == futures[future] / (futures[future] % 3)
            except ZeroDivisionError:
                failed += 1
        assert failed == 3
        assert list(executor.map(divide, range(5), [2] * 5, chunksize=2)) == [0, .5, 1, 1.5, 2]
        done, pending = wait([executor.submit(divide, 1, 1)])
        assert len(done) == 1 and not pending
    print(type(executor).__module__)

if __name__ == "__main__":
    multiprocessing.set_start_method({method!r})
    main()
"""

LOGGING = """
import logging, logging.handlers, multiprocessing

def work(queue, number):
    root = logging.getLogger()
    root.handlers = [logging.handlers.QueueHandler(queue)]
    root.setLevel(logging.DEBUG)
    logging.getLogger("worker").info("number %d", number)

class Lines(logging.Handler):
    lines = []
    def emit(self, record):
        self.lines.append(record.getMessage())

if __name__ == "__main__":
    multiprocessing.set_start_method({method!r})
    queue = multiprocessing.Queue(-1)
    listener = logging.handlers.QueueListener(queue, Lines())
    listener.start()
    workers = [multiprocessing.Process(target=work, args=(queue, n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    listener.stop()
    print(sorted(Lines.lines))
"""

MANAGER = """
from multiprocessing import Event, Manager, Pipe, Process, RLock, Semaphore, set_start_method

def change(shared, names, connection, event, locks):
    with locks[0], locks[1]:
        shared["n"] = shared.get("n", 0) + 1
        names.append("child")
    connection.send({{"got": connection.recv()}})
    assert event.wait(60)
    connection.close()

if __name__ == "__main__":
    set_start_method({method!r})
    with Manager() as manager:
        shared, names = manager.dict(), manager.list()
        here, there = Pipe()
        event, locks = Event(), (RLock(), Semaphore(2))
        child = Process(target=change, args=(shared, names, there, event, locks))
        child.start()
        here.send([1, 2])
        print(here.recv())
        event.set()
        child.join()
        print(dict(shared), list(names), child.exitcode)
"""

RAISES = """
import multiprocessing as mp

class Mistake(Exception):
    pass

def fail(number):
    raise Mistake(number)

if __name__ == "__main__":
    mp.set_start_method({method!r})
    child = mp.Process(target=fail, args=(1,), name="the-child")
    child.start()
    child.join()
    print(child.exitcode)
    with mp.Pool(1) as pool:
        try:
            pool.map(fail, [2])
        except Mistake as error:
            print(repr(error), type(error).__module__)
    pool.join()
"""

PROGRAMS = {
    "workers": (WORKERS, "zeroipc.mp.queues [0, 0]\n"),
    "shared": (SHARED, "counted by zeroipc.mp.pool\n"),
    "futures": (FUTURES, "zeroipc.mp.executor\n"),
    "logging": (LOGGING, "['number 0', 'number 1', 'number 2']\n"),
    "manager": (MANAGER, "{'got': [1, 2]}\n{'n': 1} ['child'] 0\n"),
    "raises": (RAISES, "1\nMistake(2) __main__\n"),
}


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(tmp_path: Path, name: str, method: str) -> None:
    source, expected = PROGRAMS[name]
    (tmp_path / "program.py").write_text(source.format(method=method))
    done = run("program.py", cwd=tmp_path)
    assert done.stdout == expected, done.stderr
    assert done.returncode == 0
    errors = [line for line in done.stderr.splitlines() if "Error" in line or "Warning" in line]
    assert errors == []


def test_children_of_a_module_and_of_a_package(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__init__.py").write_text("")
    (tmp_path / "package/work.py").write_text(FUTURES.format(method="spawn"))
    (tmp_path / "package/__main__.py").write_text("from package.work import main\nmain()\n")
    for module in ("package.work", "package"):
        done = run("-m", module, cwd=tmp_path)
        assert done.stdout == "zeroipc.mp.executor\n", done.stderr


def test_another_program_notices_nothing(tmp_path: Path) -> None:
    code = "import os, subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    other = "import multiprocessing, os; print(type(multiprocessing.Queue()).__module__)"
    done = run("-c", code, other, cwd=tmp_path)
    assert done.stdout == "multiprocessing.queues\n", done.stderr


# --- The rest of the command line ---------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help(tmp_path: Path, arguments: list[str]) -> None:
    done = python("-m", "zeroipc", *arguments, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: python -m zeroipc run ")


@pytest.mark.parametrize("arguments", [["run"], ["run", "-m"], ["run", "-x"], ["walk"], ["list"]])
def test_what_makes_no_sense(tmp_path: Path, arguments: list[str]) -> None:
    done = python("-m", "zeroipc", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: python -m zeroipc run ")


def test_list(tmp_path: Path, memory: Memory) -> None:
    Array(memory, "numbers", 10, dtype="int32")
    done = python("-m", "zeroipc", "list", memory.name, cwd=tmp_path)
    entry = memory.entry("numbers")
    assert done.stdout.splitlines()[1].split() == [str(entry.offset), str(entry.size), "numbers"]
    done = python("-m", "zeroipc", "list", memory.name + "-nowhere", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{memory.name}-nowhere: ")
