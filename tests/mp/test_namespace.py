"""`import zeroipc.mp as multiprocessing`: every name is there, nothing is loaded early."""

import importlib
import inspect
import multiprocessing
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import zeroipc.mp
from tests.support.programs import run_python

METHODS = multiprocessing.get_all_start_methods()
SUBMODULES = [
    found.name
    for found in pkgutil.iter_modules(multiprocessing.__path__)
    if found.name != "popen_spawn_win32"  # cannot be imported elsewhere
]
OURS = {found.name for found in pkgutil.iter_modules(zeroipc.mp.__path__)}


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_has_every_public_name() -> None:
    assert zeroipc.mp.__all__ == multiprocessing.__all__
    assert [name for name in multiprocessing.__all__ if not hasattr(zeroipc.mp, name)] == []


def test_has_every_other_name() -> None:
    assert set(dir(multiprocessing)) <= set(dir(zeroipc.mp))
    assert [name for name in dir(multiprocessing) if not hasattr(zeroipc.mp, name)] == []


@pytest.mark.parametrize("method", METHODS)
def test_contexts_have_every_name(method: str) -> None:
    theirs, ours = multiprocessing.get_context(method), zeroipc.mp.get_context(method)
    assert set(dir(theirs)) <= set(dir(ours))
    assert isinstance(ours, type(theirs))


@pytest.mark.parametrize("method", METHODS)
def test_methods_of_contexts_take_the_same_arguments(method: str) -> None:
    theirs, ours = multiprocessing.get_context(method), zeroipc.mp.get_context(method)
    methods = [
        name for name in dir(theirs) if name[0] != "_" and inspect.ismethod(getattr(theirs, name))
    ]
    assert {"Array", "Barrier", "Manager", "Pipe", "Pool", "Queue", "Value"} < set(methods)
    for name in methods:
        wanted = parameters(getattr(theirs, name))
        assert parameters(getattr(ours, name))[: len(wanted)] == wanted, name


def parameters(call: Callable[..., Any]) -> list[inspect.Parameter]:
    found = inspect.signature(call).parameters.values()
    return [parameter.replace(annotation=inspect.Parameter.empty) for parameter in found]


def test_classes_that_are_not_ours_are_the_standard_librarys() -> None:
    for name in ("Process", "ProcessError", "TimeoutError", "current_process", "SUBDEBUG"):
        assert getattr(zeroipc.mp, name) is getattr(multiprocessing, name)


def test_star_import_gives_what_the_standard_library_gives() -> None:
    code = "from {} import *; print(sorted(n for n in dir() if n[0] != '_'))"
    assert run(code.format("zeroipc.mp")) == run(code.format("multiprocessing"))


@pytest.mark.parametrize("name", SUBMODULES)
def test_submodule_is_the_standard_librarys_own_or_has_all_its_names(name: str) -> None:
    ours = importlib.import_module(f"zeroipc.mp.{name}")
    theirs = importlib.import_module(f"multiprocessing.{name}")
    if name in OURS:
        assert [attribute for attribute in dir(theirs) if not hasattr(ours, attribute)] == []
        assert set(dir(theirs)) <= set(dir(ours))
    else:
        assert ours is theirs


@pytest.mark.parametrize("name", [name for name in SUBMODULES if name in OURS])
def test_star_import_of_a_submodule_gives_what_the_standard_librarys_gives(name: str) -> None:
    starred: list[dict[str, Any]] = [{}, {}]
    for package, names in zip(("multiprocessing", "zeroipc.mp"), starred, strict=True):
        exec(f"from {package}.{name} import *", names)
    assert starred[0].keys() == starred[1].keys()


def tell(conn: Any) -> None:
    child = zeroipc.mp.current_process()
    methods = [multiprocessing.get_start_method(), zeroipc.mp.get_start_method()]
    conn.send((methods, child.daemon, type(child).__name__, zeroipc.mp.Queue().qsize()))


@pytest.mark.parametrize("method", METHODS)
def test_start_method_and_flags_hold_in_children(method: str) -> None:
    program = f"""
        import zeroipc.mp as mp
        from tests.mp.test_namespace import tell

        if __name__ == "__main__":
            mp.set_start_method({method!r})
            for context, daemon in (mp, True), (mp.get_context({method!r}), False):
                here, there = context.Pipe()
                child = context.Process(target=tell, args=(there,), daemon=daemon)
                child.start()
                print(here.recv())
                child.join()
        """
    printed = run_python(program).stdout
    expected = [
        ([method, method], daemon, name, 0)
        for daemon, name in ((True, "Process"), (False, NAMES[method]))
    ]
    assert printed.splitlines() == [str(line) for line in expected]


NAMES = {"fork": "ForkProcess", "spawn": "SpawnProcess", "forkserver": "ForkServerProcess"}


@pytest.mark.parametrize("name", [name for name in SUBMODULES if name not in OURS])
def test_import_leaves_the_standard_librarys_module_as_it_was(name: str) -> None:
    printed = run(
        f"import zeroipc.mp.{name}, multiprocessing.{name} as theirs\n"
        f"print(zeroipc.mp.{name} is theirs, theirs.__name__, theirs.__spec__.name)"
    )
    assert printed.split() == ["True", f"multiprocessing.{name}", f"multiprocessing.{name}"]


def test_submodules_of_a_submodule_are_not_loaded_twice() -> None:
    code = "import zeroipc.mp.dummy.connection as ours, multiprocessing.dummy.connection as theirs"
    assert run(f"{code}; print(ours is theirs)") == "True\n"


def test_submodule_is_an_attribute_without_an_import() -> None:
    assert run("import zeroipc.mp as mp; print(mp.connection.Client.__name__)") == "Client\n"


def test_our_submodule_wins_over_a_loaded_one_of_the_standard_library() -> None:
    code = "import multiprocessing.queues, zeroipc.mp as mp; print(mp.context.__name__)"
    assert run(code) == "zeroipc.mp.context\n"


def test_names_that_exist_nowhere() -> None:
    with pytest.raises(AttributeError, match=r"module 'zeroipc.mp' has no attribute 'nowhere'"):
        _ = zeroipc.mp.nowhere
    with pytest.raises(AttributeError, match="nowhere"):
        _ = importlib.import_module("zeroipc.mp.context").nowhere
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'zeroipc.mp.nowhere'"):
        importlib.import_module("zeroipc.mp.nowhere")


def test_what_we_add_is_listed_and_loads() -> None:
    assert {"ProcessPoolExecutor", "asarray", "empty"} <= set(dir(zeroipc.mp))
    assert isinstance(zeroipc.mp.ProcessPoolExecutor, type)
    assert callable(zeroipc.mp.asarray)
    assert callable(zeroipc.mp.empty)


def test_import_loads_nothing_that_is_not_needed_yet() -> None:
    printed = run(
        "import concurrent.futures, multiprocessing, sys; before = set(sys.modules)\n"
        "import zeroipc.mp; zeroipc.mp.get_context('spawn'); dir(zeroipc.mp)\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    heavy = {
        "numpy",
        "cloudpickle",
        "concurrent.futures.process",
        "ctypes",
        "pickle",
        "multiprocessing.queues",
    }
    assert heavy & set(printed.split()) == set()
    assert {"zeroipc.mp.queues", "zeroipc.mp.executor"} & set(printed.split()) == set()
