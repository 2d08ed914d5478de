"""Convergence of Markov chains: R-hat, effective sample sizes, Monte-Carlo errors, energies; many cells at once.

The estimators of Vehtari, Gelman, Simpson, Carpenter, Bürkner 2021 (Bayesian Analysis 16:667, doi:10.1214/20-BA1221), with ArviZ's
figures. A block of cells is sorted once, and its normal scores are looked up in a table of the ranks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from tdmx_dask.errors import InputError
from tdmx_dask.kernels.ess import ess_of_halves

__all__ = [
    "Convergence",
    "convergence",
    "ebfmi",
    "ess_bulk",
    "ess_tail",
    "mcse_mean",
    "mcse_sd",
    "rhat",
    "rhat_rounds",
]

Floats = NDArray[np.float64]

# Values worked on at a time: a block and its copies stay in the cache.
_BLOCK = 1 << 15
_TAILS = (0.05, 0.95)


class Convergence(NamedTuple):
    """R-hat, bulk and tail ESS of each cell, (cell,) each."""

    rhat: Floats
    ess_bulk: Floats
    ess_tail: Floats


def convergence(x: NDArray[Any]) -> Convergence:
    """R-hat, bulk and tail ESS of each cell, from one sort of the draws.

    Parameters
    ----------
    x : (chain, draw, ...cells), real

    Returns
    -------
    (...cells) each. R-hat: the larger of the rank-normalised split R-hat of the draws and of their distance to the median ; of
    one chain it is that of its halves. NaN where a cell is constant, has a NaN, or has fewer than 4 draws a chain. ESS: in draws; NaN
    where a cell has a NaN, or fewer than 4 draws a chain; all of them where it is constant.

    Raises
    ------
    InputError
        `x` has fewer than two dimensions, or no draw.
    """
    return Convergence(*_blocked(x, 3, _all_three))


def rhat(x: NDArray[Any]) -> Floats:
    """Rank-normalised split R-hat (...cells) of (chain, draw, ...cells), as `convergence`."""
    return _blocked(x, 1, lambda block: (_rhat(*_scores(block)),))[0]


def ess_bulk(x: NDArray[Any]) -> Floats:
    """Bulk ESS (...cells) of (chain, draw, ...cells), in draws, as `convergence`."""
    return _blocked(x, 1, lambda block: (_ess(_scores(block)[0]),))[0]


def ess_tail(x: NDArray[Any]) -> Floats:
    """The smaller ESS (...cells) of the 5 % and 95 % quantiles of (chain, draw, ...cells), in draws, as `convergence`."""
    return _blocked(x, 1, lambda block: (_ess_tail(block, np.sort(_flat(block), axis=1)),))[0]


def mcse_mean(x: NDArray[Any]) -> Floats:
    """Monte-Carlo standard error (...cells) of the mean of (chain, draw, ...cells), in their unit; sd / sqrt(ESS).

    NaN where the ESS is: a cell has a NaN, or fewer than 4 draws a chain.
    """

    def error(block: Floats) -> tuple[Floats]:
        flat = _flat(block)
        if flat.shape[1] < 2:  # one draw has no spread
            return (np.full(len(flat), np.nan),)
        return (flat.std(axis=1, ddof=1) / np.sqrt(_ess(block)),)

    return _blocked(x, 1, error)[0]


def mcse_sd(x: NDArray[Any]) -> Floats:
    """Monte-Carlo standard error (...cells) of the standard deviation of (chain, draw, ...cells), in their unit.

    By the delta method from the fourth moment, with the ESS of the mean, as ArviZ.
    """

    def error(block: Floats) -> tuple[Floats]:
        flat = _flat(block)
        square = (flat - flat.mean(axis=1, keepdims=True)) ** 2
        variance = square.mean(axis=1)
        return (np.sqrt(((square**2).mean(axis=1) - variance**2) / _ess(block) / variance / 4),)

    return _blocked(x, 1, error)[0]


def ebfmi(energy: NDArray[Any]) -> Floats:
    """Estimated Bayesian fraction of missing information of each chain.

    Parameters
    ----------
    energy : (chain, draw), of the Hamiltonian

    Returns
    -------
    (chain,); NaN where the energy is constant

    References
    ----------
    Betancourt 2016, arXiv:1604.00695
    """
    x = np.asarray(energy, dtype=float)
    if x.ndim != 2 or x.shape[1] < 2:
        fix = "Give energy__ as Stan writes it."
        raise InputError(
            "energy", f"array of shape {x.shape}", "dimensions are (chain, draw), 2 draws or more", fix
        )
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Floats = np.square(np.diff(x, axis=1)).mean(axis=1) / x.var(axis=1, ddof=1)
    return result


def rhat_rounds(x: NDArray[Any], ends: tuple[int, ...]) -> Floats:
    """R-hat of the rounds of a run taken as chains: whether draws of earlier rounds are of the same distribution as those of later ones.

    A round's chains are put together, so that it is the rounds that are compared, whatever their lengths.

    Parameters
    ----------
    x : (chain, draw, ...cells)
    ends : number of draws a chain at the end of each round, rising; the last is all of them

    Returns
    -------
    (...cells): sqrt(1 + between / within) of the normal scores, of the draws and of their distance to the median, whichever is larger;
    1 for one round, NaN where a cell is constant or has a NaN

    Raises
    ------
    InputError
        `ends` does not rise to the number of draws, or a round has fewer than 2 draws.

    References
    ----------
    Vehtari et al. 2021 for the scores; Margossian et al. 2024 (Bayesian Analysis, doi:10.1214/24-BA1453), equation 8
    """
    starts = (0, *ends[:-1])
    if not ends or ends[-1] != x.shape[1] or min(b - a for a, b in zip(starts, ends, strict=True)) < 2:
        rule = f"ends of rounds rise to the number of draws, {x.shape[1]}, by 2 or more"
        raise InputError("ends", ends, rule, "Give the draws a chain at the end of each round.")

    def compared(block: Floats) -> tuple[Floats]:
        found = []
        for scores in _scores(block, split=False):
            rounds = [scores[:, :, a:b].reshape(len(scores), -1) for a, b in zip(starts, ends, strict=True)]
            means = np.stack([each.mean(axis=1) for each in rounds])
            within = np.mean([each.var(axis=1, ddof=1) for each in rounds], axis=0)
            between = means.var(axis=0, ddof=1) if len(rounds) > 1 else 0.0 * within
            found.append(np.sqrt(1.0 + between / within))
        return (np.fmax(*found),)

    return _blocked(x, 1, compared)[0]


def _blocked(x: NDArray[Any], n_results: int, figures: Any) -> list[Floats]:
    """Figures of (chain, draw, ...cells), block by block of cells; NaN where a cell has a NaN."""
    if x.ndim < 2 or x.shape[0] * x.shape[1] == 0:
        fix = "Reshape draws of one chain to (1, draw, ...)."
        raise InputError("x", f"array of shape {x.shape}", "dimensions are (chain, draw, ...cells)", fix)
    cells = x.shape[2:]
    flat = x.reshape(*x.shape[:2], -1)
    results = [np.empty(flat.shape[2]) for _ in range(n_results)]
    width = max(1, _BLOCK // (x.shape[0] * x.shape[1]))
    for start in range(0, flat.shape[2], width):
        part = flat[:, :, start : start + width].transpose(2, 0, 1)
        block = np.array(part, dtype=float, order="C")  # (cell, chain, draw)
        missing = np.isnan(block).any(axis=(1, 2))
        block[missing] = 0.0
        with np.errstate(invalid="ignore", divide="ignore"):
            for result, figure in zip(results, figures(block), strict=True):
                result[start : start + width] = np.where(missing, np.nan, figure)
    return [result.reshape(cells) for result in results]


def _all_three(block: Floats) -> tuple[Floats, Floats, Floats]:
    bulk, folded, ordered = _scored(_even(block))
    if block.shape[2] % 2:
        ordered = np.sort(_flat(block), axis=1)
    return _rhat(bulk, folded), _ess(bulk), _ess_tail(block, ordered)


def _scores(block: Floats, *, split: bool = True) -> tuple[Floats, Floats]:
    """Normal scores of the draws, and of their distances to the median; without the odd draw where chains are split."""
    return _scored(_even(block) if split else block)[:2]


def _scored(block: Floats) -> tuple[Floats, Floats, Floats]:
    """Normal scores (cell, chain, draw), those of the distance to the median, and the sorted draws (cell, chain * draw)."""
    flat = _flat(block)
    n = flat.shape[1]
    if n == 0:  # one draw a chain has no halves
        return block, block, flat
    # Blom's scores (Vehtari 2021) by twice the rank: ties take the average of theirs.
    table = ndtri((np.arange(2, 2 * n + 1) / 2 - 3 / 8) / (n + 1 / 4))
    bulk, ordered = _normalised(flat, table)
    median = (ordered[:, (n - 1) // 2] + ordered[:, n // 2]) / 2
    folded, _ = _normalised(np.abs(flat - median[:, None]), table)
    return bulk.reshape(block.shape), folded.reshape(block.shape), ordered


def _normalised(flat: Floats, table: Floats) -> tuple[Floats, Floats]:
    """Normal scores of (cell, draw), and the sorted draws."""
    order = np.argsort(flat, axis=1)
    ordered = np.take_along_axis(flat, order, axis=1)
    rises = ordered[:, 1:] != ordered[:, :-1]
    scores = np.broadcast_to(table[::2], flat.shape)
    tied = np.flatnonzero(~rises.all(axis=1))
    if len(tied):
        scores = scores.copy()
        scores[tied] = table[_twice_ranks(rises[tied])]
    result = np.empty_like(flat)
    np.put_along_axis(result, order, scores, axis=1)
    return result, ordered


def _twice_ranks(rises: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Twice the average rank, from 0, of sorted (cell, draw) with ties; `rises` between neighbours, (cell, draw - 1)."""
    n_cells, n = rises.shape[0], rises.shape[1] + 1
    edge = np.ones((n_cells, 1), dtype=bool)
    place = np.arange(n)
    first = np.maximum.accumulate(np.where(np.hstack((edge, rises)), place, 0), axis=1)
    last_here = np.where(np.hstack((rises, edge)), place, n)
    last = np.minimum.accumulate(last_here[:, ::-1], axis=1)[:, ::-1]
    ranks: NDArray[np.intp] = first + last
    return ranks


def _rhat(bulk: Floats, folded: Floats) -> Floats:
    """The larger split R-hat of two sets of scores (cell, chain, draw); a folded one that is constant does not count."""
    if bulk.shape[2] < 4:
        return np.full(len(bulk), np.nan)
    result: Floats = np.fmax(_rhat_split(bulk), _rhat_split(folded))
    return result


def _rhat_split(scores: Floats) -> Floats:
    """Split R-hat (cell,) of (cell, chain, draw), draws even (Vehtari 2021)."""
    n_cells, n_chains, n_draws = scores.shape
    n = n_draws // 2
    halves = scores.reshape(n_cells, 2 * n_chains, n)
    within = halves.var(axis=2, ddof=1).mean(axis=1)
    between = n * halves.mean(axis=2).var(axis=1, ddof=1)
    result: Floats = np.sqrt((between / within + n - 1) / n)
    return result


def _ess_tail(block: Floats, ordered: Floats) -> Floats:
    n = ordered.shape[1]
    found = []
    for probability in _TAILS:
        place = probability * (n - 1)  # NumPy's linear quantile
        low = int(place)
        lower, upper = ordered[:, low], ordered[:, min(low + 1, n - 1)]
        quantile = lower + (upper - lower) * (place - low)
        found.append(_ess(block <= quantile[:, None, None]))
    result: Floats = np.minimum(*found)
    return result


def _ess(block: NDArray[Any]) -> Floats:
    """ESS of the mean (cell,) of (cell, chain, draw), with split chains (Vehtari 2021)."""
    even = _even(block)
    n = even.shape[2] // 2
    if n < 2:
        return np.full(len(even), np.nan)
    return ess_of_halves(even.reshape(len(even), -1, n).astype(float))


def _even(block: NDArray[Any]) -> NDArray[Any]:
    """Without the middle draw where there is an odd number: what splitting chains leaves."""
    n = block.shape[2]
    return block if n % 2 == 0 else np.delete(block, n // 2, axis=2)


def _flat(block: NDArray[Any]) -> NDArray[Any]:
    return block.reshape(len(block), -1)
