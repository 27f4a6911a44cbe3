"""Builds the C extension, which is optional: without it the package works in pure Python.

    ZEROIPC_REQUIRE_NATIVE=1   a failed build of the extension is an error
    ZEROIPC_WERROR=1           a warning of the C compiler is an error

Everything else is in pyproject.toml.
"""

import os
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError

REQUIRED = os.environ.get("ZEROIPC_REQUIRE_NATIVE") == "1"
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra"]
if os.environ.get("ZEROIPC_WERROR") == "1":
    FLAGS.append("-Werror")


class OptionalBuild(build_ext):
    """Build the extension, or say in one line why there is none."""

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except (BaseError, CCompilerError, OSError) as error:
            if REQUIRED:
                raise
            print(f"zeroipc: no C extension ({error}); the package works in pure Python, slower")


def extensions() -> list[Extension]:
    """Return zeroipc._native, made of every C file of the core."""
    sources = sorted(glob("zeroipc/_core/*.c"))
    if not sources:
        return []
    return [
        Extension(
            "zeroipc._native",
            sources,
            depends=sorted(glob("zeroipc/_core/*.h")),
            extra_compile_args=FLAGS,
            libraries=["rt", "pthread"],
            optional=not REQUIRED,  # an editable install copies it only if it was built
        )
    ]


setup(ext_modules=extensions(), cmdclass={"build_ext": OptionalBuild})
