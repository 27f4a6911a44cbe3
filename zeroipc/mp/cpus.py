"""How many CPUs this process may use: what it is bound to, and what its control groups allow."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_OWN = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")


def usable_cpus() -> int:
    """Return how many workers keep this process's CPUs busy.

    What Python was told (-X cpu_count, PYTHON_CPU_COUNT; since 3.13) is taken as it is.
    """
    bound = len(os.sched_getaffinity(0))
    told = os.process_cpu_count() if hasattr(os, "process_cpu_count") else bound
    if told is not None and told != bound:
        return told
    return max(1, math.ceil(min(bound, cgroup_cpus())))


def cgroup_cpus(own: Path = _OWN, root: Path = _ROOT) -> float:
    """Return how many CPUs the control groups allow at a time; infinite if they do not say.

    Args:
        own: lists the groups of this process, a line each: "number:controllers:path".
        root: where the groups are mounted, as version 2 or with a folder per controller.
    """
    limits = [math.inf]
    with suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                limits.extend(_quota(folder, "cpu.max") for folder in _upwards(root, path))
            elif "cpu" in controllers.split(","):
                for mount in (root / controllers, root / "cpu"):
                    limits.extend(_old_quota(folder) for folder in _upwards(mount, path))
    return min(limits)


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """Yield a group's folder and those above it; in a container only the last may be there."""
    folder = mount / path.lstrip("/")
    yield folder
    while folder != mount and ".." not in folder.parts:
        folder = folder.parent
        yield folder
    yield mount


def _quota(folder: Path, name: str) -> float:
    """Return the limit of a group of version 2: "MICROSECONDS PERIOD" or "max PERIOD"."""
    with suppress(OSError, ValueError):
        quota, period = (folder / name).read_text().split()
        return float(quota) / float(period)  # "max" is no number
    return math.inf


def _old_quota(folder: Path) -> float:
    """Return the limit of a group of version 1, whose quota is -1 when there is none."""
    with suppress(OSError, ValueError):
        quota = float((folder / "cpu.cfs_quota_us").read_text())
        period = float((folder / "cpu.cfs_period_us").read_text())
        return quota / period if quota > 0 and period > 0 else math.inf
    return math.inf
