"""The crash tests are tested: each protection of the core left out must be noticed.

A mutant is a change of one place in a copy of the headers; the text that it replaces must be
there, so a mutant that no longer fits the core fails its test.
"""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.crash.driver import CORE, build, has_compiler, run

pytestmark = [
    pytest.mark.kill,
    pytest.mark.skipif(not has_compiler(), reason="there is no gcc to compile the driver with"),
]

BASICS = ("basics",)
LIMITS = ("limits", 1)


class Mutant(NamedTuple):
    """What is left out, where, and which run of the driver convicts it."""

    name: str
    header: str
    old: str
    new: str
    conviction: tuple[object, ...]


def step(scenario: str) -> tuple[object, ...]:
    """Kill after every instruction of one operation."""
    return ("step", 1, 10**6, scenario)


MUTANTS = [
    Mutant(
        "locks that are not robust",
        "mutex.h",
        "    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);\n",
        "",
        step("put"),
    ),
    Mutant(
        "a sleep for a lock that only a wake ends",
        "mutex.h",
        "        end = zi_now() + ZI_TICK_NS;\n        if (end > deadline) end = deadline;\n",
        "        end = deadline;\n",
        BASICS,
    ),
    Mutant(
        "no sweep",
        "sweep.h",
        "        sweep_participant(view, index, identity, deadline);\n",
        "",
        step("put"),
    ),
    Mutant(
        "no repair of a queue",
        "mqueue.h",
        "        queue_repair(view, slot);\n",
        "",
        step("get: leave a chunk"),
    ),
    Mutant(
        "no repair of the arena",
        "blocks.h",
        "    arena_repair(view);\n    mutex_mended",
        "    mutex_mended",
        step("put: new blocks"),
    ),
    Mutant(
        "a repair that forgets to mend the lock",
        "mqueue.h",
        "        mutex_mended(&queue->lock);\n",
        "",
        step("put"),
    ),
    Mutant(
        "a sweep that does not ask the queue",
        "sweep.h",
        "if (queued && queue_has_block(",
        "if (queued && 0 && queue_has_block(",
        step("put: new blocks"),
    ),
    Mutant(
        "a put that announces nothing",
        "mqueue.h",
        "        view->blocks[message->blocks[i]].item = at.item;\n",
        "",
        step("put: new blocks"),
    ),
    Mutant(
        "a put that commits before the record is there",
        "mqueue.h",
        "    put_record(view, at, message);\n",
        "    zi_cursor early = {at.item + 1, at.chunk, at.offset + need};\n"
        "    ZI_STORE(queue->tail, cursor_pack(early));\n"
        "    put_record(view, at, message);\n",
        step("put"),
    ),
    Mutant(
        "an announcement that outlives its put",
        "mqueue.h",
        "            block->item = ZI_NONE;\n        else if",
        "            ;\n        else if",
        step("put: after a death in put"),
    ),
    Mutant(
        "a get that forgets the blocks before the commit",
        "mqueue.h",
        "    at.item++;\n    ZI_POINT",
        "    for (uint32_t i = 0; i < message->nblocks; i++)\n"
        "        ZI_STORE(view->blocks[message->blocks[i]].item, (uint32_t)ZI_NONE);\n"
        "    at.item++;\n    ZI_POINT",
        step("get"),
    ),
    Mutant(
        "a get that frees the chunk before the commit",
        "mqueue.h",
        "    at.item++;\n    ZI_POINT",
        "    get_leave(view, left, at.chunk);\n    at.item++;\n    ZI_POINT",
        step("get: leave a chunk"),
    ),
    Mutant(
        "no repair of the tally",
        "mqueue.h",
        "!= ZI_NONE) tally_repair(view, queue);",
        "!= ZI_NONE) {}",
        step("get: task"),
    ),
    Mutant(
        "no repair of the claims",
        "mqueue.h",
        "!= ZI_NONE) claims_repair(view, queue);",
        "!= ZI_NONE) {}",
        step("get: claim"),
    ),
    Mutant(
        "a sweep that leaves what the dead had lent",
        "sweep.h",
        "        if (block_lent_by(block, dead) != 0) sweep_lender(view, id, dead, deadline);\n"
        "        left += ZI_LOAD(block->owner) == dead || block_lent_by(block, dead) != 0;\n",
        "        left += ZI_LOAD(block->owner) == dead;\n",
        step("put: loans"),
    ),
    Mutant(
        "lost tasks counted without saying whose",
        "sweep.h",
        " | (uint64_t)(index + 1) << 32);",
        ");",
        step("sweep"),
    ),
    Mutant(
        "a block taken with the numbers of its last use",
        "blocks.h",
        "    block->queue = block->item = block->link = ZI_NONE;\n",
        "",
        step("put: new blocks"),
    ),
    Mutant(
        "a queue that is looked for in an unused slot",
        "mqueue.h",
        "    if (role != ZI_ROLE_QUEUE) return 0;\n",
        "",
        step("create"),
    ),
    Mutant(
        "a reclaim that is not finished after a death",
        "blocks.h",
        "            ZI_STORE(block->owner, ZI_FREE);\n    }",
        "            ;\n    }",
        step("reclaim"),
    ),
    Mutant(
        "a sweep that leaves cut-short frees unmarked",
        "sweep.h",
        "        arena_mark_all(view);",
        "        ;",
        step("free"),
    ),
    Mutant(
        "a sweep cut short that never tells of queues nobody holds",
        "blocks.h",
        "    slots_mark_all(view);\n}",
        "}",
        step("sweep: not registered"),
    ),
    Mutant(
        "memory given back before it is noted",
        "alloc.h",
        "        ZI_STORE(block->backed, 0);\n",
        "",
        step("trim"),
    ),
    Mutant(
        "an adopted entry that keeps its identity",
        "participant.h",
        "        participant_renew(&view->participants[index]);\n",
        "",
        BASICS,
    ),
    Mutant(
        "a reservation that fails half-way and stays",
        "blocks.h",
        "    arena_punch(view, block->offset + begun,",
        "    if (0) arena_punch(view, block->offset + begun,",
        BASICS,
    ),
    Mutant(
        "a full table that is not swept",
        "sweep.h",
        "    arena_sweep(view, deadline);\n    return participant_register(view, deadline);",
        "    return participant_register(view, deadline);",
        LIMITS,
    ),
    Mutant(
        "sleeps without a bound",
        "wait.h",
        "#define ZI_TICK_NS 100000000u",
        "#define ZI_TICK_NS UINT64_C(20000000000)",
        ("load", 1, 40, 1, 1, 5, "only", "put.before_wake"),
    ),
    Mutant(
        "a sweep that leaves the locks of the dead taken",
        "sweep.h",
        "        ZI_STORE(lock->holder, 0);\n        wake =",
        "        wake =",
        step("lock: take"),
    ),
    Mutant(
        "a notify that is lost with the waiter it picked",
        "waiters.h",
        "        bits |= waiters_pick(view, lock, 1);\n",
        "",
        step("condition: sweep"),
    ),
    Mutant(
        "a waiter that is there before it says whose it is",
        "waiters.h",
        "        waiter->owner = view->me;\n",
        "        ZI_STORE(waiter->state, ZI_WAITER_WAITING);\n        waiter->owner = view->me;\n",
        step("condition: enter"),
    ),
    Mutant(
        "waiters in a block that the slot is not known to have",
        "mqueue.h",
        "    if (role == ZI_ROLE_LOCK) return ((const zi_lock *)queue)->block == id;\n",
        "",
        step("condition: enter, in a block"),
    ),
    Mutant(
        "a lock that is given back twice",
        "lock.h",
        "        if (lock->holder == 0) status = ZI_FULL;\n",
        "",
        step("lock: give"),
    ),
    Mutant(
        "a queue lock that is kept by who sweeps",
        "sweep.h",
        "    if (queued) queue_unlock(view, slot);\n",
        "",
        LIMITS,
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_core_without_one_protection_is_noticed(mutant: Mutant, tmp_path: Path) -> None:
    stepping = mutant.conviction[0] == "step"
    if stepping and platform.machine() != "x86_64":
        pytest.skip(f"stepping by instruction is written for x86-64: machine={platform.machine()}")
    core = tmp_path / "core"
    shutil.copytree(CORE, core, ignore=lambda _, names: [n for n in names if n[-2:] != ".h"])
    text = (core / mutant.header).read_text()
    assert text.count(mutant.old) == 1, f"{mutant.header} has changed: {mutant.old!r}"
    (core / mutant.header).write_text(text.replace(mutant.old, mutant.new))
    flags = ("-DRIG_PATIENCE=4u", *(() if stepping else ("-DZI_HOOKS",)))
    program = build(tmp_path / "mutant", "-Wno-error", *flags, core=core)
    if stepping and run(program, "steppable").returncode != 0:
        pytest.skip("ptrace is refused here, so no process can be stepped")
    done = run(program, *mutant.conviction)
    print(done.stderr.splitlines()[:1])
    assert done.returncode == 1, done.stdout
    assert "FAILED" in done.stderr
