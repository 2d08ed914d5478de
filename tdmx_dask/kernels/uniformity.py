"""Are numbers uniform on (0, 1)? The chi-square of a histogram, and the simultaneous band of the empirical distribution function.

Of n uniform numbers, those below a point z are binomial (n, z). At each of a set of points the observed count has a two-sided
binomial tail; the smallest of these tails is the test's statistic (Säilynoja, Bürkner, Vehtari 2022, Statistics and Computing 32:32,
doi:10.1007/s11222-022-10090-6, section 2.2). Its distribution is had exactly, not by simulation: from one point to the next the count
grows by a binomial of what is left, so the chance that the whole path stays within limits is a product of small matrices
(there, algorithm 2).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["chi_square", "ecdf_band", "ecdf_counts", "ecdf_p", "evaluation_points", "normalised_rank"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_HALVINGS = 60
_TIE = 1e-9
"""Tails that agree to this are equal: a band must not depend on the last bit of a binomial sum."""


def normalised_rank(truth: float, draws: Floats, chance: float) -> float:
    """Where a value stands among draws, as a number that is uniform on (0, 1) if it is exchangeable with them.

    Parameters
    ----------
    truth : the value
    draws : (draw,), independent of each other
    chance : in (0, 1), uniform; spreads the value over its step, so that fits with other numbers of draws can be put together

    Returns
    -------
    (rank + chance) / (number of draws + 1); among equal draws the rank is spread over all of them
    """
    below = int((draws < truth).sum())
    equal = int((draws == truth).sum())
    return float((below + chance * (equal + 1)) / (draws.size + 1))


def chi_square(ranks: Floats, n_bins: int) -> tuple[float, float]:
    """Pearson's chi-square of equal bins, and its p-value (Talts et al. 2018, arXiv:1804.06788, section 5.1).

    Parameters
    ----------
    ranks : (n,), in (0, 1)
    n_bins : at least 2; at least five numbers a bin are wanted

    Examples
    --------
    >>> chi_square(np.array([0.1, 0.2, 0.3, 0.9]), 2)      # three and one where two each are expected
    (1.0, 0.31731050786291115)
    """
    from scipy.special import gammaincc

    counts, _ = np.histogram(ranks, n_bins, (0.0, 1.0))
    expected = ranks.size / n_bins
    value = float(((counts - expected) ** 2 / expected).sum())
    return value, float(gammaincc((n_bins - 1) / 2, value / 2))


def evaluation_points(n: int) -> Floats:
    """Points at which the distribution function of n numbers is looked at: 2 % to 98 %, or coarser where they are few."""
    steps = min(50, max(2, n))
    return np.arange(1, steps) / steps


def ecdf_counts(ranks: Floats, points: Floats) -> Ints:
    """How many numbers are at or below each point; (point,)."""
    return np.searchsorted(np.sort(ranks), points, side="right").astype(np.int64)


def ecdf_p(ranks: Floats, points: Floats | None = None) -> float:
    """Chance that as many uniform numbers leave the binomial limits somewhere at least as far: the p-value of the band.

    Parameters
    ----------
    ranks : (n,), in (0, 1)
    points : (point,), ascending, in (0, 1); default `evaluation_points`

    Examples
    --------
    >>> ecdf_p((np.arange(100) + 0.5) / 100)               # evenly spread
    1.0
    >>> ecdf_p(0.3 + 0.4 * (np.arange(100) + 0.5) / 100) < 1e-6    # none in the tails: the posterior is too wide
    True
    """
    points = evaluation_points(ranks.size) if points is None else points
    tails = _tails(ranks.size, tuple(points.tolist()))
    smallest = float(tails[np.arange(points.size), ecdf_counts(ranks, points)].min())
    return float(np.clip(1.0 - _inside(ranks.size, points, smallest), 0.0, 1.0))


def ecdf_band(n: int, points: Floats, level: float = 0.95) -> tuple[Ints, Ints]:
    """Limits that the counts of n uniform numbers all keep with at least this probability.

    Parameters
    ----------
    n : numbers
    points : (point,), ascending, in (0, 1)
    level : fraction

    Returns
    -------
    lowest, highest : (point,), counts inside the band
    """
    outside, inside = 1.0, 0.0  # pointwise tails: the first is too large, the second is small enough
    for _ in range(_HALVINGS):
        middle = 0.5 * (outside + inside)
        if _inside(n, points, middle) >= level:
            inside = middle
        else:
            outside = middle
    kept = _tails(n, tuple(points.tolist())) > inside * (1.0 + _TIE)
    return kept.argmax(axis=1), n - kept[:, ::-1].argmax(axis=1)


@lru_cache(maxsize=16)
def _tails(n: int, points: tuple[float, ...]) -> Floats:
    """Two-sided tail of every count at every point: (point, n + 1)."""
    from scipy.special import bdtr, bdtrc

    z = np.array(points)[:, None]
    count = np.arange(n + 1.0)[None, :]
    at_most = bdtr(count, n, z)
    at_least = np.concatenate([np.ones((z.size, 1)), bdtrc(count[:, :-1], n, z)], axis=1)
    tails: Floats = np.minimum(1.0, 2.0 * np.minimum(at_most, at_least))
    return tails


def _inside(n: int, points: Floats, tail: float) -> float:
    """Chance that the counts of n uniform numbers have a larger tail than this at every point."""
    kept = _tails(n, tuple(points.tolist())) > tail * (1.0 + _TIE)
    if not kept.any(axis=1).all():
        return 0.0
    states, chance, before = np.zeros(1, dtype=np.int64), np.ones(1), 0.0
    for point, row in zip(points.tolist(), kept, strict=True):
        following = np.flatnonzero(row)
        chance = chance @ _grown(n, states, following, (point - before) / (1.0 - before))
        states, before = following, point
    return float(chance.sum())


def _grown(n: int, states: Ints, following: Ints, share: float) -> Floats:
    """Chance of each next count, given each one now: (now, next)."""
    from scipy.special import gammaln, xlog1py, xlogy

    left = (n - states)[:, None].astype(float)
    more = following[None, :] - states[:, None].astype(float)
    possible = (more >= 0) & (more <= left)
    more = np.where(possible, more, 0.0)
    log_chance = gammaln(left + 1) - gammaln(more + 1) - gammaln(left - more + 1)
    log_chance += xlogy(more, share) + xlog1py(left - more, -share)
    chances: Floats = np.where(possible, np.exp(log_chance), 0.0)
    return chances
