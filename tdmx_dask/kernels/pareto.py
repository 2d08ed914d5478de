"""Pareto-smoothed importance sampling: how far an approximation may be trusted, and weights that mend it where it may.

Vehtari, Simpson, Gelman, Yao, Gabry 2024, Journal of Machine Learning Research 25(72), algorithm 1, with the length of the tail rounded
as ArviZ does; the generalised Pareto fit is that of Zhang, Stephens 2009, Technometrics 51:316, with the weakly informative prior of
Vehtari et al., appendix G.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["pareto_smoothed"]

Floats = NDArray[np.float64]
_LEAST_TAIL = 5


def pareto_smoothed(log_ratio: ArrayLike) -> tuple[Floats, float]:
    """Smooth the largest importance ratios of independent draws.

    Parameters
    ----------
    log_ratio : (draw,), log of target over proposal density, up to a constant; -inf and NaN weigh nothing

    Returns
    -------
    (draw,) log weights whose exponentials sum to 1, and k-hat, the shape of the tail: below 0.7 the weights may be used; NaN where fewer
    than 25 draws leave no tail to look at; inf where no draw has a finite ratio
    """
    log_weight = np.array(log_ratio, dtype=np.float64).ravel()
    log_weight[np.isnan(log_weight)] = -np.inf
    n = len(log_weight)
    if not n or not np.isfinite(top := log_weight.max()):
        return np.full(n, -np.log(max(n, 1))), np.inf
    log_weight -= top
    khat = np.nan
    n_tail = int(min(n / 5, 3 * np.sqrt(n)))
    if n_tail >= _LEAST_TAIL:
        order = np.argsort(log_weight, kind="stable")
        tail, cut = order[-n_tail:], log_weight[order[-n_tail - 1]]
        cut = max(cut, np.log(np.finfo(np.float64).tiny))
        excess = np.exp(log_weight[tail]) - np.exp(cut)
        if excess[-1] - excess[0] > np.finfo(np.float64).tiny and excess[int(n_tail / 4 + 0.5) - 1] > 0:
            khat, sigma = _fit(excess)
            at = (np.arange(n_tail) + 0.5) / n_tail
            quantile = sigma * (-np.log1p(-at) if khat == 0 else np.expm1(-khat * np.log1p(-at)) / khat)
            log_weight[tail] = np.minimum(np.log(quantile + np.exp(cut)), 0.0)
        else:  # the largest weights are equal, or a few draws outweigh all others
            khat = 0.0 if excess[-1] == excess[0] else np.inf
    top = log_weight.max()
    return log_weight - top - np.log(np.exp(log_weight - top).sum()), float(khat)


def _fit(x: Floats) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto distribution, of sorted excesses."""
    n = len(x)
    m = 30 + int(np.sqrt(n))
    b = 1 - np.sqrt(m / (np.arange(1, m + 1) - 0.5))
    b = b / (3 * x[int(n / 4 + 0.5) - 1]) + 1 / x[-1]
    k = np.log1p(-b[:, None] * x).mean(axis=1)
    log_likelihood = n * (np.log(-b / k) - k - 1)
    weight = np.exp(log_likelihood - log_likelihood.max())
    weight /= weight.sum()
    b_mean = float((b * weight).sum())
    shape = float(np.log1p(-b_mean * x).mean())
    return (n * shape + 5) / (n + 10), -shape / b_mean
