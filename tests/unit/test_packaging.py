"""The wheel: complete, and built with or without a compiler.

A copy of the project is built whose core is one small C file: quick, and the same in any state
of the real sources, which `make` builds anyway.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = "import setuptools.build_meta as backend; backend.build_wheel('wheel')"
MODULE = """
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "zeroipc._native"};
PyMODINIT_FUNC PyInit__native(void)
{
    PyObject *made = PyModule_Create(&module);
    if (made) PyModule_AddIntConstant(made, "_fingerprint", ZI_FINGERPRINT);
    return made;
}
"""
IGNORED = "static int never_called(void) { return 1; }\n"

headers = Path(sysconfig.get_path("include"), "Python.h")
needs_compiler = pytest.mark.skipif(
    shutil.which("gcc") is None or not headers.exists(), reason="gcc or Python.h is missing"
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what a build reads."""
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    unwanted = shutil.ignore_patterns("*.so", "*.c", "__pycache__")
    shutil.copytree(ROOT / "zeroipc", tmp_path / "zeroipc", ignore=unwanted)
    (tmp_path / "zeroipc/_core/module.c").write_text(MODULE)
    (tmp_path / "wheel").mkdir()
    return tmp_path


def build(project: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    ours = ("ZEROIPC_REQUIRE_NATIVE", "ZEROIPC_WERROR", "ZEROIPC_BACKEND", "CC")
    env = {key: text for key, text in os.environ.items() if key not in ours} | variables
    command = [sys.executable, "-c", BUILD]
    return subprocess.run(
        command, cwd=project, env=env, capture_output=True, text=True, check=False
    )


def unpack(project: Path) -> list[str]:
    """Extract the one wheel to project/site; return the names of its files."""
    (wheel,) = (project / "wheel").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(project / "site")
        return archive.namelist()


def backend_of(site: Path) -> str:
    """Import the package that was built; return its backend.

    Without site-packages, where an editable install would lend its own extension.
    """
    code = f"import sys; sys.path[:0] = [{str(site)!r}]; import zeroipc; print(zeroipc.backend)"
    env = {key: text for key, text in os.environ.items() if key != "ZEROIPC_BACKEND"}
    command = [sys.executable, "-S", "-c", code]
    return subprocess.run(
        command, cwd=site, env=env, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_without_a_compiler_the_package_is_built_in_pure_python(project: Path) -> None:
    done = build(project, CC="false")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("pure Python") == 1
    names = unpack(project)
    assert not [name for name in names if name.endswith(".so")]
    assert {"zeroipc/py.typed", "zeroipc/_native.pyi", "zeroipc/_backend.py"} <= set(names)
    assert backend_of(project / "site") == "pure"


def test_a_required_extension_that_fails_is_an_error(project: Path) -> None:
    assert build(project, CC="false", ZEROIPC_REQUIRE_NATIVE="1").returncode != 0
    assert not list((project / "wheel").iterdir())


def test_without_sources_there_is_no_extension(project: Path) -> None:
    (project / "zeroipc/_core/module.c").unlink()
    assert build(project).returncode == 0
    assert not [name for name in unpack(project) if name.endswith(".so")]


@needs_compiler
def test_with_a_compiler_the_extension_is_in_the_wheel(project: Path) -> None:
    done = build(project, ZEROIPC_REQUIRE_NATIVE="1", ZEROIPC_WERROR="1")
    assert done.returncode == 0, done.stderr
    assert f"zeroipc/_native{sysconfig.get_config_var('EXT_SUFFIX')}" in unpack(project)
    assert backend_of(project / "site") == "native"


@needs_compiler
def test_warnings_are_errors_only_where_asked(project: Path) -> None:
    (project / "zeroipc/_core/module.c").write_text(MODULE + IGNORED)
    assert build(project, ZEROIPC_REQUIRE_NATIVE="1", ZEROIPC_WERROR="1").returncode != 0
    assert build(project, ZEROIPC_REQUIRE_NATIVE="1").returncode == 0
