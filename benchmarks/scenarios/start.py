"""From nothing to the first result of a pool of two workers, in a fresh interpreter.

Importing the library is not timed (that is another row); whatever it loads on first use is.
"""

from __future__ import annotations

from statistics import median

from benchmarks import fresh, limits
from benchmarks.rivals.base import Rival
from benchmarks.scenario import Counts, Sample, Scenario

TIMED = """
if __name__ == "__main__":
    from time import perf_counter
    begin = perf_counter()
    result = start()
    seconds = perf_counter() - begin
    assert result == 7, result
    stop()
    print(seconds)
"""


def first_result(rival: Rival, count: int) -> Sample | None:
    source = rival.first_result()
    if source is None:
        return None
    return Sample(median(fresh.number(source + TIMED) for _ in range(count)))


SCENARIOS = (
    Scenario(
        "pool-start",
        "pool of two, start to first result; the standard library with multiprocessing.Pool",
        first_result,
        Counts(3, 1, 1),
        limits.fork(),
    ),
)
