"""A selection of the standard library's own tests; `make conformance` runs them all."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
METHODS = ("fork", "spawn", "forkserver")
QUEUES = "TestQueue|TestSimpleQueue|TestStartMethod|TestImportStar"
FUTURES = "AsCompletedTest|InitializerTest|WaitTest"

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.timeout(300),  # dozens of tests, each in processes of its own
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


@pytest.mark.parametrize("method", METHODS)
def test_queues_and_start_methods(method: str) -> None:
    done = run_suite("zeroipc.mp", "--part", "mp", "--method", method, "--only", QUEUES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("method", METHODS)
def test_futures(method: str) -> None:
    done = run_suite("zeroipc.mp", "--part", "futures", "--method", method, "--only", FUTURES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_broken_module_is_noticed() -> None:
    done = run_suite("broken", "--part", "mp", "--method", "spawn", "--only", "TestLock")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "spawn.WithProcessesTestLock.test_lock\n" in done.stdout
