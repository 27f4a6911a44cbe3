"""The main example: its physics, its two shapes on each library, its checks."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import solar_jobs
import solar_lockstep
import solar_pool
import solar_report
import solar_system
from solar_jobs import Library, Outcome, Plan, Progress, load_library
from solar_physics import (
    GRAVITY,
    LIGHT,
    SIDEREAL_YEAR,
    SUN,
    Bodies,
    Floats,
    Gravity,
    earth_angles,
    energy,
    integrate,
    mean_year,
    orbit_plane,
    perturb,
    read_bodies,
    relativity,
)

METHODS = multiprocessing.get_all_start_methods()


@pytest.fixture(scope="module")
def bodies() -> Bodies:
    return read_bodies(solar_system.DATA)


@pytest.fixture(params=list(solar_jobs.MODULES))
def library(request: pytest.FixtureRequest) -> Library:
    return load_library(request.param)


def plan_of(bodies: Bodies, method: str, members: int = 5, steps: int = 30) -> Plan:
    ensemble = perturb(bodies, members, sigma=1e-6, seed=1)
    return Plan(bodies, ensemble, step=0.5, steps=steps, workers=2, method=method)


def ignore(share: float) -> None:
    assert 0.0 < share <= 1.0


def run(shape: str, library: Library, plan: Plan, progress: Progress = ignore) -> Outcome:
    if shape == "pool":
        return solar_pool.run_pool(library, plan, 13, progress)
    return solar_lockstep.run_lockstep(library, plan, progress)


# Physics


def test_the_file_holds_the_sun_and_eight_planets(bodies: Bodies) -> None:
    assert len(bodies.names) == 9
    momenta = bodies.masses * bodies.state[1]
    assert np.abs(momenta.sum(axis=1)).max() < 1e-3 * np.abs(momenta).sum()  # barycentric


def test_an_even_number_of_bodies_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "two.csv"
    file.write_text("# two\nbody,mass,x,y,z,u,v,w\nsun,1,0,0,0,0,0,0\nrock,0,1,0,0,0,0,0\n")
    with pytest.raises(ValueError, match="odd number, the sun first: bodies="):
        read_bodies(file)


def test_member_zero_is_the_real_system_and_others_do_not_depend_on_the_size(
    bodies: Bodies,
) -> None:
    small, large = (perturb(bodies, members, 1e-3, seed=3) for members in (2, 7))
    np.testing.assert_array_equal(small, large[..., :2])
    moved = large - large[..., SUN : SUN + 1, :]
    real = bodies.state - bodies.state[..., SUN : SUN + 1]
    np.testing.assert_allclose(moved[..., 0], real, rtol=0, atol=1e-14)
    relative = np.abs(moved[..., 1:, 1] - real[..., 1:]).max()
    assert 1e-4 < relative < 1.0


def test_an_ensemble_rests_at_its_barycentre(bodies: Bodies) -> None:
    states = perturb(bodies, 6, 1e-3, seed=4)
    centre = np.einsum("b,scbm->scm", bodies.masses, states)
    np.testing.assert_allclose(centre, 0.0, atol=1e-14)


def test_gravity_is_the_sum_over_pairs(bodies: Bodies) -> None:
    positions = perturb(bodies, 600, 1e-2, seed=5)[0]  # more than one block
    expected = np.zeros_like(positions)
    for one in range(9):
        for other in range(9):
            if one != other:
                offset = positions[:, other] - positions[:, one]
                distance = np.sqrt((offset**2).sum(axis=0))
                expected[:, one] += GRAVITY * bodies.masses[other] * offset / distance**3
    np.testing.assert_allclose(Gravity(bodies.masses, 600)(positions), expected, rtol=1e-9)


def test_relativity_pulls_to_the_sun_and_keeps_the_momentum(bodies: Bodies) -> None:
    positions = perturb(bodies, 3, 1e-2, seed=6)[0]
    pull = relativity(positions, bodies.masses)
    offset = positions[:, 1:] - positions[:, :1]
    distance = np.sqrt((offset**2).sum(axis=0))
    expected = -6.0 * (GRAVITY / LIGHT) ** 2 * offset / distance**4
    np.testing.assert_allclose(pull[:, 1:], expected, rtol=1e-12)
    np.testing.assert_allclose(np.einsum("b,cbm->cm", bodies.masses, pull), 0.0, atol=1e-25)


def test_the_forces_are_the_slopes_of_the_energy(bodies: Bodies) -> None:
    state = perturb(bodies, 1, 0.0, seed=0)
    force = Gravity(bodies.masses, 1)(state[0]) + relativity(state[0], bodies.masses)
    for body in range(9):
        shift = np.zeros_like(state)
        shift[0, 0, body] = 1e-5
        rise = energy(state + shift, bodies.masses) - energy(state - shift, bodies.masses)
        slope = -rise[0] / 2e-5 / bodies.masses[body]
        assert slope == pytest.approx(force[0, body, 0], rel=1e-4)


def test_halving_the_step_divides_the_error_by_sixteen(bodies: Bodies) -> None:
    start = perturb(bodies, 1, 0.0, seed=0)
    days = 120
    ends = [
        integrate(start, bodies.masses, step, round(days / step))[-1, 0]
        for step in (1.0, 0.5, 0.25)
    ]
    first, second = (np.abs(ends[k] - ends[k + 1]).max() for k in (0, 1))
    assert 14.0 < first / second < 18.0


def test_going_back_in_time_returns_to_the_start(bodies: Bodies) -> None:
    start = perturb(bodies, 2, 1e-6, seed=7)
    end = integrate(start, bodies.masses, 0.5, 200)[-1]
    back = integrate(end, bodies.masses, -0.5, 200)[-1]
    np.testing.assert_allclose(back, start, rtol=0, atol=1e-12)


def test_ten_years_keep_the_energy_and_the_length_of_the_year(bodies: Bodies) -> None:
    start = perturb(bodies, 2, 1e-6, seed=8)
    trajectory = integrate(start, bodies.masses, 0.5, 7320)
    drift = max(solar_jobs.largest_drift(s, start, bodies.masses) for s in trajectory[::50])
    assert drift < solar_report.ENERGY_TOLERANCE
    positions = np.concatenate([start[None, 0], trajectory[:, 0]])
    angles = earth_angles(positions, orbit_plane(bodies.state))
    years = mean_year(angles, np.arange(7321, dtype=np.float64) * 0.5)
    assert years[0] == pytest.approx(SIDEREAL_YEAR, rel=3e-6)
    assert years[1] == pytest.approx(SIDEREAL_YEAR, rel=3e-5)


def test_members_do_not_depend_on_their_company(bodies: Bodies) -> None:
    start = perturb(bodies, 523, 1e-6, seed=9)  # more than one block
    together = integrate(start, bodies.masses, 0.5, 3)
    for part in (slice(0, 1), slice(5, 12), slice(500, 523)):
        alone = integrate(np.ascontiguousarray(start[..., part]), bodies.masses, 0.5, 3)
        assert alone.tobytes() == together[..., part].tobytes()


def test_a_mean_year_is_interpolated_and_must_be_complete() -> None:
    times = np.arange(0.0, 105.0, 1.0)
    turns = times[:, None] / np.array([10.0, 10.25])
    angles = np.angle(np.exp(2j * np.pi * (turns + 0.3)))
    np.testing.assert_allclose(mean_year(angles, times), [10.0, 10.25], rtol=1e-12)
    with pytest.raises(ValueError, match=r"must hold 10 revolutions: revolutions=8\.780"):
        mean_year(angles[:91], times[:91])


# The two shapes


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", ["pool", "lock-step"])
def test_workers_compute_the_bits_of_one_process(
    bodies: Bodies, library: Library, shape: str, method: str
) -> None:
    plan = plan_of(bodies, method)
    outcome = run(shape, library, plan)
    trajectory = integrate(plan.ensemble, bodies.masses, plan.step, plan.steps)
    assert outcome.final.tobytes() == trajectory[-1].tobytes()
    assert outcome.fingerprint == run(shape, library, plan).fingerprint
    assert outcome.computing > 0.0
    assert 0.0 < outcome.drift < solar_report.ENERGY_TOLERANCE
    assert len(outcome.times) == len(outcome.spread)
    assert outcome.spread.shape[1] == 9
    assert multiprocessing.active_children() == []


def test_a_pool_counts_all_it_moves(bodies: Bodies, library: Library) -> None:
    plan = plan_of(bodies, METHODS[0])
    outcome = run("pool", library, plan)
    state = plan.ensemble.nbytes
    assert outcome.messages == 4 * 3 * 2  # four groups, three segments of at most 13 steps
    assert outcome.nbytes == 3 * state + 30 * state
    plane = orbit_plane(bodies.state)
    trajectory = integrate(plan.ensemble, bodies.masses, plan.step, plan.steps)
    np.testing.assert_allclose(
        outcome.angles[1:], earth_angles(trajectory[:, 0], plane), atol=1e-14
    )
    row = solar_jobs.spread_of(trajectory[solar_pool.STRIDE - 1, 0])
    np.testing.assert_array_equal(outcome.spread[1], row)


def test_lockstep_counts_all_it_moves(bodies: Bodies, library: Library) -> None:
    plan = plan_of(bodies, METHODS[0])
    outcome = run("lock-step", library, plan)
    assert outcome.messages == 2 + 2 * 2 * 3 * 30 + 2
    assert outcome.nbytes == plan.ensemble.nbytes * (2 + 3 * 30)


@pytest.mark.parametrize("shape", ["pool", "lock-step"])
def test_an_interrupt_leaves_no_worker(bodies: Bodies, library: Library, shape: str) -> None:
    def interrupt(share: float) -> None:
        if share > 0.2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(shape, library, plan_of(bodies, METHODS[0], steps=500), interrupt)
    assert multiprocessing.active_children() == []


def test_a_dead_sender_is_named(library: Library) -> None:
    context = library.multiprocessing.get_context(METHODS[0])
    inbox = context.Queue()
    sender = context.Process(target=solar_jobs.ignore_interrupt, name="early bird")
    sender.start()
    sender.join()
    with pytest.raises(RuntimeError, match=r"both sides must live.*early bird"):
        solar_lockstep.receive(inbox, sender)
    inbox.close()


# The checks and the program


def outcome_of(bodies: Bodies) -> tuple[Plan, Outcome]:
    plan = plan_of(bodies, METHODS[0], steps=2)
    final = integrate(plan.ensemble, bodies.masses, plan.step, plan.steps)[-1]
    empty: Floats = np.empty((0, 5))
    return plan, Outcome(1.0, 0.5, 0.1, 10**6, 2, 77, 1e-10, final, empty, empty, empty)


def test_the_checks_can_fail(bodies: Bodies) -> None:
    plan, good = outcome_of(bodies)
    check_runs = partial(solar_report.check_runs, step=0.5)
    assert check_runs({"a": [good], "b": [good]}) == []
    [message] = check_runs({"a": [good], "b": [good, replace(good, fingerprint=78)]})
    assert "same bits: fingerprint=0x4e, first=0x4d, library=b, run=2" in message
    [message] = check_runs({"a": [replace(good, drift=float("nan"))]})
    assert "energy must be conserved to 5.0e-09, relative: change=nan" in message

    assert solar_report.check_final(good.final, plan) == []
    wrong = good.final.copy()
    wrong[1, 2, 8, 3] = np.nextafter(wrong[1, 2, 8, 3], 1.0)
    assert len(solar_report.check_final(wrong, plan)) == 1

    years = np.full(4, SIDEREAL_YEAR)
    assert solar_report.check_years(years) == []
    years[2] = 365.3
    [message] = solar_report.check_years(years)
    assert "year=365.300000" in message


def test_the_table_shows_medians_and_ratios(bodies: Bodies) -> None:
    _, slow = outcome_of(bodies)
    fast = replace(slow, seconds=0.75)
    odd = replace(slow, seconds=99.0)
    runs = {("pool", "a"): [slow, odd, slow], ("pool", "b"): [fast]}
    first, second = (line.split() for line in solar_report.table(runs).splitlines()[1:3])
    assert first[2:] == ["1.00", "0.50", "0.10", "0.50", "2", "1", "1", "1.00", "1.00"]
    assert second[2:] == ["0.75", "0.50", "0.10", "0.25", "2", "1", "1", "1.33", "2.00"]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(solar_jobs.MODULES))
def test_the_program_succeeds(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "spread.png"
    flags = ["--quick", "--members", "3", "--libraries", name, "--plot", str(file)]
    assert solar_system.main(flags) == 0
    printed = capsys.readouterr().out
    assert "no failed checks" in printed
    assert file.exists() or "matplotlib is not installed" in printed


def test_too_short_a_time_fails_with_the_rule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--quick", "--years", "0.1", "--libraries", "stdlib", "--members", "2"]
    assert solar_system.main([*flags, "--plot", str(tmp_path / "no.png")]) == 1
    assert "must hold 10 revolutions: revolutions=0.1" in capsys.readouterr().err


def test_a_library_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(solar_jobs.MODULES, "zeroipc", ("no_such_module", "no_such_module"))
    assert solar_system.main(["--quick", "--libraries", "zeroipc"]) == 1
    assert "library=zeroipc (No module named 'no_such_module')" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--workers", "0"], "--workers must be positive: workers=0"),
        (["--exchange-mb", "-1"], "--exchange-mb must be positive: exchange_mb=-1.0"),
        (["--members", "1"], "--members must be at least --workers: members=1, workers=2"),
        (["--libraries", "stdlib,loky"], "must be among stdlib, zeroipc: library=loky"),
        (["--method", "clone"], "method=clone"),
    ],
)
def test_a_flag_that_breaks_its_rule_is_refused(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        solar_system.parse(flags)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
