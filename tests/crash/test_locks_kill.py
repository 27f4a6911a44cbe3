"""kill -9 of those who hold locks and wait for them, native and pure at the same locks.

What the lock guards has a journal: whoever gets the lock of a dead holder finishes what that one
had begun. So every count must come out, and nobody may ever be inside with another.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from multiprocessing import get_all_start_methods
from typing import Any

import pytest

import zeroipc.mp as mp
from tests.crash.driver import kills, seed
from tests.support.arenas import BACKENDS, File, core, fork_child
from zeroipc._core.layout import LOCK_CONDITION, LOCK_EVENT, LOCK_PLAIN, LOCK_RECURSIVE

pytestmark = pytest.mark.kill
WORKERS = 4
KILLS = 60
TYPES = {LOCK_EVENT: "Event", LOCK_CONDITION: "Condition"}
INSIDE, WHO, TOTAL, STEP, NEXT_TOTAL, NEXT_MINE, TOLD, MINE = range(8)
"""What the lock guards: who is inside, the journal, deaths that were told, counts of workers."""


def attach(backend: str, arena: Any, kind: int, handle: tuple[int, int]) -> Any:
    """Return what stands for a lock of the core."""
    base = getattr(core(backend), TYPES.get(kind, "Lock"))
    made = type("Own", (base,), {"_semlock": property(lambda self: self)})()
    made._attach(arena, *handle)
    return made


class Scene:
    """An arena with a lock, a condition over it, an event, and what the lock guards."""

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self.file = File()
        self.arena = self.file.create(BACKENDS[0])
        kinds = (kind, LOCK_CONDITION, LOCK_EVENT)
        self.handles = [self.arena.create_lock(each, 1, 1) for each in kinds]
        self.memory = core(BACKENDS[0]).Memory()
        self.memory._attach(self.arena, *self.arena.create_memory(8 * (MINE + WORKERS)))
        self.words = self.memory.buffer.cast("q")
        self.own = self.parts(BACKENDS[0], self.arena)

    def parts(self, backend: str, arena: Any) -> tuple[Any, Any, Any]:
        """Return lock, condition and event for one participant."""
        kinds = (self.kind, LOCK_CONDITION, LOCK_EVENT)
        lock, condition, event = (
            attach(backend, arena, kind, handle)
            for kind, handle in zip(kinds, self.handles, strict=True)
        )
        condition._lock = lock
        return lock, condition, event

    def start(self, number: int, backend: str) -> int:
        """Start a worker; return its pid."""

        def work() -> None:
            signal.alarm(0)
            parts = self.parts(backend, self.file.attach(backend))
            while True:
                self.turn(number, *parts)

        return fork_child(work)

    def turn(self, number: int, lock: Any, condition: Any, event: Any) -> None:
        """Count once, and use condition and event."""
        with lock:
            self.enter(number, lock.owner_died)
            self.count(number)
            if number % 2:
                condition.notify()
            else:
                self.words[INSIDE] = 0
                condition.wait(0.02)
                self.enter(number, lock.owner_died)
            self.words[INSIDE] = 0
        if number % 2:
            event.set()
        else:
            event.wait(0.02)
            event.clear()

    def enter(self, number: int, died: bool) -> None:
        """Be the only one inside; finish what a dead one had begun."""
        words = self.words
        assert died or words[INSIDE] == 0, f"{number} and {words[INSIDE] - 1} are inside"
        if died:
            self.redo()
            words[TOLD] += 1
        words[INSIDE] = number + 1

    def count(self, number: int) -> None:
        """Raise the total and one's own count, by the journal."""
        words = self.words
        words[WHO] = number
        words[NEXT_TOTAL] = words[TOTAL] + 1
        words[NEXT_MINE] = words[MINE + number] + 1
        words[STEP] = 1
        self.redo()

    def redo(self) -> None:
        words = self.words
        if words[STEP]:
            words[TOTAL] = words[NEXT_TOTAL]
            words[MINE + words[WHO]] = words[NEXT_MINE]
            words[STEP] = 0


def reap(pid: int) -> None:
    """Kill a worker, which must not have failed before."""
    os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status), f"a worker failed: wait status {status}"
    assert os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.parametrize("kind", [LOCK_PLAIN, LOCK_RECURSIVE])
def test_every_count_comes_out(kind: int) -> None:
    chosen = seed()
    print(f"ZEROIPC_SEED={chosen}")
    rng = random.Random(chosen)
    scene, deaths = Scene(kind), kills(KILLS)
    workers = {n: scene.start(n, BACKENDS[n // 2 % 2]) for n in range(WORKERS)}
    gap, last, since = 0.0, 0, time.monotonic()
    for _ in range(deaths):
        end = time.monotonic() + rng.uniform(0.001, 0.03)
        while time.monotonic() < end:
            time.sleep(0.001)
            if scene.words[TOTAL] != last:
                now = time.monotonic()
                gap, last, since = max(gap, now - since), scene.words[TOTAL], now
        number = rng.randrange(WORKERS)
        reap(workers[number])
        workers[number] = scene.start(number, rng.choice(BACKENDS))
    while not all(scene.words[MINE : MINE + WORKERS]):
        time.sleep(0.001)
    for pid in workers.values():
        reap(pid)
    lock, condition, event = scene.own
    while scene.arena.sweep():
        pass
    with lock:
        scene.enter(0, lock.owner_died)
        scene.words[INSIDE] = 0
        assert condition._waiting() == 0
        condition.notify_all()
    counts = list(scene.words[MINE : MINE + WORKERS])
    assert scene.words[TOTAL] == sum(counts) > 0
    event.set()
    assert event.wait(0)
    assert scene.arena.stats()["participants"] == 1
    told, total = scene.words[TOLD], sum(counts)
    print(f"{deaths} deaths, {told} of them told, {total} counts, longest gap {gap:.3f} s")


# --- The package, by every start method -----------------------------------------------------------


def use(lock: Any, semaphore: Any, value: Any) -> None:
    while True:
        with lock:
            value.value += 1
        with semaphore:
            pass


@pytest.fixture(autouse=True)
def no_survivors() -> Iterator[None]:
    """End the children of a test that failed, so that it hangs nobody."""
    yield
    for child in mp.active_children():
        child.kill()
        child.join()


@pytest.mark.parametrize("method", get_all_start_methods())
def test_locks_of_the_package(method: str) -> None:
    context = mp.get_context(method)
    lock, semaphore, value = context.RLock(), context.Semaphore(1000), context.Value("q", 0)
    rng = random.Random(seed())
    for _ in range(2):
        children = [context.Process(target=use, args=(lock, semaphore, value)) for _ in range(2)]
        for child in children:
            child.start()
        before = value.value
        while value.value < before + 20:
            time.sleep(rng.uniform(0, 0.01))
        for child in children:
            child.kill()
            child.join()
    with lock:
        value.value += 1
    assert semaphore.get_value() >= 1000 - 4
