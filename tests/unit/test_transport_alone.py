"""When a process knows that nobody in it can put what its own get waits for."""

from __future__ import annotations

from tests.support.programs import run_python


def test_threads_of_any_kind_and_forks() -> None:
    run_python("""
        import _thread, os, threading
        from zeroipc._core.orphan import is_alone, servants

        def told_in_child():
            pid = os.fork()
            if pid == 0:
                os._exit(is_alone())
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

        def wait_in(start):
            began, end, answers = threading.Event(), threading.Event(), []
            def run():
                answers.append(is_alone())
                began.set()
                end.wait()
            start(run)
            began.wait()
            return answers, end

        assert is_alone()
        answers, end = wait_in(lambda run: _thread.start_new_thread(run, ()))
        assert not is_alone() and answers == [False]
        assert told_in_child()
        end.set()

        threads = []
        def start(run):
            threads.append(threading.Thread(target=run))
            threads[0].start()
        while not is_alone():  # a thread that has ended may be counted for a moment
            pass
        answers, end = wait_in(start)
        assert not is_alone() and answers == [False]
        assert told_in_child()
        servants.add(threads[0].ident)
        assert is_alone()
        servants.clear()
        end.set()
        threads[0].join()
        while not is_alone():
            pass
    """)
