"""A selection of the standard library's own tests; `make conformance` runs them all."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
# All that is ours under fork, where a test takes no time; elsewhere what depends on how a child
# comes to have its queues, locks and tasks.
SELECTED = {
    "fork": "TestQueue|SimpleQueue|TestLock|Semaphore|Condition|TestEvent|Value|Array|Connection"
    "|SharedCTypes|TestPool|StartMethod|ImportStar|AsCompletedTest|InitializerTest",
    "spawn": "TestQueue|TestLock|TestEvent|Value|PicklingConnections|test_starmap|StartMethod"
    "|InitializerTest",
    "forkserver": "TestQueue|TestLock|Semaphore|Value|Connection|test_starmap|StartMethod"
    "|AsCompletedTest",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),  # dozens of tests, each in processes of its own
    pytest.mark.skipif(
        importlib.util.find_spec("test._test_multiprocessing") is None,
        reason=f"Python {VERSION} was installed without the standard library's tests",
    ),
    pytest.mark.skipif(
        not (HERE / "baseline" / f"cpython-{VERSION}.json").exists(),
        reason=f"no record of what the standard library of Python {VERSION} passes",
    ),
]


def run_suite(module: str, *options: str) -> subprocess.CompletedProcess[str]:
    runner = str(HERE / "run_cpython_suite.py")
    command = [sys.executable, runner, "--module", module, *options]
    paths = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = os.environ | {"PYTHONPATH": paths}
    return subprocess.run([*command, "--baseline", "auto"], text=True, capture_output=True, env=env)


@pytest.mark.parametrize("method", SELECTED)
def test_what_passes_with_the_standard_library_passes_with_ours(method: str) -> None:
    selected = ["--method", method, "--only", SELECTED[method], "--part", "mp", "--part", "futures"]
    done = run_suite("zeroipc.mp", *selected)
    assert done.returncode == 0, done.stdout + done.stderr


def test_programs_after_install_pass_too() -> None:
    selected = ["--method", "spawn", "--only", "TestQueue|TestEvent|TestInitializers"]
    done = run_suite("zeroipc.mp", "--install", "--part", "mp", *selected)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_broken_module_is_noticed() -> None:
    done = run_suite("broken", "--part", "mp", "--method", "fork", "--only", "TestLock")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "fork.WithProcessesTestLock.test_lock\n" in done.stdout
