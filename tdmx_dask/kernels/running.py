"""R-hat and effective sample size of chains that still run, from a small summary of each chain instead of its draws.

A summary holds what the estimators of `ess` need: the means of the two halves of a chain, and its autocovariance up to some lag. Where the
autocorrelation dies out within these lags, and chains are equally long, the ESS is that of `ess.ess_mean` to rounding; where it does not,
it is an upper bound, and said to be one.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.errors import InputError
from tdmx_dask.kernels.ess import autocovariance, integrated_time

__all__ = ["LAGS", "Running", "Summary", "combined", "packed", "summary", "unpacked"]

Floats = NDArray[np.float64]

LAGS = 100
"""Lags of the autocovariance that a summary holds at most."""

_HEAD = struct.Struct("!IHH")
_FEWEST = 8
_MOST = 1 << 12


class Summary(NamedTuple):
    """A chain so far.

    Attributes
    ----------
    n : draws of each half
    means : (2, cell), of the halves
    covariance : (lag, cell), mean over both halves of their biased autocovariance, from lag 0
    """

    n: int
    means: Floats
    covariance: Floats


class Running(NamedTuple):
    """Chains so far, (cell,) each.

    Attributes
    ----------
    rhat : split R-hat, without ranks; NaN where a cell is constant in all chains alike, infinite where each is stuck at a value of its
        own, or draws are not finite
    ess : effective draws for the mean of all chains together; NaN where a cell is constant or not finite
    bounded : whether `ess` is but an upper bound, as the chains move too slowly for the lags that are known
    """

    rhat: Floats
    ess: Floats
    bounded: NDArray[np.bool_]


def summary(x: Floats) -> Summary:
    """Summarise a chain.

    Parameters
    ----------
    x : (draw, cell), >= 8 draws; an odd middle draw is left out

    Raises
    ------
    InputError
        There are fewer draws.
    """
    if x.ndim != 2 or len(x) < _FEWEST:
        raise InputError("x", f"array of shape {x.shape}", f"a summary needs (draw, cell), {_FEWEST} draws")
    n = len(x) // 2
    halves = np.stack([x[:n], x[len(x) - n :]]).transpose(2, 0, 1)  # (cell, half, draw)
    with np.errstate(invalid="ignore", over="ignore"):
        means = halves.mean(axis=2)
        covariance = autocovariance(halves - means[:, :, None])[:, : min(n, LAGS + 1)]
    return Summary(n, means.T, covariance.T)


def combined(chains: Sequence[Summary]) -> Running:
    """R-hat and ESS of chains together.

    Parameters
    ----------
    chains : of the same cells, at least one; of any lengths, as chains run at their own pace, and each counts by its draws. A chain that
        was lengthened may come in parts, which are then compared like chains

    Raises
    ------
    InputError
        There is no chain, or they have other numbers of cells.

    References
    ----------
    Vehtari et al. 2021 (doi:10.1214/20-BA1221), equations 1 to 4 and 10 to 12.
    """
    if len({each.means.shape for each in chains}) != 1:
        raise InputError("chains", len(chains), "one or more chains of the same cells are needed")
    weights = np.array([float(each.n) for each in chains])
    n = float(weights.mean())
    total = 2 * sum(each.n for each in chains)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        covariance = _weighted(chains).T  # (cell, lag)
        means = np.concatenate([each.means for each in chains])
        apart = means - np.average(means, axis=0, weights=np.repeat(weights, 2))
        between = np.repeat(weights / n, 2) @ apart**2 / (len(means) - 1)
        within = covariance[:, 0] * (n / (n - 1))
        rhat = np.sqrt(between / within + (n - 1) / n)
        pooled = covariance[:, 0] + between
        correlation = 1.0 - (within[:, None] - covariance) / pooled[:, None]
    constant = pooled == 0.0
    known = np.isfinite(pooled) & ~constant
    rhat[~known & ~constant] = np.inf
    correlation[:, 0] = 1.0
    correlation[~known] = 0.0
    n_lags = covariance.shape[1]
    pairs = correlation[:, 0 : 2 * ((n_lags - 1) // 2) : 2] + correlation[:, 1 : 2 * ((n_lags - 1) // 2) : 2]
    slow = known & (pairs > 0.0).all(axis=1) & (n_lags < max(each.n for each in chains))
    ess = total / np.maximum(integrated_time(correlation), 1.0 / math.log10(total))
    return Running(np.where(constant, np.nan, rhat), np.where(known, ess, np.nan), slow)


def _weighted(chains: Sequence[Summary]) -> Floats:
    """Mean autocovariance (lag, cell) of draws, at each lag of those chains that are long enough for it."""
    sums = np.zeros((max(len(each.covariance) for each in chains), chains[0].covariance.shape[1]))
    weights = np.zeros((len(sums), 1))
    for each in chains:
        sums[: len(each.covariance)] += each.n * each.covariance
        weights[: len(each.covariance)] += each.n
    return sums / weights


def packed(chain: Summary) -> str:
    """A summary as a short text: means and variances in full, correlations in half as many digits."""
    n_lags, n_cells = chain.covariance.shape
    variance = chain.covariance[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.where(variance > 0, chain.covariance / variance, 0.0)[1:]
    parts = (
        _HEAD.pack(chain.n, n_lags, n_cells),
        np.concatenate([chain.means, variance[None]]).astype("<f8").tobytes(),
        correlation.astype("<f4").tobytes(),
    )
    return base64.b64encode(b"".join(parts)).decode("ascii")


def unpacked(text: str) -> Summary:
    """The summary of its text.

    Raises
    ------
    InputError
        It is none.
    """
    try:
        raw = base64.b64decode(text, validate=True)
        n, n_lags, n_cells = _HEAD.unpack_from(raw)
        if not (n > 1 and 1 < n_lags <= LAGS + 1 and 0 < n_cells <= _MOST):
            raise ValueError(f"{n} draws, {n_lags} lags, {n_cells} cells")
        moments = np.frombuffer(raw, "<f8", 3 * n_cells, _HEAD.size).reshape(3, n_cells)
        correlation = np.frombuffer(raw, "<f4", offset=_HEAD.size + moments.nbytes)
        covariance = np.concatenate([moments[2:], correlation.reshape(n_lags - 1, n_cells) * moments[2]])
    except (TypeError, ValueError, binascii.Error, struct.error) as error:
        raise InputError(
            "text", str(text)[:40], f"it is no summary of a chain ({error})", "Ask again."
        ) from error
    return Summary(n, moments[:2].astype(np.float64), covariance.astype(np.float64))
