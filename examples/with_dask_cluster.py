"""dask.distributed: workers whose tasks run in processes of ours, the road past one machine.

    python examples/with_dask_cluster.py [--walks 8]

Each machine of a cluster runs one dask worker with `executor=`; that hands the tasks to the
machine's processes, through shared memory. Here scheduler and worker are in one program.

A dask worker has unpickled a task before it hands it on, and pickle would refuse functions that
came by value, from `__main__`. The executor below sends the whole call as one callable,
which goes through cloudpickle where pickle refuses.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
import random
from typing import Any

from distributed import Client, Scheduler, Worker

import zeroipc.mp as multiprocessing


class Executor(multiprocessing.ProcessPoolExecutor):
    """One that takes calls with functions inside."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        return super().submit(functools.partial(fn, *args, **kwargs))


def steps_until_far(seed: int, distance: int = 60) -> tuple[int, int]:
    """Walk at random until so far away; return the steps taken, and who took them."""
    generator, place, steps = random.Random(seed), 0, 0
    while abs(place) < distance:
        place += generator.choice((-1, 1))
        steps += 1
    return steps, os.getpid()


async def cluster(walks: int) -> None:
    context = multiprocessing.get_context("spawn")
    async with Scheduler(host="127.0.0.1", port=0, dashboard_address=":0") as scheduler:
        with Executor(2, mp_context=context) as executor:
            async with (
                Worker(scheduler.address, nthreads=2, executor=executor),
                Client(scheduler.address, asynchronous=True) as client,
            ):
                results = await client.gather(client.map(steps_until_far, range(walks)))
    mean = sum(steps for steps, _ in results) / walks
    processes = {pid for _, pid in results}
    print(f"{walks} walks of {mean:.0f} steps on average, in {len(processes)} processes")
    print(f"none of them the worker's: {os.getpid() not in processes}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--walks", type=int, default=8)
    asyncio.run(cluster(parser.parse_args().walks))


if __name__ == "__main__":
    main()
