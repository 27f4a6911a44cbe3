"""The entries of a map or set, found by the hash of a key: many readers, many writers.

An entry has a state, a key and, in a map, a value. The chain of a key is the entries hash,
hash + 1, ... modulo capacity, up to the first EMPTY one. INSERTING is a claim: only who made
it touches key and value, until it publishes the entry or gives it up.

Find:   1. walk the chain   2. copy the value   3. entry, key and value must be the same still
Insert: 1. walk the chain   2. claim: the key's entry, OCCUPIED -> INSERTING, and the key must
           be the same still; or the first DELETED one, or the EMPTY one
        3. write key and value   4. publish: OCCUPIED   5. a new key: size + 1
Erase:  1. walk the chain   2. claim as insert   3. read the value   4. DELETED   5. size - 1

A process that dies between 2 and 4 leaves its entry INSERTING: BUSY for those who need it. A key
that changes its place while it is looked for may be missed, or inserted twice; then the
entry that comes first in its chain counts, and erasing that one uncovers the other.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..atomics import release
from ..status import OK, Status
from .bell import Bell
from .element import Element
from .entries_shape import HEADER_NBYTES, entries_nbytes, shape_of
from .hash import hash_key
from .layout import (
    MAP,
    MAP_VALUE_MAX,
    SLOT_DELETED,
    SLOT_EMPTY,
    SLOT_INSERTING,
    SLOT_OCCUPIED,
)
from .structure import Structure
from .words import U64_MASK, signed32


class Walk(NamedTuple):
    """What a walk along a chain came by; entries by their offset, -1 for none."""

    found: int = -1  # the entry of the key
    free: int = -1  # where the key could go
    free_state: int = SLOT_EMPTY
    claimed: bool = False  # somebody may be about to publish the key
    key_claimed: bool = False  # somebody has claimed an entry that has, or had, the key


class Entries(Structure):
    """A map at an *offset* of a segment, or a set if *value* is None; nothing here waits."""

    def __init__(
        self,
        buf: memoryview,
        offset: int,
        capacity: int,
        key: Element,
        value: Element | None,
        changed: Bell | None,
    ) -> None:
        if value and value.nbytes > MAP_VALUE_MAX:
            raise ValueError(f"a value must have at most {MAP_VALUE_MAX} bytes")
        shape = shape_of(key, value)
        super().__init__(buf, offset, entries_nbytes(capacity, shape), changed)
        self.capacity = capacity
        self._key, self._value, self._shape = key, value, shape
        self._value_nbytes = value.nbytes if value else 0
        self._size = offset + MAP.size.offset
        self._first = offset + HEADER_NBYTES

    # --- one key ---

    def find(self, key: Any) -> Any:
        """Return the value of a key (True in a set), EMPTY, or BUSY while its entry is claimed."""
        status, value = self._find(self._key.pack(key))
        return self._unpacked(value) if status is OK else status

    def insert(self, key: Any, value: Any, replace: bool) -> bool | Status:
        """Insert a key, or if it is there and *replace*, give it this value.

        Return whether it is new, FULL, or BUSY while an entry is claimed that it may need.
        """
        packed = self._key.pack(key)
        status, added = self._insert(packed, self._packed(value), replace)
        if status is OK and (added or replace):
            self._ring(0)
        return added if status is OK else status

    def erase(self, key: Any) -> Any:
        """Erase a key; return its value (True in a set), EMPTY, or BUSY as `find`."""
        status, value = self._erase(self._key.pack(key))
        if status is OK:
            self._ring(0)
            return self._unpacked(value)
        return status

    # --- many keys ---

    def insert_many(self, keys: Any, values: Any) -> tuple[Status, int]:
        """Insert or replace keys from a buffer, values beside them; return how many were."""
        keys, values = memoryview(keys).cast("B"), memoryview(values).cast("B")
        key_nbytes, value_nbytes = self._key.nbytes, self._value_nbytes
        many, done, status = len(keys) // key_nbytes, 0, OK
        if len(values) < many * value_nbytes:
            raise ValueError("there must be a value for each key")
        while done < many and status is OK:
            key = bytes(keys[done * key_nbytes : (done + 1) * key_nbytes])
            value = bytes(values[done * value_nbytes : (done + 1) * value_nbytes])
            status, _ = self._insert(key, value, True)
            done += status is OK
        if done:
            self._ring(0)
        return status, done

    def scan(self, at: int) -> tuple[int, Any, Any] | Status:
        """Return where to go on, key and value of the first entry from index *at* on.

        EMPTY if there is none, or BUSY while one before it is claimed.
        """
        status, at, key, value = self._scan(at)
        if status is OK:
            return at + 1, self._key.unpack(key), self._unpacked(value)
        return status

    def size(self) -> int:
        """Return how many keys there are, at some moment."""
        size = signed32(self._words.load32(self._size))  # below 0 while an insert is late
        return min(max(size, 0), self.capacity)

    # --- the same with bytes ---

    def _packed(self, value: Any) -> bytes:
        return self._value.pack(value) if self._value else b""

    def _unpacked(self, value: bytes) -> Any:
        return self._value.unpack(value) if self._value else True

    def _key_of(self, entry: int) -> bytes:
        start = entry + self._shape.key_at
        return bytes(self._words.u8[start : start + self._key.nbytes])

    def _value_of(self, entry: int) -> bytes:
        start = entry + self._shape.value_at
        return bytes(self._words.u8[start : start + self._value_nbytes])

    def _equal(self, entry: int, key: bytes) -> bool:
        """Return whether an entry has this key: numbers by ==, all else by its bytes."""
        stored = self._key_of(entry)
        if self._key.code in "fd":
            return bool(self._key.unpack(stored) == self._key.unpack(key))
        return stored == key

    def _unchanged(self, entry: int, key: bytes, value: bytes) -> bool:
        """Return whether key and value, just copied, are still those of the OCCUPIED entry.

        Then no writer was at work between, or it has left nothing that differs.
        """
        # [entry.again] acquire: after what was copied; a writer has claimed before it writes
        if self._key_of(entry) != key and not self._equal(entry, key):
            return False
        if self._value_of(entry) != value:
            return False
        return self._words.load32(entry) == SLOT_OCCUPIED

    def _walk(self, key: bytes) -> tuple[Status, Walk]:
        """Walk the chain of a key: OK if it is there, EMPTY if not."""
        hashed, load = hash_key(self._key.code, key), self._words.load32
        walk = Walk()
        for i in range(self.capacity):
            index = ((hashed + i) & U64_MASK) % self.capacity
            entry = self._first + index * self._shape.nbytes
            # [entry.published] acquire: key and value are those that were published
            state = load(entry)
            if state == SLOT_OCCUPIED:
                if self._equal(entry, key):
                    return OK, walk._replace(found=entry)
            elif state == SLOT_INSERTING:
                key_claimed = walk.key_claimed or self._equal(entry, key)
                walk = walk._replace(claimed=True, key_claimed=key_claimed)
            elif state > SLOT_INSERTING:
                return Status.DAMAGED, walk
            else:
                if walk.free < 0:
                    walk = walk._replace(free=entry, free_state=state)
                if state == SLOT_EMPTY:
                    break
        return Status.EMPTY, walk

    def _claim(self, entry: int, state: int, key: bytes | None) -> bool:
        """Claim an entry in this state, and *key* must be in it, if there is one."""
        if not self._words.cas32(entry, state, SLOT_INSERTING):
            return False
        release()  # [entry.again] the claim before what is written under it
        if key is None or self._equal(entry, key):
            return True
        self._words.store32(entry, state)  # another key has taken its place
        return False

    def _find(self, key: bytes) -> tuple[Status, bytes]:
        while True:
            status, walk = self._walk(key)
            if status is Status.EMPTY and walk.key_claimed:
                return Status.BUSY, b""
            if status is not OK:
                return status, b""
            value = self._value_of(walk.found)
            if self._unchanged(walk.found, key, value):
                return OK, value

    def _insert(self, key: bytes, value: bytes, replace: bool) -> tuple[Status, bool]:
        while True:
            status, walk = self._walk(key)
            added = status is Status.EMPTY
            if added and walk.claimed:
                return Status.BUSY, False
            if added and walk.free < 0:
                return Status.FULL, False
            if status is not OK and not added:
                return status, False
            if not added and not replace:  # any value will do
                if self._unchanged(walk.found, key, self._value_of(walk.found)):
                    return OK, False
                continue
            entry = walk.free if added else walk.found
            state = walk.free_state if added else SLOT_OCCUPIED
            if not self._claim(entry, state, None if added else key):
                continue
            if added:
                self._write(entry + self._shape.key_at, key)
            self._write(entry + self._shape.value_at, value)
            # [entry.published] release; pairs with _walk
            self._words.store32(entry, SLOT_OCCUPIED)
            if added:
                self._words.add32(self._size, 1)
            return OK, added

    def _write(self, at: int, content: bytes) -> None:
        self._words.u8[at : at + len(content)] = content

    def _erase(self, key: bytes) -> tuple[Status, bytes]:
        while True:
            status, walk = self._walk(key)
            if status is Status.EMPTY and walk.key_claimed:
                return Status.BUSY, b""
            if status is not OK:
                return status, b""
            if not self._claim(walk.found, SLOT_OCCUPIED, key):
                continue
            value = self._value_of(walk.found)
            self._words.store32(walk.found, SLOT_DELETED)
            self._words.add32(self._size, -1)
            return OK, value

    def _scan(self, at: int) -> tuple[Status, int, bytes, bytes]:
        while at < self.capacity:
            entry = self._first + at * self._shape.nbytes
            state = self._words.load32(entry)  # [entry.published]
            if state > SLOT_INSERTING:
                return Status.DAMAGED, at, b"", b""
            if state == SLOT_INSERTING:
                return Status.BUSY, at, b"", b""
            if state == SLOT_OCCUPIED:
                key, value = self._key_of(entry), self._value_of(entry)
                if self._unchanged(entry, key, value):
                    return OK, at, key, value
            else:
                at += 1
        return Status.EMPTY, at, b"", b""
