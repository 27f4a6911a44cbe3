"""The lock that signal handlers which raise cannot leave locked."""

from __future__ import annotations

from tests.support.programs import run_python


def test_a_handler_that_raises_leaves_it_unlocked() -> None:
    run_python("""
        import signal
        from zeroipc._rlock import RLock

        class Alarm(BaseException):
            pass

        def ring(*_):
            if armed:
                raise Alarm

        armed, hits, lock = False, 0, RLock()
        signal.signal(signal.SIGALRM, ring)
        while hits < 300:
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, 1e-6 * (5 + hits % 40))
                for _ in range(1000):
                    with lock as taken:
                        assert taken is True
                armed = False
            except Alarm:
                armed = False
                hits += 1
            assert not lock._is_owned()
    """)


def test_it_is_reentrant_and_excludes_other_threads() -> None:
    run_python("""
        import threading
        from zeroipc._rlock import RLock

        lock = RLock()
        def look():
            seen.append(lock.acquire(blocking=False))
        seen = []
        with lock, lock:
            lock.acquire()
            lock.release()
            for _ in range(2):
                thread = threading.Thread(target=look)
                thread.start()
                thread.join()
        assert seen == [False, False]
        look()
        assert seen == [False, False, True]
    """)
