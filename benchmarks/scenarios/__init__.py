"""The rows of the report, in its order."""

from __future__ import annotations

from benchmarks.scenario import Scenario
from benchmarks.scenarios import (
    arrays,
    function,
    idle,
    imports,
    joblib,
    loans,
    locks,
    lockstep,
    many,
    memory,
    named,
    pingpong,
    pipe,
    pools,
    start,
    streams,
    tasks,
    values,
)

ALL: tuple[Scenario, ...] = (
    *streams.SCENARIOS,
    *arrays.SCENARIOS,
    *loans.SCENARIOS,
    *pingpong.SCENARIOS,
    *pipe.SCENARIOS,
    *values.SCENARIOS,
    *locks.SCENARIOS,
    *lockstep.SCENARIOS,
    *tasks.SCENARIOS,
    *many.SCENARIOS,
    *function.SCENARIOS,
    *pools.SCENARIOS,
    *joblib.SCENARIOS,
    *start.SCENARIOS,
    *idle.SCENARIOS,
    *memory.SCENARIOS,
    *imports.SCENARIOS,
    *named.SCENARIOS,
)
