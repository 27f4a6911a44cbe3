"""Getting objects from a message queue."""

from __future__ import annotations

import operator
from typing import Any

from .arena_type import Arena
from .codec import message_decode
from .draft import message_dropped
from .layout import PAYLOAD_CANCELLED
from .mutex import check_outermost
from .patience import deadline_of, queue_receive
from .queue_handle import MANY, Handle
from .ring import Message
from .status import OK


class Gets(Handle):
    """The calls that get."""

    __slots__ = ()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the next object; Empty when none comes in time."""
        return self._get_object(deadline_of(timeout) if block else 0)

    def get_nowait(self) -> Any:
        """Take the next object at once, as get(False) does."""
        return self._get_object(0)

    def _get_object(self, deadline: int) -> Any:
        arena = self._open_home()
        check_outermost("get")
        message = Message(self._claimant)
        try:
            status = queue_receive(arena, self._slot, self._generation, [message], deadline)
            while status is OK and message.kind & PAYLOAD_CANCELLED:
                message_dropped(arena, message)
                message.went = False
                status = queue_receive(arena, self._slot, self._generation, [message], deadline)
            if status is not OK:
                raise self._error(status)
            return message_decode(arena, message)
        except BaseException:
            if message.went:
                message_dropped(arena, message)
            raise
        finally:
            self._tell_watch()

    def get_many(self, limit: int, block: bool = True, timeout: float | None = None) -> list[Any]:
        """Wait for one object, then take up to *limit* that are there."""
        limit = operator.index(limit)
        if limit < 1:
            raise ValueError(f"limit must be at least 1: limit={limit}")
        deadline = deadline_of(timeout) if block else 0
        arena = self._open_home()
        check_outermost("get_many")
        found: list[Any] = []
        try:
            self._get_many(arena, found, limit, deadline)
        finally:
            self._tell_watch()
        return found

    def _get_many(self, arena: Arena, found: list[Any], limit: int, deadline: int) -> None:
        messages: list[Message] = []
        try:
            while len(found) < limit:
                messages = [Message(self._claimant) for _ in range(min(limit - len(found), MANY))]
                until = 0 if found else deadline
                status = queue_receive(arena, self._slot, self._generation, messages, until)
                if status is not OK:
                    if found:
                        return
                    raise self._error(status)
                append_decoded(arena, found, messages)
        except BaseException:
            for message in messages:
                if message.went:
                    message_dropped(arena, message)
            raise

    def _tell_watch(self) -> None:
        """After a get: a watched queue may have become empty."""
        if self._watched:
            self._taken()

    def _taken(self) -> None:
        """Learn that a watched queue may have become empty."""
        raise NotImplementedError


def append_decoded(arena: Arena, found: list[Any], messages: list[Message]) -> None:
    """Decode the messages that came, but those that their putters took back."""
    for message in messages:
        if message.went and message.kind & PAYLOAD_CANCELLED:
            message_dropped(arena, message)
        elif message.went:
            found.append(message_decode(arena, message))
