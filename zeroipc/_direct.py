"""Structures some of whose methods are those of their core, with no Python in between.

Such a method lies in a slot of its name, where `with` finds it too, since it looks at the class.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, NoReturn

from ._structure import Structure
from .errors import ClosedError


class DirectStructure(Structure):
    """A structure with methods of its core: those that `_direct` names, each a slot."""

    __slots__ = ()
    _direct: ClassVar[tuple[str, ...]]

    def _expose(self) -> None:
        for name in self._direct:
            setattr(self, name, getattr(self._core, name))

    def close(self) -> None:
        """Let go of the structure, which stays; closing twice is fine."""
        super().close()
        for name in self._direct:
            setattr(self, name, partial(_refuse, self._title))


def _refuse(title: str, *args: Any, **keywords: Any) -> NoReturn:
    raise ClosedError(f"{title} is closed")
