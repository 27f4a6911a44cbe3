"""Arrays of `zeroipc.mp.empty` move; those that were received are copied."""

from __future__ import annotations

import os
import queue
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import zeroipc.mp as mp
from zeroipc import errors

MB = 1 << 20


def block_of(array: Any) -> int:
    """Return the number of the block that *array* shows."""
    number: int = array.base.base.id
    return number


def test_shapes_are_those_of_numpy() -> None:
    shapes: list[Any] = [3, np.int64(3), (3,), [3], np.array([3])]
    for shape in shapes:
        assert mp.empty(shape).shape == (3,)
    assert mp.empty(()).shape == ()


# --- Queues -------------------------------------------------------------------------------


def test_a_loan_is_moved() -> None:
    q = mp.Queue()
    loan = mp.empty((100, 1000))
    loan[:] = 3
    block = block_of(loan)
    q.put(loan)
    assert not loan.flags.writeable
    got = q.get()
    assert block_of(got) == block
    assert got.flags.writeable
    assert (got == 3).all()
    with pytest.raises(errors.MovedError, match="was moved"):
        q.put(loan)
    with pytest.raises(ValueError):
        loan[0] = 1
    assert q.empty()


@pytest.mark.parametrize("keep", [lambda a: a[1:], lambda a: a.T, lambda a: a.view("u8")])
def test_a_loan_that_others_show_is_copied(keep: Any) -> None:
    q = mp.Queue()
    loan = mp.asarray(np.arange(100_000.0).reshape(100, 1000))
    view = keep(loan)
    q.put(loan)
    loan[:] = 0
    assert (q.get() == np.arange(100_000.0).reshape(100, 1000)).all()
    del view
    q.put(loan)
    assert not loan.flags.writeable


def test_a_slice_of_a_loan_is_copied() -> None:
    q = mp.Queue()
    loan = mp.asarray(np.arange(100_000.0))
    q.put(loan[10:90_000])
    loan[:] = 0
    assert q.get()[0] == 10
    assert loan.flags.writeable


@pytest.mark.parametrize("form", ["alone", "tuple", "dict"])
def test_a_received_array_goes_to_several_queues(form: str) -> None:
    """As in the standard library: it stays the program's, which may change it afterwards."""
    forms: dict[str, tuple[Any, Any]] = {
        "alone": (lambda a: a, lambda o: o),
        "tuple": (lambda a: (1, a), lambda o: o[1]),
        "dict": (lambda a: {"a": a}, lambda o: o["a"]),
    }
    pack, unpack = forms[form]
    source, *others = [mp.Queue() for _ in range(4)]
    source.put(pack(np.zeros(100_000)))
    array = unpack(source.get())
    for q in others:
        q.put(pack(array))
        array += 1
    found = [unpack(q.get()) for q in others]
    assert [part.sum() for part in found] == [0, 100_000, 200_000]
    assert array.sum() == 300_000


def test_a_refused_loan_stays_what_it_was() -> None:
    q = mp.Queue(1)
    q.put(0)
    loan = mp.asarray(np.arange(100_000))
    with pytest.raises(queue.Full):
        q.put_nowait(loan)
    loan[0] = 7
    q.get()
    q.put(loan)
    assert q.get()[0] == 7


@pytest.mark.parametrize("shape", [0, (3, 0), (), 5, (2, 3)])
@pytest.mark.parametrize("dtype", ["f8", "i4,f8", "S7", "M8[ns]", [("a", "f4", (3,)), ("b", "i8")]])
def test_loans_of_any_shape_and_dtype(shape: Any, dtype: Any) -> None:
    loan = mp.empty(shape, dtype)
    loan[...] = np.zeros((), dtype)
    q = mp.Queue()
    q.put(loan)
    got = q.get()
    assert (got.shape, got.dtype) == (np.empty(shape).shape, np.dtype(dtype))
    assert (got == np.zeros(shape, dtype)).all()


def test_objects_cannot_live_in_shared_memory() -> None:
    with pytest.raises(TypeError):
        mp.empty(3, object)
    with pytest.raises(TypeError):
        mp.asarray([object()])


@pytest.mark.parametrize("nbytes", [1 << 16, 16 * MB])
def test_a_loan_inside_a_message_is_moved(nbytes: int) -> None:
    q = mp.Queue()
    loan = mp.empty(nbytes // 8)
    loan[:] = 4
    block = block_of(loan)
    q.put({"loan": loan, "step": 3})
    assert not loan.flags.writeable
    got = q.get()
    assert got["step"] == 3
    assert block_of(got["loan"]) == block
    assert (got["loan"] == 4).all()
    with pytest.raises(errors.MovedError, match="was moved"):
        q.put([loan])
    assert q.empty()


def test_a_refused_message_leaves_its_loans() -> None:
    q = mp.Queue(1)
    q.put(0)
    loans = [mp.asarray(np.arange(50_000)) for _ in range(3)]
    with pytest.raises(queue.Full):
        q.put_nowait((1, loans))
    for loan in loans:
        loan[0] = 7
    q.get()
    q.put((1, loans))
    assert [loan[0] for loan in q.get()[1]] == [7, 7, 7]


# --- Other processes ------------------------------------------------------------------------


def add_one(taken: Any, given: Any, inherited: Any) -> None:
    """What is received is shared; what was inherited is the child's own, in the same block."""
    if inherited is not None:
        inherited[:] = 7
    array = taken.get()
    array += 1
    given.put([array, block_of(array)])
    assert inherited is None or (inherited == 7).all()
    del array, inherited
    given.put("done")


@pytest.mark.parametrize("keeps", [True, False])
def test_a_loan_that_a_child_has_inherited_moves_to_it(keeps: bool) -> None:
    there, back = mp.Queue(), mp.Queue()
    loan: Any = mp.empty(MB // 8)
    loan[:] = 1
    block, pid = block_of(loan), os.fork()
    if pid == 0:
        try:
            kept = loan if keeps else None
            del loan
            add_one(there, back, kept)
        except BaseException as error:
            back.put(["failed", error])
        finally:
            os._exit(0)
    there.put(loan)
    found, where = back.get()
    assert where == block
    assert (found == 2).all()
    assert back.get() == "done"
    assert (loan == 2).all()
    assert os.waitpid(pid, 0)[1] == 0


# --- Executors --------------------------------------------------------------------------------


@pytest.fixture(params=mp.get_all_start_methods())
def pool(request: pytest.FixtureRequest) -> Iterator[Any]:
    context = mp.get_context(request.param)
    with mp.ProcessPoolExecutor(2, mp_context=context) as made:
        yield made


def where(array: Any) -> tuple[int, float]:
    return block_of(array), float(array.sum())


def lend(nbytes: int) -> tuple[int, Any]:
    loan = mp.empty(nbytes // 8)
    loan[:] = 1
    return block_of(loan), loan


def add_to(array: Any, block: int) -> tuple[Any, bool]:
    array += 1
    return array, block_of(array) == block


def test_arguments_move(pool: Any) -> None:
    for nbytes in (1 << 16, 16 * MB):
        block, loan = lend(nbytes)
        assert pool.submit(where, loan).result() == (block, nbytes / 8)
        assert not loan.flags.writeable
        with pytest.raises(errors.MovedError):
            pool.submit(where, loan).result()
        block, loan = lend(nbytes)
        assert pool.submit(where, array=loan).result() == (block, nbytes / 8)


def test_results_move(pool: Any) -> None:
    for nbytes in (1 << 16, 16 * MB):
        block, found = pool.submit(lend, nbytes).result()
        assert block_of(found) == block
        assert found.flags.writeable
        assert found.sum() == nbytes / 8


def test_an_argument_comes_back_as_a_result(pool: Any) -> None:
    """It moves to the task; what that received it returns as a copy."""
    futures = []
    for _ in range(6):
        block, loan = lend(MB)
        futures.append(pool.submit(add_to, loan, block))
        del loan
    for future in futures:
        array, same = future.result()
        assert same
        assert array[0] == array[-1] == 2
        array[0] = 3


def test_a_result_may_be_passed_to_many_tasks(pool: Any) -> None:
    """Programs do that: it stays what it is, as in the standard library."""
    _, result = pool.submit(lend, MB).result()
    futures = [pool.submit(where, result) for _ in range(4)]
    assert [future.result()[1] for future in futures] == [MB / 8] * 4
    result[:] = 0
    nested = [pool.submit(len, [result, result]).result() for _ in range(2)]
    assert nested == [2, 2]


def test_a_loan_of_a_task_that_cannot_be_sent_stays(pool: Any) -> None:
    _, loan = lend(MB)
    with pytest.raises(TypeError, match="cannot pickle"):
        pool.submit(where, loan, lambda: None).result()
    loan[:] = 5
    assert pool.submit(where, loan).result()[1] == 5 * MB / 8
