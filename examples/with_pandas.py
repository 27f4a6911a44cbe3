"""pandas and pyarrow: tables through a queue, their columns in shared memory.

    python examples/with_pandas.py [--days 20]

One process makes a table of trades per day, another aggregates it and sends an Arrow table back.
The columns cross as buffers, without being pickled; what arrives may be changed in place.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

import zeroipc.mp as multiprocessing

TRADES = 200_000
MARKETS = 50


def trades(day: int) -> pd.DataFrame:
    """Return one day's trades."""
    random = np.random.default_rng(day)
    return pd.DataFrame(
        {
            "time": np.sort(random.integers(0, 86_400_000, TRADES)),
            "market": random.integers(0, MARKETS, TRADES),
            "price": 100 + random.normal(size=TRADES).cumsum() / 100,
            "volume": random.integers(1, 1000, TRADES),
        }
    )


def aggregate(inbox: Any, outbox: Any) -> None:
    """Send each day's prices per market, weighted by volume."""
    while (day := inbox.get()) is not None:
        day["turnover"] = day.price * day.volume
        sums = day.groupby("market")[["turnover", "volume"]].sum()
        price = sums.turnover / sums.volume
        outbox.put(pa.table({"market": price.index.to_numpy(), "price": price.to_numpy()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=20)
    days = parser.parse_args().days
    inbox, outbox = multiprocessing.Queue(maxsize=4), multiprocessing.Queue()
    worker = multiprocessing.Process(target=aggregate, args=(inbox, outbox))
    worker.start()
    first = trades(0)
    start = time.perf_counter()
    for day in range(days):
        first.loc[0, "price"] = 100.0 + day  # the queue takes snapshots
        inbox.put(first)
    inbox.put(None)
    tables = [outbox.get() for _ in range(days)]
    seconds = time.perf_counter() - start
    worker.join()
    rows = pa.concat_tables(tables).num_rows
    moved = days * first.memory_usage(index=False).sum() / 1e6
    print(f"{rows} prices of {MARKETS} markets from {days} tables")
    print(f"{moved / seconds:.0f} MB a second, aggregated")


if __name__ == "__main__":
    main()
