"""What a worker does before its first task: limit inner threads, initialise, load a resource."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .threads import limit_threads

if TYPE_CHECKING:
    from collections.abc import Callable

_loaded: tuple[Any, ...] = ()


def worker_resource() -> Any:
    """Return what this worker has loaded: what the executor's *resource* has returned.

        def load(): return Model("weights.bin")
        def predict(x): return worker_resource().predict(x)

        with ProcessPoolExecutor(resource=load) as pool:
            results = list(pool.map(predict, inputs))

    Raises:
        RuntimeError: this is no worker of an executor with a *resource*.
    """
    if not _loaded:
        raise RuntimeError(
            "worker_resource() is for tasks of an executor that was made with resource=FACTORY: "
            "this process has loaded none"
        )
    return _loaded[0]


class Preparation:
    """An initializer that does the rest as well; the initializer comes before the resource.

    Args:
        initializer: called with the executor's *initargs*, or None.
        resource: called without arguments; returns what is kept, or None.
        inner_threads: how many threads numerical libraries may use, or None.
    """

    def __init__(
        self,
        initializer: Callable[..., object] | None,
        resource: Callable[[], Any] | None,
        inner_threads: int | None,
    ) -> None:
        self.initializer = initializer
        self.resource = resource
        self.inner_threads = inner_threads

    def __call__(self, *initargs: Any) -> None:
        """Prepare this process, a worker."""
        global _loaded
        _loaded = ()  # a forked worker has what its parent had loaded
        if self.inner_threads is not None:
            limit_threads(self.inner_threads)
        if self.initializer is not None:
            self.initializer(*initargs)
        if self.resource is not None:
            _loaded = (self.resource(),)
