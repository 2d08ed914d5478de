"""The exponentials of one to three compartments against matrix exponentials, and in the limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.linalg import expm

from tdmx_dask.kernels.disposition import disposition
from tests.kernels.compartments import columns, parameters, system, wide_draws


def impulse(modes, t):
    """Concentration at t of a bolus of 1 mg, (profile,)."""
    return modes.resistance * (modes.share * modes.rate * np.exp(-modes.rate * t)).sum(axis=0)


@settings(max_examples=200)
@given(parameters)
def test_a_bolus_decays_as_the_matrix_exponential(p):
    modes = disposition(*columns([p]))
    for t in (0.0, 0.01, 0.3, 2.0, 24.0):
        expected = expm(system(p) * t)[0, 0] / p[1]
        assert impulse(modes, t)[0] == pytest.approx(expected, abs=1e-11 / p[1])


@pytest.mark.parametrize("n", [1, 2, 3])
def test_shares_and_rates_keep_the_balances(n):
    draws = wide_draws(n, 2000, n)
    modes = disposition(*draws)
    assert modes.rate.shape == modes.share.shape == (n, 2000)
    np.testing.assert_allclose(modes.share.sum(axis=0), 1.0, rtol=1e-14)
    assert (modes.share >= -1e-10).all()
    assert (np.diff(modes.rate, axis=0) <= 0.0).all()
    np.testing.assert_allclose((modes.share * modes.rate).sum(axis=0), draws[0] / draws[1], rtol=1e-9)
    np.testing.assert_allclose(modes.resistance, 1.0 / draws[0], rtol=1e-15)
    # The mean residence time is the volume of distribution at steady state over clearance, if every compartment is reached.
    reached = np.all([q > 0.0 for q in draws[2::2]], axis=0) if n > 1 else np.ones(2000, bool)
    residence = (modes.share / modes.rate).sum(axis=0)
    np.testing.assert_allclose(residence[reached], (sum(draws[1::2]) / draws[0])[reached], rtol=1e-8)


@pytest.mark.parametrize("n", [2, 3])
def test_shares_lie_between_0_and_1_however_far_the_draws(n):
    """But for the middle one of three, which is what the others leave."""
    share = disposition(*wide_draws(3, 5000, n, decades=6.0)).share
    assert (share[[0, -1]] >= 0.0).all()
    assert (share[[0, -1]] <= 1.0).all()


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("flow", [0.0, 1e-12])
def test_a_compartment_vanishes_with_its_flow(n, flow):
    draws = wide_draws(8, 500, n)
    draws[-2] = np.full(500, flow)
    whole, less = disposition(*draws), disposition(*draws[:-2])
    for t in (0.0, 0.1, 1.0, 8.0, 48.0):
        np.testing.assert_allclose(impulse(whole, t), impulse(less, t), atol=1e-9 * impulse(less, 0.0).max())


def test_the_order_of_the_peripheral_compartments_is_free():
    draws = wide_draws(4, 500, 3)
    one_way, other_way = disposition(*draws), disposition(*draws[:2], *draws[4:], *draws[2:4])
    for t in (0.0, 1.0, 12.0):
        np.testing.assert_allclose(impulse(one_way, t), impulse(other_way, t), rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_nan_stays_in_its_row(n):
    draws = wide_draws(1, 9, n)
    whole = disposition(*draws)
    for i in range(2 * n):
        spoiled = [column.copy() for column in draws]
        spoiled[i][4] = np.nan
        modes = disposition(*spoiled)
        assert np.isnan(impulse(modes, 1.0)[4])
        np.testing.assert_array_equal(np.delete(modes.rate, 4, axis=1), np.delete(whole.rate, 4, axis=1))
