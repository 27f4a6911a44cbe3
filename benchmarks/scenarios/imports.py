"""The import statement of each library, in a fresh interpreter."""

from __future__ import annotations

from statistics import median

from benchmarks import fresh, limits
from benchmarks.rivals.base import Rival
from benchmarks.scenario import Counts, Sample, Scenario

TIMED = """
from time import perf_counter
begin = perf_counter()
{line}
print(perf_counter() - begin)
"""


def import_time(rival: Rival, count: int) -> Sample | None:
    line = rival.import_line()
    if line is None:
        return None
    source = TIMED.format(line=line)
    return Sample(median(fresh.number(source) for _ in range(count)))


SCENARIOS = (
    Scenario(
        "import",
        "the import statement in a fresh interpreter",
        import_time,
        Counts(5, 2, 1),
        limits.first_import("import multiprocessing"),
    ),
)
