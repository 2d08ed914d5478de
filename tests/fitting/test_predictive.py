"""Predictive checks: laws of shares and intervals, lazy as in memory."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.stats import kstest, norm

from tdmx_dask.errors import InputError
from tdmx_dask.fitting.predictive import STATISTICS, predictive_check

N = 400


def levels(n: int = N) -> xr.DataArray:
    """Quantiles of N(10, 1) at even steps, so that shares within the model are uniform but for the replicates' noise."""
    return xr.DataArray(10 + norm.ppf((np.arange(n) + 0.5) / n), dims="observation")


def replicates(seed: int = 2, n: int = N, shift: float = 0.0, scale: float = 1.0) -> xr.DataArray:
    x = 10 + shift + scale * np.random.default_rng(seed).standard_normal((4, 250, n))
    return xr.DataArray(x, dims=("chain", "draw", "observation"))


def test_predictive_check__levels_of_the_model_are_uniform_in_it() -> None:
    found = predictive_check(levels(), replicates())
    assert kstest(found.pit, "uniform").pvalue > 0.01
    np.testing.assert_allclose(found.pit, norm.cdf(levels() - 10), atol=0.06)
    np.testing.assert_allclose(found.coverage, [0.5, 0.9], atol=0.06)
    assert ((found.p_value > 0.01) & (found.p_value < 0.99)).all()
    assert list(found.statistic.values) == list(STATISTICS)
    assert found.n_quantified == N


def test_predictive_check__by_hand() -> None:
    rep = xr.DataArray(np.array([[[1.0], [2.0], [3.0], [4.0]]]), dims=("chain", "draw", "observation"))
    found = predictive_check(xr.DataArray([3.0], dims="observation"), rep, intervals=[0.5])
    assert found.pit.item() == (2 + 0.5) / 4
    assert found.p_below.item() == 0.5
    assert (found.lower.item(), found["median"].item(), found.upper.item()) == (1.75, 2.5, 3.25)
    assert found.coverage.item() == 1.0
    assert found.p_value.sel(statistic="mean").item() == (1 + 0.5) / 4
    assert np.isnan(found.p_value.sel(statistic="sd"))


def test_predictive_check__finds_a_shift_and_a_spread() -> None:
    low = predictive_check(levels(), replicates(shift=1.0))
    assert low.p_value.sel(statistic="mean") > 0.99
    assert low.pit.mean() < 0.35
    narrow = predictive_check(levels(), replicates(scale=0.5))
    assert (narrow.coverage < [0.4, 0.7]).all()
    assert narrow.p_value.sel(statistic="sd") < 0.01


def test_predictive_check__order_and_unit_change_nothing() -> None:
    y, rep = levels(), replicates()
    found, turned = predictive_check(y, rep), predictive_check(y[::-1], rep[::-1, ::-1, ::-1])
    np.testing.assert_array_equal(turned.pit[::-1], found.pit)
    scaled = predictive_check(1024 * y, 1024 * rep)
    for name in ("pit", "inside", "coverage", "p_value"):
        np.testing.assert_array_equal(scaled[name], found[name])


def test_predictive_check__intervals_are_nested() -> None:
    found = predictive_check(levels(), replicates(), intervals=[0.2, 0.6, 0.95])
    assert (np.diff(found.lower, axis=0) <= 0).all()
    assert (np.diff(found.upper, axis=0) >= 0).all()
    assert (np.diff(found.coverage) >= 0).all()


@pytest.mark.parametrize(
    "chunks", [{"draw": 100, "observation": 150}, {"chain": 1, "draw": 33}, {"observation": 1}]
)
def test_predictive_check__lazy_equals_memory(chunks: dict[str, int]) -> None:
    y, rep = levels(n=30), replicates(n=30)
    below = xr.DataArray(np.arange(30) < 4, dims="observation")
    expected = predictive_check(y, rep, below=below)
    lazy = predictive_check(y, rep.chunk(chunks), below=below)
    assert lazy.chunks
    for name in expected.data_vars:
        if name in ("p_value", "observed", "lower", "upper", "median"):  # sums in another order
            np.testing.assert_allclose(lazy[name], expected[name], rtol=1e-12)
        else:
            np.testing.assert_array_equal(lazy[name], expected[name])


def test_predictive_check__below_quantification_has_no_place_but_a_chance() -> None:
    y, rep = levels(n=6), replicates(n=6)
    y[:2] = 10.0
    below = xr.DataArray([True, True, False, False, False, False], dims="observation")
    found = predictive_check(y, rep, below=below)
    assert np.isnan(found.pit[:2]).all()
    assert not found.inside[:, :2].any()
    np.testing.assert_allclose(found.p_below[:2], 0.5, atol=0.06)
    assert found.n_quantified == 4
    assert (found.coverage * 4 % 1 == 0).all()
    none = predictive_check(y, rep, below=xr.ones_like(below))
    assert np.isnan(none.coverage).all()
    assert np.isnan(none.p_value).all()


def test_predictive_check__refuses_what_does_not_match() -> None:
    with pytest.raises(InputError, match="there is a replicate of each of the 400 levels"):
        predictive_check(levels(), replicates(n=3))
    with pytest.raises(InputError, match=r"replicates are \(chain, draw, observation\)"):
        predictive_check(levels(), replicates().rename(draw="sample"))
    with pytest.raises(InputError, match=r"intervals=\(50,\): probabilities in \(0, 1\)"):
        predictive_check(levels(), replicates(), intervals=[50])
