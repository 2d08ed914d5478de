"""One dosing interval: balances, limits, and an independent integration."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdmx_dask.kernels.course import Input, course, course_at, course_auc, course_cmax
from tdmx_dask.kernels.disposition import disposition
from tdmx_dask.kernels.interval import auc, cmax, cmin, nth_interval, steady_state
from tests.kernels.compartments import Trajectory, columns, parameters, wide_draws

SCHEMES = [(8.0, 0.0), (8.0, 0.5), (8.0, 6.5), (24.0, 24.0), (12.0, 12.0)]  # tau, tinf


@settings(max_examples=40, deadline=None)
@given(parameters, st.sampled_from(SCHEMES), st.integers(1, 4))
def test_nth_interval_is_what_integration_gives(p, scheme, n):
    tau, tinf = scheme
    window = ((n - 1) * tau, n * tau)
    expected = Trajectory(p, [(j * tau, 1.0, tinf) for j in range(n)], window)
    profile = nth_interval(disposition(*columns([p])), tau, tinf, n)
    assert cmax(profile)[0] == pytest.approx(expected.highest(), rel=1e-7)
    assert cmin(profile)[0] == pytest.approx(expected.trough, rel=1e-9, abs=1e-12 * expected.highest())
    assert auc(profile)[0] == pytest.approx(expected.auc(), rel=1e-7)


@settings(max_examples=40, deadline=None)
@given(parameters, st.sampled_from(SCHEMES))
def test_steady_state_is_the_fixed_point_of_a_cycle(p, scheme):
    tau, tinf = scheme
    expected = Trajectory(p, [(0.0, 1.0, tinf)], (0.0, tau), cycle=tau)
    profile = steady_state(disposition(*columns([p])), tau, tinf)
    assert cmax(profile)[0] == pytest.approx(expected.highest(), rel=1e-7)
    assert cmin(profile)[0] == pytest.approx(expected.trough, rel=1e-7, abs=1e-12 * expected.highest())
    assert auc(profile)[0] * p[0] == pytest.approx(1.0, rel=1e-14)
    assert expected.auc() * p[0] == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("n_compartments", [1, 2, 3])
def test_intervals_rise_to_steady_state(scheme, n_compartments):
    tau, tinf = scheme
    modes = disposition(*wide_draws(2, 300, n_compartments, decades=0.5))
    last = steady_state(modes, tau, tinf)
    intervals = [nth_interval(modes, tau, tinf, n) for n in (1, 2, 5, 10**6)]
    for figure in (cmax, cmin, auc):
        values = np.array([figure(profile) for profile in intervals])
        assert (np.diff(values, axis=0) >= -1e-12 * values[-1]).all()
        np.testing.assert_allclose(values[-1], figure(last), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("n_compartments", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 3])
def test_nth_interval_is_a_window_of_the_course(scheme, n_compartments, n):
    tau, tinf = scheme
    modes = disposition(*wide_draws(3, 300, n_compartments))
    inputs = [Input(j * tau, 1.0, tinf) for j in range(n)]
    window = course(modes, inputs, ((n - 1) * tau, n * tau))
    profile = nth_interval(modes, tau, tinf, n)
    highest = cmax(profile)
    np.testing.assert_allclose(auc(profile), course_auc(window), rtol=1e-9)
    np.testing.assert_allclose(highest, course_cmax(window), rtol=1e-11)
    assert (np.abs(cmin(profile) - course_at(modes, inputs, n * tau)) <= 1e-12 * highest).all()


@pytest.mark.parametrize("tinf", [0.0, 1.0])
def test_nan_stays_in_its_row(tinf):
    draws = wide_draws(1, 5, 2)
    draws[3][2] = np.nan
    for profile in (
        steady_state(disposition(*draws), 8.0, tinf),
        nth_interval(disposition(*draws), 8.0, tinf, 2),
    ):
        for figure in (cmax, cmin):
            np.testing.assert_array_equal(np.isnan(figure(profile)), [False, False, True, False, False])
