"""Effective sample size of a mean over autocorrelated draws: what an interval may count as independent.

The estimator of Stan and ArviZ (Vehtari, Gelman, Simpson, Carpenter, Bürkner 2021, Bayesian Analysis 16:667,
section 3; Geyer 1992, Statistical Science 7:473), for many cells at once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.errors import InputError

__all__ = ["autocovariance", "ess_mean", "ess_of_halves", "integrated_time"]

# Elements transformed at a time: bounds the memory whatever the number of cells.
_BLOCK = 1 << 18


def ess_mean(x: NDArray[Any]) -> NDArray[np.float64]:
    """Effective number of independent draws behind the mean of each cell.

    Parameters
    ----------
    x : (chain, draw, ...cells), real or boolean

    Returns
    -------
    (...cells), in draws; at most ``total * log10(total)`` (antithetic chains); ``total = chain * draw`` where
    a cell is constant; NaN where a value is not finite, or where a half chain has fewer than 4 draws

    Raises
    ------
    InputError
        ``x`` has fewer than two dimensions, or no draw.

    References
    ----------
    Vehtari et al. 2021 (doi:10.1214/20-BA1221), equations 4 to 12; Geyer 1992 for the truncation.
    """
    if x.ndim < 2 or x.shape[0] * x.shape[1] == 0:
        fix = "Reshape draws of one chain to (1, draw, ...)."
        raise InputError("x", f"array of shape {x.shape}", "dimensions are (chain, draw, ...cells)", fix)
    n_chains, n_draws = x.shape[:2]
    cells = x.shape[2:]
    flat = x.reshape(n_chains, n_draws, -1)
    result = np.empty(flat.shape[2])
    width = max(1, _BLOCK // (n_chains * n_draws))
    for start in range(0, flat.shape[2], width):
        result[start : start + width] = _ess_block(flat[:, :, start : start + width])
    return result.reshape(cells)


def _ess_block(x: NDArray[Any]) -> NDArray[np.float64]:
    """ESS of (chain, draw, cell), all cells at once."""
    halves = _split(x)  # (cell, half chain, draw)
    low, high = halves.min(axis=(1, 2), initial=np.inf), halves.max(axis=(1, 2), initial=-np.inf)
    finite = np.isfinite(low) & np.isfinite(high)
    halves[~finite] = 0.0
    ess = np.where(low == high, float(x.shape[0] * x.shape[1]), ess_of_halves(halves))
    return np.where(finite & (halves.shape[2] >= 4), ess, np.nan)


def ess_of_halves(halves: NDArray[np.float64]) -> NDArray[np.float64]:
    """ESS of the mean of each cell from its half chains; their draws together where a cell is constant.

    Parameters
    ----------
    halves : (cell, half chain, draw), finite; overwritten where constant
    """
    n = halves.shape[2]
    total = halves.shape[1] * n
    if n < 2:
        return np.full(halves.shape[0], np.nan)
    constant = halves.min(axis=(1, 2)) == halves.max(axis=(1, 2))
    halves[constant] = 0.0
    centre = halves.mean(axis=2)
    covariance = autocovariance(halves - centre[:, :, None])  # (cell, lag), mean over half chains
    within = covariance[:, 0] * (n / (n - 1))
    # Vehtari 2021, eq. 3: the marginal variance, between chains included.
    pooled = covariance[:, 0] + centre.var(axis=1, ddof=1)
    pooled[constant] = 1.0
    correlation = 1.0 - (within[:, None] - covariance) / pooled[:, None]
    correlation[:, 0] = 1.0
    shortest = 1.0 / math.log10(total)  # Stan's bound for antithetic chains
    ess = total / np.maximum(integrated_time(correlation), shortest)
    return np.where(constant, float(total), ess)


def _split(x: NDArray[Any]) -> NDArray[np.float64]:
    """Halve each chain (an odd middle draw is dropped): to (cell, 2 * chain, draw // 2)."""
    half = x.shape[1] // 2
    result = np.empty((x.shape[2], 2, x.shape[0], half))
    result[:, 0] = x[:, :half].transpose(2, 0, 1)
    result[:, 1] = x[:, x.shape[1] - half :].transpose(2, 0, 1)
    return result.reshape(x.shape[2], 2 * x.shape[0], half)


def autocovariance(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """Biased autocovariance (cell, lag) of (cell, chain, draw), averaged over chains before inversion."""
    n = centred.shape[2]
    size = _fast_length(2 * n - 1)
    spectrum = np.fft.rfft(centred, size, axis=2)
    power = (spectrum.real**2 + spectrum.imag**2).mean(axis=1)
    result: NDArray[np.float64] = np.fft.irfft(power, size, axis=1)[:, :n] / n
    return result


def _fast_length(n: int) -> int:
    """Smallest product of 2, 3 and 5 that is at least n: lengths that the FFT handles fast."""
    best = 1 << (n - 1).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            power = 1 << max(0, (-(-n // three) - 1).bit_length())
            best = min(best, three * power)
            three *= 3
        five *= 5
    return best


def integrated_time(correlation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Integrated autocorrelation time (cell,) of (cell, lag) by Geyer's initial monotone sequence; unbounded below.

    A pair that is 0 in exact arithmetic (short indicator series have them) ends the sequence or not as rounding has it, in ArviZ too.
    """
    n_pairs = max(1, (correlation.shape[1] - 1) // 2)
    even = correlation[:, 0 : 2 * n_pairs : 2]
    pairs = even + correlation[:, 1 : 2 * n_pairs : 2]
    positive = np.logical_and.accumulate(pairs > 0.0, axis=1)
    to_the_end = positive[:, -1].copy()
    positive[:, -1] = False
    kept = np.where(positive, np.minimum.accumulate(pairs, axis=1), 0.0).sum(axis=1)
    # The first pair that fails lends its even lag where that is positive; where none fails, the last one lends its own.
    lent = np.take_along_axis(even, positive.sum(axis=1)[:, None], axis=1)[:, 0]
    lent = np.where(to_the_end, lent, np.maximum(lent, 0.0))
    result: NDArray[np.float64] = 2.0 * kept - 1.0 + lent
    return result
