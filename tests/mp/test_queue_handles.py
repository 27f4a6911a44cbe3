"""Queues sent through queues."""

from __future__ import annotations

import gc
import multiprocessing
from typing import Any

import pytest

import zeroipc.mp as mp
from tests.support.programs import run_python
from zeroipc.mp import transport

METHODS = multiprocessing.get_all_start_methods()


def queues() -> int:
    """Return how many queues the arena has, after those that nobody holds have gone.

    Those of earlier tests may go at any time: their threads let go of them in their own time.
    """
    counts: list[int] = []
    while len(counts) < 3 or len(set(counts[-3:])) > 1:  # what one held may go after it
        gc.collect()
        transport.home().arena.sweep()  # children of earlier tests had some
        mp.Queue()
        counts.append(transport.home().arena.stats()["queues"])
    return counts[-1]


def test_a_queue_in_flight_lives_without_holders() -> None:
    carrier, inner = mp.Queue(), mp.Queue()
    inner.put("inside")
    carrier.put(inner)
    del inner
    before = queues()
    assert carrier.get().get() == "inside"
    assert queues() <= before - 1


def test_several_in_one_message_and_nested() -> None:
    carrier = mp.Queue()
    inner = [mp.Queue() for _ in range(15)]
    for number, q in enumerate(inner):
        q.put(number)
    middle = mp.Queue()
    middle.put({"some": inner})
    carrier.put(middle)
    del inner, middle, q
    assert [q.get() for q in carrier.get().get()["some"]] == list(range(15))


def test_more_than_a_message_carries_is_refused() -> None:
    carrier, before = mp.Queue(), queues()
    with pytest.raises(ValueError, match="at most 16"):
        carrier.put([mp.Queue() for _ in range(17)])
    assert carrier.empty()
    assert queues() <= before + 1


def test_a_queue_through_itself() -> None:
    q = mp.Queue()
    q.put(q)
    q.get().put("round")
    assert q.get() == "round"


def test_a_dropped_carrier_frees_what_it_carried() -> None:
    before = queues()
    for _ in range(20):
        carrier = mp.Queue()
        carrier.put(mp.Queue())
        del carrier
    for _ in range(25):  # a carrier's end frees its handles, the next creation their queues
        after = queues()
    assert after <= before + 1


def test_a_thousand_handles_of_one_queue() -> None:
    carrier, inner = mp.Queue(), mp.Queue()
    before = queues()
    for _ in range(1000):
        carrier.put(inner)
    inner.put("kept")
    del inner
    kept = [carrier.get() for _ in range(1000)]
    assert kept[517].get() == "kept"
    del kept
    assert queues() <= before - 1


def serve(requests: Any) -> None:
    while (request := requests.get()) is not None:
        back, number = request
        back.put(number * 2)


@pytest.mark.parametrize("method", METHODS)
def test_answers_go_to_a_queue_in_the_request(method: str) -> None:
    context = mp.get_context(method)
    requests = context.Queue()
    child = context.Process(target=serve, args=(requests,))
    child.start()
    for number in range(50):
        back = context.SimpleQueue()
        requests.put((back, number))
        assert back.get() == number * 2
    requests.put(None)
    child.join()


def forward(first: Any, go: Any) -> None:
    go.get()
    first.put("through")


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_the_parent_may_drop_its_queue_while_the_child_starts(method: str) -> None:
    context = mp.get_context(method)
    q, go, names = context.Queue(), context.Queue(), context.Queue()
    names.put(q)
    child = context.Process(target=forward, args=(q, go))
    child.start()
    del q
    for _ in range(20):
        mp.Queue()
    go.put(None)
    assert names.get().get() == "through"
    child.join()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_what_is_kept_for_children_goes_when_they_have_it(method: str) -> None:
    context = mp.get_context(method)
    go, children = context.Queue(), []
    before = queues()
    for _ in range(4):
        children.append(context.Process(target=forward, args=(context.Queue(), go)))
        children[-1].start()
    for _ in children:
        go.put(None)
    for child in children:
        child.join()
        child._args = ()  # the standard library keeps the arguments with the process
    last = context.Process(target=forward, args=(context.Queue(), go))
    last.start()
    go.put(None)
    last.join()
    last._args = ()
    assert queues() <= before + 2


STRANGER = """
    import sys, zeroipc.mp as mp
    from zeroipc.mp import transport
    from zeroipc.mp.named import FOLDER, record_name
    name = sys.argv[1]
    own = mp.Queue()                       # our home arena is not the other's
    theirs = mp.Queue(name=name)
    assert len(transport._attached) == 2
    own.put("mine")
    theirs.put(own)
    for number in range(100):              # kept once, not once for each message
        theirs.put(own)
    assert len(transport._sent_abroad) == 1
    import numpy as np
    loan = mp.asarray(np.arange(10000))    # lives in ours, is copied into theirs
    theirs.put(loan)
    loan[0] = 5
    own.put("more")
    del own
    print("ready", flush=True)
    theirs2 = mp.Queue(name=name + "-back")
    assert theirs2.get() == "done"
"""


def test_across_arenas() -> None:
    import os
    import subprocess
    import sys
    from textwrap import dedent

    from tests.support.programs import ROOT

    name = f"zi-test-{os.getpid()}-abroad"
    q, back = mp.Queue(name=name), mp.Queue(name=name + "-back")
    stranger = subprocess.Popen(
        [sys.executable, "-c", dedent(STRANGER), name],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert stranger.stdout is not None
    assert stranger.stdout.readline() == "ready\n"
    own = q.get()
    assert own._handle[0] is not q._handle[0]
    assert (own.get(), own.get()) == ("mine", "more")
    for _ in range(100):
        q.get()
    assert q.get()[0] == 0
    back.put("done")
    assert stranger.wait() == 0
    stranger.stdout.close()


def test_a_killed_carrier_gives_back_what_it_carried() -> None:
    run_python("""
        import os, signal, time, zeroipc.mp as mp
        from zeroipc.mp import transport
        def take(carrier, ready):
            kept = [carrier.get() for _ in range(50)]
            ready.put(None)
            ready.get
            time.sleep(1000)
        carrier, ready = mp.Queue(), mp.Queue()
        for _ in range(50):
            carrier.put(mp.Queue())
        child = mp.get_context("fork").Process(target=take, args=(carrier, ready))
        child.start()
        ready.get()
        mp.Queue()
        assert transport.home().arena.stats()["queues"] >= 50
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        transport.home().arena.sweep()
        for _ in range(3):
            mp.Queue()
        assert transport.home().arena.stats()["queues"] <= 4
    """)
