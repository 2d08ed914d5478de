"""Compartments integrated without the kernels: matrix exponentials on a fine grid, cubic Hermite splines between its points."""

from itertools import pairwise

import numpy as np
from hypothesis import strategies as st
from scipy.interpolate import CubicHermiteSpline
from scipy.linalg import expm

STEP = 0.05  # of the fastest time constant: a Hermite cubic is then right to STEP**4 / 384 = 2e-8


def log_uniform(low, high):
    return st.floats(np.log(low), np.log(high)).map(lambda x: float(np.exp(x)))


flow = st.one_of(st.just(0.0), log_uniform(1e-6, 1e-3), log_uniform(0.1, 30.0))
volume = log_uniform(2.0, 200.0)
one = st.tuples(log_uniform(0.3, 40.0), log_uniform(4.0, 100.0))
two = st.tuples(one, flow, volume).map(lambda p: (*p[0], p[1], p[2]))
three = st.tuples(two, flow, volume).map(lambda p: (*p[0], p[1], p[2]))
same_rates = st.tuples(one, log_uniform(0.1, 30.0), st.floats(0.2, 5.0)).map(
    lambda p: (*p[0], p[1], p[1] * p[0][1] / p[0][0], p[1] * p[2], p[1] * p[2] * p[0][1] / p[0][0])
)  # k10 = k21 = k31
parameters = st.one_of(one, two, three, same_rates)


def columns(rows):
    """Parameters of several profiles as the arrays that `disposition` takes."""
    return [np.array(column) for column in zip(*rows, strict=True)]


def wide_draws(seed, n, n_compartments, decades=1.0):
    """Profiles within some decades of a typical drug, one flow in ten absent."""
    rng = np.random.default_rng(seed)
    typical = (5.0, 30.0, 2.0, 20.0, 1.0, 40.0)[: 2 * n_compartments]
    draws = [middle * 10.0 ** rng.uniform(-decades, decades, n) for middle in typical]
    for i in range(2, 2 * n_compartments, 2):
        draws[i][rng.random(n) < 0.1] = 0.0
    return draws


def system(p):
    """Matrix of amounts of a parameter tuple (CL, Vc, Q1, Vp1, Q2, Vp2), 1/h."""
    a = np.zeros((len(p) // 2, len(p) // 2))
    a[0, 0] = -p[0] / p[1]
    for k in range(1, a.shape[0]):
        q, v = p[2 * k], p[2 * k + 1]
        a[0, 0] -= q / p[1]
        a[k, 0], a[0, k], a[k, k] = q / p[1], q / v, -q / v
    return a


class Trajectory:
    """Concentration of one profile over a window.

    ``doses`` are (time, amount, tinf); with ``cycle`` they repeat for ever, and none may cross its end.
    """

    def __init__(self, p, doses, window, cycle=None):
        self.a, self.vc, self.doses = system(p), p[1], doses
        start, end = window
        state = np.zeros(self.a.shape[0])
        if cycle is not None:
            left = self._run(state, 0.0, cycle)[0]
            missing = np.eye(len(state)) - expm(self.a * cycle)
            state = np.linalg.lstsq(missing, left)[0]  # a compartment without flow is empty
        state, _ = self._run(state, 0.0, start) if start > 0.0 else (state, [])
        self.last, self.pieces = self._run(state, start, end)
        self.trough = self.last[0] / self.vc

    def _run(self, state, start, end):
        times = {start, end}
        for time, _, tinf in self.doses:
            times |= {t for t in (time, time + tinf) if start < t < end}
        pieces = []
        times = sorted(times)
        for here, there in pairwise(times):
            bolus = sum(amount for time, amount, tinf in self.doses if tinf == 0.0 and time == here)
            inflow = sum(
                amount / tinf for time, amount, tinf in self.doses if tinf and time <= here < time + tinf
            )
            state = state + bolus * np.eye(len(state))[0]
            state, piece = self._segment(state, inflow, here, there)
            pieces.append(piece)
        return state, pieces

    def _segment(self, state, inflow, start, end):
        """One stretch without events: the state with the inflow's integral as one more, constant, entry."""
        n = len(state)
        augmented = np.zeros((n + 1, n + 1))
        augmented[:n, :n] = self.a
        augmented[0, n] = inflow
        steps = int(np.clip(np.ceil((end - start) * np.abs(self.a).max() * 2 / STEP), 20, 60_000))
        states = np.array([[*state, 1.0]])
        block = expm(augmented * (end - start) / steps).T
        while len(states) <= steps:
            states = np.vstack([states, states @ block])
            block = block @ block
        states = states[: steps + 1]
        slopes = (states @ augmented.T)[:, 0] / self.vc
        t = np.linspace(start, end, steps + 1)
        return states[-1, :n], CubicHermiteSpline(t, states[:, 0] / self.vc, slopes)

    def at(self, t):
        return float(next(piece for piece in self.pieces if piece.x[0] <= t <= piece.x[-1])(t))

    def auc(self):
        return sum(float(piece.integrate(piece.x[0], piece.x[-1])) for piece in self.pieces)

    def highest(self):
        return max(piece(piece.x).max() for piece in self.pieces)

    def lowest(self):
        return min(piece(piece.x).min() for piece in self.pieces)

    def time_above(self, level):
        total = 0.0
        for piece in self.pieces:
            roots = [r for r in piece.solve(level, extrapolate=False) if np.isfinite(r)]
            edges = np.array([piece.x[0], *sorted(roots), piece.x[-1]])
            above = piece(0.5 * (edges[:-1] + edges[1:])) > level
            total += float(np.diff(edges)[above].sum())
        return total


def assert_exceeded(trajectory, level, wanted, tolerance=1e-6):
    """The profile is above a little less than the level for long enough, above a little more for too short a time."""
    slack = tolerance * trajectory.highest()
    window = trajectory.pieces[-1].x[-1] - trajectory.pieces[0].x[0]
    assert trajectory.time_above(level - slack) >= wanted - 1e-9 * window
    assert trajectory.time_above(level + slack) <= wanted + 1e-9 * window
