"""The probit-normal fitted by its moments, against direct integration."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import norm, t, truncnorm

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


def _probit_normal(mean: float, variance: float) -> tuple[float, float]:
    """Mu and tau by root finding on adaptive quadrature."""
    h = norm.ppf(mean)

    def excess(tau: float) -> float:
        mu = h * np.sqrt(1 + tau * tau)
        spread = quad(
            lambda z: (ndtr(mu + tau * z) - mean) ** 2 * norm.pdf(z), -12, 12, limit=400, epsabs=1e-13
        )
        return float(spread[0]) - variance

    tau = brentq(excess, 1e-9, 50, xtol=1e-13)
    return h * np.sqrt(1 + tau * tau), tau


def _reference(
    x: NDArray[np.float64], noise: NDArray[np.float64], n_subjects: int, level: float
) -> list[float]:
    """The bounds of one cell, step by step, with the distributions of scipy.stats."""
    n = x.size
    tails = [0.5 - 0.5 * level, 0.5 + 0.5 * level]
    mean, within = float(x.mean()), float(noise.mean())
    if within == 0:
        share = min(max(mean, 0.5 / (n * n_subjects + 1)), 1 - 0.5 / (n * n_subjects + 1))
        mean, within = share, share * (1 - share) / n_subjects
    raw = float(np.var(x, ddof=1))
    each = (x - x.mean()) ** 2 - noise
    error = max(
        float(np.std(each)) / np.sqrt(n), within * np.sqrt(2 * n_subjects / (n_subjects - 1)) / np.sqrt(n)
    )
    estimate = float(each.sum()) / (n - 1)
    cut = truncnorm(-estimate / error, np.inf, loc=estimate, scale=error)
    excess, df = cut.mean(), 2 * cut.mean() ** 2 / cut.var()
    mu, tau = _probit_normal(mean, excess + within / n)
    fitted = [float(norm.cdf(mu + tau * np.sqrt(1 + 1 / n) * t.ppf(tail, df))) for tail in tails]
    mu_raw, tau_raw = _probit_normal(mean, max(raw, within / n))
    bounds = []
    for side, tail, fit in zip((-1, 1), tails, fitted, strict=True):
        seen = float(np.quantile(x, tail, method="weibull"))
        z = norm.ppf(min(max(seen, 0.5 / n_subjects), 1 - 0.5 / n_subjects))
        mapped = float(norm.cdf(mu + tau * (z - mu_raw) / tau_raw))
        edge = float(np.clip(1 - n_subjects * min(seen, 1 - seen), 0, 1))
        if side * (fit - mapped) > 0:
            mapped += (3 * edge**2 - 2 * edge**3) * (fit - mapped)
        share = float(np.clip((within / max(raw, within) - 0.05) / 0.3, 0, 1))
        blend = 3 * share**2 - 2 * share**3
        value = blend * fit + (1 - blend) * mapped
        bounds.append(side * max(side * value, side * float(x.mean())))
    return bounds


@pytest.mark.parametrize(
    ("centre", "tau", "n_draws", "n_subjects"),
    [
        (0.3, 0.4, 120, 2),
        (0.8, 0.3, 130, 5),
        (-1.2, 0.5, 117, 30),
        (1.0, 0.6, 121, 60),
        (2.0, 0.5, 140, 40),
        (-2.2, 0.7, 113, 100),
        (0.1, 0.2, 101, 1000),
        (2.6, 0.05, 150, 20),
        (4.5, 0.1, 125, 6),
    ],
)
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_posterior_bounds__equal_a_direct_implementation(
    centre: float, tau: float, n_draws: int, n_subjects: int, level: float
) -> None:
    rng = np.random.default_rng(n_draws)
    p = ndtr(centre + tau * rng.standard_normal((2, n_draws)))
    x = rng.binomial(n_subjects, p) / n_subjects
    noise = x * (1 - x) / (n_subjects - 1)
    bounds = posterior_bounds(x, noise, n_subjects, level)
    for cell in range(2):
        expected = _reference(x[cell], noise[cell], n_subjects, level)
        np.testing.assert_allclose(bounds[:, cell], expected, rtol=2e-6, atol=1e-12)
