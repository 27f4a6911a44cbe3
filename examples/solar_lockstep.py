"""Workers in lock-step: they exchange arrays with the parent at every kick, as coupled models do.

The workers hold the members and Newton's forces; the parent, which sees all positions, adds the
relativistic pull and watches the ensemble's spread.
"""

from __future__ import annotations

import os
import queue
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import parent_process
from typing import Any

import numpy as np
from solar_jobs import Library, Outcome, Plan, Progress, ignore_interrupt, largest_drift, spread_of
from solar_physics import Floats, Gravity, relativity, stages


def receive(inbox: Any, sender: Any) -> Any:
    """Take a message, unless its *sender*, a process, has died.

    A sender killed in the middle of a message hangs the standard library's queue all the same.

    Raises:
        RuntimeError: it has died, and what it sent has been taken.
    """
    while True:
        alive = sender.is_alive()
        try:
            return inbox.get(timeout=1.0)
        except queue.Empty:
            if not alive:
                raise RuntimeError(
                    f"both sides must live until the last message: died={sender!r}"
                ) from None


def work(inbox: Any, outbox: Any, masses: Floats, step: float, steps: int) -> None:
    """Be a worker process: the first message in is the initial state."""
    ignore_interrupt()
    threading.Thread(target=follow_parent, daemon=True).start()
    advance(inbox, outbox, masses, step, steps)


def follow_parent() -> None:
    """End this process when its parent has ended, even in the middle of a message."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def advance(inbox: Any, outbox: Any, masses: Floats, step: float, steps: int) -> None:
    """Drift, send the positions, add what comes back to Newton's forces, kick; and again.

    The last message out is (processor seconds, final state). What was sent does not change before
    its answer has arrived, since a queue may pickle late.
    """
    positions, velocities = inbox.get()
    gravity = Gravity(masses, positions.shape[-1])
    pairs, last_drift = stages(step)
    clock, computing = time.thread_time, 0.0
    for _ in range(steps):
        for drift, kick in pairs:
            since = clock()
            positions += drift * velocities
            computing += clock() - since
            outbox.put(positions)
            since = clock()
            pull = gravity(positions)
            computing += clock() - since
            answer = inbox.get()
            since = clock()
            pull += answer
            velocities += kick * pull
            computing += clock() - since
        positions += last_drift * velocities
    outbox.put((computing, np.stack([positions, velocities])))


@dataclass(frozen=True)
class Peer:
    """A worker as the parent sees it."""

    process: Any
    inbox: Any
    outbox: Any


@contextmanager
def peers(library: Library, plan: Plan) -> Iterator[list[Peer]]:
    """Start the workers of the lock-step shape; end them with the block, by force if it raises."""
    context = library.multiprocessing.get_context(plan.method)
    started: list[Peer] = []
    try:
        for number in range(plan.workers):
            inbox, outbox = context.Queue(), context.Queue()
            arguments = (inbox, outbox, plan.bodies.masses, plan.step, plan.steps)
            process = context.Process(
                target=work, args=arguments, name=f"model {number}", daemon=True
            )
            started.append(Peer(process, inbox, outbox))
            process.start()
        yield started
    except BaseException:
        for peer in started:
            peer.inbox.cancel_join_thread()  # nobody will read the rest
            if peer.process.pid is not None:
                peer.process.terminate()
        raise
    finally:
        for peer in started:
            if peer.process.pid is not None:
                peer.process.join()
            peer.inbox.close()
            peer.outbox.close()


def run_lockstep(library: Library, plan: Plan, progress: Progress) -> Outcome:
    """Integrate with workers that meet the parent three times per step, once for each kick."""
    masses = plan.bodies.masses
    groups = plan.split(plan.workers)
    pairs, _ = stages(plan.step)
    nbytes = messages = 0
    watching = 0.0
    spreads = []
    clock = time.thread_time
    began = time.perf_counter()
    with peers(library, plan) as workers:
        for peer, group in zip(workers, groups, strict=True):
            peer.inbox.put(group)
            nbytes += group.nbytes
            messages += 1
        for number in range(plan.steps):
            for stage in range(len(pairs)):
                seen = []
                for peer in workers:
                    positions = receive(peer.outbox, peer.process)
                    seen.append(positions)
                    since = clock()
                    answer = relativity(positions, masses)
                    watching += clock() - since
                    peer.inbox.put(answer)
                    nbytes += positions.nbytes + answer.nbytes
                    messages += 2
                if stage == 0:
                    since = clock()
                    spreads.append(spread_of(np.concatenate(seen, axis=-1)))
                    watching += clock() - since
            progress((number + 1) / plan.steps)
        ends = [receive(peer.outbox, peer.process) for peer in workers]
    elapsed = time.perf_counter() - began
    final = np.concatenate([end for _, end in ends], axis=-1)
    spread = np.stack(spreads)
    return Outcome(
        seconds=elapsed,
        computing=sum(seconds for seconds, _ in ends) / plan.workers,
        watching=watching,
        nbytes=nbytes + final.nbytes,
        messages=messages + len(ends),
        fingerprint=zlib.crc32(spread.data, zlib.crc32(final.data)),
        drift=largest_drift(final, plan.ensemble, masses),
        final=final,
        times=np.arange(plan.steps, dtype=np.float64) * plan.step + pairs[0][0],
        spread=spread,
        angles=np.empty((0, final.shape[-1])),
    )
