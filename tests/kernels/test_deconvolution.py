"""The probit-normal fitted by its moments, against direct integration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from tdmx_dask.kernels.deconvolution import posterior_bounds, probit_normal


@pytest.mark.parametrize("mean", [1e-6, 0.01, 0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("share", [1e-8, 1e-3, 0.1, 0.6, 0.95])
def test_probit_normal__has_the_moments_asked_for(mean: float, share: float) -> None:
    variance = share * mean * (1 - mean)
    mu, tau = probit_normal(np.array([mean]), np.array([variance]))
    z = np.linspace(-10, 10, 200_001)
    weight = np.exp(-0.5 * z * z)
    weight /= weight.sum()
    p = ndtr(mu + tau * z)
    assert weight @ p == pytest.approx(mean, rel=1e-7)
    assert weight @ (p - weight @ p) ** 2 == pytest.approx(variance, rel=1e-5)


def test_probit_normal__largest_variance_and_symmetry() -> None:
    mean = np.array([0.2, 0.8, 0.2])
    mu, tau = probit_normal(mean, np.array([0.3, 0.3, 0.16]))  # at and beyond mean * (1 - mean)
    assert np.all(np.isfinite(mu) & np.isfinite(tau))
    assert mu[0] == pytest.approx(-mu[1])
    assert tau[0] == pytest.approx(tau[2])


def test_posterior_bounds__without_noise_are_the_quantiles_of_the_draws() -> None:
    # 199 draws at k / 200 and no noise: the 5 % and 95 % quantiles of Weibull's type are draws 10 and 190.
    x = np.arange(1, 200)[None] / 200
    bounds = posterior_bounds(x, np.full_like(x, 1e-14), 1_000_000, 0.9)
    np.testing.assert_allclose(bounds[:, 0], [0.05, 0.95], rtol=2e-3)


def test_posterior_bounds__removes_known_noise() -> None:
    # Estimates normal around 0.5 with variance 0.01, half of it noise: bounds at 0.5 -+ 1.96 sqrt(0.005).
    rng = np.random.default_rng(4)
    x = 0.5 + 0.1 * rng.standard_normal((40, 4000))
    bounds = posterior_bounds(np.clip(x, 0, 1), np.full_like(x, 0.005), 50, 0.95)
    np.testing.assert_allclose(
        bounds.mean(axis=1), 0.5 + np.array([-1.96, 1.96]) * np.sqrt(0.005), atol=0.003
    )
