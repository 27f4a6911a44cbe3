"""zeroipc.mp's locks behave as multiprocessing's, and survive their holders."""

from __future__ import annotations

import contextlib
import inspect
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing import queues, synchronize
from typing import Any

import pytest

import zeroipc
import zeroipc.mp as mp
import zeroipc.mp.synchronize as ours
from zeroipc._core.layout import LOCK, QUEUES_OFFSET
from zeroipc.mp import transport

METHODS = multiprocessing.get_all_start_methods()
NAMES = ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event"]
BOTH = [mp, multiprocessing]
ROUNDS = 200


def joined(*processes: Any) -> list[int | None]:
    """Return the exit codes, once all have ended."""
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def in_thread(work: Callable[[], object]) -> None:
    """Run *work* in another thread, to its end."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def until(predicate: Callable[[], object]) -> None:
    """Wait for what another thread or process is about to do."""
    while not predicate():
        time.sleep(0.001)


# --- As the standard library has it -----------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_one_is_an_instance_of_the_standard_class(name: str) -> None:
    made = getattr(mp, name)()
    assert isinstance(made, getattr(synchronize, name))
    assert type(made) is getattr(ours, name)
    theirs = getattr(multiprocessing, name)()
    public = [name for name in dir(theirs) if not name.startswith("_")]
    assert set(public) <= set(dir(made))


def test_the_module_has_all_of_the_standard_one() -> None:
    assert set(ours.__all__) == set(synchronize.__all__)
    assert vars(synchronize)["SEM_VALUE_MAX"] == ours.SEM_VALUE_MAX
    assert (ours.RECURSIVE_MUTEX, ours.SEMAPHORE) == (0, 1)


def test_the_signatures() -> None:
    wanted = {"acquire": ["block", "timeout"], "release": [], "notify": ["n"], "wait": ["timeout"]}
    for one in (mp.Lock(), mp.Condition(), mp.Event()):
        for call in wanted.keys() & set(dir(one)):
            assert list(inspect.signature(getattr(one, call)).parameters) == wanted[call]


@pytest.mark.parametrize("module", BOTH)
def test_what_a_lock_says_of_itself(module: Any) -> None:
    lock, rlock = module.Lock(), module.RLock()
    assert (repr(lock), repr(rlock)) == ("<Lock(owner=None)>", "<RLock(None, 0)>")
    with lock, rlock, rlock:
        name = multiprocessing.current_process().name
        assert repr(lock) == f"<Lock(owner={name})>"
        assert repr(rlock) == f"<RLock({name}, 2)>"
        seen: list[str] = []
        in_thread(lambda: seen.extend((repr(lock), repr(rlock))))
        assert seen == ["<Lock(owner=SomeOtherThread)>", "<RLock(SomeOtherThread, nonzero)>"]
    assert repr(module.Semaphore(3)) == "<Semaphore(value=3)>"
    assert repr(module.BoundedSemaphore(3)) == "<BoundedSemaphore(value=3, maxvalue=3)>"
    assert repr(module.Condition(lock)) == "<Condition(<Lock(owner=None)>, 0)>"


@pytest.mark.parametrize("module", BOTH)
def test_what_cannot_be(module: Any) -> None:
    lock, rlock = module.Lock(), module.RLock()
    with pytest.raises(ValueError, match="semaphore or lock released too many times"):
        lock.release()
    with pytest.raises(AssertionError, match="attempt to release recursive lock not owned"):
        rlock.release()
    bounded = module.BoundedSemaphore(1)
    with pytest.raises(ValueError, match="semaphore or lock released too many times"):
        bounded.release()
    for value, error in ((-1, OSError), (2**31, OverflowError), ("a", TypeError)):
        with pytest.raises(error):
            module.Semaphore(value)
    condition = module.Condition()
    for call in (condition.wait, condition.notify, condition.notify_all):
        with pytest.raises(AssertionError):
            call()
    with pytest.raises(RuntimeError, match="only be shared between processes through inheritance"):
        pickle.dumps(lock)
    with pytest.raises(TypeError):
        lock.acquire(True, "soon")
    with pytest.raises(TypeError):
        lock.acquire(True, 1, 2)
    assert lock.acquire(False)


@pytest.mark.parametrize("module", BOTH)
def test_of_whom_a_lock_is(module: Any) -> None:
    lock, rlock, semaphore = module.Lock(), module.RLock(), module.Semaphore(2)
    seen: list[bool] = []
    for one in (lock, rlock, semaphore):
        assert one.acquire(timeout=5)
        semlock = one._semlock
        assert (semlock._is_mine(), semlock._count()) == (True, 1)
        in_thread(lambda s=semlock: seen.append(s._is_mine()))  # type: ignore[misc]
    assert seen == [False] * 3
    assert rlock.acquire(False)
    assert rlock._semlock._count() == 2
    assert (lock._semlock._get_value(), semaphore.get_value()) == (0, 1)
    assert (lock._semlock._is_zero(), semaphore._semlock._is_zero()) == (True, False)
    assert (lock._semlock.kind, rlock._semlock.kind, semaphore._semlock.kind) == (1, 0, 1)


def test_any_thread_may_release_a_lock() -> None:
    lock = mp.Lock()
    lock.acquire()
    assert lock.locked()
    in_thread(lock.release)
    assert not lock.locked()


# --- Between processes --------------------------------------------------------------------------


def add(lock: Any, state: Any) -> None:
    for _ in range(ROUNDS):
        with lock:
            state[0] = state[0] + 1


def add_in_child(lock: Any, memory: Any) -> None:
    add(lock, memory.integers())


@pytest.mark.parametrize(
    ("name", "method"),
    [("Lock", method) for method in METHODS]
    + [(name, "fork") for name in ("RLock", "Semaphore", "Condition")],
)
def test_counted_by_processes_and_threads(method: str, name: str) -> None:
    context = mp.get_context(method)
    lock, memory = getattr(context, name)(), ours._State(1)
    children = [context.Process(target=add_in_child, args=(lock, memory)) for _ in range(2)]
    for child in children:
        child.start()
    in_thread(lambda: add(lock, memory.integers()))
    assert joined(*children) == [0, 0]
    assert memory.integers()[0] == 3 * ROUNDS


def release_it(lock: Any) -> None:
    lock.release()


@pytest.mark.parametrize("method", METHODS)
def test_another_process_releases(method: str) -> None:
    context = mp.get_context(method)
    lock = context.Lock()
    lock.acquire()
    child = context.Process(target=release_it, args=(lock,))
    child.start()
    assert lock.acquire(timeout=60)
    assert joined(child) == [0]
    assert not lock.owner_died


def answer(queue: Any, condition: Any, event: Any) -> None:
    lock, semaphore = queue.get()
    with lock:
        semaphore.release()
    with condition:
        condition.notify()
    event.set()


@pytest.mark.parametrize("method", METHODS)
def test_through_queues_and_other_contexts(method: str) -> None:
    queue, condition, event = mp.Queue(), mp.Condition(mp.Lock()), mp.Event()
    semaphore = mp.Semaphore(0)
    child = mp.get_context(method).Process(target=answer, args=(queue, condition, event))
    with condition:
        child.start()
        queue.put((mp.Lock(), semaphore))
        assert semaphore.acquire(timeout=60)
        assert condition.wait(60)
    assert event.wait(60)
    assert joined(child) == [0]


def ping(mine: Any, yours: Any) -> None:
    for _ in range(ROUNDS):
        assert mine.wait(60)
        mine.clear()
        yours.set()


def test_events_back_and_forth() -> None:
    mine, yours = mp.Event(), mp.Event()
    child = mp.Process(target=ping, args=(mine, yours))
    child.start()
    for _ in range(ROUNDS):
        mine.set()
        assert yours.wait(60)
        yours.clear()
    assert joined(child) == [0]


def test_a_short_pulse_is_seen() -> None:
    event, done = mp.Event(), []
    thread = threading.Thread(target=lambda: done.append(event.wait(60)))
    thread.start()
    until(lambda: _sleeps(event))
    event.set()
    event.clear()
    thread.join()
    assert done == [True]


def _sleeps(event: Any) -> bool:
    """Whether somebody has announced that it waits."""
    arena, slot, _ = event._handle
    at = QUEUES_OFFSET + slot * LOCK.nbytes + LOCK.waiters.offset
    fd = transport.arena_of(arena.token).fd
    return os.pread(fd, 4, at) != b"\0\0\0\0"


# --- Deaths ---------------------------------------------------------------------------------------


def take_and_die(lock: Any) -> None:
    lock.acquire()
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["Lock", "RLock"])
def test_the_next_gets_the_lock_of_the_dead(method: str, name: str) -> None:
    context = mp.get_context(method)
    lock = getattr(context, name)()
    child = context.Process(target=take_and_die, args=(lock,))
    child.start()
    assert joined(child) == [-signal.SIGKILL]
    with lock:
        assert lock.owner_died
    with lock:
        assert not lock.owner_died


def hold_and_wait(condition: Any, ready: Any) -> None:
    with condition:
        ready.release()
        condition.wait()


def test_a_waiter_that_dies_takes_no_notify_along() -> None:
    condition, ready = mp.Condition(), mp.Semaphore(0)
    children = [mp.Process(target=hold_and_wait, args=(condition, ready)) for _ in range(3)]
    for child in children:
        child.start()
        assert ready.acquire(timeout=60)
    with condition:  # so that all three wait
        children[0].kill()
        assert joined(children[0]) == [-signal.SIGKILL]
        condition.notify(2)
    assert joined(*children[1:]) == [0, 0]  # one of them in place of the dead one


def come(barrier: Any, broken: Any) -> None:
    try:
        barrier.wait(60)
    except threading.BrokenBarrierError:
        broken.release()


def test_a_party_that_dies_breaks_the_barrier() -> None:
    barrier, broken = mp.Barrier(3), mp.Semaphore(0)
    children = [mp.Process(target=come, args=(barrier, broken)) for _ in range(2)]
    for number, child in enumerate(children):
        child.start()
        until(lambda number=number: barrier.n_waiting == number + 1)  # type: ignore[misc]
    children[0].kill()
    assert broken.acquire(timeout=60)
    assert joined(*children) == [-signal.SIGKILL, 0]
    assert barrier.broken
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    assert not barrier.broken
    children = [mp.Process(target=come, args=(barrier, broken)) for _ in range(2)]
    for child in children:
        child.start()
    assert 0 <= barrier.wait(60) < 3
    assert joined(*children) == [0, 0]
    assert broken.get_value() == 0


def test_a_holder_that_just_ends() -> None:
    lock = mp.Lock()
    child = mp.Process(target=lock.acquire)
    child.start()
    assert joined(child) == [0]
    assert lock.acquire(timeout=60)
    assert lock.owner_died


class Counting(type(mp.Lock())):  # type: ignore[misc]
    """Calls of `with` that go through a subclass."""

    entered = 0

    def __enter__(self) -> Any:
        self.entered += 1
        return super().__enter__()


def test_with_by_other_ways() -> None:
    lock = Counting()
    with contextlib.ExitStack() as stack:
        assert stack.enter_context(lock) is True
        assert lock.locked()
    assert not lock.locked()
    assert lock.entered == 1
    enter, leave = lock.__enter__, lock.__exit__
    assert enter() is True
    assert lock.locked()
    leave(None, None, None)
    assert not lock.locked()


def test_many_locks_are_held_inside_each_other() -> None:
    locks = [mp.Lock() for _ in range(30)]
    with contextlib.ExitStack() as stack:
        bound = [(lock.__enter__, lock.__exit__) for lock in locks]
        for lock, (enter, leave) in zip(locks, bound, strict=True):
            enter()
            stack.callback(leave, None, None, None)
            assert lock.locked()
    assert not any(lock.locked() for lock in locks)


@pytest.mark.skipif(zeroipc.backend == "pure", reason="what is bound there is Python's")
def test_only_a_lock_can_be_entered_as_one() -> None:
    enter: Any = type(mp.Lock()).__enter__
    with pytest.raises(TypeError, match="Lock' object, not a 'int'"):
        enter(3)
    with pytest.raises(TypeError, match="needs a"):
        enter()


# --- Signals --------------------------------------------------------------------------------------


class InterruptError(Exception):
    """What the handler of a test raises."""


@pytest.fixture
def alarm() -> Any:
    """Sends this thread SIGALRM soon, with a handler that raises or does nothing."""
    calls: list[int] = []

    def arm(error: type[Exception] | None, after: float = 0.1) -> list[int]:
        def handle(number: int, frame: Any) -> None:
            calls.append(number)
            if error is not None:
                raise error

        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, after)
        return calls

    before = signal.getsignal(signal.SIGALRM)
    yield arm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def interrupted(alarm: Any, wait: Callable[[], object]) -> None:
    """Wait until the alarm raises; under load it may ring before the wait."""
    alarm(InterruptError)
    wait()


@pytest.mark.parametrize("name", ["Lock", "RLock", "Semaphore"])
def test_a_handler_that_raises_leaves_it_not_taken(name: str, alarm: Any) -> None:
    lock = getattr(mp, name)()
    in_thread(lock.acquire)
    with pytest.raises(InterruptError):
        interrupted(alarm, lock.acquire)
    assert not lock._semlock._is_mine()
    assert lock._semlock._is_zero()


def test_a_handler_that_returns_lets_it_go_on(alarm: Any) -> None:
    lock = mp.Lock()
    lock.acquire()
    calls = alarm(None)

    def work() -> None:
        until(lambda: calls)
        lock.release()

    thread = threading.Thread(target=work)
    thread.start()
    assert lock.acquire(timeout=60)
    assert calls
    thread.join()


def test_a_wait_that_is_interrupted_holds_the_lock_again(alarm: Any) -> None:
    condition, event = mp.Condition(), mp.Event()
    with condition:
        with pytest.raises(InterruptError):
            interrupted(alarm, condition.wait)
        assert condition._lock._semlock._is_mine()
        assert condition._sleeping_count.get_value() == 0
    with pytest.raises(InterruptError):
        interrupted(alarm, event.wait)


def test_a_handler_may_set_and_release(alarm: Any) -> None:
    event, lock = mp.Event(), mp.Lock()
    lock.acquire()

    def handle(*_: object) -> None:
        event.set()
        lock.release()

    alarm(None, 60)
    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    assert event.wait(60)
    assert lock.acquire(timeout=60)


# --- Conditions, barriers -----------------------------------------------------------------------


def test_notify_wakes_exactly_so_many() -> None:
    condition, woken = mp.Condition(mp.Lock()), []

    def work(number: int) -> None:
        with condition:
            assert condition.wait(60)
            woken.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for number, thread in enumerate(threads):
        thread.start()
        until(lambda number=number: condition._sleeping_count.get_value() > number)  # type: ignore[misc]
    for notified in (1, 3, 5):
        with condition:
            before = len(woken)
            condition.notify(notified)
        until(lambda: len(woken) == before + notified)  # noqa: B023
        assert sorted(woken) == list(range(before + notified))
    with condition:
        condition.notify_all()
    for thread in threads:
        thread.join()
    assert sorted(woken) == list(range(12))


def test_nobody_who_comes_later_steals_a_notify() -> None:
    condition = mp.Condition()
    first = threading.Thread(target=lambda: _wait(condition))
    first.start()
    until(lambda: condition._sleeping_count.get_value() == 1)
    with condition:
        condition.notify()
        assert not condition.wait(0.2)  # the lock is free meanwhile, for the first
    first.join()


def _wait(condition: Any) -> None:
    with condition:
        assert condition.wait(60)


def test_a_recursive_lock_is_given_back_as_a_whole() -> None:
    condition = mp.Condition()
    with condition, condition:
        thread = threading.Thread(target=lambda: _notify(condition))
        thread.start()
        assert condition.wait(60)
        assert condition._lock._semlock._count() == 2
        thread.join()


def _notify(condition: Any) -> None:
    with condition:
        condition.notify()


def test_a_condition_over_a_standard_lock() -> None:
    condition = mp.Condition(multiprocessing.RLock())
    thread = threading.Thread(target=lambda: _notify(condition))
    with condition:
        thread.start()
        assert condition.wait(60)
    thread.join()


def test_the_action_of_a_barrier() -> None:
    done: list[int] = []
    barrier = mp.Barrier(2, action=lambda: done.append(1))
    thread = threading.Thread(target=barrier.wait)
    thread.start()
    barrier.wait()
    thread.join()
    assert done == [1]
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(0.01)
    assert barrier.broken


# --- Threads and forks; many ------------------------------------------------------------------


def try_it(lock: Any, result: Any) -> None:
    if not lock.acquire(False) and not lock._semlock._is_mine():
        result.release()


def test_a_fork_while_another_thread_has_the_lock() -> None:
    lock, result = mp.RLock(), mp.Semaphore(0)
    taken, done = threading.Event(), threading.Event()

    def work() -> None:
        with lock:
            taken.set()
            done.wait()

    thread = threading.Thread(target=work)
    thread.start()
    taken.wait()
    child = mp.get_context("fork").Process(target=try_it, args=(lock, result))
    child.start()
    assert joined(child) == [0]
    assert result.acquire(False)
    done.set()
    thread.join()
    assert lock.acquire(timeout=60)


def test_ten_thousand_locks() -> None:
    locks = [mp.Lock() for _ in range(10_000)]
    assert all(lock.acquire(False) for lock in locks)
    assert not any(lock.acquire(False) for lock in locks[::97])
    assert len({lock._semlock.handle for lock in locks}) == len(locks)


# --- Others who use our locks ---------------------------------------------------------------------


def echo(source: Any, target: Any) -> None:
    for item in iter(source.get, None):
        target.put(item * 2)
        source.task_done()
    source.task_done()


@pytest.mark.parametrize("method", METHODS)
def test_the_queues_of_the_standard_library(method: str) -> None:
    context = mp.get_context(method)
    source: Any = queues.JoinableQueue(2, ctx=context)
    target: Any = queues.SimpleQueue(ctx=context)
    child = context.Process(target=echo, args=(source, target))
    child.start()
    for number in (*range(20), None):
        source.put(number, timeout=60)
    source.join()
    assert [target.get() for _ in range(20)] == list(range(0, 40, 2))
    assert joined(child) == [0]
    source.close()
    target.close()


def use_lock(lock: Any, number: int) -> int:
    with lock:
        return number + 1


def test_a_manager_and_a_pool() -> None:
    with mp.Manager() as manager, mp.Pool(2) as pool:
        lock = manager.Lock()
        assert pool.starmap(use_lock, [(lock, number) for number in range(5)]) == [1, 2, 3, 4, 5]


def test_an_executor_takes_locks_as_arguments() -> None:
    lock = mp.Lock()
    with mp.ProcessPoolExecutor(1) as executor:
        assert executor.submit(use_lock, lock, 1).result(60) == 2
