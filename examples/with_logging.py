"""logging: workers log into a queue, the parent writes the file.

    python examples/with_logging.py [--workers 3] [--file jobs.log]

A record is in shared memory when the call that logs returns: the last words of a worker that is
killed are in the file. The standard library's queue loses what its thread had not sent yet.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
from logging.handlers import QueueHandler, QueueListener
from typing import Any

import zeroipc.mp as multiprocessing

RECORDS = 500


def work(queue: Any, number: int, fatal: bool) -> None:
    """Log RECORDS lines, and then, if it is fatal, be killed."""
    logger = logging.getLogger("jobs")
    logger.setLevel(logging.INFO)
    logger.addHandler(QueueHandler(queue))
    for step in range(1, RECORDS):
        logger.info("job %d: step %d", number, step)
    try:
        1 / (number - number)
    except ZeroDivisionError:
        logger.exception("job %d: last words", number)
    if fatal:
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--file", default="jobs.log")
    options = parser.parse_args()
    queue = multiprocessing.Queue()
    handler = logging.FileHandler(options.file, mode="w")
    handler.setFormatter(logging.Formatter("%(processName)s %(levelname)s %(message)s"))
    listener = QueueListener(queue, handler)
    listener.start()
    jobs = [
        multiprocessing.Process(target=work, args=(queue, number, number % 2 == 1))
        for number in range(options.workers)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    listener.stop()
    handler.close()
    with open(options.file) as file:
        records = sum(line.rstrip().endswith(f"step {RECORDS - 1}") for line in file)
    killed = sum(job.exitcode == -signal.SIGKILL for job in jobs)
    print(f"{killed} of {len(jobs)} jobs were killed; the logs of {records} are complete")


if __name__ == "__main__":
    main()
