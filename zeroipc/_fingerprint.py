"""What the C extensions and the Python code beside them have to agree on, as one number.

setup.py runs this file too, and builds the number into the extensions: so one that is older than
the code, as after a pull into an editable install, is noticed (_backend.py).
"""

from __future__ import annotations

import os
from _imp import source_hash  # what importlib.util.source_hash and zlib.crc32 are slow to load for
from functools import cache

AGREED = ("_native.pyi", "_named.pyi", "_core/layout.py", "_core/named/layout.py")
"""The names of the extensions, and the bytes of the segments."""


@cache
def fingerprint() -> int | None:
    """Return the number; None where the files are not at hand, as within a zip file."""
    number = 0
    try:
        for name in AGREED:
            with open(os.path.join(os.path.dirname(__file__), name), "rb") as file:
                number = int.from_bytes(source_hash(number, file.read())[:4], "little")
    except OSError:
        return None
    return number & 0x7FFFFFFF  # a C long everywhere
