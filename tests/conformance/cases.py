"""Which test classes of CPython to run, found by importing the running Python's test modules."""

import argparse
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
METHODS = ("fork", "spawn", "forkserver")
PARTS = ("mp", "futures", "main")
FUTURES = ("as_completed", "deadlock", "init", "process_pool", "shutdown", "wait")
MAIN = "test.test_multiprocessing_main_handling"
# These run the same tests on managers and on threads, in which nothing is ours.
LEFT_OUT = ("WithManager", "WithThreads")
# What a drop-in replaces. The rest of CPython's classes are about managers, shared_memory,
# listeners, logging and finalizers: run too, unless --core says otherwise.
CORE = re.compile(
    r"Test(Process|SubclassingProcess|Queue|SimpleQueue|Lock|Semaphore|Condition"
    r"|Event|Barrier|Value|Array|SharedCTypes|Pool\w*|Connection|Poll\w*"
    r"|PicklingConnections|Initializers|Wait|NoForkBomb|StartMethod"
    r"|StdinBadfiledescriptor|AtExit|CloseFds|ForkAwareThreadLock)$"
)


class Case(NamedTuple):
    """One test class under one start method."""

    method: str
    module: str
    name: str
    tests: dict[str, tuple[str, str]]  # test -> ("Class.test" as in the source, file)


def collect(options: argparse.Namespace, env: dict[str, str]) -> Iterator[Case]:
    """The classes that OPTIONS ask for, the start methods one after the other."""
    modules = {module: part for part in options.part for module in modules_of(part, options)}
    listing = subprocess.run(
        [sys.executable, HERE / "worker.py", "--list", *modules],
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        timeout=options.timeout,
    )
    if listing.returncode:
        sys.exit("the test modules cannot be listed (see above)")
    for (module, part), classes in zip(modules.items(), json.loads(listing.stdout), strict=True):
        for name, tests in classes.items():
            method = method_of(part, module, name) or "none"
            core = part != "mp" or CORE.search(name)
            wanted = {
                test: where
                for test, where in tests.items()
                if re.search(options.only, f"{method}.{name}.{test}")
            }
            if (
                wanted
                and method in options.method
                and not name.startswith(LEFT_OUT)
                and (core or not options.core)
            ):
                yield Case(method, module, name, wanted)


def modules_of(part: str, options: argparse.Namespace) -> list[str]:
    if part == "mp":
        return [f"mp_cases_{method}" for method in options.method]
    if part == "main":
        return [MAIN]
    folder = options.suite or test_folder()
    if folder and (folder / "test_concurrent_futures.py").exists():
        return ["test.test_concurrent_futures"]
    return [f"test.test_concurrent_futures.test_{name}" for name in FUTURES]


def method_of(part: str, module: str, name: str) -> str | None:
    """The start method that a class is about; None for threads and the like."""
    if part == "mp":
        return module.rpartition("_")[2]
    if name == "FailingInitializerResourcesTest":
        return "spawn"
    pattern = (
        "(ForkServer|Fork|Spawn)CmdLine"
        if part == "main"
        else ("ProcessPool(Forkserver|Fork|Spawn)")
    )
    found = re.match(pattern, name)
    return found[1].lower() if found else None


def test_folder() -> Path | None:
    """Where the running Python keeps its own tests; None where they were left out."""
    if not importlib.util.find_spec("test._test_multiprocessing"):
        return None
    return Path(str(importlib.util.find_spec("test").origin)).parent  # type: ignore[union-attr]


def borrowed_futures_tests() -> Path | None:
    """Another Python's folder with test_concurrent_futures, where ours has none.

    Some builds leave it out. The next newer Python installed beside this one is the closest (its
    tests are a superset), then the newest older one.
    """
    if importlib.util.find_spec("test.test_concurrent_futures"):
        return None
    root = Path(sys.base_prefix).parent
    found = [
        path.parent
        for pattern in ("", ".py")
        for path in root.glob(f"*/lib/python3.*/test/test_concurrent_futures{pattern}")
        if (path.parent / "support").is_dir()
    ]
    found.sort(key=minor_version)
    newer = [folder for folder in found if minor_version(folder) > sys.version_info.minor]
    return next(iter(newer + found[::-1]), None)


def minor_version(folder: Path) -> int:
    found = re.search(r"python3\.(\d+)$", str(folder.parent))
    return int(found[1]) if found else -1
