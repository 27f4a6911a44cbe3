#!/usr/bin/env python3
"""Write each layout.h and the tables of SPECIFICATION.md from the layout.py beside it.

    tools/gen_layout.py            rewrite what is stale
    tools/gen_layout.py --check    exit 1, naming the stale file, and write nothing
    tools/gen_layout.py --tables   print every table as Markdown

In SPECIFICATION.md the text between `<!-- layout:NAME -->` and `<!-- /layout -->` is
the table of the layout NAME. Nothing but the standard library is needed.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import sys
import types
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REGION = re.compile(r"(<!-- layout:(\w+) -->\n).*?(<!-- /layout -->)", re.DOTALL)
PREAMBLE = """\
/* Written by tools/gen_layout.py from layout.py. Do not edit: change layout.py. */
#ifndef {guard}
#define {guard}

#include <stddef.h>
#include <stdint.h>
{includes}
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the shared format is little-endian"
#endif
"""
POSTAMBLE = "\n#endif /* {guard} */\n"


def load(path: Path) -> types.ModuleType:
    """Import a layout.py and its fields.py, but not the package around them."""
    parts, folder = [path.stem], path.parent
    while not (folder / "fields.py").exists():
        parts.append(folder.name)
        folder = folder.parent
    package = types.ModuleType("_zeroipc_layout")
    package.__path__ = [str(folder)]
    for name in [name for name in sys.modules if name.startswith(package.__name__)]:
        del sys.modules[name]  # of another folder
    sys.modules[package.__name__] = package
    return importlib.import_module(".".join([package.__name__, *reversed(parts)]))


def layouts(module: types.ModuleType) -> Iterator[Any]:
    """Yield the layouts that have a public name, in the order of declaration."""
    for name, value in vars(module).items():
        if type(value).__name__ == "Layout" and not name.startswith("_"):
            yield value


def constants(module: types.ModuleType) -> Iterator[tuple[str, int | bytes]]:
    """Yield the module's public upper-case int and bytes constants."""
    for name, value in vars(module).items():
        if name.isupper() and not name.startswith("_") and type(value) in (int, bytes):
            yield name, value


def remarks(path: Path) -> dict[str, str]:
    """Return the docstring that stands below each module-level assignment."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    found = {}
    for statement, below in pairwise(body):
        match statement, below:
            case (
                ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = text
    return found


# --- C -------------------------------------------------------------------------------


def comment(text: str, indent: str = "") -> str:
    """Return *text* on one line as a C comment, or nothing for no text."""
    flat = " ".join(text.split()).replace("*/", "* /")
    return f"{indent}/* {flat} */\n" if flat else ""


def c_int(value: int) -> str:
    """Return a C literal that works in #if too; what exceeds int is 64 bits wide.

    A 32-bit unsigned literal would lose the upper half of `word & ~ZI_FLAG`.
    """
    digits = hex(value) if abs(value) >= 1 << 16 else str(value)
    if value < 0:
        return f"({digits})" if value >= -(1 << 31) else f"INT64_C({digits})"
    return digits if value < 1 << 31 else f"UINT64_C({digits})"


def c_string(value: bytes) -> str:
    """Return a C string literal; octal escapes end after three digits, hexadecimal ones do not."""
    text = value.decode("latin-1")
    return (
        '"'
        + "".join(c if re.match(r"[\w .:/-]", c, re.ASCII) else f"\\{ord(c):03o}" for c in text)
        + '"'
    )


def c_constant(name: str, value: int | bytes) -> str:
    """Return the definition of one constant; bytes of a word's width also as that word."""
    if isinstance(value, int):
        return f"#define ZI_{name} {c_int(value)}\n"
    text = f"#define ZI_{name} {c_string(value)}\n"
    if len(value) in (4, 8):
        text += f"#define ZI_{name}_WORD {c_int(int.from_bytes(value, 'little'))}\n"
    return text


def c_struct(layout: Any) -> str:
    """Return the struct with explicit padding, and an assertion for each offset."""
    tag = f"zi_{layout.name}"
    members, asserts, end = "", "", 0
    for field in layout.fields:
        members += c_padding(end, field.offset)
        members += comment(field.doc, "    ")
        array = f"[{field.length}]" if field.length > 1 or field.ctype == "char" else ""
        members += f"    {field.ctype} {field.name}{array};\n"
        asserts += (
            f"_Static_assert(offsetof({tag}, {field.name}) == {field.offset},\n"
            f'               "{tag}.{field.name} must be at {field.offset}");\n'
        )
        end = field.end
    members += c_padding(end, layout.nbytes)
    asserts += (
        f"_Static_assert(sizeof({tag}) == {layout.nbytes},\n"
        f'               "{tag} must be {layout.nbytes} bytes");\n'
    )
    return f"\n{comment(layout.doc)}typedef struct {tag} {{\n{members}}} {tag};\n{asserts}"


def c_padding(start: int, end: int) -> str:
    """Return the member that fills *start* to *end*, named by where it is."""
    return f"    uint8_t pad_{start}[{end - start}];\n" if end > start else ""


def header(path: Path) -> str:
    """Return the whole of layout.h."""
    module, docs = load(path), remarks(path)
    has_mutex = any(field.ctype == "zi_mutex" for x in layouts(module) for field in x.fields)
    names = {
        "guard": "ZI_LAYOUT_H" if has_mutex else f"ZI_{path.parent.name.upper()}_LAYOUT_H",
        "includes": '\n#include "mutex.h"\n' if has_mutex else "",
    }
    text = PREAMBLE.format(**names)
    for name, value in constants(module):
        text += "\n" * (name in docs) + comment(docs.get(name, "")) + c_constant(name, value)
    return text + "".join(map(c_struct, layouts(module))) + POSTAMBLE.format(**names)


# --- Markdown --------------------------------------------------------------------------


def table(layout: Any) -> str:
    """Return one layout as a Markdown table, ending in the size of the record."""
    rows = "| offset | bytes | type | field | meaning |\n|---:|---:|---|---|---|\n"
    for field in layout.fields:
        kind = f"{field.ctype}[{field.length}]" if field.length > 1 else field.ctype
        meaning = " ".join(field.doc.split()).replace("|", "\\|")
        nbytes = field.nbytes * field.length
        rows += f"| {field.offset} | {nbytes} | `{kind}` | `{field.name}` | {meaning} |\n"
    return f"{rows}| {layout.nbytes} | | | | end |\n"


def fill(text: str, modules: Iterable[types.ModuleType]) -> str:
    """Return *text* with each marked region replaced by its table.

    Raises:
        SystemExit: a region names no layout.
    """
    known = {layout.name: layout for module in modules for layout in layouts(module)}

    def region(match: re.Match[str]) -> str:
        opening, name, closing = match.groups()
        if name not in known:
            sys.exit(f"a region must name a layout of layout.py: {name}")
        return opening + table(known[name]) + closing

    return REGION.sub(region, text)


# --- Command line ------------------------------------------------------------------------


def wanted(paths: list[Path], spec: Path) -> Iterator[tuple[Path, str]]:
    """Yield each generated file with the text that it should have."""
    for path in paths:
        yield path.with_suffix(".h"), header(path)
    if spec.exists():
        yield spec, fill(spec.read_text(encoding="utf-8"), map(load, paths))


def arguments() -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    core = ROOT / "zeroipc" / "_core"
    parser.add_argument(
        "--layout",
        type=Path,
        nargs="+",
        default=[core / "layout.py", core / "named" / "layout.py"],
    )
    parser.add_argument("--spec", type=Path, default=ROOT / "SPECIFICATION.md")
    parser.add_argument("--check", action="store_true", help="exit 1 if a file is stale")
    parser.add_argument("--tables", action="store_true", help="print the Markdown tables")
    return parser.parse_args()


def main() -> int:
    """Run the command line; return the exit status."""
    args = arguments()
    if args.tables:
        for layout in (layout for path in args.layout for layout in layouts(load(path))):
            print(f"### {layout.name}\n\n{layout.doc}\n\n{table(layout)}")
        return 0
    stale = 0
    for path, text in wanted(args.layout, args.spec):
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale = 1
        if args.check:
            print(f"{path} is stale: run tools/gen_layout.py", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    return stale if args.check else 0


if __name__ == "__main__":
    sys.exit(main())
