"""What an executor has done and is doing, in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .engine import Engine


def figures(engine: Engine) -> dict[str, int]:
    """Return the figures of `ProcessPoolExecutor.stats`, at some moment."""
    engine.collector.collect_waiting()
    with engine.lock:
        return _count(engine)


def _count(engine: Engine) -> dict[str, int]:
    """Return the figures. Needs the lock; a function, for Python 3.13 guards no loop in `with`."""
    pending = sum(1 if t.batch is None else len(t.batch.members) for t in engine.pending.values())
    failed, cancelled = engine.failed, engine.cancels.count
    running = 0 if engine.tasks is None else len(engine.limits.running())
    workers = [p for p in engine.crew.processes.values() if p.exitcode is None]
    return {
        "submitted": engine.count,
        "queued": pending - running,
        "running": running,
        "done": engine.count - pending - failed - cancelled,
        "failed": failed,
        "cancelled": cancelled,
        "respawned": engine.deaths.replaced,
        "workers": len(workers),
        "bytes": engine.sender.nbytes,
    }
