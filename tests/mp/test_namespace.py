"""`import zeroipc.mp as multiprocessing`: every name is there, nothing is loaded early."""

import importlib
import multiprocessing
import pkgutil
import subprocess
import sys

import pytest

import zeroipc.mp

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


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_contexts_have_every_public_name(method: str) -> None:
    theirs, ours = multiprocessing.get_context(method), zeroipc.mp.get_context(method)
    public = {name for name in dir(theirs) if not name.startswith("_")}
    assert public - set(dir(ours)) == set()


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
    else:
        assert ours is theirs


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
