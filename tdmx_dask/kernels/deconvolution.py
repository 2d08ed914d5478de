"""The spread of a probability over draws, seen through the binomial noise of a finite number of subjects."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.kernels.weighted import weighted_sum

__all__ = ["posterior_bounds", "probit_normal"]

Array = NDArray[np.float64]
# Share of noise in the raw variance below which quantiles are mapped (their shape is the posterior's own)
# and above which they are fitted (they say little about it).
_MAP_BELOW, _FIT_ABOVE = 0.05, 0.35
_LARGEST = 0.999  # largest variance fitted, as a share of mean * (1 - mean)
_STEPS = 30  # of Newton with bisection: more than either needs


def posterior_bounds(x: Array, noise: Array, n_subjects: int, level: float) -> Array:
    """Equal-tailed bounds of p over draws, from estimates of p that carry the noise of few subjects.

    Two answers, both right where p is probit-normal over the draws (log critical MIC normal between
    subjects, its mean normal over draws). One is the quantile of the probit-normal with the unbiased
    moments. The other carries the observed quantiles from the probit-normal with the raw moments to the one
    with the unbiased moments: nearly the identity with many subjects, so that a posterior of any shape is
    honoured.

    Parameters
    ----------
    x : (cell, draw), estimate of p in [0, 1]: the mean response of ``n_subjects`` subjects; more than
        ``2 / (1 - level)`` draws
    noise : (cell, draw), unbiased estimate of the variance of ``x`` given its draw
    n_subjects : per draw, at least 2
    level : of the interval, in (0, 1)

    Returns
    -------
    (2, cell), lower and upper, in [0, 1], around the mean of ``x``
    """
    from scipy.special import ndtr, stdtrit

    n_draws = x.shape[1]
    tail = np.array([[0.5 - 0.5 * level], [0.5 + 0.5 * level]])
    mean, raw = x.mean(axis=1), x.var(axis=1, ddof=1)
    floor = 0.5 / (n_draws * n_subjects + 1)  # half a patient, where all or none attained
    inner = np.clip(mean, floor, 1 - floor)
    within = noise.mean(axis=1)
    within = np.where(within > 0, within, inner * (1 - inner) / n_subjects)
    excess, df = _excess(x - mean[:, None], noise, within, n_subjects)
    # A new p, seen from the estimated mean: its own spread, and the mean's error (noise here, draws below).
    mu, tau = probit_normal(inner, excess + within / n_draws)
    fitted = ndtr(mu + tau * math.sqrt(1 + 1 / n_draws) * stdtrit(df, tail))
    mu_raw, tau_raw = probit_normal(inner, np.maximum(raw, within / n_draws))
    mapped = _map(_quantiles(x, tail), fitted, n_subjects, lambda z: mu + tau * (z - mu_raw) / tau_raw)
    blend = _ramp((within / np.maximum(raw, within) - _MAP_BELOW) / (_FIT_ABOVE - _MAP_BELOW))
    result: Array = blend * fitted + (1 - blend) * mapped
    result[0] = np.clip(result[0], 0.0, mean)
    result[1] = np.clip(result[1], mean, 1.0)
    return result


def _map(observed: Array, fitted: Array, n_subjects: int, shrink: Callable[[Array], Array]) -> Array:
    """Observed quantiles (2, cell), shrunken on the probit scale."""
    from scipy.special import ndtr, ndtri

    half = 0.5 / n_subjects
    mapped = ndtr(shrink(ndtri(np.clip(observed, half, 1 - half))))
    # An observed quantile of 0 or 1 does not say how near p is: there the fit may widen, never narrow (so
    # that a higher level never gives a narrower interval).
    edge = _ramp(1 - n_subjects * np.minimum(observed, 1 - observed))
    side = np.array([[-1.0], [1.0]])
    widened: Array = mapped + side * edge * np.maximum(side * (fitted - mapped), 0.0)
    return widened


def _ramp(t: Array) -> Array:
    """Smooth step from 0 to 1."""
    t = np.clip(t, 0.0, 1.0)
    return t * t * (3 - 2 * t)


def _excess(deviation: Array, noise: Array, within: Array, n_subjects: int) -> tuple[Array, Array]:
    """Variance (cell,) of p between draws, and the degrees of freedom behind it.

    The unbiased estimate, total less noise, may be near 0 or below. Its error is nearly normal, so the
    variance is given the mean of that normal cut off at 0 (a flat prior on a variance, which is not
    negative), and the degrees of freedom of Satterthwaite (1946, Biometrics 2:110): twice the squared mean
    by the variance.
    """
    from scipy.special import log_ndtr

    n_draws = deviation.shape[1]
    each = deviation * deviation - noise
    estimate = each.sum(axis=1) / (n_draws - 1)
    # The error seen, but at least that of no excess: Var = 2 sigma**4 / (S (S - 1)) a draw, sigma**2 = S
    # within.
    least = within * math.sqrt(2 * n_subjects / ((n_subjects - 1) * n_draws))
    error = np.maximum(each.std(axis=1) / math.sqrt(n_draws), least)
    a = np.maximum(estimate / error, -30.0)
    mills = np.exp(-0.5 * a * a - log_ndtr(a)) / math.sqrt(2 * math.pi)
    centre = a + mills
    spread = np.maximum(1 - mills * centre, 1e-12)
    return error * centre, 2 * centre * centre / spread


def probit_normal(mean: Array, variance: Array) -> tuple[Array, Array]:
    """Mean mu and SD tau of a normal z for which ndtr(z) has this mean and variance, elementwise.

    E ndtr(z) = ndtr(h), h = mu / sqrt(1 + tau**2). The variance is that of two indicators that share z,
    correlated by rho = tau**2 / (1 + tau**2) on the normal scale; by Plackett's identity (1954, Biometrika
    41:351), with rho = sin theta, it is the integral of exp(-h**2 / (1 + sin t)) / (2 pi) over t in
    0..theta.
    """
    from scipy.special import ndtri

    nodes, weights = _legendre()
    h = ndtri(mean)
    square = h * h
    target = 2 * math.pi * np.minimum(variance, _LARGEST * mean * (1 - mean))
    theta = np.minimum(target * np.exp(square), 0.5)
    low, high = np.zeros_like(theta), np.full_like(theta, 0.5 * math.pi)
    for _ in range(_STEPS):  # Newton, with bisection where it would leave the bracket
        angle = np.multiply.outer(nodes, theta)
        error = theta * weighted_sum(np.exp(-square / (1 + np.sin(angle))), weights) - target
        low, high = np.where(error < 0, theta, low), np.where(error < 0, high, theta)
        step = theta - error * np.exp(square / (1 + np.sin(theta)))
        theta = np.where((step >= low) & (step <= high), step, 0.5 * (low + high))
    rho = np.sin(theta)
    tau = np.sqrt(rho / (1 - rho))
    return h * np.sqrt(1 + tau * tau), tau


@functools.cache
def _legendre() -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights on 0..1."""
    nodes, weights = np.polynomial.legendre.leggauss(16)
    return 0.5 * (nodes + 1), 0.5 * weights


def _quantiles(x: Array, tail: Array) -> Array:
    """Quantiles (2, cell) of (cell, draw) at position tail * (n + 1).

    So many order statistics that one more draw falls between them at exactly the nominal rate, whatever the
    distribution (Weibull 1939; type 6 of Hyndman and Fan 1996, Am Stat 50:361).
    """
    position = tail[:, 0] * (x.shape[1] + 1) - 1
    low = position.astype(np.intp)
    weight = (position - low)[:, None]
    part = np.partition(x, np.concatenate([low, low + 1]), axis=1)
    result: Array = (1 - weight) * part[:, low].T + weight * part[:, low + 1].T
    return result
