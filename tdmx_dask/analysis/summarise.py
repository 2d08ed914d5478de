"""From counts to a labelled PTA: the fraction, its interval, its Monte-Carlo error, the PK/PD breakpoint.

Two kinds of interval, never one called the other. ``credible``: over draws of the parameters, each with its own PTA among its own
subjects. ``monte_carlo``: how well a finite number of profiles knows the PTA of one population.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from tdmx_dask.analysis.plan import Plan
from tdmx_dask.errors import InputError, TdmxWarning
from tdmx_dask.kernels import intervals
from tdmx_dask.kernels.ess import ess_mean

__all__ = ["Kind", "Summary", "breakpoint_of", "label_pta", "plan_labels", "summarise"]

Floats = NDArray[np.float64]
Kind = Literal["auto", "credible", "monte_carlo"]


class Summary(NamedTuple):
    """PTA of each (pair, target, mic).

    Attributes
    ----------
    pta, lower, upper, mcse : fractions
    n_attained : profiles
    kind : credible, monte_carlo or none
    reason : why there is no interval; else empty
    """

    pta: Floats
    lower: Floats
    upper: Floats
    mcse: Floats
    n_attained: NDArray[np.int64]
    kind: str
    reason: str


def summarise(
    plan: Plan, n_attained: NDArray[np.integer], interval: Kind, level: float, dependent: bool
) -> Summary:
    """Summarise counts (pair, target, mic, chain, draw) with an interval of the wanted kind.

    Parameters
    ----------
    interval : ``auto`` is credible with several subjects a draw, else monte_carlo
    level : of the interval, in (0, 1)
    dependent : whether draws are correlated (MCMC): the effective sample size counts
    """
    total = n_attained.sum(axis=(3, 4), dtype=np.int64)
    pta = total / plan.n_profiles
    two_level = plan.n_subjects > 1
    if interval == "credible" and not two_level:
        raise InputError(
            "interval",
            "credible",
            "an interval over draws of the parameters needs several subjects a draw",
            "Set subjects=, or take interval='monte_carlo'.",
        )
    if two_level:
        by_draw = np.moveaxis(n_attained.reshape(*n_attained.shape[:3], -1), -1, 0)
        if interval != "monte_carlo":
            found = intervals.credible(by_draw, plan.n_subjects, level)
            mcse = intervals.two_level_mcse(by_draw, plan.n_subjects)
            return Summary(
                pta,
                found.lower,
                found.upper,
                mcse,
                total,
                "none" if found.reason else "credible",
                found.reason,
            )
        effective = effective_draws(n_attained) if dependent else float(plan.n_chains * plan.n_draws)
        lower, upper = intervals.clustered(by_draw, plan.n_subjects, level, effective)
        spread = (
            by_draw.std(axis=0, ddof=1) / plan.n_subjects
            if by_draw.shape[0] > 1
            else np.full(pta.shape, np.nan)
        )
        return Summary(pta, lower, upper, spread / np.sqrt(effective), total, "monte_carlo", "")
    size: float | Floats = float(plan.n_profiles)
    if dependent:
        # too few draws for an effective sample size: no interval rather than one that is too narrow
        size = effective_draws(n_attained)
    lower, upper = intervals.wilson(total, size, level, n_simulated=plan.n_profiles)
    few = bool(np.isnan(size).any())
    return Summary(
        pta,
        lower,
        upper,
        np.sqrt(pta * (1 - pta) / size),
        total,
        "none" if few else "monte_carlo",
        "too few draws for their effective sample size" if few else "",
    )


def effective_draws(n_attained: NDArray[np.integer]) -> Floats:
    """Effective number of draws behind the mean count of each cell; (pair, target, mic)."""
    return ess_mean(np.moveaxis(n_attained, (3, 4), (0, 1)))


def breakpoint_of(pta: Floats, mic: tuple[float, ...], level: float) -> Floats:
    """PK/PD breakpoint: the largest MIC of the grid whose PTA, and that of all below, is at least `level`; NaN where none is.

    Parameters
    ----------
    pta : (…, mic), MICs ascending
    """
    attained = np.logical_and.accumulate(pta >= level, axis=-1)
    number = attained.sum(axis=-1)
    grid = np.array([np.nan, *mic])
    found: Floats = grid[number]
    return found


def label_pta(
    plan: Plan,
    summary: Summary,
    *,
    breakpoint_level: float,
    has_mic: tuple[bool, ...],
    by_draw: NDArray[np.integer] | None,
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """Put the summary on its labels.

    Parameters
    ----------
    has_mic : for each target, whether it has a MIC (its breakpoint is NaN otherwise)
    by_draw : (pair, target, mic, chain, draw) counts, kept where CFR needs them
    attrs : provenance

    Returns
    -------
    Dataset with dims (scenario, regimen, target, mic)
    """
    breakpoint_ = breakpoint_of(summary.pta, plan.mic, breakpoint_level)
    breakpoint_[:, [not each for each in has_mic]] = np.nan
    simulated = np.full((len(plan.pairs), len(plan.targets)), plan.n_profiles, dtype=np.int64)
    dims = ("scenario", "regimen", "target", "mic")
    kind = {"credible": "credible interval over draws", "monte_carlo": "Monte-Carlo interval"}.get(
        summary.kind, "none"
    )
    level = {"level": breakpoint_level}
    variables: dict[str, Any] = {
        "pta": (dims, _grid(plan, summary.pta), _about("probability of target attainment")),
        "lower": (dims, _grid(plan, summary.lower), _about(f"lower bound, {kind}")),
        "upper": (dims, _grid(plan, summary.upper), _about(f"upper bound, {kind}")),
        "mcse": (dims, _grid(plan, summary.mcse), _about("Monte-Carlo standard error")),
        "n_attained": (dims, _grid(plan, summary.n_attained), _about("profiles that attain the target")),
        "n_simulated": (dims[:3], _grid(plan, simulated), _about("profiles simulated")),
        "breakpoint": (dims[:3], _grid(plan, breakpoint_), _about("PK/PD breakpoint", "mg/L") | level),
    }
    if by_draw is not None:
        about = _about("subjects that attain the target, by draw")
        labels = plan_labels(plan)
        for name, positions in zip(("scenario", "regimen"), zip(*plan.pairs, strict=True), strict=True):
            variables[f"pair_{name}"] = ("pair", labels[name][list(positions)])
        variables["attained_by_draw"] = (("pair", *dims[2:], "chain", "draw"), by_draw, about)
    coords: dict[str, Any] = {
        **plan_labels(plan),
        "mic": (
            "mic",
            np.array(plan.mic),
            {"units": "mg/L", "long_name": "minimum inhibitory concentration"},
        ),
    }
    result = xr.Dataset(
        variables,
        coords,
        {
            "interval": summary.kind,
            "interval_reason": summary.reason,
            "without_mic": json.dumps(
                [t.label for t, has in zip(plan.targets, has_mic, strict=True) if not has]
            ),
            "n_subjects": plan.n_subjects,
            "n_draws": plan.n_chains * plan.n_draws,
            **attrs,
        },
    )
    if summary.reason:
        warnings.warn(f"interval: none is given: {summary.reason}.", TdmxWarning, stacklevel=4)
    return result if by_draw is None else result.set_coords(["pair_scenario", "pair_regimen"])


def _grid(plan: Plan, values: NDArray[Any]) -> NDArray[Any]:
    """From (pair, …) to (scenario, regimen, …); NaN, or 0 for integers, where a pair is not asked for."""
    empty = np.nan if values.dtype.kind == "f" else 0
    out = np.full((len(plan.scenarios), len(plan.regimens), *values.shape[1:]), empty, dtype=values.dtype)
    out[tuple(np.array(plan.pairs).T)] = values
    return out


def plan_labels(plan: Plan) -> dict[str, pd.Index]:
    """Labels of scenario, regimen and target; objects, which Zarr stores as texts of any length, indexed once."""
    labels = {
        "scenario": [scenario.name for scenario in plan.scenarios],
        "regimen": [regimen.label for regimen in plan.regimens],
        "target": [target.label for target in plan.targets],
    }
    return {name: pd.Index(each, dtype=object) for name, each in labels.items()}


def _about(long_name: str, units: str = "1") -> dict[str, Any]:
    return {"long_name": long_name, "units": units}
