"""The solar system as point masses: many members at once, integrated symplectically.

Units     au, days, solar masses; energies in solar masses * au^2 / day^2
Frame     barycentric, ICRS axes
Arrays    positions and velocities are float64 of shape (3, bodies, members): the members lie side
          by side, so that one NumPy call advances all of them
Forces    Newton's between all bodies, and the sun's relativistic pull on the planets
Bits      every member gets the same operations in the same order, however the members are grouped:
          results do not depend on who computed them
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

GRAVITY = 0.01720209895**2  # G M_sun in au^3 / day^2: the square of Gauss's constant
LIGHT = 173.1446326846693  # au / day
SIDEREAL_YEAR = 365.25636  # days
SUN, EARTH = 0, 3  # rows of the file; the Earth row is the Earth-Moon barycentre
BLOCK = 512  # members per NumPy call: their pairs still fit a second-level cache


@dataclass(frozen=True)
class Bodies:
    """The state of the real solar system at J2000.0.

    Attributes:
        names: the sun first.
        masses: solar masses, shape (bodies,).
        state: positions in au and velocities in au per day, shape (2, 3, bodies).
    """

    names: tuple[str, ...]
    masses: Floats
    state: Floats


def read_bodies(path: Path) -> Bodies:
    """Read the bodies' masses and state vectors.

    Raises:
        ValueError: the number of bodies is even, which `Gravity` cannot pair, or the sun is not
            the first.
    """
    with path.open(encoding="utf-8") as file:
        rows = list(csv.reader(line for line in file if not line.startswith("#")))[1:]
    names = tuple(row[0] for row in rows)
    if len(rows) % 2 == 0 or names[0] != "sun":
        raise ValueError(f"bodies must be an odd number, the sun first: bodies={names}")
    table = np.array([[float(cell) for cell in row[1:]] for row in rows])
    return Bodies(
        names, table[:, 0].copy(), table[:, 1:].reshape(-1, 2, 3).transpose(1, 2, 0).copy()
    )


def perturb(bodies: Bodies, members: int, sigma: float, seed: int) -> Floats:
    """Draw an ensemble around the real state; member 0 is the real state itself.

    Args:
        bodies: the real system.
        members: at least 1. The first members do not change when more are drawn.
        sigma: standard deviation of each planet's position and velocity, relative to its distance
            from the sun and its speed about it.
        seed: of the random numbers.

    Returns:
        The states, shape (2, 3, bodies, members), each at rest at its own barycentre.
    """
    noise = np.random.default_rng(seed).standard_normal((members, *bodies.state.shape))
    noise[0] = 0.0
    noise[..., SUN] = 0.0
    heliocentric = bodies.state - bodies.state[..., SUN : SUN + 1]
    scale = sigma * np.sqrt(np.sum(heliocentric**2, axis=1, keepdims=True))
    states = np.moveaxis(bodies.state + scale * noise, 0, -1)
    weights = (bodies.masses / bodies.masses.sum())[:, None]
    return np.ascontiguousarray(states - np.sum(weights * states, axis=2, keepdims=True))


class Gravity:
    """Newton's accelerations, with buffers kept from call to call.

    The bodies stand in a ring. With an odd number of them, pairing each with its next, second
    next, ... up to (bodies - 1) / 2 places on meets every pair exactly once, so a whole pass is one
    array operation.
    """

    def __init__(self, masses: Floats, members: int) -> None:
        """Reserve buffers for *members* systems of bodies with these masses, an odd number."""
        bodies = len(masses)
        reach = (bodies - 1) // 2
        width = min(members, BLOCK)
        self._pull = np.empty((3, bodies, members))
        self._ring = np.empty((3, bodies + reach, width))
        windows = np.lib.stride_tricks.sliding_window_view(self._ring, bodies, axis=1)
        self._partners = windows.transpose(1, 0, 3, 2)[
            1:
        ]  # (reach, 3, bodies, width): those 1, 2, ... places on
        self._offsets = np.empty((reach, 3, bodies, width))
        self._products = np.empty((reach, 3, bodies, width))
        self._squares = np.empty((reach, bodies, width))
        self._roots = np.empty((reach, bodies, width))
        self._weights = (GRAVITY * masses)[:, None]
        self._partner_weights = np.stack(
            [np.roll(self._weights, -k, axis=0) for k in range(1, reach + 1)]
        )[:, None]

    def __call__(self, positions: Floats) -> Floats:
        """Return the accelerations in au / day^2: a buffer that the next call overwrites."""
        for first in range(0, positions.shape[-1], BLOCK):
            part = slice(first, first + BLOCK)
            self._accelerate(positions[..., part], self._pull[..., part])
        return self._pull

    def _accelerate(self, positions: Floats, pull: Floats) -> None:
        bodies, width = positions.shape[1:]
        reach = len(self._offsets)
        offsets, products = self._offsets[..., :width], self._products[..., :width]
        squares, roots = self._squares[..., :width], self._roots[..., :width]
        self._ring[:, :bodies, :width] = positions
        self._ring[:, bodies:, :width] = positions[:, :reach]

        np.subtract(self._partners[..., :width], positions, out=offsets)
        np.multiply(offsets, offsets, out=products)
        np.add(products[:, 0], products[:, 1], out=squares)
        squares += products[:, 2]
        np.sqrt(squares, out=roots)
        squares *= roots
        np.divide(1.0, squares, out=squares)
        offsets *= squares[:, None]

        np.multiply(
            offsets, self._partner_weights, out=products
        )  # what each body feels from its partner
        pull[...] = products[0]
        for product in products[1:]:
            pull += product
        offsets *= self._weights  # what the partner feels from it, with the opposite sign
        for place, offset in enumerate(offsets, start=1):
            pull[:, place:] -= offset[:, :-place]
            pull[:, :place] -= offset[:, -place:]


def relativity(positions: Floats, masses: Floats) -> Floats:
    """Return the sun's relativistic pull in au / day^2, and the recoil on the sun, as a new array.

    From the potential -3 (G M / c r)^2 of Nobili and Roxburgh: it turns the perihelia as general
    relativity does and depends on positions only, so that the step stays symplectic.
    """
    offsets = positions[:, 1:] - positions[:, :1]
    squares = offsets[0] * offsets[0] + offsets[1] * offsets[1] + offsets[2] * offsets[2]
    pull = np.empty_like(positions)
    np.multiply(offsets, (-6.0 * (GRAVITY / LIGHT) ** 2) / (squares * squares), out=pull[:, 1:])
    # accumulate adds in order; sum would group its terms by the number of members
    pull[:, 0] = -np.add.accumulate(masses[1:, None] * pull[:, 1:], axis=1)[:, -1]
    return pull


def stages(step: float) -> tuple[list[tuple[float, float]], float]:
    """Return the three (drift, kick) pairs and the last drift, in days, of a fourth-order step.

    Forest and Ruth's: three leapfrog steps, the middle one backwards, so that their third-order
    errors cancel.
    """
    outer = step / (2.0 - 2.0 ** (1.0 / 3.0))
    inner = step - 2.0 * outer
    half, middle = outer / 2.0, (outer + inner) / 2.0
    return [(half, outer), (middle, inner), (middle, outer)], half


def integrate(state: Floats, masses: Floats, step: float, steps: int) -> Floats:
    """Advance an ensemble.

    Args:
        state: positions and velocities, shape (2, 3, bodies, members); not changed.
        masses: solar masses, shape (bodies,).
        step: days.
        steps: at least 1.

    Returns:
        The states after each step, shape (steps, 2, 3, bodies, members).
    """
    trajectory = np.empty((steps, *state.shape))
    positions, velocities = state.copy()
    gravity = Gravity(masses, state.shape[-1])
    pairs, last_drift = stages(step)
    for row in trajectory:
        for drift, kick in pairs:
            positions += drift * velocities
            pull = gravity(positions)
            pull += relativity(positions, masses)
            velocities += kick * pull
        positions += last_drift * velocities
        row[0], row[1] = positions, velocities
    return trajectory


def energy(state: Floats, masses: Floats) -> Floats:
    """Return the total energy of each member, shape (members,)."""
    positions, velocities = state
    total: Floats = 0.5 * np.einsum("b,cbm,cbm->m", masses, velocities, velocities)
    for body in range(1, len(masses)):
        offsets = positions[:, :body] - positions[:, body : body + 1]
        squares = np.sum(offsets**2, axis=0)
        total -= GRAVITY * masses[body] * np.sum(masses[:body, None] / np.sqrt(squares), axis=0)
        total -= 3.0 * masses[body] * (GRAVITY / LIGHT) ** 2 / squares[SUN]
    return total


def orbit_plane(state: Floats) -> tuple[Floats, Floats]:
    """Return two unit vectors that span the Earth's orbit: towards it, and 90 degrees on.

    Args:
        state: of one system, shape (2, 3, bodies).
    """
    position, velocity = state[..., EARTH] - state[..., SUN]
    ahead = position / np.sqrt(position @ position)
    normal = np.cross(position, velocity)
    return ahead, np.cross(normal / np.sqrt(normal @ normal), ahead)


def earth_angles(positions: Floats, plane: tuple[Floats, Floats]) -> Floats:
    """Return the Earth's angle about the sun, radians, from -pi to pi, shape (..., members).

    Args:
        positions: au, shape (..., 3, bodies, members).
        plane: from `orbit_plane`.
    """
    offsets = positions[..., EARTH, :] - positions[..., SUN, :]
    along, across = (np.einsum("c,...cm->...m", axis, offsets) for axis in plane)
    angles: Floats = np.arctan2(across, along)
    return angles


def mean_year(angles: Floats, times: Floats, revolutions: int = 10) -> Floats:
    """Return the mean time in days of the first *revolutions*, shape (members,).

    A revolution ends where the unwrapped angle has grown by a whole turn since the first row; the
    moment is interpolated linearly between rows.

    Args:
        angles: radians, shape (rows, members), rows less than half a turn apart.
        times: days, increasing, shape (rows,).
        revolutions: how many.

    Raises:
        ValueError: a member has not completed them.
    """
    turned = np.unwrap(angles, axis=0)
    turned -= turned[0]
    goal = 2.0 * np.pi * revolutions
    if turned[-1].min() < goal:
        turns = turned[-1].min() / (2.0 * np.pi)
        raise ValueError(f"the time must hold {revolutions} revolutions: revolutions={turns:.3f}")
    after = np.argmax(turned >= goal, axis=0)
    member = np.arange(turned.shape[1])
    low, high = turned[after - 1, member], turned[after, member]
    share = (goal - low) / (high - low)
    ends = times[after - 1] + share * (times[after] - times[after - 1])
    mean: Floats = (ends - times[0]) / revolutions
    return mean
