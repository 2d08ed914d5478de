"""From PTA to CFR: the expected attainment over a distribution of MICs (Mouton et al. 2005, doi:10.1093/jac/dki079)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from tdmx_dask.domain.mic import MICDistribution, match_mic
from tdmx_dask.errors import InputError
from tdmx_dask.kernels import intervals
from tdmx_dask.kernels.ess import ess_mean
from tdmx_dask.kernels.weighted import weighted_sum

__all__ = ["cfr_of"]

Floats = NDArray[np.float64]

DIMS = ("scenario", "regimen", "target")


def cfr_of(pta: xr.Dataset, distributions: Sequence[MICDistribution], level: float) -> xr.Dataset:
    """CFR of each (scenario, regimen, target) over each distribution.

    Parameters
    ----------
    pta : as `label_pta` makes it
    distributions : their MICs must be among those counted
    level : of the interval, in (0, 1)

    Returns
    -------
    Dataset with dims (scenario, regimen, target, organism); the interval is of the same kind as PTA's

    Raises
    ------
    InputError
        A MIC was not counted, an organism is named twice, or PTA has no organism to answer for.
    """
    if not distributions:
        raise InputError("distributions", "()", "CFR needs at least one MIC distribution", "Give one.")
    names = [each.organism for each in distributions]
    if len(set(names)) < len(names):
        raise InputError("organism", names, "each distribution has its own name", "Set organism= of each.")
    weights = np.stack([_weights(each, np.atleast_1d(pta["mic"].values)) for each in distributions])
    kind = str(pta.attrs["interval"])
    everywhere = _axes(pta, "pta", *DIMS, "mic")
    asked = np.nonzero(_axes(pta, "n_simulated", *DIMS).any(axis=-1))  # (scenario, regimen) pairs
    found = {
        name: np.full((*everywhere.shape[:3], len(names)), np.nan)
        for name in ("cfr", "lower", "upper", "mcse")
    }
    attained = everywhere[asked]  # (pair, target, mic)
    by_draw = _by_draw(pta, asked)
    for i, weight in enumerate(weights):
        cfr = weighted_sum(np.moveaxis(attained, -1, 0), weight)
        lower, upper, mcse = _interval(pta, attained, by_draw, weight, kind, level)
        for name, values in (("cfr", cfr), ("lower", lower), ("upper", upper), ("mcse", mcse)):
            cell: Any = (*asked, slice(None), i)
            found[name][cell] = values
    about = {
        "cfr": "cumulative fraction of response",
        "lower": "lower bound",
        "upper": "upper bound",
        "mcse": "Monte-Carlo standard error",
    }
    variables: dict[str, Any] = {
        name: ((*DIMS, "organism"), values, {"long_name": about[name], "units": "1"})
        for name, values in found.items()
    }
    coords = {name: _labels(pta, name) for name in DIMS} | {"organism": pd.Index(names, dtype=object)}
    reached = pta["breakpoint"].attrs.get("level") if "breakpoint" in pta else None
    attrs = {
        **pta.attrs,
        "interval_level": level,
        **({} if reached is None else {"breakpoint_level": float(reached)}),
        "organisms": json.dumps([_provenance(each) for each in distributions]),
    }
    return xr.Dataset(variables, coords, attrs)


def _axes(pta: xr.Dataset, name: str, *dims: str) -> NDArray[Any]:
    """Values of a variable with these axes, those included that a selection dropped."""
    variable = pta[name].variable
    missing = [dim for dim in dims if dim not in variable.dims]
    values: NDArray[Any] = variable.values
    if missing or variable.dims != dims:
        values = variable.set_dims([*missing, *variable.dims]).transpose(*dims).values
    return values


def _labels(pta: xr.Dataset, name: str) -> pd.Index:
    """Labels along an axis, or the one label that a selection left."""
    return pta.indexes[name] if name in pta.dims else pd.Index([pta[name].item()], dtype=object)


def _by_draw(pta: xr.Dataset, asked: tuple[NDArray[np.intp], ...]) -> NDArray[Any] | None:
    """Counts by draw of the pairs that are left, (pair, target, mic, chain, draw)."""
    if "attained_by_draw" not in pta:
        return None
    position = {
        pair: i
        for i, pair in enumerate(zip(pta["pair_scenario"].values, pta["pair_regimen"].values, strict=True))
    }
    scenarios, regimens = (_labels(pta, name).to_numpy() for name in DIMS[:2])
    wanted = zip(scenarios[asked[0]], regimens[asked[1]], strict=True)
    counts = _axes(pta, "attained_by_draw", "pair", "target", "mic", "chain", "draw")
    return counts[[position[pair] for pair in wanted]]


def _weights(distribution: MICDistribution, counted: NDArray[np.float64]) -> Floats:
    """Weight of each counted MIC; what lies above the last (``>32``) is not attained and has none."""
    weight = np.zeros(counted.shape[0])
    np.add.at(weight, match_mic(distribution.mic, counted.tolist()), np.asarray(distribution.weight))
    return weight


def _interval(
    pta: xr.Dataset, attained: Floats, by_draw: NDArray[Any] | None, weight: Floats, kind: str, level: float
) -> tuple[Floats, Floats, Floats]:
    """Lower, upper and Monte-Carlo error of one distribution; (pair, target) each."""
    n_subjects, n_draws = int(pta.attrs["n_subjects"]), int(pta.attrs["n_draws"])
    cells = attained.shape[:2]
    if kind == "none":
        nothing = np.full(cells, np.nan)
        return nothing, nothing, nothing
    if kind == "credible":
        assert by_draw is not None  # noqa: S101  two levels keep their draws
        counts = np.moveaxis(by_draw.reshape(*by_draw.shape[:3], -1), -1, 0)  # (draw, pair, target, mic)
        found = intervals.credible_weighted(counts, weight, n_subjects, level)
        return found.lower, found.upper, intervals.two_level_mcse_weighted(counts, weight, n_subjects)
    by_mic = np.moveaxis(attained, -1, 0)
    mean = weighted_sum(by_mic, weight)
    if by_draw is None:
        # independent profiles: a profile's response is the weight of all MICs up to its critical one, nested indicators,
        # so its second moment is Σ_i w_i (w_i + 2 Σ_{j<i} w_j) PTA_i
        second = weighted_sum(by_mic, weight * (weight + 2 * (np.cumsum(weight) - weight)))
        mcse = np.sqrt(np.maximum(second - mean * mean, 0.0) / n_draws)
        size: float | Floats = float(n_draws)
    else:
        summed = weighted_sum(np.moveaxis(by_draw, 2, 0), weight / n_subjects)  # (pair, target, chain, draw)
        size = ess_mean(np.moveaxis(summed, (2, 3), (0, 1)))
        mcse = summed.reshape(*cells, -1).std(axis=-1) / np.sqrt(size)
    lower, upper = intervals.wilson_mcse(mean, mcse, level, n_max=np.asarray(size) * n_subjects)
    return lower, upper, mcse


def _provenance(distribution: MICDistribution) -> dict[str, Any]:
    return {
        "organism": distribution.organism,
        "n_isolates": distribution.n_isolates,
        "source": distribution.source,
        "illustrative": distribution.illustrative,
        "censored": list(distribution.censored),
        "above": distribution.above,
    }
