"""Builds the C extension, which is optional: without it the package works in pure Python.

    ZEROIPC_REQUIRE_NATIVE=1   a failed build of the extension is an error
    ZEROIPC_WERROR=1           a warning of the C compiler is an error

Everything else is in pyproject.toml.
"""

import os
import runpy
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError

REQUIRED = os.environ.get("ZEROIPC_REQUIRE_NATIVE") == "1"
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra"]
if os.environ.get("ZEROIPC_WERROR") == "1":
    FLAGS.append("-Werror")


class OptionalBuild(build_ext):
    """Build the extensions, or say in one line why there are none."""

    failed = False

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except (BaseError, CCompilerError, OSError) as error:
            if REQUIRED:
                raise
            if self.failed:
                return  # and has said so
            self.failed = True
            print(f"zeroipc: no C extension ({error}); the package works in pure Python, slower")


def extensions() -> list[Extension]:
    """Return the C extensions of the core: the transport, and the named structures."""
    headers = sorted(glob("zeroipc/_core/**/*.h", recursive=True))
    agreement = runpy.run_path("zeroipc/_fingerprint.py")
    agreed = [f"zeroipc/{name}" for name in agreement["AGREED"]]
    return [
        Extension(
            name,
            sorted(glob(sources)),
            depends=headers + agreed,
            define_macros=[("ZI_FINGERPRINT", f"{agreement['fingerprint']()}L")],
            extra_compile_args=FLAGS,
            libraries=["rt", "pthread"],
            optional=not REQUIRED,  # an editable install copies it only if it was built
        )
        for name, sources in (
            ("zeroipc._native", "zeroipc/_core/*.c"),
            ("zeroipc._named", "zeroipc/_core/named/*.c"),
        )
        if glob(sources)
    ]


setup(ext_modules=extensions(), cmdclass={"build_ext": OptionalBuild})
