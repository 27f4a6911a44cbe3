"""The slot of a channel without a buffer: each value goes from hand to hand.

Send:  1. claim the sending side   2. ready must be 0   3. write the value; consumed = 0
       4. offer: ready = 1         5. consumed must be 1   6. give the side back
Recv:  1. ready must be 1          2. claim the receiving side
       3. ready must still be 1, consumed 0   4. read the value   5. consumed = 1
       6. ready = 0                7. give the side back
Take back, after 4, when the time is over or the channel is closed:
       1. claim the receiving side   2. consumed 1: it was received; else ready = 0

Programs in other languages know nothing of the claims, and must be alone on their side. Ours
claim with compare-and-swap on send_seq and recv_seq, which nobody else uses: a claim is the
owner tag of its holder, and above it a number that tells the holder's own claims apart, so
that one that is interrupted (Ctrl-C) gives back what it has, and nothing else. A claim of the
dead goes to whoever asks next. A receiver holds its side for a moment only, a sender until its
value was received.

A sender that died after 4 leaves a value that the next receiver gets. A receiver that died
between 5 and 6 leaves the slot full of what was received: whoever inherits its claim does 6.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import _backend
from ._core.fields import round_up
from ._core.named.element import Element
from ._core.named.holder import own_tag
from ._core.named.layout import CHANNEL, CHANNEL_SLOT, OWNER_PID_BITS
from ._core.status import OK, Status
from ._vigil import Vigil
from .errors import StalledError
from .memory import Memory
from .table import Entry, pauses

TAKE_BACK_PATIENCE = 1.0
"""Seconds to wait for a receiver that is in the midst of it."""
_numbers = itertools.count(1)


class Rendezvous:
    """The slot in entry *slot* of a channel whose header is entry *header*.

    Every change rings *bell*, a value that is offered *offers* too.
    """

    def __init__(
        self, mem: Memory, header: Entry, slot: Entry, element: Element, bell: Any, offers: Any
    ) -> None:
        def word(at: int, code: str) -> Any:
            return _backend.named.Word(mem.buf, at, code, bell)

        start = round_up(CHANNEL_SLOT.nbytes, element.align)
        self._element = element
        self._value = mem.view(slot)[start : start + element.nbytes]
        self._ready = word(slot.offset + CHANNEL_SLOT.ready.offset, "B")
        self._consumed = word(slot.offset + CHANNEL_SLOT.consumed.offset, "B")
        self._senders = word(header.offset + CHANNEL.senders.offset, "I")
        self._receivers = word(header.offset + CHANNEL.receivers.offset, "I")
        self._sending = word(header.offset + CHANNEL.send_seq.offset, "Q")
        self._receiving = word(header.offset + CHANNEL.recv_seq.offset, "Q")
        self._offers = offers
        self._vigil = Vigil()

    # --- sides ---

    def _claim(self, side: Any, claim: int) -> Status:
        """Claim a side: OK, EMPTY while another of ours has it, LOST if it was a dead one's."""
        if side.compare_exchange(0, claim):
            return OK
        holder = side.load()
        if holder == 0:  # given back just now, by the living
            return OK if side.compare_exchange(0, claim) else Status.EMPTY
        dead = holder % 2**OWNER_PID_BITS == 0 or self._vigil.dead(holder % 2**32)
        # [rendezvous.side] acquire: exactly one survivor, who sees what the dead had done
        return Status.LOST if dead and side.compare_exchange(holder, claim) else Status.EMPTY

    @contextmanager
    def receiver(self) -> Iterator[None]:
        """Count a receiver that waits, so that those who only try to send go ahead."""
        self._receivers.fetch_add(1)
        try:
            yield
        finally:
            self._receivers.fetch_sub(1)

    def is_awaited(self) -> bool:
        """Return whether a receiver says that it waits."""
        return bool(self._receivers.load())

    # --- receiving ---

    def try_recv(self) -> Any:
        """Return the value that is offered, or EMPTY, or BUSY behind a peer that died."""
        if not self._ready.load():
            return Status.EMPTY
        claim, taken = new_claim(), False
        try:
            claimed = self._claim(self._receiving, claim)
            if claimed is Status.EMPTY or not self._ready.load():  # [rendezvous.offered] acquire
                return Status.EMPTY
            if self._consumed.load():
                # Only now, for while ready is 0 a sender may offer, and that must not be undone.
                taken = claimed is Status.LOST
                return Status.EMPTY if taken else Status.BUSY
            raw = bytes(self._value)
            taken = True
            self._consumed.store(1)  # [rendezvous.received] release; pairs with Offer
            return self._element.unpack(raw)
        finally:
            if taken and self._consumed.load():
                self._ready.store(0)
            self._receiving.compare_exchange(claim, 0)  # [rendezvous.side] release

    def take_back(self) -> bool:
        """Take back what was offered; return False if it has been received.

        Raises:
            StalledError: a receiver is stuck in the midst of it.
        """
        claim = new_claim()
        try:
            for _ in pauses(TAKE_BACK_PATIENCE):
                if self._claim(self._receiving, claim) is not Status.EMPTY:
                    received = bool(self._consumed.load())
                    self._ready.store(0)
                    return not received
        finally:
            self._receiving.compare_exchange(claim, 0)
        raise StalledError("a receiver of this channel does not go on: it is stopped")

    def repair(self) -> int:
        """Give both sides back and forget who waits; a value that is offered stays."""
        for word in (self._senders, self._receivers, self._sending, self._receiving):
            word.store(0)
        if self._consumed.load():
            self._ready.store(0)
        return 0


class Offer:
    """One value on its way through a `Rendezvous`: attempts, then an end, whatever happens."""

    def __init__(self, slot: Rendezvous, raw: bytes) -> None:
        self._slot = slot
        self._raw = raw
        self._claim = new_claim()
        self._claimed = self._offered = self._received = False
        slot._senders.fetch_add(1)

    def attempt(self) -> Status:
        """Do what can be done now; OK when the value was received."""
        slot = self._slot
        if not self._claimed:
            self._claimed = slot._claim(slot._sending, self._claim) is not Status.EMPTY
        if not self._claimed:
            return Status.EMPTY
        if not self._offered:
            if slot._ready.load():
                return Status.EMPTY
            slot._value[:] = self._raw
            slot._consumed.store(0)
            self._offered = True
            slot._ready.store(1)  # [rendezvous.offered] release; pairs with try_recv
            slot._offers.ring()
        self._received = slot._consumed.load() != 0  # [rendezvous.received] acquire
        return OK if self._received else Status.EMPTY

    def end(self) -> bool:
        """Give the side back, and the value if nobody received it; return whether somebody did."""
        slot = self._slot
        try:
            if self._offered and not self._received:
                self._received = not slot.take_back()
            return self._received
        finally:
            slot._sending.compare_exchange(self._claim, 0)  # [rendezvous.side] release
            slot._senders.fetch_sub(1)


def new_claim() -> int:
    """Return a claim of this process that nobody has made before."""
    return (next(_numbers) & 2**32 - 1) << 32 | (own_tag() or os.getpid())
