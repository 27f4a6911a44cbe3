"""Which private names of the implementation does each CPython test reach into?

Reads the test's source: an attribute `thing._name` counts unless thing is self or cls, or a module
that has nothing to do with multiprocessing. What a test calls in its own file (its setUp, tearDown
and functions) counts as well.
"""

import ast

Names = tuple[set[str], set[str]]

UNRELATED = {
    "faulthandler",
    "fut",
    "gc",
    "os",
    "script_helper",
    "signal",
    "socket",
    "subprocess",
    "support",
    "sys",
    "threading",
    "threading_helper",
    "time",
}
# touched by every fixture, with no effect on the result
ALLOWED = {"_dangling", "_cleanup_tests"}
# runs only once the test has already failed
AFTER_FAILURE = {"_fail_on_deadlock"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def names_in(function: ast.AST) -> Names:
    """(private names used, names of the file's own functions that may be called)"""
    private: set[str] = set()
    calls: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.ClassDef):  # a subclass that overrides _name
            methods = (item.name for item in node.body if isinstance(item, ast.FunctionDef))
            private.update(filter(is_private, methods))
        elif isinstance(node, ast.Name):
            calls.add(node.id)
        elif isinstance(node, ast.Attribute):
            base = node.value.id if isinstance(node.value, ast.Name) else None
            if base in ("self", "cls"):
                calls.add(node.attr)
            elif is_private(node.attr) and base not in UNRELATED:
                private.add(node.attr)
    return private - ALLOWED, calls


def functions_of(tree: ast.Module) -> dict[str, Names]:
    """{"Class.method" or "function": what it names} for a whole file."""
    table = {}
    for node in tree.body:
        for function in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(function, ast.FunctionDef):
                owner = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
                table[owner + function.name] = names_in(function)
    return table


def reached(key: str, table: dict[str, Names], seen: set[str]) -> set[str]:
    """The private names that function KEY uses, itself or through what it calls."""
    if key in seen or key not in table or key.rpartition(".")[2] in AFTER_FAILURE:
        return set()
    seen.add(key)
    private, calls = table[key]
    owner = key.rpartition(".")[0]
    for call in calls:
        private = private | reached(f"{owner}.{call}", table, seen)
        private = private | reached(call, table, seen)
    return private


def private_uses(path: str) -> dict[str, list[str]]:
    """{"Class.test": [private names]} for the file at PATH."""
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    table = functions_of(tree)
    of_the_file = {getattr(node, "name", "") for node in tree.body}
    of_the_file |= {key.rpartition(".")[2] for key in table}
    uses = {}
    for key in table:
        owner, _, name = key.rpartition(".")
        if owner and name.startswith("test"):
            seen: set[str] = set()
            found: set[str] = set()
            for start in (key, f"{owner}.setUp", f"{owner}.tearDown"):
                found |= reached(start, table, seen)
            uses[key] = sorted(found - of_the_file)
    return uses
