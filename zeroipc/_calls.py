"""The slots of a served function: each call has one, from the claim to the result.

One 64-bit word of a slot tells its state, whose it is (an owner tag), and how often the slot
was claimed, so that every step is one compare-and-swap and names who is responsible from then
on. Whoever finds that process dead takes the next step in its place.

Client: 1. claim: FREE -> CLAIMED (client)   2. write client, ticket, arguments
        3. call: CLAIMED -> CALLED; called + 1
Server: 4. take: CALLED -> RUNNING (server), the lowest ticket first
        5. read the arguments, run, write the result or the message
        6. end: RUNNING -> DONE or FAILED (client); done + 1
Client: 7. read the result   8. free: -> FREE; freed + 1
Give up: CALLED -> FREE, or RUNNING -> ABANDONED (server), which the server frees at 6

    who dies after    leaves                and then
    1, 2              CLAIMED, client's     a client that finds no free slot frees it
    3                 CALLED, client's      it is served; or a client frees it, as above
    4, 5              RUNNING, server's     the waiting client frees it and fails the call;
                                            if it is dead too, or ABANDONED, as above
    6, 7              DONE, client's        a client that finds no free slot frees it
    an increment      a sleeper unwoken     it looks by itself
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from . import _backend
from ._core.fields import LINE, round_up
from ._core.named.holder import own_tag
from ._core.named.layout import (
    ERROR_NBYTES,
    FUNCTION,
    FUNCTION_ABANDONED,
    FUNCTION_CALL,
    FUNCTION_CALLED,
    FUNCTION_CLAIMED,
    FUNCTION_DONE,
    FUNCTION_FAILED,
    FUNCTION_FREE,
    FUNCTION_RUNNING,
    OWNER_PID_BITS,
)
from ._core.named.message import message_of, message_text
from ._core.status import OK, Status
from ._vigil import Vigil
from .errors import OwnerDiedError, RemoteError, SegmentFormatError
from .memory import Memory
from .table import Entry

_STATE_SHIFT = 32
_GENERATION_SHIFT = 40
_TAG_MASK = 2**32 - 1
_ENDED = (FUNCTION_DONE, FUNCTION_FAILED)

Outcome = bytes | Exception


class CallParts(NamedTuple):
    """Offsets in a slot, and its size."""

    argument: int
    result: int
    error: int
    nbytes: int


def call_parts(argument_nbytes: int, result_nbytes: int) -> CallParts:
    """Return where the parts of a slot lie."""
    result = round_up(FUNCTION_CALL.nbytes + argument_nbytes, 8)
    error = round_up(result + result_nbytes, 8)
    return CallParts(FUNCTION_CALL.nbytes, result, error, round_up(error + ERROR_NBYTES, LINE))


class Slot:
    """One slot: its words and the places for bytes."""

    def __init__(self, calls: Calls, start: int) -> None:
        word, buf, parts = _backend.named.Word, calls.buf, calls.parts
        self.word = word(buf, start + FUNCTION_CALL.word.offset, "Q", None)
        self.ticket = word(buf, start + FUNCTION_CALL.ticket.offset, "Q", None)
        self.client = word(buf, start + FUNCTION_CALL.client.offset, "I", None)
        self.argument = buf[start + parts.argument :][: calls.argument_nbytes]
        self.result = buf[start + parts.result :][: calls.result_nbytes]
        self.error = buf[start + parts.error :][:ERROR_NBYTES]

    def swap(self, seen: int, state: int, tag: int, *, claims: int = 0) -> int | None:
        """Move the word on from what was *seen*; return what it is now, None if it changed."""
        generation = (seen >> _GENERATION_SHIFT) + claims & (1 << 64 - _GENERATION_SHIFT) - 1
        word = generation << _GENERATION_SHIFT | state << _STATE_SHIFT | tag
        # [function.slot] both ways: what was done before a step is seen by who takes the next
        return word if self.word.compare_exchange(seen, word) else None


class Calls:
    """All slots of a function."""

    def __init__(
        self, mem: Memory, entry: Entry, slots: int, argument_nbytes: int, result_nbytes: int
    ) -> None:
        self.buf = mem.buf
        self.argument_nbytes = argument_nbytes
        self.result_nbytes = result_nbytes
        self.parts = call_parts(argument_nbytes, result_nbytes)
        self.vigil = Vigil()
        start = entry.offset + FUNCTION.nbytes
        self._slots = [Slot(self, start + i * self.parts.nbytes) for i in range(slots)]
        state_at = start + FUNCTION_CALL.word.offset + _STATE_SHIFT // 8
        self._states: np.ndarray[Any, Any] = np.ndarray(
            (slots,), np.uint8, self.buf, state_at, (self.parts.nbytes,)
        )

    def watch(self, tickets: Any, called: Any, done: Any, freed: Any) -> None:
        """Know the words of the header, each with its bell."""
        self._tickets, self._called, self._done, self._freed = tickets, called, done, freed

    def _in_state(self, *states: int) -> Iterator[tuple[Slot, int]]:
        """Yield the slots that are in one of the states, and their words, at some moment."""
        for state in states:
            states_now = self._states.tobytes()
            i = states_now.find(state)
            while i >= 0:
                seen = int(self._slots[i].word.load())
                if _state(seen) == state:
                    yield self._slots[i], seen
                i = states_now.find(state, i + 1)

    # --- clients ---

    def try_claim(self) -> tuple[Slot, int] | None:
        """Claim a free slot; return it and its word, or None while there is none."""
        for turn in range(2):
            for slot, seen in self._in_state(FUNCTION_FREE):
                word = slot.swap(seen, FUNCTION_CLAIMED, _tag(), claims=1)
                if word is not None:
                    return slot, word
            if turn == 0 and not self._free_the_dead():
                break
        return None

    def next_ticket(self) -> int:
        """Return the number of the next call."""
        return int(self._tickets.fetch_add(1))

    def tell_called(self) -> None:
        """Wake the servers."""
        self._called.fetch_add(1)

    def free(self, slot: Slot, seen: int) -> bool:
        """Free a slot whose word is still as *seen*; return whether it was."""
        if slot.swap(seen, FUNCTION_FREE, 0) is None:
            return False
        self._freed.fetch_add(1)
        return True

    def _free_the_dead(self) -> int:
        """Free what dead processes are responsible for; return how many slots."""
        freed = 0
        owned = FUNCTION_CLAIMED, FUNCTION_CALLED, *_ENDED, FUNCTION_RUNNING, FUNCTION_ABANDONED
        for slot, seen in self._in_state(*owned):
            gone = self.is_dead(seen & _TAG_MASK)
            if gone and _state(seen) == FUNCTION_RUNNING:
                gone = self.is_dead(slot.client.load())  # else the client sees to it
            freed += gone and self.free(slot, seen)
        return freed

    def is_dead(self, tag: int) -> bool:
        """Return whether the process of *tag* is gone, or cannot have been one."""
        return tag % 2**OWNER_PID_BITS == 0 or self.vigil.dead(tag)

    # --- servers ---

    def try_take(self) -> Served | Status:
        """Take the call with the lowest ticket, or EMPTY."""
        called = sorted(self._in_state(FUNCTION_CALLED), key=lambda call: call[0].ticket.load())
        for slot, seen in called:
            word = slot.swap(seen, FUNCTION_RUNNING, _tag())
            if word is not None:
                return Served(self, slot, word)
        return Status.EMPTY

    def tell_done(self) -> None:
        """Wake the clients."""
        self._done.fetch_add(1)

    # --- both ---

    def in_use(self) -> int:
        """Return how many slots are not free, at some moment."""
        return len(self._slots) - sum(1 for _ in self._in_state(FUNCTION_FREE))

    def repair(self) -> int:
        """Free all slots; return how many were not free."""
        used = self.in_use()
        for slot in self._slots:
            slot.word.store(0)
        self._freed.fetch_add(1)
        return used


class Call:
    """A call as its client sees it: attempts to make it, then attempts to get its outcome.

    `give_up` at any time, also when interrupted, so that no slot stays behind.
    """

    def __init__(self, calls: Calls, raw: bytes) -> None:
        self._calls = calls
        self._raw = raw
        self._claim: tuple[Slot, int] | None = None

    def try_start(self) -> Status:
        """Make the call, or FULL while there is no slot."""
        self._claim = claim = self._calls.try_claim()
        if claim is None:
            return Status.FULL
        slot, word = claim
        slot.client.store(word & _TAG_MASK)
        slot.ticket.store(self._calls.next_ticket())
        slot.argument[:] = self._raw
        slot.swap(word, FUNCTION_CALLED, word & _TAG_MASK)
        self._calls.tell_called()
        return OK

    def _now(self) -> tuple[Slot, int] | None:
        """Return the slot and its word, or None if it is not this call's any more."""
        if self._claim is None:
            return None
        slot, claimed = self._claim
        word = int(slot.word.load())
        return (slot, word) if word >> _GENERATION_SHIFT == claimed >> _GENERATION_SHIFT else None

    def is_running(self) -> bool:
        """Return whether a server is at it."""
        now = self._now()
        return now is not None and _state(now[1]) == FUNCTION_RUNNING

    def attempt(self) -> Outcome | Status:
        """Return the result's bytes or the error, freeing the slot; or EMPTY."""
        now = self._now()
        gone = FUNCTION_FREE, FUNCTION_CLAIMED, FUNCTION_ABANDONED
        if now is None or _state(now[1]) in gone:
            return OwnerDiedError("the function was repaired while this call was under way")
        slot, word = now
        state, tag = _state(word), word & _TAG_MASK
        if state > FUNCTION_ABANDONED:
            return SegmentFormatError(f"damaged: a call must have a state up to 6: {state}")
        if state == FUNCTION_DONE:
            outcome: Outcome = bytes(slot.result)
        elif state == FUNCTION_FAILED:
            outcome = RemoteError(message_text(bytes(slot.error)) or "the call failed")
        elif state == FUNCTION_RUNNING and self._calls.is_dead(tag):
            pid = tag % 2**OWNER_PID_BITS
            outcome = OwnerDiedError(f"process {pid} died while it served this call")
        else:
            return Status.EMPTY
        return outcome if self._calls.free(slot, word) else Status.EMPTY

    def give_up(self) -> None:
        """Let go of the call, whatever becomes of it."""
        for _ in range(4):  # a call passes through no more states
            now = self._now()
            if now is None:
                return
            slot, word = now
            state, tag = _state(word), word & _TAG_MASK
            if state == FUNCTION_RUNNING and not self._calls.is_dead(tag):
                if slot.swap(word, FUNCTION_ABANDONED, tag) is not None:
                    return
            elif state in (FUNCTION_FREE, FUNCTION_ABANDONED) or self._calls.free(slot, word):
                return


class Served:
    """A call that was taken, as its server sees it."""

    def __init__(self, calls: Calls, slot: Slot, word: int) -> None:
        self._calls = calls
        self._slot = slot
        self._word = word
        self.argument = bytes(slot.argument)

    def finish(self, raw: bytes) -> None:
        """Give the result's bytes to the client."""
        self._slot.result[:] = raw
        self._end(FUNCTION_DONE)

    def fail(self, error: BaseException) -> None:
        """Give the client the text of an error."""
        self._slot.error[:] = message_of(error)
        self._end(FUNCTION_FAILED)

    def _end(self, state: int) -> None:
        slot = self._slot
        if slot.swap(self._word, state, slot.client.load()) is not None:
            self._calls.tell_done()
            return
        word = int(slot.word.load())
        if word == self._word ^ (FUNCTION_RUNNING ^ FUNCTION_ABANDONED) << _STATE_SHIFT:
            self._calls.free(slot, word)


def _state(word: int) -> int:
    return word >> _STATE_SHIFT & 0xFF


def _tag() -> int:
    return own_tag() or os.getpid()
