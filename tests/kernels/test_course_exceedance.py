"""The concentration exceeded during a fraction of any window: against integration, by brackets alone, and in odd windows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdmx_dask.kernels.branches import stacked
from tdmx_dask.kernels.course import Input, course, course_at, course_cmax, monotone_pieces
from tdmx_dask.kernels.course_exceedance import LESS, course_exceeded
from tdmx_dask.kernels.disposition import disposition
from tdmx_dask.kernels.nested import nested_level
from tests.kernels.compartments import Trajectory, assert_exceeded, columns, parameters, wide_draws
from tests.kernels.test_course import HISTORIES, as_inputs, histories


@settings(max_examples=120, deadline=None)
@given(parameters, histories, st.floats(0.02, 0.98))
def test_a_window_exceeds_its_level_for_the_fraction(p, name, fraction):
    doses, window = HISTORIES[name]
    level = course_exceeded(course(disposition(*columns([p])), as_inputs(doses), window), fraction)[0]
    assert_exceeded(Trajectory(p, doses, window), level, fraction * (window[1] - window[0]))


def by_brackets(profile, fraction):
    """The level by nested brackets alone, as a fraction of the highest concentration."""
    pieces = sorted(monotone_pieces(profile), key=lambda piece: piece.segment.plateau is not None)
    window = sum(segment.length for segment in profile.segments)
    branches = stacked(profile.rate, pieces, course_cmax(profile), window, slice(None))
    return nested_level(branches, branches.low.min(axis=0), fraction * window * LESS)


@pytest.mark.parametrize("decades", [0.3, 1.5])
@pytest.mark.parametrize("name", sorted(HISTORIES))
@pytest.mark.parametrize("n_compartments", [1, 2, 3])
def test_joint_steps_and_brackets_agree(name, n_compartments, decades):
    doses, window = HISTORIES[name]
    profile = course(disposition(*wide_draws(3, 300, n_compartments, decades)), as_inputs(doses), window)
    for fraction in (0.2, 0.5, 0.9):
        level = course_exceeded(profile, fraction) / course_cmax(profile)
        np.testing.assert_allclose(level, by_brackets(profile, fraction), rtol=0.0, atol=1e-10)


@pytest.mark.parametrize("n_compartments", [1, 2, 3])
def test_the_level_falls_as_the_fraction_rises_and_scales_with_the_dose(n_compartments):
    modes = disposition(*wide_draws(4, 200, n_compartments))
    for doses, window in HISTORIES.values():
        profile = course(modes, as_inputs(doses), window)
        highest = course_cmax(profile)
        levels = np.array([course_exceeded(profile, x) for x in (1e-6, 0.2, 0.4, 0.6, 0.8, 0.99, 1.0)])
        assert (np.diff(levels, axis=0) <= 2e-10 * highest).all()
        assert (levels[0] <= highest).all()
        assert (levels[-1] >= 0.0).all()
        twice = [Input(t, 2.0 * amount, tinf) for t, amount, tinf in doses]
        np.testing.assert_allclose(
            course_exceeded(course(modes, twice, window), 0.4), 2.0 * levels[2], rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("n_compartments", [1, 2, 3])
def test_before_the_first_dose_nothing_is_exceeded(n_compartments):
    draws = wide_draws(5, 50, n_compartments, decades=0.5)
    modes = disposition(*draws)
    assert (course_exceeded(course(modes, [Input(30.0, 100.0, 1.0)], (0.0, 24.0)), 0.5) == 0.0).all()
    late = course(modes, [Input(6.0, 100.0, 1.0)], (0.0, 8.0))  # 2 of 8 h with drug
    assert (course_exceeded(late, 0.3) == 0.0).all()
    assert (course_exceeded(late, 0.2) > 0.0).all()
    assert (course_exceeded(late, 1.0) == 0.0).all()


def test_a_range_of_levels_gives_its_upper_end():
    """8 h above 20 mg/L and 8 h below 5: at every level between, half of the window is above, and `>=` is met up to 20."""
    modes = disposition(*columns([(3.0, 30.0)] * 3))
    low, high = 150.0, 20.0 * 30.0 * np.exp(0.8) - 150.0 * np.exp(-0.8)
    profile = course(modes, [Input(0.0, low, 0.0), Input(8.0, high, 0.0)], (0.0, 16.0))
    np.testing.assert_allclose(course_exceeded(profile, 0.5), 20.0, rtol=1e-9)
    np.testing.assert_allclose(course_exceeded(profile, 0.5 + 1e-6), 5.0, rtol=1e-4)


@pytest.mark.parametrize(
    "p",
    [
        (0.7746184665216549, 1333.9291578404986, 0.040729375884863084, 1.3982410915628398),
        (0.7536046269843413, 1461.3181165603607, 0.12120392770862266, 6.844934075578148),
    ],
)
def test_joint_steps_that_end_under_a_range_of_levels_do_not_stay_there(p):
    """The last bolus keeps 6 of 12 h above all that was before; its trough is then the level of half of the window."""
    modes = disposition(*columns([p, (5.0, 30.0, 2.0, 20.0)]))  # and a profile that has no such range
    doses, window = HISTORIES["boluses"]
    level = course_exceeded(course(modes, as_inputs(doses), window), 0.5)
    np.testing.assert_allclose(level[0], course_at(modes, as_inputs(doses), window[1])[0], rtol=1e-9)


def test_a_flat_course_is_exceeded_at_its_height():
    """A loading bolus to the plateau of the infusion that follows: one compartment stays where it is."""
    modes = disposition(*columns([(4.0, 20.0)]))
    profile = course(modes, [Input(0.0, 200.0, 0.0), Input(0.0, 960.0, 24.0)], (0.0, 24.0))
    for fraction in (0.1, 0.5, 0.9, 1.0):
        np.testing.assert_allclose(course_exceeded(profile, fraction), 10.0, rtol=1e-12)


def test_the_whole_window_exceeds_its_lowest_concentration():
    modes = disposition(*wide_draws(6, 50, 2))
    inputs = [Input(0.0, 500.0, 1.0), Input(8.0, 500.0, 1.0)]
    profile = course(modes, inputs, (4.0, 16.0))
    ends = [course_at(modes, inputs, t) for t in (4.0, 8.0, 16.0)]
    np.testing.assert_allclose(course_exceeded(profile, 1.0), np.min(ends, axis=0), rtol=1e-9, atol=1e-14)


def test_a_plateau_that_is_reached_counts():
    """Fast elimination: 500 mg/h for 2 h, 333 mg/h for 3 h, so 30 % of 12 h is spent at the lower plateau at least."""
    modes = disposition(*columns([(30.0, 0.5)]))
    inputs = [Input(0.0, 1000.0, 4.0), Input(2.0, 1000.0, 4.0), Input(8.0, 1000.0, 3.0)]
    profile = course(modes, inputs, (0.0, 12.0))
    np.testing.assert_allclose(course_exceeded(profile, 0.3), 1000.0 / 3.0 / 30.0, rtol=1e-10)
    np.testing.assert_allclose(course_exceeded(profile, 0.1), 500.0 / 30.0, rtol=1e-10)


@pytest.mark.parametrize("n_compartments", [1, 2, 3])
def test_nan_stays_in_its_row(n_compartments):
    draws = wide_draws(1, 5, n_compartments)
    draws[1][2] = np.nan
    for doses, window in HISTORIES.values():
        profile = course(disposition(*draws), as_inputs(doses), window)
        for fraction in (0.5, 1.0):
            assert np.isnan(course_exceeded(profile, fraction)).tolist() == [False, False, True, False, False]
