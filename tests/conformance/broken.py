"""zeroipc.mp with locks that let everybody in: if the suite misses that, a pass proves nothing."""

from typing import Any

from zeroipc.mp import *  # noqa: F403
from zeroipc.mp import __getattr__ as __getattr__


class Lock:
    """Never excludes anybody, never minds who releases it."""

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        return True

    def release(self) -> None:
        pass

    def __enter__(self) -> bool:
        return True

    def __exit__(self, *_: Any) -> None:
        pass
