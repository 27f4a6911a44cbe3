"""The contexts: what they are, what they make, and the one start method that all share."""

import multiprocessing
import pickle
import subprocess
import sys
from multiprocessing import context as standard
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import zeroipc.mp

METHODS = multiprocessing.get_all_start_methods()

# A child of one module tells what both modules in it take for the start method.
CHILD = """
import multiprocessing, sys
import zeroipc.mp

def tell(connection):
    import multiprocessing, zeroipc.mp
    connection.send([zeroipc.mp.get_start_method(), multiprocessing.get_start_method()])
    connection.close()

if __name__ == "__main__":
    setter, starter, method = sys.argv[1:]
    modules = {"ours": zeroipc.mp, "theirs": multiprocessing}
    modules[setter].set_start_method(method)
    starter = modules[starter]
    for context in (starter, starter.get_context(), starter.get_context(method)):
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(target=tell, args=(sending,))
        process.start()
        sending.close()
        assert receiving.recv() == [method, method]
        process.join()
        assert process.exitcode == 0
    print("done")
"""

# The start method is a process-wide setting, so this runs in a process of its own.
SETTINGS = """
import multiprocessing as theirs, zeroipc.mp as ours
assert ours.get_start_method(allow_none=True) is None
assert theirs.get_start_method(allow_none=True) is None
ours.set_start_method("spawn")
assert theirs.get_start_method() == ours.get_start_method() == "spawn"
assert type(ours.get_context()).__name__ == type(theirs.get_context()).__name__ == "SpawnContext"
for setter in (ours, theirs):
    try:
        setter.set_start_method("fork")
    except RuntimeError as error:
        assert "already been set" in str(error)
    else:
        raise AssertionError("set twice")
theirs.set_start_method("fork", force=True)
assert ours.get_start_method() == "fork"
theirs.set_start_method("spawn", force=True)
assert ours.get_all_start_methods() == theirs.get_all_start_methods()
ours.set_start_method(None, force=True)
assert theirs.get_start_method(allow_none=True) is None
ours.get_context()
assert theirs.get_start_method(allow_none=True) == theirs.get_all_start_methods()[0]
print("done")
"""


def run(*command: str) -> str:
    done = subprocess.run([sys.executable, *command], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("method", METHODS)
def test_context_is_the_standard_librarys_kind(method: str) -> None:
    ours = zeroipc.mp.get_context(method)
    theirs: Any = multiprocessing.get_context(method)
    assert isinstance(ours, type(theirs))
    assert type(ours).__name__ == type(theirs).__name__
    assert ours.get_start_method() == method
    assert ours.Process is theirs.Process
    assert ours is zeroipc.mp.get_context(method) is ours.get_context()
    assert isinstance(pickle.loads(pickle.dumps(ours)), type(ours))


def test_contexts_lead_to_each_other_and_not_to_the_standard_librarys() -> None:
    for method in METHODS:
        assert zeroipc.mp.get_context("spawn").get_context(method) is zeroipc.mp.get_context(method)


def test_method_that_does_not_exist() -> None:
    for name in ("nowhere", ""):
        with pytest.raises(ValueError, match="cannot find context"):
            zeroipc.mp.get_context(name)


def test_method_of_another_library_is_passed_through(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = standard.BaseContext()
    monkeypatch.setitem(vars(standard)["_concrete_contexts"], "another", theirs)
    assert zeroipc.mp.get_context("another") is theirs


def test_start_method_is_one_setting() -> None:
    assert run("-c", SETTINGS) == "done\n"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("starter", ["ours", "theirs"])
@pytest.mark.parametrize("setter", ["ours", "theirs"])
def test_children_have_their_parents_start_method(
    tmp_path: Path, setter: str, starter: str, method: str
) -> None:
    script = tmp_path / "script.py"
    script.write_text(CHILD)
    assert run(str(script), setter, starter, method) == "done\n"


class Made:
    """In place of a class of ours: keeps what it was made with."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.args, self.options = args, options


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {
        "queues": ("Queue", "JoinableQueue", "SimpleQueue"),
        "executor": ("ProcessPoolExecutor",),
    }
    for module, classes in names.items():
        made = ModuleType(f"zeroipc.mp.{module}")
        vars(made).update(dict.fromkeys(classes, Made))
        monkeypatch.setitem(sys.modules, made.__name__, made)


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("method", METHODS)
def test_queues_are_ours_and_know_their_context(method: str) -> None:
    context = zeroipc.mp.get_context(method)
    assert context.Queue().args == (0,)
    assert context.Queue(3).args == context.Queue(maxsize=3).args == (3,)
    assert context.JoinableQueue(3).args == context.JoinableQueue(maxsize=3).args == (3,)
    assert context.Queue().options == {"ctx": context, "name": None}
    assert context.JoinableQueue(name="n").options == {"ctx": context, "name": "n"}
    assert context.SimpleQueue().options == {"ctx": context}
    assert context.SimpleQueue().args == ()


@pytest.mark.usefixtures("stand_ins")
def test_module_functions_use_the_current_method() -> None:
    for function in (zeroipc.mp.Queue, zeroipc.mp.JoinableQueue, zeroipc.mp.SimpleQueue):
        made: Any = function()
        assert made.options["ctx"] == zeroipc.mp.get_context()


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("method", METHODS)
def test_executor_of_a_context(method: str) -> None:
    context = zeroipc.mp.get_context(method)
    made = context.ProcessPoolExecutor(2, max_tasks_per_child=5)
    assert made.args == (2,)
    assert made.options == {"mp_context": context, "max_tasks_per_child": 5}


def test_pool_does_its_work(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing.pool, zeroipc.mp\n"
        "if __name__ == '__main__':\n"
        "    for method in zeroipc.mp.get_all_start_methods():\n"
        "        with zeroipc.mp.get_context(method).Pool(2) as pool:\n"
        "            assert isinstance(pool, multiprocessing.pool.Pool)\n"
        "            print(pool.map(abs, [-1, -2]))\n"
        "        pool.join()\n"
    )
    assert run(str(script)) == "[1, 2]\n" * len(METHODS)
