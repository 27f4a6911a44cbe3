"""What an executor has done and is doing, in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .engine import Engine


def figures(engine: Engine) -> dict[str, int]:
    """Return the figures of `ProcessPoolExecutor.stats`, at some moment."""
    engine.collector.collect_waiting()
    with engine.lock:
        submitted, pending = engine.count, 0
        for task in engine.pending.values():
            pending += 1 if task.batch is None else len(task.batch.members)
        failed, cancelled = engine.failed, engine.cancels.count
        running = 0 if engine.tasks is None else len(engine.limits.running())
        workers = [p for p in engine.crew.processes.values() if p.exitcode is None]
        return {
            "submitted": submitted,
            "queued": pending - running,
            "running": running,
            "done": submitted - pending - failed - cancelled,
            "failed": failed,
            "cancelled": cancelled,
            "respawned": engine.deaths.replaced,
            "workers": len(workers),
            "bytes": engine.sender.nbytes,
        }
