"""Small objects, streamed: producers put as fast as they can, consumers check every item."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from time import perf_counter
from typing import Any

from benchmarks import limits
from benchmarks.peer import Cue, Peer, current_cpu
from benchmarks.rivals.base import Get, Link, Rival
from benchmarks.scenario import Counts, Sample, Scenario

KINDS = 64  # distinct items, sent in turn, so that a lost or swapped item is noticed
WARM = 1000
ITEM_NBYTES = 256  # room for the largest pickle of these

DICTS = [
    {"id": i, "time": 0.5 * i, "source": "sensor-07", "values": [0.25, 1.5, -3.0], "ok": True}
    for i in range(KINDS)
]
SCALARS: dict[str, Sequence[Any]] = {
    "int": range(1000, 1000 + KINDS),
    "float": [i + 0.25 for i in range(KINDS)],
    "str": [f"message {i}" for i in range(KINDS)],
    "bytes": [b"message %d" % i for i in range(KINDS)],
}


def one_to_one(items: Sequence[Any], rival: Rival, count: int) -> Sample | None:
    """One producer, one consumer, in order; the library's default depth."""
    link = rival.queue(0, ITEM_NBYTES)
    if link is None:
        return None
    with Peer(rival.method, produce, link, items, (WARM, count)) as producer:
        get = link.reader()
        for number in (WARM, count):
            producer.ready()
            start = perf_counter()
            producer.go()
            receive(get, items, number)
            seconds = perf_counter() - start
        cpus = current_cpu(), producer.ready()
        producer.go()
        producer.result()
        return Sample(seconds / count, cpus)


def produce(cue: Cue, link: Link, items: Sequence[Any], phases: Sequence[int]) -> None:
    put = link.writer()
    for number in phases:
        cue()
        for i in range(number):
            put(items[i % KINDS])
    cue()  # keeps the sending end open until everything has arrived


def receive(get: Get, items: Sequence[Any], number: int) -> None:
    for i in range(number):
        item = get()
        if item != items[i % KINDS]:
            raise AssertionError(f"items must arrive in order: number={i} item={item!r}")


def two_to_two(rival: Rival, count: int) -> Sample | None:
    """Two producers, two consumers on one queue; each consumer takes half."""
    link = rival.queue(0, ITEM_NBYTES, producers=2, consumers=2)
    if link is None:
        return None
    half = count // 2
    with (
        Peer(rival.method, produce, link, DICTS, (half,)) as producer,
        Peer(rival.method, produce, link, DICTS, (half,)) as other_producer,
        Peer(rival.method, consume, link, half) as consumer,
        Peer(rival.method, consume, link, half) as other_consumer,
    ):
        peers = producer, other_producer, consumer, other_consumer
        for peer in peers:
            peer.ready()
        start = perf_counter()
        for peer in peers:
            peer.go()
        results = [consumer.result(), other_consumer.result()]
        seconds = perf_counter() - start
        cpus = [cpu for _, cpu in results]
        for peer in (producer, other_producer):
            cpus.append(peer.ready())
            peer.go()
            peer.result()
    check_tallies(results[0][0], results[1][0], half)
    return Sample(seconds / (2 * half), tuple(cpus))


def consume(cue: Cue, link: Link, number: int) -> list[int]:
    """Take *number* items; give how often each of the KINDS came."""
    get = link.reader()
    tally = [0] * KINDS
    cue()
    for _ in range(number):
        item = get()
        kind = item["id"]
        if item != DICTS[kind]:
            raise AssertionError(f"items must arrive as they were sent: item={item!r}")
        tally[kind] += 1
    return tally


def check_tallies(one: list[int], other: list[int], half: int) -> None:
    """Each producer sent item i once for every KINDS-th number below *half*."""
    for kind in range(KINDS):
        sent = 2 * len(range(kind, half, KINDS))
        if one[kind] + other[kind] != sent:
            raise AssertionError(
                f"each item must arrive once: kind={kind} sent={sent} "
                f"received={one[kind] + other[kind]}"
            )


SCENARIOS = (
    Scenario(
        "dict-1p1c",
        "dict of about 100 bytes, one producer, one consumer",
        partial(one_to_one, DICTS),
        Counts(30_000, 8_000, 200),
        limits.pickling(DICTS[1]),
    ),
    *(
        Scenario(
            f"{kind}-1p1c",
            f"short {kind}, one producer, one consumer",
            partial(one_to_one, items),
            Counts(40_000, 10_000, 200),
            limits.pickling(items[1]),
        )
        for kind, items in SCALARS.items()
    ),
    Scenario(
        "dict-2p2c",
        "the same dict, two producers, two consumers",
        two_to_two,
        Counts(30_000, 8_000, 200),
        limits.pickling(DICTS[1]),
    ),
)
