"""Predictive checks: do levels that the fitted model makes look like those that were measured?

Shares of draws are integer counts, so that chunks add in any order. Dask-backed draws stay lazy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tdmx_dask.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["STATISTICS", "predictive_check"]

STATISTICS = ("mean", "sd", "min", "max")
"""Statistics of the measured levels that are set against those of each replicate."""

_SAMPLE = ("chain", "draw")


def predictive_check(
    level: xr.DataArray,
    level_rep: xr.DataArray,
    *,
    below: xr.DataArray | None = None,
    intervals: Sequence[float] = (0.5, 0.9),
) -> xr.Dataset:
    """Set measured levels against replicates of them.

    Parameters
    ----------
    level : (observation,) mg/L; the limit of quantification where `below`
    level_rep : (chain, draw, observation) mg/L, replicates from the posterior predictive; numpy- or dask-backed
    below : (observation,) whether a level was below quantification; None: none was
    intervals : probabilities of central intervals, in (0, 1)

    Returns
    -------
    A Dataset, lazy where `level_rep` is:

    - ``pit`` (observation): share of replicates below the level, ties by half; NaN where below quantification
    - ``p_below`` (observation): share of replicates below the level; for a level below quantification the chance of that
    - ``lower, median, upper`` (interval, observation) and (observation), mg/L
    - ``inside`` (interval, observation), and ``coverage`` (interval): share of quantified levels within their interval
    - ``observed`` (statistic) mg/L, ``p_value`` (statistic): share of replicates whose statistic exceeds the observed one, ties by
      half; of quantified levels. Near 0 or 1 the model does not make such levels
    - ``n_quantified``

    Levels were used for the fit, so that coverage is high rather than exact: a check for gross misfit, not a calibration.

    Raises
    ------
    InputError
        Shapes do not match, an interval is out of range, or a dimension is missing.

    References
    ----------
    Gelman, Meng, Stern 1996 (Statistica Sinica 6:733); Gabry et al. 2019 (JRSS A 182:389)
    """
    import xarray as xr

    dim = _checked(level, level_rep, intervals)
    total = level_rep.sizes["chain"] * level_rep.sizes["draw"]
    flags = np.zeros(level.shape, dtype=bool) if below is None else np.asarray(below.values, dtype=bool)
    quantified = xr.DataArray(~flags, dims=(dim,))
    y = xr.DataArray(np.asarray(level.values, dtype=float), dims=(dim,))
    rep = level_rep.transpose(*_SAMPLE, dim)
    rep = rep.drop_vars([name for name in rep.coords if name != dim])
    under, equal = (rep < y).sum(_SAMPLE), (rep == y).sum(_SAMPLE)
    interval = xr.DataArray(np.asarray(intervals, dtype=float), dims=("interval",))
    whole = rep.chunk({"chain": -1, "draw": -1}) if rep.chunks else rep
    tails = [(1 - each) / 2 for each in intervals]
    limits = whole.quantile([*tails, 0.5, *(1 - each for each in tails)], dim=_SAMPLE)
    n = len(tails)
    lower = limits.isel(quantile=slice(0, n)).rename(quantile="interval").drop_vars("interval")
    upper = limits.isel(quantile=slice(n + 1, None)).rename(quantile="interval").drop_vars("interval")
    inside = ((y >= lower) & (y <= upper) & quantified).transpose("interval", dim)
    n_quantified = int((~flags).sum())
    kept = {dim: np.flatnonzero(~flags)}
    observed, p_value = _statistics(y.isel(kept), rep.isel(kept), dim, total)
    result = xr.Dataset(
        {
            "pit": ((under + 0.5 * equal) / total).where(quantified),
            "p_below": under / total,
            "lower": lower,
            "median": limits.isel(quantile=n).drop_vars("quantile"),
            "upper": upper,
            "inside": inside,
            "coverage": inside.sum(dim) / n_quantified if n_quantified else xr.full_like(interval, np.nan),
            "observed": observed,
            "p_value": p_value,
            "n_quantified": n_quantified,
        },
        coords={"interval": interval, "statistic": list(STATISTICS)},
        attrs={"n_draws": total, "in_sample": "levels were used for the fit"},
    )
    for name in ("lower", "median", "upper", "observed"):
        result[name].attrs["units"] = "mg/L"
    return result


def _checked(level: xr.DataArray, level_rep: xr.DataArray, intervals: Sequence[float]) -> Any:
    """Check the arguments; the dimension of the levels."""
    missing = [dim for dim in _SAMPLE if dim not in level_rep.dims]
    if missing or level_rep.ndim != 3 or level.ndim != 1:
        value = f"dimensions {level_rep.dims} beside {level.dims}"
        raise InputError(
            "level_rep",
            value,
            "replicates are (chain, draw, observation), levels (observation,)",
            "Take both of one fit.",
        )
    dim = next(each for each in level_rep.dims if each not in _SAMPLE)
    if level_rep.sizes[dim] != level.size:
        rule = f"there is a replicate of each of the {level.size} levels"
        raise InputError("level_rep", f"{level_rep.sizes[dim]} levels", rule, "Take both of one fit.")
    if not _are_probabilities(intervals):
        given = tuple(intervals) if isinstance(intervals, list) else intervals
        raise InputError("intervals", given, "probabilities in (0, 1)", "For example (0.5, 0.9).")
    return dim


def _are_probabilities(intervals: object) -> bool:
    try:
        found = np.asarray(intervals)
    except ValueError:  # of unequal lengths
        return False
    return (
        found.ndim == 1
        and found.dtype.kind == "f"
        and bool(((found > 0) & (found < 1)).all())
        and found.size > 0
    )


def _statistics(
    y: xr.DataArray, rep: xr.DataArray, dim: Any, total: int
) -> tuple[xr.DataArray, xr.DataArray]:
    """Statistics of the levels, and the Bayesian p-value of each; NaN where there are too few levels."""
    import xarray as xr

    observed, p_values = [], []
    for name in STATISTICS:
        if y.size < (2 if name == "sd" else 1):
            observed.append(xr.DataArray(np.nan))
            p_values.append(xr.DataArray(np.nan))
            continue
        reduce = {"sd": "std"}.get(name, name)
        options = {"ddof": 1} if name == "sd" else {}
        seen = getattr(y, reduce)(dim, **options)
        made = getattr(rep, reduce)(dim, **options)
        observed.append(seen)
        p_values.append(((made > seen).sum(_SAMPLE) + 0.5 * (made == seen).sum(_SAMPLE)) / total)
    return xr.concat(observed, "statistic"), xr.concat(p_values, "statistic")
