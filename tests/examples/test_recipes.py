"""The recipes in examples/: each runs as a program, small, and finds what it should."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.leaks import children
from tests.support.programs import ROOT

pytestmark = [pytest.mark.recipes, pytest.mark.timeout(300)]  # loading these libraries takes long
TIMEOUT = 280
MPIEXEC = Path(sys.executable).with_name("mpiexec")


def run_example(name: str, *args: object, before: tuple[object, ...] = ()) -> str:
    """Run a program of examples/ as a user would; return what it printed."""
    command = [*before, sys.executable, ROOT / "examples" / f"{name}.py", *args]
    result = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert children() == set()
    return result.stdout


def needs(*modules: str) -> None:
    for module in modules:
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed: make recipes")


def test_scikit_learn_finds_the_same_as_on_loky() -> None:
    needs("joblib", "sklearn")
    ours, theirs = (
        run_example("with_sklearn", "--samples", 1000, "--backend", backend).splitlines()
        for backend in ("zeroipc", "loky")
    )
    assert ours[:2] == theirs[:2]
    assert ours[0].startswith("regression 0.")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_torch_learns_the_shapes(method: str) -> None:
    needs("torch")
    printed = run_example("with_torch", "--images", 900, "--epochs", 3, "--method", method)
    assert float(printed.split()[0]) > 0.7


def test_dask_finds_a_random_walk() -> None:
    needs("dask")
    printed = run_example("with_dask", "--side", 400)
    assert "expected about 20.00" in printed
    assert "roughness of 16 blocks" in printed


def test_a_dask_worker_runs_tasks_in_our_processes() -> None:
    needs("distributed")
    printed = run_example("with_dask_cluster", "--walks", 6)
    assert "6 walks of" in printed
    assert "none of them the worker's: True" in printed


def test_actors_of_ray_count_primes() -> None:
    needs("ray")
    assert "2262 primes below 20000" in run_example("with_ray", "--count", 20_000)


def test_ranks_of_mpi_estimate_pi() -> None:
    needs("mpi4py")
    if not MPIEXEC.exists():
        pytest.skip("mpich is not installed: make recipes")
    launcher = (MPIEXEC, "-n", 2)
    printed = run_example("with_mpi", "--samples", 20_000, before=launcher)
    assert "2 ranks, 640000 points: pi is about 3.1" in printed
    assert "within four deviations: True" in printed


def test_gymnasium_keeps_a_pole_up() -> None:
    needs("gymnasium")
    printed = run_example("with_gymnasium", "--rounds", 4)
    assert int(printed.split(": ")[1].split()[0]) > 50


def test_emcee_finds_the_line() -> None:
    needs("emcee")
    words = run_example("with_emcee", "--steps", 100).split()
    assert abs(float(words[words.index("slope") + 1]) - 0.7) < 0.1


def test_scipy_finds_the_rates() -> None:
    needs("scipy")
    words = run_example("with_scipy", "--iterations", 10).split()
    assert abs(float(words[1]) - 0.8) < 0.1
    assert abs(float(words[3].rstrip(",")) - 0.25) < 0.05


def test_tqdm_maps_both_ways(tmp_path: Path) -> None:
    needs("tqdm")
    for number in range(50):
        (tmp_path / str(number)).write_text(str(number % 40))
    printed = run_example("with_tqdm", tmp_path)
    assert "50 files, 40 different; both ways the same: True" in printed


def test_the_last_words_of_killed_workers_are_logged(tmp_path: Path) -> None:
    file = tmp_path / "jobs.log"
    printed = run_example("with_logging", "--workers", 4, "--file", file)
    assert "2 of 4 jobs were killed; the logs of 4 are complete" in printed
    assert file.read_text().count("ZeroDivisionError: division by zero") == 4


def test_a_server_of_asyncio_answers() -> None:
    assert "20 of 20 answers are right" in run_example("with_asyncio")


def test_tables_of_pandas_cross_a_queue() -> None:
    needs("pandas", "pyarrow")
    assert "150 prices of 50 markets from 3 tables" in run_example("with_pandas", "--days", 3)
