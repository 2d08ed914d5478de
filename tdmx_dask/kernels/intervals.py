"""How a probability of target attainment gets its uncertainty.

Two kinds, never one called the other. With one virtual patient a draw there is only Monte-Carlo error:
`wilson` at the effective sample size. With several virtual patients a draw (two levels) each draw has its own
PTA: `credible` is the interval of that PTA over the draws, after the binomial noise of the finite number of
patients has been taken out; `two_level_mcse` and `clustered` give the Monte-Carlo error apart from it. The
`weighted` forms do the same for a cumulative fraction of response, whose counts at several MICs come from the
same patients.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tdmx_dask.errors import InputError
from tdmx_dask.kernels.deconvolution import posterior_bounds
from tdmx_dask.kernels.weighted import weighted_sum

__all__ = [
    "Credible",
    "clustered",
    "credible",
    "credible_weighted",
    "two_level_mcse",
    "two_level_mcse_weighted",
    "wilson",
    "wilson_mcse",
]

Array = NDArray[np.float64]
# Cells summarised at a time, in elements: bounds the memory of the temporaries.
_BLOCK = 1 << 17


class Credible(NamedTuple):
    """A credible interval, or the reason why there is none (`lower` and `upper` are then NaN)."""

    lower: Array
    upper: Array
    reason: str  # "" where the interval is given


def wilson(
    n_attained: ArrayLike, n_effective: ArrayLike, level: float, *, n_simulated: ArrayLike | None = None
) -> tuple[Array, Array]:
    """Score interval of a proportion (Monte-Carlo error of a one-level PTA).

    Parameters
    ----------
    n_attained : any shape, profiles that attained the target, out of ``n_simulated``
    n_effective : broadcastable, > 0, effective sample size; need not be an integer
    level : of the interval, in (0, 1)
    n_simulated : broadcastable, what ``n_attained`` was counted out of; default: ``n_effective``

    Returns
    -------
    lower, upper : fractions in [0, 1]; NaN where an argument is NaN or ``n_effective`` is not positive

    Raises
    ------
    InputError
        ``n_attained`` is negative or above ``n_simulated``, or ``level`` is not between 0 and 1.

    References
    ----------
    Wilson 1927, J Am Stat Assoc 22:209 (doi:10.1080/01621459.1927.10502953).
    """
    counted = np.asarray(n_effective if n_simulated is None else n_simulated, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        fraction = np.asarray(n_attained, dtype=np.float64) / counted
    outside = (fraction < 0) | (fraction > 1 + 1e-12)
    if np.any(outside):
        first = np.broadcast_to(n_attained, outside.shape)[outside][0]
        fix = "Give the total as n_simulated= where n_effective is smaller."
        raise InputError("n_attained", first, "must lie within 0..n_simulated", fix)
    return _score(np.minimum(fraction, 1.0), np.asarray(n_effective, dtype=np.float64), level)


def wilson_mcse(mean: ArrayLike, mcse: ArrayLike, level: float, *, n_max: ArrayLike) -> tuple[Array, Array]:
    """Score interval of a mean of values in [0, 1] whose standard error is known (a one-level CFR).

    The sample size is the one whose binomial variance is ``mcse**2``, at most ``n_max``.

    Parameters
    ----------
    mean : any shape, fractions in [0, 1]
    mcse : broadcastable, standard error of ``mean``
    level : of the interval, in (0, 1)
    n_max : broadcastable, > 0, profiles behind the mean: the sample size where ``mcse`` is 0

    Returns
    -------
    lower, upper : fractions in [0, 1]; NaN where an argument is NaN
    """
    centre = np.asarray(mean, dtype=np.float64)
    variance = np.asarray(mcse, dtype=np.float64) ** 2
    largest = np.asarray(n_max, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.where(variance > 0, centre * (1 - centre) / variance, largest)
    return _score(centre, np.where(np.isnan(variance), np.nan, np.minimum(size, largest)), level)


def credible(n_attained: NDArray[Any], n_subjects: int, level: float) -> Credible:
    """Credible interval of PTA over draws, with the binomial noise of the subjects removed.

    Quantiles of the raw shares are too wide: their variance is that of the PTA of each draw plus the mean
    binomial variance. Both are estimated without bias, from the first two factorial moments of the counts,
    and the quantiles are those of a distribution with the first alone. It covers a true PTA at its nominal
    rate where the draws can tell the two variances apart, and more often where they cannot (few draws of
    few subjects).

    Parameters
    ----------
    n_attained : (draw, ...cells), integers in 0..n_subjects, attained among the subjects of each draw;
        draws of several chains one after the other
    n_subjects : virtual patients per draw
    level : of the interval, in (0, 1)

    Returns
    -------
    Credible : lower, upper (...cells) in [0, 1], around the mean; NaN and a reason with fewer than 2 subjects
        or fewer than ``5 / (1 - level)`` draws (100 for 95 %)

    Raises
    ------
    InputError
        ``level`` is not between 0 and 1.
    """
    return _credible(np.asarray(n_attained)[..., None], np.ones(1), n_subjects, level)


def credible_weighted(n_attained: NDArray[Any], weight: ArrayLike, n_subjects: int, level: float) -> Credible:
    """Credible interval of CFR over draws: `credible` for a weighted sum over MICs.

    Parameters
    ----------
    n_attained : (draw, ...cells, mic), counts at ascending MICs: the same subjects, so who attains at one MIC
        attains at all lower ones
    weight : (mic,), share of the isolates at each MIC, >= 0, sum at most 1
    n_subjects : virtual patients per draw
    level : of the interval, in (0, 1)

    Returns
    -------
    Credible : lower, upper (...cells)
    """
    return _credible(np.asarray(n_attained), _weights(n_attained, weight), n_subjects, level)


def two_level_mcse(n_attained: NDArray[Any], n_subjects: int) -> Array:
    """Monte-Carlo standard error of pooled PTA from the finite number of subjects alone, given the draws.

    Unbiased in the variance: E[f (1 - f)] = p (1 - p) (S - 1) / S for a share f of S subjects.

    Parameters
    ----------
    n_attained : (draw, ...cells)
    n_subjects : virtual patients per draw

    Returns
    -------
    (...cells); NaN with fewer than 2 subjects
    """
    return two_level_mcse_weighted(np.asarray(n_attained)[..., None], np.ones(1), n_subjects)


def two_level_mcse_weighted(n_attained: NDArray[Any], weight: ArrayLike, n_subjects: int) -> Array:
    """`two_level_mcse` for a CFR: counts (draw, ...cells, mic) at ascending MICs, weights (mic,)."""
    counts = np.asarray(n_attained)
    cells = counts.shape[1:-1]
    if n_subjects < 2:
        return np.full(cells, np.nan)
    parts = _blocks(counts, _weights(counts, weight), n_subjects)
    sums = [noise.sum(axis=1) for _, noise in parts]
    total = np.concatenate(sums) if sums else np.empty(0)
    result: Array = np.sqrt(np.maximum(total, 0.0)) / counts.shape[0]
    return result.reshape(cells)


def clustered(
    n_attained: NDArray[Any], n_subjects: int, level: float, n_effective_draws: ArrayLike
) -> tuple[Array, Array]:
    """Monte-Carlo interval of pooled PTA, clustered by draw.

    The score interval at the sample size left after the design effect (Kish 1965, Survey Sampling, ch. 8).

    Parameters
    ----------
    n_attained : (draw, ...cells), counts among ``n_subjects`` subjects of each draw
    n_subjects : virtual patients per draw
    level : of the interval, in (0, 1)
    n_effective_draws : broadcastable to (...cells), effective number of draws (`ess_mean` of the counts)

    Returns
    -------
    lower, upper : (...cells), fractions in [0, 1]
    """
    counts = np.asarray(n_attained)
    cells = counts.shape[1:]
    effective = np.broadcast_to(np.asarray(n_effective_draws, dtype=np.float64), cells)
    mean, variance = np.empty(math.prod(cells)), np.empty(math.prod(cells))
    start = 0
    for x, _ in _blocks(counts[..., None], np.ones(1), n_subjects):
        stop = start + x.shape[0]
        mean[start:stop] = x.mean(axis=1)
        variance[start:stop] = x.var(axis=1, ddof=1) if x.shape[1] > 1 else np.nan
        start = stop
    return wilson_mcse(
        mean.reshape(cells), np.sqrt(variance.reshape(cells) / effective), level, n_max=effective * n_subjects
    )


def _check_level(level: float) -> float:
    if not 0.0 < level < 1.0:
        raise InputError(
            "level", level, "must lie strictly between 0 and 1", "Give 0.95 for a 95 % interval."
        )
    return float(level)


def _weights(counts: NDArray[Any], weight: ArrayLike) -> Array:
    result = np.asarray(weight, dtype=np.float64)
    if result.shape != counts.shape[-1:]:
        raise InputError(
            "weight", f"array of shape {result.shape}", f"needs one weight per MIC, {counts.shape[-1]}"
        )
    if not np.all(result >= 0) or result.sum() > 1 + 1e-9:
        raise InputError("weight", result.tolist(), "weights are at least 0 and sum to at most 1")
    return result


def _score(fraction: Array, size: Array, level: float) -> tuple[Array, Array]:
    """Wilson's interval; exactly 0 or 1 where none or all attained.

    The product of the quadratic's roots is fraction**2 / scale (and so for the shares that failed): each bound is
    taken from the other one, which does not cancel.
    """
    from scipy.special import ndtri

    z2 = float(ndtri(0.5 + 0.5 * _check_level(level))) ** 2
    size = np.where(size > 0, size, np.nan)
    scale = 1 + z2 / size
    centre = fraction + z2 / (2 * size)
    half = np.sqrt(z2 * (fraction * (1 - fraction) + z2 / (4 * size)) / size)
    lower = fraction**2 / (centre + half)
    upper = 1 - (1 - fraction) ** 2 / (scale - centre + half)
    return lower, upper


def _blocks(counts: NDArray[Any], weight: Array, n_subjects: int) -> Iterator[tuple[Array, Array]]:
    """Per-draw estimates and the unbiased variances of their noise, (cell, draw), some cells at a time.

    A subject's response is r = sum_k w_k I_k, with nested indicators (I_j I_k = I_k for MIC j <= k), so that
    r**2 = sum_k w_k (w_k + 2 sum_(j<k) w_j) I_k: both of its moments are weighted sums of the counts.
    """
    n_draws, n_mic = counts.shape[0], counts.shape[-1]
    flat = counts.reshape(n_draws, -1, n_mic)
    first = weight / n_subjects
    second = first * (weight + 2 * (np.cumsum(weight) - weight))
    width = max(1, _BLOCK // max(1, n_draws * n_mic))
    for start in range(0, flat.shape[1], width):
        part = flat[:, start : start + width].transpose(2, 1, 0)
        x = weighted_sum(part, first)
        yield x, (weighted_sum(part, second) - x * x) / max(1, n_subjects - 1)


def _credible(counts: NDArray[Any], weight: Array, n_subjects: int, level: float) -> Credible:
    cells = counts.shape[1:-1]
    reason = _refusal(counts.shape[0], n_subjects, _check_level(level))
    if reason:
        empty = np.full(cells, np.nan)
        return Credible(empty, empty.copy(), reason)
    total = math.fsum(weight)  # no CFR is larger: some isolates may lie above the last MIC
    share = weight / total if total > 0 else weight
    bounds = [
        posterior_bounds(x, noise, n_subjects, level) for x, noise in _blocks(counts, share, n_subjects)
    ]
    joined = total * np.concatenate([np.empty((2, 0)), *bounds], axis=1)
    return Credible(joined[0].reshape(cells), joined[1].reshape(cells), "")


def _refusal(n_draws: int, n_subjects: int, level: float) -> str:
    """Why no credible interval can be given; empty where it can."""
    needed = math.ceil(5.0 / (1.0 - level) - 1e-9)  # two and a half draws beyond each bound
    if n_draws < needed:
        return f"{n_draws} draws: a {100 * level:g} % credible interval needs at least {needed}"
    if n_subjects < 2:
        return f"{n_subjects} subject per draw: draws and subjects cannot be told apart; give at least 2"
    return ""
