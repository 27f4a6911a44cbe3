"""Which backend is chosen, when, and what is said about it.

Each case is a fresh interpreter in which the extension is present (a stand-in) or absent, so the
outcome does not depend on how this checkout was built.
"""

from __future__ import annotations

import importlib.util
import logging
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zeroipc import _backend
from zeroipc.errors import BackendError

ROOT = Path(__file__).resolve().parents[2]
STALE = "import sys, types; sys.modules['zeroipc._native'] = types.ModuleType('native'); "
PRESENT = STALE + (
    "from zeroipc._fingerprint import fingerprint; "
    "sys.modules['zeroipc._native']._fingerprint = fingerprint(); "
)
ABSENT = "import sys, types; sys.modules['zeroipc._native'] = None; "
TWIN = "sys.modules['zeroipc._core.transport'] = types.ModuleType('twin'); "
SHOW = "from zeroipc._backend import name, transport; print(name, transport.__name__)"


def python(code: str, value: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {key: text for key, text in os.environ.items() if key != "ZEROIPC_BACKEND"}
    if value is not None:
        env["ZEROIPC_BACKEND"] = value
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("value", "setting", "shown"),
    [
        (None, PRESENT, "native native"),
        ("auto", PRESENT, "native native"),
        ("native", PRESENT, "native native"),
        ("pure", PRESENT, "pure twin"),
        ("pure", ABSENT, "pure twin"),
    ],
)
def test_choice_without_a_word(value: str | None, setting: str, shown: str) -> None:
    done = python(setting + TWIN + SHOW, value)
    assert (done.stdout, done.stderr) == (shown + "\n", "")


def test_auto_falls_back_and_says_so_in_one_line() -> None:
    done = python(ABSENT + TWIN + SHOW + "; import zeroipc; print(zeroipc.backend)", "auto")
    assert done.stdout == "pure twin\npure\n"
    assert len(done.stderr.splitlines()) == 1
    assert "pure Python" in done.stderr
    assert _backend.REMEDY in done.stderr


def test_native_without_the_extension_fails_with_the_remedy() -> None:
    done = python(ABSENT + SHOW, "native")
    assert done.returncode != 0
    assert "BackendError: ZEROIPC_BACKEND=native" in done.stderr
    assert _backend.REMEDY in done.stderr


@pytest.mark.parametrize("value", ["auto", "native"])
def test_an_extension_of_other_code_is_refused_with_the_remedy(value: str) -> None:
    done = python(STALE + SHOW, value)
    assert done.returncode != 0
    assert "BackendError: zeroipc._native must be built from the code beside it" in done.stderr
    assert _backend.BUILD_AGAIN in done.stderr


def test_an_extension_of_other_code_does_not_matter_in_pure_python() -> None:
    assert python(STALE + TWIN + SHOW, "pure").stdout == "pure twin\n"


def test_an_extension_of_named_structures_of_other_code_is_refused() -> None:
    stale = "sys.modules['zeroipc._named'] = types.ModuleType('named'); "
    done = python(PRESENT + stale + "from zeroipc._backend import named", "native")
    assert "BackendError: zeroipc._named must be built from the code beside it" in done.stderr


def test_an_extension_is_taken_as_it_is_where_the_code_cannot_be_read() -> None:
    unread = "import zeroipc._fingerprint as f; f.AGREED = ('no such file',); "
    assert python(STALE + unread + SHOW, "native").stdout == "native native\n"


def test_another_value_is_refused_naming_the_three() -> None:
    done = python(PRESENT + SHOW, "fast")
    assert done.returncode != 0
    assert "BackendError: ZEROIPC_BACKEND must be native, pure or auto: 'fast'" in done.stderr


def test_importing_the_package_chooses_nothing() -> None:
    loaded = "print([m for m in ('numpy', 'zeroipc._native') if m in sys.modules])"
    done = python(f"import sys, zeroipc, zeroipc._backend; {loaded}", "fast")
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_child_process_does_not_repeat_the_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "zeroipc._native", None)
    caplog.set_level(logging.INFO, "zeroipc")
    assert _backend.choose("auto") == "pure"
    monkeypatch.setattr(multiprocessing, "parent_process", object)
    assert _backend.choose("auto") == "pure"
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_unknown_attributes_are_reported_as_usual() -> None:
    with pytest.raises(AttributeError, match="transprot"):
        _ = _backend.transprot


def test_backend_error_is_an_import_error() -> None:
    with pytest.raises(ImportError):
        _backend.choose("")
    assert issubclass(BackendError, ImportError)


@pytest.mark.skipif(
    os.environ.get("ZEROIPC_REQUIRE_NATIVE") != "1", reason="ZEROIPC_REQUIRE_NATIVE is not 1"
)
def test_the_extension_is_there_where_it_is_required() -> None:
    assert importlib.util.find_spec("zeroipc._native") is not None
