"""Simulation-based calibration: parameters drawn from the prior must have uniform ranks among the draws of their own posteriors.

Parameters are drawn from a question's prior, levels are simulated from them by the Python kernels, and each set of levels is fitted.
Where prior, likelihood and sampler are what they claim to be, the rank of a true value among independent posterior draws is uniform
(Talts et al. 2018, arXiv:1804.06788, theorem 1). The likelihood of the data is ranked too: a posterior that ignores its data, or uses
them wrongly, may rank every parameter well (Modrák et al. 2023, Bayesian Analysis, doi:10.1214/23-BA1404).

Nothing here is shared with the Stan programs: concentrations come from `kernels.course`, densities are written out below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.errors import InputError
from tdmx_dask.kernels.course import Input, course_at
from tdmx_dask.kernels.disposition import disposition
from tdmx_dask.kernels.ess import ess_mean
from tdmx_dask.kernels.random import BLOCK, PURPOSE_CALIBRATION, normal_block, uniform_block
from tdmx_dask.kernels.uniformity import normalised_rank

__all__ = [
    "LIKELIHOOD",
    "SIGMAS",
    "FitRanks",
    "Simulated",
    "log_likelihood",
    "predicted",
    "rank_fit",
    "simulate",
]

Floats = NDArray[np.float64]

LIKELIHOOD = "log_likelihood"
"""Name of the ranked quantity that depends on the data."""

SIGMAS = ("sigma_additive", "sigma_proportional")
CENSORED = 0.05
"""Share of the simulated levels that lie below the limit of quantification where no limit is given; more where they are not positive."""

_PARAMETERS, _ERRORS, _CHANCES = 0, 1, 2  # streams, in the chain's word of the address
_USES = {1: (0,), 2: (1,), 3: (0, 1), 4: (0, 1), 5: (0,), 6: (1,)}
_STUDENT = (5, 6)


@dataclass(frozen=True, slots=True)
class Simulated:
    """True parameters, and levels that were simulated from them.

    Parameters
    ----------
    names : of the parameters, in the order of the columns
    parameters : (simulation, parameter), L/h and L
    sigma : (simulation, 2), additive in mg/L and proportional as a fraction; 0 where the error model has none
    level : (simulation, level), mg/L; the limit of quantification where `below`
    below : (simulation, level)
    lloq : mg/L
    """

    names: tuple[str, ...]
    parameters: Floats
    sigma: Floats
    level: Floats
    below: NDArray[np.bool_]
    lloq: float

    @property
    def n(self) -> int:
        """Simulations."""
        return int(self.parameters.shape[0])


@dataclass(frozen=True, slots=True)
class FitRanks:
    """Where the truth stands in one posterior.

    Parameters
    ----------
    ranks : quantity -> normalised rank, in (0, 1)
    truth : quantity -> its true value
    n_independent : thinned draws that were ranked among
    ess : smallest effective sample size of the quantities, of their means and variances
    """

    ranks: dict[str, float]
    truth: dict[str, float]
    n_independent: int
    ess: float


def simulate(
    data: Mapping[str, Any], names: tuple[str, ...], n: int, *, seed: int = 0, lloq: float | None = None
) -> Simulated:
    """Draw parameters from the prior of a question, and levels from them.

    Parameters
    ----------
    data : of a linear program, as ``stan/README.md`` names it
    names : of its parameters, two to six
    n : simulations; fewer are the first of more
    seed : whole number in [0, 2^64)
    lloq : mg/L; None: such that a twentieth of the levels is below it, and at least a hundredth of their median

    Raises
    ------
    InputError
        The question has no level, or is not of a linear model.
    """
    if len(names) not in (2, 4, 6):
        raise InputError(
            "model", ", ".join(names), "levels are simulated for linear models", "Give 1C, 2C or 3C."
        )
    if not len(data["level_time"]):
        raise InputError("levels", "none", "a calibration needs times of levels", "Give the patient a level.")
    if lloq is None:
        drawn = _measured(data, names, 0, BLOCK, seed)[2]
        lloq = float(f"{max(np.quantile(drawn, CENSORED), 0.01 * np.median(np.abs(drawn))):.2g}")
    parts = [_measured(data, names, start, min(BLOCK, n - start), seed) for start in range(0, n, BLOCK)]
    parameters, sigma, level = (np.concatenate(each) for each in zip(*parts, strict=True))
    below = level < lloq
    return Simulated(names, parameters, sigma, np.where(below, lloq, level), below, lloq)


def predicted(data: Mapping[str, Any], parameters: Floats) -> Floats:
    """Concentration at the times of the levels.

    Parameters
    ----------
    data : its doses and times of levels
    parameters : (draw, parameter), in the order CL, Vc, Q1, Vp1, Q2, Vp2

    Returns
    -------
    (draw, level), mg/L
    """
    doses = zip(data["dose_time"], data["dose_amount"], data["dose_tinf"], strict=True)
    inputs = [Input(float(time), float(amount), float(tinf)) for time, amount, tinf in doses]
    modes = disposition(*np.ascontiguousarray(parameters.T))
    return np.stack([course_at(modes, inputs, float(time)) for time in data["level_time"]], axis=1)


def log_likelihood(
    data: Mapping[str, Any], parameters: Floats, sigma: Floats, level: Floats, below: NDArray[np.bool_]
) -> Floats:
    """Log density of levels; of those below quantification the log probability (M3, Beal 2001, J Pharmacokinet Pharmacodyn 28:481).

    Parameters
    ----------
    data : doses, times, error model
    parameters, sigma : (draw, parameter), (draw, 2)
    level, below : (level,)

    Returns
    -------
    (draw,)
    """
    from scipy.special import gammaln, log_ndtr, stdtr

    centre = predicted(data, parameters)
    scale = _spread(data, centre, sigma)
    z = (level[None, :] - centre) / scale
    if data["error_model"] in _STUDENT:
        nu = float(data["nu"])
        constant = gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu * np.pi)
        density = constant - (nu + 1) / 2 * np.log1p(z * z / nu)
        tail = np.log(np.maximum(stdtr(nu, z), np.finfo(float).tiny))
    else:
        density = -0.5 * z * z - 0.5 * np.log(2 * np.pi)
        tail = log_ndtr(z)
    total: Floats = np.where(below[None, :], tail, density - np.log(scale)).sum(axis=1)
    return total


def rank_fit(
    data: Mapping[str, Any],
    simulated: Simulated,
    index: int,
    draws: Mapping[str, Floats],
    *,
    seed: int,
    most: int = 99,
) -> FitRanks:
    """Rank one simulation's truth among roughly independent draws of its posterior.

    Parameters
    ----------
    data : of the question
    simulated, index : which simulation was fitted
    draws : name -> (chain, draw), parameters and sigmas under their plain names
    seed : of the calibration
    most : draws to keep; fewer where the effective sample size of a quantity is smaller
    """
    truth = {
        name: float(value) for name, value in zip(simulated.names, simulated.parameters[index], strict=True)
    }
    truth |= {name: float(value) for name, value in zip(SIGMAS, simulated.sigma[index], strict=True)}
    columns = {name: np.asarray(draws[name], dtype=float) for name in _drawn(data, simulated.names)}
    ess = min(_effective(column) for column in columns.values())
    shape = next(iter(columns.values())).shape
    total = shape[0] * shape[1]
    kept = max(1, min(most, total, int(ess)))
    rows = ((np.arange(kept) + 0.5) * total / kept).astype(int)
    thin = {
        name: columns[name].reshape(-1)[rows] if name in columns else np.full(kept, truth[name])
        for name in (*simulated.names, *SIGMAS)
    }
    level, below = simulated.level[index], simulated.below[index]
    own = log_likelihood(
        data, simulated.parameters[index : index + 1], simulated.sigma[index : index + 1], level, below
    )
    thin[LIKELIHOOD] = log_likelihood(
        data,
        np.stack([thin[name] for name in simulated.names], axis=1),
        np.stack([thin[name] for name in SIGMAS], axis=1),
        level,
        below,
    )
    truth[LIKELIHOOD] = float(own[0])
    ranked = (*columns, LIKELIHOOD)
    chances = uniform_block(
        seed, PURPOSE_CALIBRATION, _CHANCES, index // BLOCK, 0, index % BLOCK + 1, len(ranked)
    )[-1]
    ranks = {
        name: normalised_rank(truth[name], thin[name], float(chance))
        for name, chance in zip(ranked, chances, strict=True)
    }
    return FitRanks(ranks, {name: truth[name] for name in ranked}, kept, float(ess))


def _drawn(data: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    """Names of what the prior leaves open."""
    chol = np.asarray(data["prior_chol"], dtype=float)
    yield from (name for name, row in zip(names, chol, strict=True) if np.any(row))
    for which in _USES[int(data["error_model"])]:
        if data["sigma_omega"][which] > 0:
            yield SIGMAS[which]


def _effective(column: Floats) -> float:
    """Smaller effective sample size of mean and variance: antithetic chains have many for the one, few for the other."""
    centred = column - column.mean()
    return float(np.nanmin(ess_mean(np.stack([centred, centred * centred], axis=-1))))


def _measured(
    data: Mapping[str, Any], names: tuple[str, ...], start: int, n: int, seed: int
) -> tuple[Floats, Floats, Floats]:
    """Parameters, sigmas and levels of one block, whose stream begins at `start`."""
    block, n_levels = start // BLOCK, len(data["level_time"])
    z = normal_block(seed, PURPOSE_CALIBRATION, _PARAMETERS, block, 0, n, len(names) + 2)
    chol = np.asarray(data["prior_chol"], dtype=float)
    parameters = np.exp(np.asarray(data["prior_mean"], dtype=float) + z[:, : len(names)] @ chol.T)
    sigma = np.exp(np.asarray(data["sigma_mean"]) + z[:, len(names) :] * np.asarray(data["sigma_omega"]))
    model = int(data["error_model"])
    sigma[:, [which for which in (0, 1) if which not in _USES[model]]] = 0.0
    if model in _STUDENT:
        from scipy.special import stdtrit

        chance = uniform_block(seed, PURPOSE_CALIBRATION, _ERRORS, block, 0, n, n_levels)
        error = stdtrit(float(data["nu"]), chance)
    else:
        error = normal_block(seed, PURPOSE_CALIBRATION, _ERRORS, block, 0, n, n_levels)
    centre = predicted(data, parameters)
    return parameters, sigma, centre + _spread(data, centre, sigma) * error


def _spread(data: Mapping[str, Any], centre: Floats, sigma: Floats) -> Floats:
    """Scale of the error about each predicted level; (draw, level), mg/L."""
    additive, proportional = sigma[:, :1], sigma[:, 1:] * centre
    if int(data["error_model"]) == 3:
        return np.hypot(additive, proportional)
    return np.asarray(additive + proportional)
