"""The C extension; its names and contracts are those of zeroipc._core.transport."""

from typing import Any

def __getattr__(name: str) -> Any: ...
