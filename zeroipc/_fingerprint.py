"""What the C extensions and the Python code beside them have to agree on, as one number.

setup.py runs this file too, and builds the number into the extensions: so one that is older than
the code, as after a pull into an editable install, is noticed (_backend.py).
"""

from __future__ import annotations

import os
from functools import cache
from zlib import crc32

AGREED = ("_native.pyi", "_named.pyi", "_core/layout.py", "_core/named/layout.py")
"""The names of the extensions, and the bytes of the segments."""


@cache
def fingerprint() -> int | None:
    """Return the number; None where the files are not at hand, as within a zip file."""
    number = 0
    try:
        for name in AGREED:
            with open(os.path.join(os.path.dirname(__file__), name), "rb") as file:
                number = crc32(file.read(), number)
    except OSError:
        return None
    return number
