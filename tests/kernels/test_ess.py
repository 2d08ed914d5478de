"""Effective sample size of a mean: against ArviZ, and against series whose ESS is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from arviz_stats.base import array_stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import lfilter

from tdmx_dask.errors import InputError
from tdmx_dask.kernels.ess import _fast_length, ess_mean


def autoregressive(rho: float, shape: tuple[int, int, int], seed: int) -> NDArray[np.float64]:
    """Stationary AR(1) series (chain, draw, cell) with unit variance."""
    rng = np.random.default_rng(seed)
    shocks = rng.standard_normal(shape)
    shocks[:, 1:] *= math.sqrt(1 - rho * rho)
    return np.asarray(lfilter([1.0], [1.0, -rho], shocks, axis=1))


def arviz(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """ESS of the mean of (chain, draw, cell) by ArviZ."""
    return np.atleast_1d(array_stats.ess(x, chain_axis=0, draw_axis=1, method="mean"))


@pytest.mark.parametrize("rho", [-0.6, 0.0, 0.3, 0.9, 0.99])
@pytest.mark.parametrize("shape", [(4, 500, 3), (1, 333, 2), (3, 28, 2), (2, 8, 2), (2, 46, 1), (1, 9, 1)])
def test_ess_mean__equals_arviz(rho: float, shape: tuple[int, int, int]) -> None:
    x = autoregressive(rho, shape, seed=17) + np.arange(shape[2])
    np.testing.assert_allclose(ess_mean(x), arviz(x), rtol=1e-9)


def test_ess_mean__boolean_equals_arviz() -> None:
    x = autoregressive(0.8, (4, 400, 5), seed=3) > np.array([-1.0, 0.0, 0.5, 1.0, 2.0])
    np.testing.assert_allclose(ess_mean(x), arviz(x.astype(float)), rtol=1e-9)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_ess_mean__known_for_autoregressive_series(rho: float) -> None:
    # n (1 - rho) / (1 + rho) for AR(1); the mean over 60 cells, each known to some per cent.
    x = autoregressive(rho, (4, 4000, 60), seed=1)
    assert np.mean(ess_mean(x)) == pytest.approx(16_000 * (1 - rho) / (1 + rho), rel=0.05)


def test_ess_mean__is_the_variance_of_the_mean() -> None:
    # What ESS is for: var(mean) = var(x) / ESS, seen over 2,000 repetitions.
    x = autoregressive(0.7, (2, 1000, 2000), seed=5)
    seen = x.mean(axis=(0, 1)).var()
    assert float(np.mean(1 / ess_mean(x))) == pytest.approx(seen, rel=4 * math.sqrt(2 / 2000))


def test_ess_mean__antithetic_chains_count_for_more_but_are_bounded() -> None:
    x = autoregressive(-0.6, (4, 1000, 20), seed=2)
    ess = ess_mean(x)
    assert np.all(ess > 4000)
    assert np.all(ess <= 4000 * math.log10(4000) * (1 + 1e-12))
    alternating = np.tile([1.0, -1.0], 500)[None, :, None]
    assert ess_mean(alternating)[0] == pytest.approx(1000 * 3)


def test_ess_mean__sees_chains_that_disagree() -> None:
    x = autoregressive(0.0, (4, 500, 1), seed=4) + 3 * np.arange(4)[:, None, None]
    assert ess_mean(x)[0] < 10


def test_ess_mean__sees_a_drift_within_one_chain() -> None:
    x = autoregressive(0.0, (1, 1000, 1), seed=4) + np.linspace(0, 6, 1000)[None, :, None]
    assert ess_mean(x)[0] < 20


def test_ess_mean__constant_series_count_every_draw() -> None:
    x = np.stack([np.zeros((4, 101)), np.ones((4, 101)), np.full((4, 101), 0.1), np.full((4, 101), 1e300)], 2)
    np.testing.assert_array_equal(ess_mean(x), 404.0)
    np.testing.assert_array_equal(ess_mean(x.astype(bool)), 404.0)


def test_ess_mean__one_success_in_many() -> None:
    x = np.zeros((4, 500, 1), dtype=bool)
    x[2, 17] = True
    assert ess_mean(x)[0] == pytest.approx(arviz(x.astype(float))[0], rel=1e-9)


def test_ess_mean__not_finite_and_too_short() -> None:
    x = autoregressive(0.2, (2, 100, 4), seed=9)
    x[1, 3, 0], x[0, 0, 1], x[0, 0, 2] = np.nan, np.inf, -np.inf
    ess = ess_mean(x)
    assert np.isnan(ess[:3]).all()
    assert ess[3] == ess_mean(x[:, :, 3:])[0]
    assert np.isnan(ess_mean(x[:, :7, 3:])).all()
    assert np.isfinite(ess_mean(x[:, :8, 3:])).all()


def test_ess_mean__refuses_what_has_no_draws() -> None:
    with pytest.raises(
        InputError, match=r"x=array of shape \(5,\): dimensions are \(chain, draw, \.\.\.cells\)"
    ):
        ess_mean(np.zeros(5))
    for shape in ((4, 0, 2), (0, 4, 2)):
        with pytest.raises(
            InputError, match=r"cells\)\. Reshape draws of one chain to \(1, draw, \.\.\.\)\.$"
        ):
            ess_mean(np.zeros(shape))


def test_ess_mean__shapes_of_the_cells() -> None:
    x = autoregressive(0.4, (2, 60, 6), seed=10)
    ess = ess_mean(x)
    np.testing.assert_array_equal(ess_mean(x.reshape(2, 60, 3, 2)), ess.reshape(3, 2))
    assert ess_mean(x[:, :, 0]).shape == ()
    assert ess_mean(x[:, :, :0]).shape == (0,)


def test_ess_mean__many_cells_in_blocks() -> None:
    x = autoregressive(0.4, (2, 4000, 70), seed=10)  # more than one block
    ess = ess_mean(x)
    for cell in (0, 35, 69):
        assert ess[cell] == pytest.approx(float(ess_mean(x[:, :, cell])), rel=1e-12)


@given(scale=st.floats(1e-6, 1e6), shift=st.floats(-1e3, 1e3), seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_ess_mean__free_of_scale_shift_and_order_of_chains(scale: float, shift: float, seed: int) -> None:
    x = autoregressive(0.6, (3, 64, 2), seed=seed)
    expected = ess_mean(x)
    np.testing.assert_allclose(ess_mean(scale * (x + shift)), expected, rtol=1e-5)
    np.testing.assert_allclose(ess_mean(x[::-1]), expected, rtol=1e-9)


@given(n=st.integers(1, 100_000))
@settings(max_examples=100)
def test_fast_length__is_the_smallest_smooth_number(n: int) -> None:
    assert _fast_length(n) == next(size for size in range(n, 2 * n + 1) if smooth(size))


def test_fast_length__of_small_numbers() -> None:
    assert [_fast_length(n) for n in (1, 2, 7, 11, 13, 27, 45, 121, 241)] == [
        1,
        2,
        8,
        12,
        15,
        27,
        45,
        125,
        243,
    ]


def smooth(n: int) -> bool:
    """No prime factor beyond 5."""
    for prime in (2, 3, 5):
        while n % prime == 0:
            n //= prime
    return n == 1
