"""The text of an error in shared memory: UTF-8, at most ERROR_NBYTES - 1 bytes, then NUL."""

from __future__ import annotations

from .layout import ERROR_NBYTES


def message_of(error: BaseException | str) -> bytes:
    """Return ERROR_NBYTES bytes with the text of an error, cut at a character if too long."""
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    raw = text.replace("\0", "\ufffd").encode("utf-8", "replace")[: ERROR_NBYTES - 1]
    return raw.decode("utf-8", "ignore").encode().ljust(ERROR_NBYTES, b"\0")


def message_text(raw: bytes) -> str:
    """Return the text in ERROR_NBYTES bytes."""
    return raw.partition(b"\0")[0].decode("utf-8", "replace")
