"""Pareto-smoothed importance sampling against ArviZ, and at its edges."""

import numpy as np
import pytest

from tdmx_dask.kernels.pareto import pareto_smoothed


@pytest.mark.parametrize("n", [25, 226, 1000, 4001])
@pytest.mark.parametrize("spread", [0.1, 1.0, 5.0, 20.0])
def test_pareto_smoothed__as_arviz(n, spread):
    from arviz_stats.base import array_stats

    log_ratio = np.random.default_rng(n).normal(size=n) * spread - 1000
    log_weight, khat = pareto_smoothed(log_ratio)
    wanted, wanted_khat = array_stats.psislw(-log_ratio)
    np.testing.assert_allclose(log_weight, wanted, rtol=1e-9, atol=1e-9)
    assert khat == pytest.approx(float(wanted_khat), abs=1e-9)
    assert np.exp(log_weight).sum() == pytest.approx(1)


def test_pareto_smoothed__shape_of_a_known_tail():
    uniform = np.random.default_rng(1).random(100_000)
    for shape in (0.3, 0.8):
        assert pareto_smoothed(-shape * np.log(uniform))[1] == pytest.approx(shape, abs=0.1)


@pytest.mark.parametrize(
    ("log_ratio", "khat"),
    [
        (np.zeros(100), 0.0),
        (np.r_[np.zeros(99), -np.inf], 0.0),
        (np.r_[np.zeros(99), np.nan], 0.0),
        (np.r_[np.full(99, -1e4), 0.0], np.inf),
        (np.full(100, -np.inf), np.inf),
        (np.zeros(24), np.nan),
    ],
)
def test_pareto_smoothed__edges(log_ratio, khat):
    log_weight, found = pareto_smoothed(log_ratio)
    np.testing.assert_equal(found, khat)
    assert np.exp(log_weight).sum() == pytest.approx(1)
