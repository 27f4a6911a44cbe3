"""Waiting for named structures: who sleeps, and who wakes them.

The shared format has no word to sleep on. The first of our processes that has to sleep adds
the table entry WAIT_NAME; from then on, whoever changes a structure rings. Peers written in
other languages never ring, so sleepers also look by themselves every few milliseconds.

Sleeper: 1. read seq   2. mark waiters AWAKE, unless it is marked   3. look again   4. (in C:
         watch seq for a moment)   5. mark waiters ASLEEP, and sleep while seq is as read
Ringer:  1. change the structure   2. fence   3. if waiters is marked: clear it, move seq, and
         if it was or is ASLEEP wake all

A ringer that clears a sleeper's mark moves seq afterwards, and the sleeper read seq before it
set the mark: so its sleep ends at once. A ringer that sees no mark made its change before the
sleeper looked again. One that dies in between costs a sleeper one nap.
"""

from __future__ import annotations

from ..atomics import fence
from ..wait import EVERYBODY, now, wait_sleep, wait_wake
from .directory import Directory
from .layout import (
    WAIT_ASLEEP,
    WAIT_AWAKE,
    WAIT_BUCKET,
    WAIT_BUCKETS,
    WAIT_MULTIPLIER,
    WAIT_NAME,
    WAIT_NOBODY,
    WAIT_SHIFT,
)
from .words import U32_MASK, Words

_NAME_NBYTES = 32


class Bell:
    """The bell of one word of a structure: *word_at* is its offset in the segment."""

    def __init__(self, buf: memoryview, directory: Directory, word_at: int) -> None:
        self._words = Words(buf)
        self._directory = directory
        self._index = bell_index(word_at)
        self._seen = 0
        self._bucket = 0  # its offset, once it was found

    def find(self) -> bool:
        """Look for WAIT_NAME when the table has grown; return whether it was found."""
        words, directory = self._words, self._directory
        count = words.load32(directory.count_at)
        if not self._bucket and self._seen != count <= directory.slots:
            self._seen = count
            for i in range(count):
                at = directory.entries_at + i * directory.stride
                if words.u8[at : at + _NAME_NBYTES].tobytes().partition(b"\0")[0] == WAIT_NAME:
                    self._take(at)
                    break
        return self._bucket != 0

    def _take(self, entry: int) -> None:
        """Take the bucket from an entry called WAIT_NAME, if the entry is sound."""
        fields = self._words.u8[entry + _NAME_NBYTES : entry + self._directory.stride]
        half = len(fields) // 2
        offset = int.from_bytes(fields[:half], "little")
        size = int.from_bytes(fields[half:], "little")
        wanted = WAIT_BUCKETS * WAIT_BUCKET.nbytes
        if size == wanted and offset % 8 == 0 and offset <= len(self._words.u8) - wanted:
            self._bucket = offset + self._index * WAIT_BUCKET.nbytes

    def ring(self) -> None:
        """After a change: wake whoever may wait for it."""
        fence()  # [bell.change] pairs with listen: the change before the look at waiters
        if not self._bucket and not self.find():
            return
        words, seq = self._words, self._bucket + WAIT_BUCKET.seq.offset
        waiters = self._bucket + WAIT_BUCKET.waiters.offset
        who = words.load32(waiters)
        while who != WAIT_NOBODY and not words.cas32(waiters, who, WAIT_NOBODY):
            who = words.load32(waiters)
        if who == WAIT_NOBODY:
            return
        words.add32(seq, 1)
        # Whoever went to sleep before seq moved has marked that before.
        if who == WAIT_ASLEEP or words.load32(waiters) == WAIT_ASLEEP:
            wait_wake(words.address + seq, EVERYBODY)

    def listen(self) -> int:
        """Say that somebody is about to sleep; return the seq to sleep on. Look again then."""
        seq = self._words.load32(self._bucket + WAIT_BUCKET.seq.offset)
        waiters = self._bucket + WAIT_BUCKET.waiters.offset
        self._words.cas32(waiters, WAIT_NOBODY, WAIT_AWAKE)
        fence()  # [bell.change]
        return seq

    def sleep(self, seen: int, nap: int) -> None:
        """Sleep while seq is *seen*, for at most *nap* nanoseconds; a signal ends it too."""
        self._words.store32(self._bucket + WAIT_BUCKET.waiters.offset, WAIT_ASLEEP)
        fence()  # the mark before the kernel's look at seq
        address = self._words.address + self._bucket + WAIT_BUCKET.seq.offset
        wait_sleep(address, seen, now() + nap)


def bell_index(word_at: int) -> int:
    """Return the bucket of the word at an offset."""
    return (word_at * WAIT_MULTIPLIER & U32_MASK) >> WAIT_SHIFT
