"""Synchronisation against plain numbers; both backends in turn leave the bytes of one alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.support.leaks import PREFIX
from tests.support.named import MIXED, using
from zeroipc import (
    Atomic,
    Barrier,
    Event,
    Latch,
    Memory,
    Monitor,
    Mutex,
    Once,
    ReleaseError,
    RWLock,
    Semaphore,
    Signal,
)

_numbers = itertools.count()
WHICH = st.integers(0, 1)
MOST = 3
MAKERS: dict[str, Callable[[Memory], Any]] = {
    "atomic": lambda mem: Atomic(mem, "atomic", "u4"),
    "gate": lambda mem: Barrier(mem, "gate", 1),
    "auto": lambda mem: Event(mem, "auto", manual=False),
    "event": lambda mem: Event(mem, "event"),
    "latch": lambda mem: Latch(mem, "latch", 5),
    "monitor": lambda mem: Monitor(mem, "monitor"),
    "mutex": lambda mem: Mutex(mem, "mutex"),
    "once": lambda mem: Once(mem, "once"),
    "rwlock": lambda mem: RWLock(mem, "rwlock"),
    "seats": lambda mem: Semaphore(mem, "seats", 1, MOST),
    "signal": lambda mem: Signal(mem, "signal", "i4"),
}


def outcome(call: Callable[[], Any]) -> Any:
    """Return what a call answers, or that there was nothing to be released."""
    try:
        return call()
    except ReleaseError as error:
        return str(error)


class SyncMachine(RuleBasedStateMachine):
    """Two segments: one used by both backends in turn, one by the second alone."""

    @initialize()
    def begin(self) -> None:
        self.mems = [Memory.create(f"{PREFIX}sync-{next(_numbers)}", 8192) for _ in range(2)]
        self.handles = []
        for backend in MIXED:
            with using(backend):
                made = [{name: make(mem) for name, make in MAKERS.items()} for mem in self.mems]
            self.handles.append(made)
        self.permits, self.locked, self.count, self.kept = 1, False, 5, 0
        self.set = self.done = self.writing = False
        self.readers = self.turns = self.number = self.version = 0

    def both(self, which: int, name: str, use: Callable[[Any], Any]) -> Any:
        """Return what both segments answer, which must be the same."""
        one, other = self.handles[which][0][name], self.handles[1][1][name]
        answers = [outcome(lambda: use(one)), outcome(lambda: use(other))]
        assert answers[0] == answers[1]
        return answers[0]

    @rule(which=WHICH, n=st.integers(1, 4))
    def release_seats(self, which: int, n: int) -> None:
        fits = self.permits + n <= MOST
        assert (self.both(which, "seats", lambda s: s.release(n)) is None) == fits
        self.permits += n * fits

    @rule(which=WHICH)
    def take_a_seat(self, which: int) -> None:
        assert self.both(which, "seats", lambda s: s.acquire(False)) == (self.permits > 0)
        self.permits -= self.permits > 0

    @rule(which=WHICH)
    def lock(self, which: int) -> None:
        assert self.both(which, "mutex", lambda m: m.acquire(timeout=0)) != self.locked
        self.locked = True

    @rule(which=WHICH)
    def unlock(self, which: int) -> None:
        assert (self.both(which, "mutex", lambda m: m.release()) is None) == self.locked
        self.locked = False

    @rule(which=WHICH, n=st.integers(1, 3))
    def count_down(self, which: int, n: int) -> None:
        self.both(which, "latch", lambda latch: latch.count_down(n))
        self.count = max(self.count - n, 0)
        assert self.both(which, "latch", lambda latch: latch.count) == self.count

    @rule(which=WHICH, happens=st.booleans())
    def set_or_clear(self, which: int, happens: bool) -> None:
        self.both(which, "event", lambda e: e.set() if happens else e.clear())
        self.set = happens
        assert self.both(which, "event", lambda e: e.wait(0)) == happens

    @rule(which=WHICH, happens=st.booleans())
    def set_or_wait(self, which: int, happens: bool) -> None:
        if happens:
            self.both(which, "auto", lambda e: e.set())
        else:
            assert self.both(which, "auto", lambda e: e.wait(0)) == (self.kept > 0)
        self.kept += 1 if happens else -(self.kept > 0)

    @rule(which=WHICH)
    def run_once(self, which: int) -> None:
        assert self.both(which, "once", lambda once: once.call(lambda: None)) != self.done
        self.done = True

    @rule(which=WHICH)
    def meet(self, which: int) -> None:
        assert self.both(which, "gate", lambda gate: gate.wait()) == 0
        self.turns += 1
        assert self.both(which, "gate", lambda gate: gate.generation) == self.turns

    @rule(which=WHICH)
    def read(self, which: int) -> None:
        assert self.both(which, "rwlock", lambda lock: lock.try_read()) != self.writing
        self.readers += not self.writing

    @rule(which=WHICH)
    def write(self, which: int) -> None:
        free = not self.writing and not self.readers
        assert self.both(which, "rwlock", lambda lock: lock.try_write()) == free
        self.writing = self.writing or free

    @rule(which=WHICH)
    def stop(self, which: int) -> None:
        if self.writing:
            assert self.both(which, "rwlock", lambda lock: lock.release_write()) is None
        else:
            answer = self.both(which, "rwlock", lambda lock: lock.release_read())
            assert (answer is None) == (self.readers > 0)
            self.readers -= self.readers > 0
        self.writing = False

    @rule(which=WHICH)
    def wait_and_notify(self, which: int) -> None:
        def use(monitor: Monitor) -> bool:
            with monitor:
                monitor.notify()
                return monitor.wait(0)

        assert not self.both(which, "monitor", use)

    @rule(which=WHICH, value=st.integers(-(2**31), 2**31 - 1))
    def change(self, which: int, value: int) -> None:
        self.both(which, "signal", lambda signal: signal.set(value))
        self.both(which, "atomic", lambda atomic: atomic.fetch_add(value))
        self.version += 1
        self.number = (self.number + value) % 2**32
        assert self.both(which, "signal", lambda signal: signal.read()) == (self.version, value)
        assert self.both(which, "atomic", lambda atomic: atomic.load()) == self.number

    @invariant()
    def same_bytes(self) -> None:
        if hasattr(self, "handles"):
            assert bytes(self.mems[0].buf) == bytes(self.mems[1].buf)

    def teardown(self) -> None:
        for mem in getattr(self, "mems", ()):
            mem.close()
            mem.unlink()


def test_synchronisation_is_that_of_plain_numbers() -> None:
    run_state_machine_as_test(SyncMachine)
