"""`python -m zeroipc`: runs programs on `zeroipc.mp`, and shows what is in a segment."""

import sys

USAGE = """\
usage: python -m zeroipc run [-m MODULE | -c CODE | SCRIPT | -] [ARGUMENT ...]
           run a program as python does, with multiprocessing and ProcessPoolExecutor
           of concurrent.futures on shared memory, in its child processes too
       python -m zeroipc list SEGMENT
           show the structures in a named segment: offset, size, name"""


def main(arguments: list[str]) -> None:
    """Do what the command line says.

    Raises:
        SystemExit: with status 2 if it says nothing that we know.
    """
    match arguments:
        case ["run", *program] if _names_program(program):
            from zeroipc._program import run

            run(program)
        case ["list", name]:
            _list(name)
        case [] | ["-h" | "--help" | "help"]:
            print(USAGE)
        case _:
            print(USAGE, file=sys.stderr)
            sys.exit(2)


def _names_program(arguments: list[str]) -> bool:
    match arguments:
        case ["-m" | "-c", _, *_] | ["-", *_]:
            return True
        case [path, *_]:
            return not path.startswith("-")
    return False


def _list(name: str) -> None:
    """Print the table of a segment, a line for each entry."""
    from zeroipc import Memory, ZeroIPCError

    try:
        with Memory.open(name) as memory:
            print(f"{memory.name}: {memory.size} bytes, format {memory.version}")
            for entry in memory:
                print(f"{entry.offset:>12} {entry.size:>12} {entry.name}")
    except ZeroIPCError as error:
        sys.exit(f"{name}: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
