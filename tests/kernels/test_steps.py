"""Few steps are enough: the brackets are there for the rest, and halvings alone would also end, only later."""

import numpy as np
import pytest

from tdmx_dask.kernels import course as course_module
from tdmx_dask.kernels import exceedance, nested
from tdmx_dask.kernels.course import course, course_cmax, monotone_pieces
from tdmx_dask.kernels.course_exceedance import course_exceeded
from tdmx_dask.kernels.disposition import disposition
from tdmx_dask.kernels.exceedance import _first_guess, exceeded
from tdmx_dask.kernels.interval import steady_state
from tests.kernels.compartments import wide_draws
from tests.kernels.test_course import HISTORIES, as_inputs
from tests.kernels.test_course_exceedance import by_brackets
from tests.kernels.test_exceedance import bisected


@pytest.mark.parametrize("n_compartments", [1, 2, 3])
@pytest.mark.parametrize("name", ["day 1", "boluses", "overlapping infusions"])
def test_brackets_end_in_few_steps(monkeypatch, name, n_compartments):
    doses, window = HISTORIES[name]
    profile = course(disposition(*wide_draws(31, 300, n_compartments, 0.3)), as_inputs(doses), window)
    level = course_exceeded(profile, 0.4) / course_cmax(profile)
    monkeypatch.setattr(nested, "MAX_STEPS", 13)
    assert np.quantile(np.abs(by_brackets(profile, 0.4) - level), 0.6) < 1e-7


def test_stationary_points_are_found_in_few_steps(monkeypatch):
    doses, window = HISTORIES["loading bolus and continuous"]
    profile = course(disposition(*wide_draws(32, 300, 3, 0.5)), as_inputs(doses), window)
    exact = np.array([piece.end for piece in monotone_pieces(profile)])
    monkeypatch.setattr(course_module, "MAX_STEPS", 12)
    found = np.array([piece.end for piece in monotone_pieces(profile)])
    assert np.quantile(np.abs(found - exact).max(axis=0), 0.9) < 1e-6


@pytest.mark.parametrize("n_compartments", [2, 3])
def test_long_first_steps_are_finished_in_few_steps(monkeypatch, n_compartments):
    profile = steady_state(disposition(*wide_draws(33, 2000, n_compartments, 0.5)), 8.0, 6.0)
    monkeypatch.setattr(exceedance, "MAX_STEPS", 3)
    off = np.abs(exceeded(profile, 0.4) / bisected(profile, 0.4) - 1.0)
    assert np.quantile(off, 0.98) < 1e-9


@pytest.mark.parametrize("n_compartments", [2, 3])
def test_the_first_guess_is_of_second_order(n_compartments):
    """For a short infusion: half of the draws need one step of less than 1/50 of the fastest time constant."""
    profile = steady_state(disposition(*wide_draws(34, 2000, n_compartments, 0.3)), 8.0, 1.0)
    rate, lacking = profile.rate, profile.gap + profile.peak * np.exp(-3.0 * profile.rate)
    t = _first_guess(rate, lacking, 1.0)
    low, high = np.zeros_like(t), np.ones_like(t)
    for _ in range(60):
        middle = 0.5 * (low + high)
        above = (lacking * np.exp(-rate * middle)).sum(axis=0) > 1.0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    off = rate[0] * np.abs(t - high)
    assert np.median(off) < 0.02
