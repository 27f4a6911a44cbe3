"""A process pool: its tasks return large arrays, trajectories of some members over some weeks."""

from __future__ import annotations

import time
import zlib
from concurrent.futures import FIRST_COMPLETED, Future, wait

import numpy as np
from solar_jobs import Library, Outcome, Plan, Progress, ignore_interrupt, largest_drift, spread_of
from solar_physics import Floats, earth_angles, integrate, orbit_plane


def integrate_segment(
    state: Floats, masses: Floats, step: float, steps: int
) -> tuple[float, Floats]:
    """Run one task: return the processor seconds it took, and `integrate`'s trajectory."""
    began = time.thread_time()
    trajectory = integrate(state, masses, step, steps)
    return time.thread_time() - began, trajectory


STRIDE = 20  # steps from one row of the spread to the next


class Group:
    """Members integrated together, one segment after the other, as their results arrive."""

    def __init__(self, plan: Plan, start: Floats, segment: int) -> None:
        self.start = self.state = start
        self.segments = -(-plan.steps // segment)
        self.drift = 0.0
        self.fingerprint = 0
        self.positions = [start[None, 0]]  # every STRIDE steps
        self._steps, self._segment, self._done = plan.steps, segment, 0
        self._masses = plan.bodies.masses
        self._plane = orbit_plane(plan.bodies.state)
        self.angles = [earth_angles(start[None, 0], self._plane)]

    @property
    def next_length(self) -> int:
        """Steps in the next segment; 0 after the last."""
        return min(self._segment, self._steps - self._done)

    def add(self, trajectory: Floats) -> None:
        """Take in the next segment: every byte is looked at once, little is kept."""
        self.fingerprint = zlib.crc32(trajectory.data, self.fingerprint)
        self.angles.append(earth_angles(trajectory[:, 0], self._plane))
        self.positions.append(trajectory[STRIDE - 1 - self._done % STRIDE :: STRIDE, 0].copy())
        self.state = trajectory[-1].copy()
        self.drift = max(self.drift, largest_drift(self.state, self.start, self._masses))
        self._done += len(trajectory)


def run_pool(library: Library, plan: Plan, segment: int, progress: Progress) -> Outcome:
    """Integrate on a process pool, two groups of members for each worker.

    A task takes *segment* steps. A group's next task is submitted when the last has come back.
    """
    groups = [Group(plan, start, segment) for start in plan.split(2 * plan.workers)]
    total = sum(group.segments for group in groups)
    nbytes = messages = 0
    computing = watching = 0.0
    began = time.perf_counter()
    context = library.multiprocessing.get_context(plan.method)
    with library.futures.ProcessPoolExecutor(plan.workers, context, ignore_interrupt) as executor:

        def submit(group: Group) -> Future[tuple[float, Floats]]:
            task = (group.state, plan.bodies.masses, plan.step, group.next_length)
            future: Future[tuple[float, Floats]] = executor.submit(integrate_segment, *task)
            return future

        pending = {submit(group): group for group in groups}
        try:
            while pending:
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    group = pending.pop(future)
                    nbytes += group.state.nbytes
                    seconds, trajectory = future.result()
                    clock = time.thread_time()
                    group.add(trajectory)
                    watching += time.thread_time() - clock
                    if group.next_length:
                        pending[submit(group)] = group
                    computing += seconds
                    nbytes += trajectory.nbytes
                    messages += 2
                    progress(messages / 2 / total)
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise
    elapsed = time.perf_counter() - began
    positions = np.concatenate([np.concatenate(group.positions) for group in groups], axis=-1)
    return Outcome(
        seconds=elapsed,
        computing=computing / plan.workers,
        watching=watching,
        nbytes=nbytes,
        messages=messages,
        fingerprint=zlib.crc32(repr([group.fingerprint for group in groups]).encode()),
        drift=max(group.drift for group in groups),
        final=np.concatenate([group.state for group in groups], axis=-1),
        times=np.arange(len(positions), dtype=np.float64) * STRIDE * plan.step,
        spread=spread_of(positions),
        angles=np.concatenate([np.concatenate(group.angles) for group in groups], axis=-1),
    )
