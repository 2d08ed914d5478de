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

__all__ = ["ess_mean"]

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
    total = x.shape[0] * x.shape[1]
    halves = _split(x)  # (cell, half chain, draw)
    n = halves.shape[2]
    if n < 4:
        return np.full(halves.shape[0], np.nan)
    low, high = halves.min(axis=(1, 2)), halves.max(axis=(1, 2))
    finite = np.isfinite(low) & np.isfinite(high)
    constant = finite & (low == high)
    halves[~finite | constant] = 0.0
    centre = halves.mean(axis=2)
    covariance = _autocovariance(halves - centre[:, :, None])  # (cell, lag), mean over half chains
    within = covariance[:, 0] * (n / (n - 1))
    # Vehtari 2021, eq. 3: the marginal variance, between chains included.
    pooled = covariance[:, 0] + centre.var(axis=1, ddof=1)
    pooled[~finite | constant] = 1.0
    correlation = 1.0 - (within[:, None] - covariance) / pooled[:, None]
    correlation[:, 0] = 1.0
    shortest = 1.0 / math.log10(halves.shape[1] * n)  # Stan's bound for antithetic chains
    ess = halves.shape[1] * n / np.maximum(_geyer(correlation), shortest)
    return np.where(finite, np.where(constant, float(total), ess), np.nan)


def _split(x: NDArray[Any]) -> NDArray[np.float64]:
    """Halve each chain (an odd middle draw is dropped): to (cell, 2 * chain, draw // 2)."""
    half = x.shape[1] // 2
    result = np.empty((x.shape[2], 2, x.shape[0], half))
    result[:, 0] = x[:, :half].transpose(2, 0, 1)
    result[:, 1] = x[:, x.shape[1] - half :].transpose(2, 0, 1)
    return result.reshape(x.shape[2], 2 * x.shape[0], half)


def _autocovariance(centred: NDArray[np.float64]) -> NDArray[np.float64]:
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


def _geyer(correlation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Integrated autocorrelation time (cell,) by the initial monotone sequence; unbounded below."""
    n = correlation.shape[1]
    n_pairs = max(1, (n - 2) // 2)  # Stan looks at lags below n - 2 only
    even = correlation[:, 0 : 2 * n_pairs : 2]
    pairs = even + correlation[:, 1 : 2 * n_pairs : 2]
    positive = np.logical_and.accumulate(pairs > 0.0, axis=1)
    kept = np.where(positive, np.minimum.accumulate(pairs, axis=1), 0.0).sum(axis=1)
    # The first pair that fails lends its even lag where that is positive (antithetic chains; Stan, ArviZ).
    n_kept = positive.sum(axis=1)
    rows = np.arange(correlation.shape[0])
    last = even[rows, np.minimum(n_kept, n_pairs - 1)]
    tail = np.where((n_kept > 0) & (n_kept < n_pairs), np.maximum(last, 0.0), 0.0)
    time: NDArray[np.float64] = 2.0 * kept - 1.0 + tail
    return time
