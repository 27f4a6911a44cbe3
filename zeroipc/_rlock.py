"""A lock that signal handlers which raise cannot leave locked.

Python 3.14 runs handlers when the `__enter__` of a lock has returned, and only then begins what
`with` guards: an exception there, a KeyboardInterrupt say, leaves a `threading.RLock` locked for
ever. It runs none after the look at an attribute, which here takes the lock, nor when a function
written in Python returns.
"""

import sys
from threading import RLock

__all__ = ["RLock"]

if sys.version_info >= (3, 14):
    import _thread

    class RLock(_thread.RLock):
        """A `threading.RLock` whose `with` has no gap; its other methods are as they were."""

        __slots__ = ()
        _taken = property(_thread.RLock.acquire)

        def __enter__(self):
            self._taken  # noqa: B018 - see above
            return True
