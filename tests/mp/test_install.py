"""`install`: what `multiprocessing` then gives, in this process and its children."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from tests.support.programs import ROOT, run_python

METHODS = multiprocessing.get_all_start_methods()

# Tells in each generation of children whether what they make is ours, by the way they get it.
GENERATIONS = """
import concurrent.futures, multiprocessing.pool, sys

def is_ours(value):
    return type(value).__module__.startswith("zeroipc.")

def look():
    method = multiprocessing.get_start_method()
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(1) as executor:
        pass
    with multiprocessing.pool.Pool(1) as pool:
        pass
    from multiprocessing.queues import Queue, SimpleQueue
    made = [context, context.Queue(), multiprocessing.JoinableQueue(), executor,
            Queue(ctx=context), SimpleQueue(ctx=context), pool, context.Pool(1)]
    made[-1].terminate()
    from multiprocessing.synchronize import Barrier, Lock
    made += [Lock(ctx=context), Barrier(2, ctx=context), context.Condition(), context.Semaphore()]
    from multiprocessing.sharedctypes import RawArray, Value
    made += [Value("i")._obj._wrapper, RawArray("i", 2)._wrapper]
    return [method, *map(is_ours, made), isinstance(made[1], Queue)]

def child(queue, generations):
    queue.put(look())
    if generations > 1:
        process = multiprocessing.Process(target=child, args=(queue, generations - 1))
        process.start()
        process.join()

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    queue = multiprocessing.Queue()
    child(queue, 3)
    for _ in range(3):
        assert queue.get() == [sys.argv[1]] + [True] * 15, "not ours"
    print("done")
"""


@pytest.mark.parametrize("method", METHODS)
def test_children_and_theirs_are_swapped_too(tmp_path: Path, method: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(GENERATIONS)
    program = "import runpy, sys, zeroipc.mp; zeroipc.mp.install(); sys.argv[:] = sys.argv[1:];"
    # The main module of the program is the script, as if `install` were its first line.
    start = f"""
    {program}
    source = open(sys.argv[0]).read()
    __file__ = sys.argv[0]
    exec(compile(source, __file__, "exec"))
    """
    assert run_python(start, script, method).stdout == "done\n"


def test_children_find_the_package_where_their_parent_found_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"import os, sys; sys.path.append({str(ROOT)!r})\n"
        "import multiprocessing, zeroipc.mp\n"
        "if __name__ == '__main__':\n"
        "    zeroipc.mp.install()\n"
        "    os.chdir('/')\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    process = context.Process(target=print, args=('hello',))\n"
        "    process.start(); process.join()\n"
    )
    start = f"import subprocess, sys; subprocess.run([sys.executable, {str(script)!r}], check=True)"
    assert run_python(start, PYTHONPATH="").stdout == "hello\n"


def test_what_was_taken_before() -> None:
    run_python(
        """
        from multiprocessing import Queue, get_context, queues, synchronize
        from multiprocessing.queues import Queue as Class
        import pickle
        import zeroipc.mp

        old = Queue()
        zeroipc.mp.install()
        zeroipc.mp.install()
        assert isinstance(Queue(), zeroipc.mp.queues.Queue), "a function makes ours now"
        assert isinstance(get_context("spawn").Queue(), zeroipc.mp.queues.Queue)
        assert type(Class(ctx=get_context())) is Class, "a class stays what it is"
        assert isinstance(old, Class) and isinstance(old, queues.Queue)
        assert pickle.loads(pickle.dumps(Class)) is Class
        assert pickle.loads(pickle.dumps(queues.Queue)) is queues.Queue

        context = get_context("spawn")
        for name in ("Lock", "RLock", "Event", "Condition", "Semaphore", "BoundedSemaphore"):
            kind = getattr(synchronize, name)
            for made in (kind(ctx=context), getattr(context, name)()):
                assert isinstance(made, getattr(zeroipc.mp.synchronize, name)), name
                assert isinstance(made, kind)
        assert issubclass(synchronize.BoundedSemaphore, synchronize.Semaphore)
        """
    )


def test_what_derives_from_a_class_stays_the_standard_librarys() -> None:
    run_python(
        """
        import multiprocessing.pool, multiprocessing.queues, zeroipc.mp
        real = multiprocessing.queues.Queue
        zeroipc.mp.install()

        class Counted(multiprocessing.queues.Queue):
            def __init__(self):
                multiprocessing.queues.Queue.__init__(self, ctx=multiprocessing.get_context())
                self.count = 0

            def put(self, *args):
                self.count += 1
                super().put(*args)

        queue = Counted()
        queue.put("item")
        assert queue.get() == "item" and queue.count == 1
        assert isinstance(queue, real) and queue._reader.fileno() >= 0
        assert issubclass(Counted, multiprocessing.queues.Queue)

        class Mine(multiprocessing.pool.Pool):
            def _setup_queues(self):
                super()._setup_queues()
                self.mine = True

        with Mine(1) as pool:
            assert pool.mine and pool.map(abs, [-1]) == [1]
        assert not isinstance(pool, zeroipc.mp.pool.Pool)
        assert not isinstance(multiprocessing.Queue(), Counted)
        """
    )


def test_uninstall_puts_everything_back() -> None:
    run_python(
        """
        import concurrent.futures, concurrent.futures.process, multiprocessing, sys
        import multiprocessing.queues, multiprocessing.spawn, zeroipc.mp

        def names():
            modules = (multiprocessing, multiprocessing.context, multiprocessing.queues,
                       multiprocessing.spawn, concurrent.futures, concurrent.futures.process)
            contexts = vars(multiprocessing.context._default_context)
            return [dict(vars(module)) for module in modules] + [
                dict(multiprocessing.context._concrete_contexts), dict(contexts), sys.meta_path[:]]

        concurrent.futures.ProcessPoolExecutor
        multiprocessing.get_all_start_methods()  # Python 3.14 chooses its default at first need
        before = names()
        zeroipc.mp.install()
        assert names() != before
        zeroipc.mp.uninstall()
        zeroipc.mp.uninstall()
        assert names() == before
        assert multiprocessing.queues.Queue.__qualname__ == "Queue"
        zeroipc.mp.install()
        assert isinstance(multiprocessing.Queue(), zeroipc.mp.queues.Queue)
        """
    )


def test_modules_that_are_loaded_later() -> None:
    run_python(
        """
        import sys, zeroipc.mp
        loaded = {"multiprocessing.queues", "concurrent.futures.process"} & set(sys.modules)
        assert not loaded
        zeroipc.mp.install()
        import concurrent.futures.process, inspect, multiprocessing.queues as queues
        assert concurrent.futures.ProcessPoolExecutor is zeroipc.mp.ProcessPoolExecutor
        assert concurrent.futures.process.ProcessPoolExecutor is zeroipc.mp.ProcessPoolExecutor
        assert queues.Queue.__bases__[0].__name__ == "Queue"
        assert type(queues.__spec__.loader).__name__ == "SourceFileLoader"
        assert "class Queue" in inspect.getsource(queues)
        """
    )


def test_an_unknown_start_method_is_left_alone() -> None:
    run_python(
        """
        import multiprocessing.context as context, zeroipc.mp
        class Strange(context.BaseContext):
            _name = "strange"
        context._concrete_contexts["strange"] = strange = Strange()
        context._default_context.set_start_method("strange")
        zeroipc.mp.install()
        import multiprocessing
        assert multiprocessing.get_context("strange") is strange
        assert multiprocessing.get_start_method() == "strange"
        """
    )
