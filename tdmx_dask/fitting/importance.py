"""How far an approximate posterior can be trusted: Pareto-smoothed importance sampling towards the true one, and its k-hat."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.errors import InputError
from tdmx_dask.kernels.pareto import pareto_smoothed

__all__ = ["Importance", "importance", "largest_khat"]

Floats = NDArray[np.float64]

_GOOD, _USABLE = 0.5, 0.7


@dataclass(frozen=True, slots=True)
class Importance:
    """What importance sampling says of an approximation.

    Parameters
    ----------
    khat : shape of the tail of the importance ratios; inf where none can be fitted
    limit : k-hat up to which as many draws can be trusted
    verdict : good, usable (with the weights; intervals may be off without), distrust
    text : for the user
    log_weights : (draw,) smoothed; their exponentials sum to 1
    """

    khat: float
    limit: float
    verdict: str
    text: str
    log_weights: Floats


def importance(log_target: Floats, log_approximation: Floats) -> Importance:
    """Compare an approximation with its target by the ratios of their densities at its draws.

    Parameters
    ----------
    log_target : (draw,) log density of the posterior, up to a constant
    log_approximation : (draw,) log density of the approximation, up to a constant

    Raises
    ------
    InputError
        The shapes differ, or there are fewer than 25 draws.

    References
    ----------
    Yao, Vehtari, Simpson, Gelman 2018 (ICML, arXiv:1802.02538): k-hat below 0.5 good, to 0.7 usable; Vehtari, Simpson, Gelman, Yao, Gabry
    2024 (JMLR 25:72) for the limit at small numbers of draws
    """
    target, approximation = np.asarray(log_target, dtype=float), np.asarray(log_approximation, dtype=float)
    if target.ndim != 1 or target.shape != approximation.shape or len(target) < 25:
        value = f"arrays of shape {target.shape} and {approximation.shape}"
        raise InputError(
            "log_target", value, "one log density a draw each, 25 draws or more", "Take 1,000 draws."
        )
    ratios = target - approximation
    limit = largest_khat(len(ratios))
    if not np.isfinite(ratios).all():
        khat, weights = math.inf, np.full(len(ratios), -math.log(len(ratios)))
    elif np.ptp(ratios) < 1e-9:  # the approximation is the target: no tail to fit
        khat, weights = -math.inf, np.full(len(ratios), -math.log(len(ratios)))
    else:
        weights, khat = pareto_smoothed(ratios)
    return Importance(khat, limit, *_verdict(khat, limit), weights)


def largest_khat(n_draws: int) -> float:
    """The k-hat up to which `n_draws` draws give a dependable estimate: min(1 - 1/log10(n), 0.7).

    Examples
    --------
    >>> round(largest_khat(100), 3), largest_khat(4000)
    (0.5, 0.7)
    """
    return min(1.0 - 1.0 / math.log10(n_draws), _USABLE)


def _verdict(khat: float, limit: float) -> tuple[str, str]:
    shown = f"Pareto k-hat {khat:.2f}"
    if khat < min(_GOOD, limit):
        return "good", f"{shown}: the approximation is close to the posterior."
    if khat <= limit:
        return "usable", (
            f"{shown}: usable, but tails may be off. Weight the draws, and check limits of intervals against NUTS (method='nuts')."
        )
    return "distrust", (
        f"{shown} is above {limit:.2f}: the approximation misses part of the posterior. Do not dose by it; fit with method='nuts'."
    )
