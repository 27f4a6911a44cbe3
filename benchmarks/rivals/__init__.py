"""The libraries that are compared, one file each.

A rival is loaded only in the process that measures it, so none is burdened with another's import.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from benchmarks.rivals.base import Rival

BASELINE = "stdlib"
SUBJECT = "zeroipc"

# name on the command line -> (module here, module it needs)
RIVALS = {
    "stdlib": ("stdlib", "multiprocessing"),
    "zeroipc": ("zeroipc", "zeroipc.mp"),
    "faster-fifo": ("faster_fifo", "faster_fifo"),
    "pyzmq": ("pyzmq", "zmq"),
    "iceoryx2": ("iceoryx2", "iceoryx2"),
    "loky": ("loky", "loky"),
    "posix-mq": ("posix_mq", "posix_ipc"),
}


def installed(name: str) -> bool:
    """True when the library behind a rival can be imported."""
    try:
        return find_spec(RIVALS[name][1]) is not None
    except ModuleNotFoundError:
        return False


def load(name: str, method: str) -> Rival:
    """Import a rival; its processes start with *method* (fork, spawn or forkserver)."""
    module = import_module(f"benchmarks.rivals.{RIVALS[name][0]}")
    rival: Rival = module.make(method)
    return rival
