"""What libraries do with our contexts, pools and queues beyond the recipes, in rough weather."""

from __future__ import annotations

import os
import signal
import threading
from functools import partial
from typing import Any

import numpy as np
import pytest

import zeroipc.mp as mp
from zeroipc import WorkerDiedError

pytestmark = [
    pytest.mark.recipes,
    # torch and others warn of their own affairs
    pytest.mark.filterwarnings("default"),
]


class Numbers:
    """A data set of torch's kind, which may kill the worker that loads it."""

    def __init__(self, deadly: int | None = None) -> None:
        self.deadly = deadly

    def __len__(self) -> int:
        return 48

    def __getitem__(self, index: int) -> Any:
        import torch

        if index == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.full((3, 64, 64), float(index)), index


@pytest.fixture(params=["file_descriptor", "file_system"])
def torch(request: pytest.FixtureRequest) -> Any:
    """Return torch, with each way of sharing tensors."""
    torch = pytest.importorskip("torch", reason="torch is not installed: make recipes")
    torch.set_num_threads(1)
    before = torch.multiprocessing.get_sharing_strategy()
    torch.multiprocessing.set_sharing_strategy(request.param)
    yield torch
    torch.multiprocessing.set_sharing_strategy(before)


def loader(data: Numbers, **options: Any) -> Any:
    from torch.utils.data import DataLoader

    context = mp.get_context("fork")
    return DataLoader(data, batch_size=8, num_workers=2, multiprocessing_context=context, **options)


def test_persistent_workers_of_torch_load_every_epoch(torch: Any) -> None:
    batches = loader(Numbers(), persistent_workers=True, shuffle=True)
    for _ in range(3):
        seen = []
        for images, indices in batches:
            assert (images[:, 0, 0, 0] == indices.float()).all()
            seen += indices.tolist()
        assert sorted(seen) == list(range(48))
    del batches


def test_a_killed_worker_of_torch_is_its_runtime_error(torch: Any) -> None:
    for _ in range(5):
        with pytest.raises(RuntimeError, match=r"DataLoader worker"):
            for _ in loader(Numbers(deadly=20)):
                pass


def add_and_send(tensor: Any, queue: Any, received: Any) -> None:
    tensor += 1
    queue.put(tensor)
    received.get(timeout=60)  # torch fetches the tensor from us: we must live until then


@pytest.mark.parametrize("torch", ["file_descriptor"], indirect=True)  # else torch has a server
def test_queues_of_torch_and_ours_take_tensors_in_processes_of_both(torch: Any) -> None:
    theirs, ours = torch.multiprocessing.get_context("fork"), mp.get_context("fork")
    for context, queue in ((theirs, ours.Queue()), (ours, theirs.Queue())):
        tensor = torch.zeros(1000).share_memory_()
        inbox = ours.Queue()
        process = context.Process(target=add_and_send, args=(tensor, queue, inbox))
        process.start()
        received = queue.get(timeout=60)
        inbox.put("received")
        assert received.sum() == tensor.sum() == 1000
        process.join()
        for one in (queue, inbox):
            one.close()
            one.join_thread()


def die(_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_fails_a_graph_of_dask() -> None:
    dask = pytest.importorskip("dask", reason="dask is not installed: make recipes")
    from concurrent.futures import BrokenExecutor

    with mp.ProcessPoolExecutor(2) as executor, pytest.raises(BrokenExecutor):
        dask.delayed(die)(1).compute(scheduler=executor)


def log_probability(x: Any, fatal: bool) -> float:
    if fatal and threading.current_thread() is threading.main_thread() and x[0] > 3.0:
        os.kill(os.getpid(), signal.SIGKILL)
    return float(-0.5 * (x**2).sum())


def test_a_killed_worker_stops_emcee_with_an_error_and_the_pool_goes_on() -> None:
    emcee = pytest.importorskip("emcee", reason="emcee is not installed: make recipes")
    start = np.random.default_rng(0).normal(size=(12, 2))
    with mp.Pool(2) as pool:
        start[3, 0] = 4.0
        deadly = emcee.EnsembleSampler(12, 2, partial(log_probability, fatal=True), pool=pool)
        with pytest.raises(WorkerDiedError):
            deadly.run_mcmc(start, 5)
        calm = emcee.EnsembleSampler(12, 2, partial(log_probability, fatal=False), pool=pool)
        calm.run_mcmc(start, 5)
        assert calm.get_chain().shape == (5, 12, 2)


@pytest.mark.parametrize("shared", [True, False])
def test_environments_of_gymnasium_under_our_names(shared: bool) -> None:
    pytest.importorskip("gymnasium", reason="gymnasium is not installed: make recipes")
    mp.install()
    try:
        from gymnasium.envs.classic_control import CartPoleEnv
        from gymnasium.vector import AsyncVectorEnv

        environments = AsyncVectorEnv([CartPoleEnv] * 2, shared_memory=shared, context="fork")
        states, _ = environments.reset(seed=1)
        for _ in range(20):
            states, rewards, *_ = environments.step(environments.action_space.sample())
        environments.close()
    finally:
        mp.uninstall()
    assert states.shape == (2, 4)
    assert rewards.shape == (2,)
