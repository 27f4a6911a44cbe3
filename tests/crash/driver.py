"""Builds and runs the C driver of the crash tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
CORE = HERE.parents[1] / "zeroipc" / "_core"

# -z now: no symbol is looked up in the middle of an operation, which costs thousands of
# instructions that are none of ours. The driver's parts are used in turn, not all in each.
COMPILE = ["gcc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-pthread", "-Wl,-z,now"]
COMPILE += ["-Wall", "-Wextra", "-Werror", "-Wno-unused-function"]

# glibc clears and copies with plain instructions instead of one that is stepped byte by byte.
TUNABLES = "glibc.cpu.x86_rep_stosb_threshold=1000000:glibc.cpu.x86_rep_movsb_threshold=1000000"


def has_compiler() -> bool:
    """Tell whether gcc is there."""
    return shutil.which("gcc") is not None


def build(target: Path, *flags: str, core: Path = CORE) -> Path:
    """Compile the driver over the headers in *core*; its warnings are errors."""
    command = [*COMPILE, *flags, f"-I{core}", str(HERE / "driver.c"), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def points(core: Path = CORE) -> list[str]:
    """Return the names of all points of the core at which a test can kill."""
    text = "".join(path.read_text() for path in sorted(core.glob("*.h")))
    return re.findall(r'ZI_POINT\("([^"]+)"\)', text)


def seed() -> int:
    """Return the seed of this run: ZEROIPC_SEED, else a new one."""
    return int(os.environ.get("ZEROIPC_SEED") or int.from_bytes(os.urandom(3), "big"))


def kills(default: int) -> int:
    """Return how many processes to kill: ZEROIPC_KILLS, else *default*."""
    return int(os.environ.get("ZEROIPC_KILLS") or default)


def run(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the driver once and wait for it; it has its own watchdogs."""
    return subprocess.run(
        [str(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GLIBC_TUNABLES": TUNABLES},
    )


def run_all(program: Path, runs: Iterable[tuple[object, ...]]) -> None:
    """Run the driver with each list of arguments, two at a time; fail if any run does."""
    failed = []
    with ThreadPoolExecutor(2) as pool:
        for done in pool.map(lambda arguments: run(program, *arguments), runs):
            print(done.stdout, end="")
            if done.returncode != 0:
                failed.append(f"{done.args}: exit {done.returncode}\n{done.stderr}")
    assert not failed, "\n".join(failed)
