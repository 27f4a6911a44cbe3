"""tqdm: many files hashed, with a bar, by `process_map` or over a pool of ours.

    python examples/with_tqdm.py [FOLDER]

`process_map` makes its executor itself: `zeroipc.mp.install()` has it make ours. Over a pool or an
executor, tqdm needs nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.concurrent import process_map

import zeroipc.mp as multiprocessing


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    files = sorted(path for path in parser.parse_args().folder.rglob("*") if path.is_file())

    multiprocessing.install()
    try:
        mapped = process_map(digest, files, max_workers=2, chunksize=8, file=sys.stderr)
    finally:
        multiprocessing.uninstall()

    with multiprocessing.Pool(2) as pool:
        ordered = list(tqdm(pool.imap(digest, files, chunksize=8), total=len(files)))

    print(
        f"{len(files)} files, {len(set(mapped))} different; both ways the same: {mapped == ordered}"
    )


if __name__ == "__main__":
    main()
