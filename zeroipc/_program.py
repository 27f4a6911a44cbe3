"""`python -m zeroipc run`: a program as `python` itself would run it, with `zeroipc.mp` installed.

The program gets a `__main__` of its own, sys.argv and sys.path[0] as it is used to, and the
interpreter deals with its exceptions; only our own stack frames are taken out of what is printed.
"""

from __future__ import annotations

import builtins
import os
import pkgutil
import sys
from importlib.machinery import BuiltinImporter, SourceFileLoader, SourcelessFileLoader
from importlib.util import MAGIC_NUMBER
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def run(arguments: list[str]) -> None:
    """Run what *arguments* name, as `python` does: -m module, -c code, a path, or - for stdin.

    A path may be that of a directory or zip file with a `__main__.py`.
    """
    from zeroipc.mp.swap import install

    install()
    match arguments:
        case ["-m", module, *rest]:
            _begin([module, *rest], os.getcwd())
            _guard(lambda: _run_module(module, alter_argv=True))
        case ["-c", code, *rest]:
            main = _begin(["-c", *rest], "")
            _guard(lambda: _run_source(main, code, "<string>"))
        case ["-", *rest]:
            main = _begin(["-", *rest], "")
            main.__file__, main.__cached__ = "<stdin>", None
            _guard(lambda: _run_source(main, sys.stdin.buffer.read(), "<stdin>"))
        case [path, *rest]:
            _run_path(path, rest)


def _begin(argv: list[str], folder: str) -> Any:
    """Give the program its arguments, its place on sys.path, and an empty `__main__`."""
    sys.argv[:] = argv
    if not sys.flags.safe_path:
        sys.path[0] = folder
    main: Any = ModuleType("__main__")
    main.__builtins__ = builtins
    main.__loader__ = BuiltinImporter
    # The second is what multiprocessing would have made of the first: what children's pickles name.
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    return main


def _run_path(path: str, rest: list[str]) -> None:
    """Run a script, or the `__main__` of a directory or zip file."""
    place = os.path.join(os.getcwd(), path)
    if pkgutil.get_importer(place) is not None:
        _begin([path, *rest], place)
        if sys.flags.safe_path:
            sys.path.insert(0, place)
        _guard(lambda: _run_module("__main__", alter_argv=False))
        return
    try:
        with open(place, "rb") as file:
            source = file.read()
    except OSError as error:
        print(
            f"{sys.executable}: can't open file {place!r}: [Errno {error.errno}] {error.strerror}",
            file=sys.stderr,
        )
        sys.exit(2)
    main = _begin([path, *rest], os.path.dirname(os.path.realpath(place)))
    main.__file__ = place
    main.__cached__ = None
    _guard(lambda: _run_file(main, source))


def _run_file(main: Any, source: bytes) -> None:
    """Run the content of a script, or of a compiled one."""
    path = main.__file__
    if source.startswith(MAGIC_NUMBER):
        main.__loader__ = SourcelessFileLoader("__main__", path)
        exec(main.__loader__.get_code("__main__"), vars(main))
    else:
        main.__loader__ = SourceFileLoader("__main__", path)
        _run_source(main, source, path)


def _run_source(main: Any, source: bytes | str, name: str) -> None:
    exec(compile(source, name, "exec", dont_inherit=True), vars(main))


def _run_module(name: str, *, alter_argv: bool) -> None:
    """Run a module as `-m` does: by the very function that the interpreter calls."""
    import runpy

    vars(runpy)["_run_module_as_main"](name, alter_argv)


def _guard(start: Callable[[], None]) -> None:
    """Call *start*; let exceptions through, and hide our stack frames when they are printed."""
    try:
        start()
    except SystemExit:
        raise
    except BaseException as error:
        _hide_ours(error)
        raise


def _hide_ours(error: BaseException) -> None:
    """Have sys.excepthook told of *error* as if it had come from the program alone."""
    kept: BaseException | None = error
    theirs = error.__traceback__
    while theirs and theirs.tb_frame.f_code.co_filename == __file__:
        theirs = theirs.tb_next
    hook = sys.excepthook

    def show(kind: type[BaseException], value: BaseException, where: TracebackType | None) -> None:
        nonlocal kept, theirs
        if value is kept:
            value.__traceback__ = where = theirs
        # What the program's frames hold must go while there are modules, and the hook stays longer.
        kept = theirs = None
        hook(kind, value, where)

    sys.excepthook = show
