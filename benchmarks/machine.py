"""Where the numbers come from: CPUs, kernel, interpreter, versions."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("numpy", "zeroipc", "faster-fifo", "pyzmq", "iceoryx2", "loky", "posix-ipc")


def facts() -> dict[str, object]:
    """What a reader needs to judge the numbers; "absent" for a package that is not installed."""
    return {
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "affinity": sorted(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "packages": {name: package_version(name) for name in PACKAGES},
    }


def cpu_model() -> str:
    for row in Path("/proc/cpuinfo").read_text().splitlines():
        if row.startswith("model name"):
            return row.partition(":")[2].strip()
    return platform.machine()


def package_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
