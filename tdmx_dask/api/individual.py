"""One patient from levels to a regimen: fit, PTA and CFR of the posterior, and one folder of results."""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.analysis.concentration import MOST_VALUES
from tdmx_dask.api.concentration import concentrations, times_over
from tdmx_dask.api.records import Row
from tdmx_dask.domain.assessment import Assessment
from tdmx_dask.domain.patient import Patient, as_patient
from tdmx_dask.domain.prior import FITTED
from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.domain.study import noting
from tdmx_dask.errors import TdmxWarning
from tdmx_dask.fitting.calibration import SIGMAS
from tdmx_dask.fitting.question import ask

if TYPE_CHECKING:
    import xarray as xr

    from tdmx_dask.fitting.fit import Fit

__all__ = [
    "Individual",
    "assess",
    "course_of",
    "fit_individual",
    "individual_of",
    "level_rows",
    "parameter_rows",
    "posterior_rows",
]

SATURABLE = "PTA and CFR of a saturable model are not computed yet; its posterior is."
_QUANTILES = (0.05, 0.5, 0.95)
_POINTS = (
    160  # of equal distance on the predicted course, besides the times of doses, ends of infusions and levels
)
_Z95 = 1.6448536269514722  # 95 % quantile of the standard normal


@dataclass(frozen=True, slots=True)
class Individual:
    """What was found of one patient.

    Parameters
    ----------
    patient : as read
    fit : the posterior
    prior : parameter -> median and SD of the log of its log-normal prior
    pta : dims (scenario, regimen, target, mic); None where nothing is asked, or the model's PTA is not computed yet
    cfr : dims (scenario, regimen, target, organism); None without a distribution of MICs
    notes : assumptions, as they were warned about
    seconds : what took how long
    out : the folder of results; None where none was written
    """

    patient: Patient
    fit: Fit
    prior: dict[str, tuple[float, float]] = field(default_factory=dict)
    pta: xr.Dataset | None = None
    cfr: xr.Dataset | None = None
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    out: Path | None = None


def fit_individual(
    patient: Patient | Mapping[str, object] | str | PathLike[str],
    out: str | Path | None = None,
    *,
    overwrite: bool = False,
    **options: Any,
) -> Individual:
    """Fit one patient, compute what its file asks of the posterior, and write a folder.

    Parameters
    ----------
    patient : a `Patient`, a mapping, a YAML file, or the name of a shipped patient
    out : folder to make; None writes none
    overwrite : replace the folder
    options : of `fit_async`

    Raises
    ------
    InputError
        The patient is wrong, or `out` exists and `overwrite` is false.
    FitError
        The fit failed.
    KeyboardInterrupt
        The fit was cancelled; its processes are gone, and nothing was written.
    """
    from tdmx_dask.api.individual_folder import staged, write_individual

    given = as_patient(patient)
    if out is None:
        return _found(given, options)
    out = Path(out)
    with staged(out, overwrite=overwrite) as folder:
        found = _found(given, options)
        write_individual(found, folder)
    return replace(found, out=out)


def individual_of(patient: Patient, fit: Fit, **options: Any) -> Individual:
    """A patient and a fit of it that is there already, as `fit_individual` gives them; no PTA.

    Parameters
    ----------
    patient, fit : the fit is of this patient
    options : of `fit_async` that the prior depends on: model, priors, error
    """
    return Individual(patient, fit, _prior_of(patient, options))


def assess(
    draws: xr.Dataset, assessment: Assessment, *, fu: float | None = None
) -> tuple[xr.Dataset, xr.Dataset | None]:
    """PTA, and CFR where there are distributions, of what is asked of a posterior."""
    from tdmx_dask.api.verbs import cfr, pta

    attained = pta(draws, assessment.regimens, assessment.targets, mic=assessment.mic, fu=fu)
    response = cfr(attained, assessment.distributions) if assessment.distributions else None
    return attained, response


def _found(patient: Patient, options: Mapping[str, Any]) -> Individual:
    start = time.perf_counter()
    attained = response = None
    with noting() as notes:
        fit = _awaited(patient, options)
        fitted = time.perf_counter()
        if patient.assessment is not None and "Vmax" not in fit.draws:
            attained, response = assess(fit.draws, patient.assessment)
    if patient.assessment is not None and attained is None:
        notes.append(SATURABLE)
    seconds = {"fit": fitted - start, "pta and cfr": time.perf_counter() - fitted}
    return Individual(
        patient, fit, _prior_of(patient, options), attained, response, tuple(dict.fromkeys(notes)), seconds
    )


def _awaited(patient: Patient, options: Mapping[str, Any]) -> Fit:
    from tdmx_dask.api.cohort import end
    from tdmx_dask.api.fit import fit_async
    from tdmx_dask.api.individual_folder import prepare

    future = fit_async(patient, **options)
    threading.Thread(target=prepare, name="tdmx-prepare", daemon=True).start()
    try:
        return future.result()
    except KeyboardInterrupt:
        end([future])
        raise KeyboardInterrupt("interrupted; the fit was cancelled and nothing was written") from None


def _prior_of(patient: Patient, options: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Log-normal priors of what is estimated: name -> median, SD of the log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TdmxWarning)
        asked = {key: options[key] for key in ("model", "priors", "error") if options.get(key) is not None}
        question = ask(patient, **asked)
    data = question.data
    omega = np.sqrt((np.asarray(data["prior_chol"]) ** 2).sum(axis=1))
    parts = zip(FITTED[question.model], data["prior_mean"], omega, strict=True)  # type: ignore[index]
    found = {name: (float(mean), float(sd)) for name, mean, sd in parts}
    found |= {name: (data["sigma_mean"][k], data["sigma_omega"][k]) for k, name in enumerate(SIGMAS)}
    return {
        name: (float(np.exp(mean)), sd) for name, (mean, sd) in found.items() if name in question.parameters
    }


def posterior_rows(found: Individual) -> list[Row]:
    """`parameter_rows` of a patient."""
    return parameter_rows(found.fit, found.prior)


def parameter_rows(fit: Fit, prior: Mapping[str, tuple[float, float]]) -> list[Row]:
    """One row a parameter: median and interval of the posterior, of the prior where there is one, and what its draws are worth."""
    table = fit.summary()
    rows: list[Row] = []
    for name, values in table.iterrows():
        row: Row = {"parameter": str(name)}
        row |= {str(key): _plain(value) for key, value in values.items()}
        if str(name) in prior:
            median, omega = prior[str(name)]
            row |= {
                "prior_q5": median * math.exp(-_Z95 * omega),
                "prior_q50": median,
                "prior_q95": median * math.exp(_Z95 * omega),
            }
        rows.append(row)
    return rows


def level_rows(found: Individual) -> list[Row]:
    """One row a level: measured, and what the posterior predicts: the concentration, and another measurement at that time."""
    patient, fit = found.patient, found.fit
    if not patient.levels:
        return []
    predicted = _predicted(patient, fit.draws, sorted({level.time for level in patient.levels}))
    again = _again(fit)
    rows: list[Row] = []
    for number, level in enumerate(patient.levels):
        row: Row = {"time": level.time, "measured": level.value, "below": int(level.below)}
        here = None if predicted is None else predicted.sel(time=level.time).values
        for name, values in (
            ("predicted", here),
            ("replicated", None if again is None else again[:, number]),
        ):
            if values is not None:
                row[f"{name}_q5"], row[name], row[f"{name}_q95"] = map(float, values)
        rows.append(row)
    return rows


def course_of(found: Individual) -> xr.Dataset | None:
    """The predicted concentration about the levels, for `plot.levels`; None where there is no level, or the kernels lack the model.

    Returns
    -------
    ``q5, q50, q95`` (time), mg/L; the levels, and ``level_q5, level_q95`` (observation) of levels that the program drew again
    """
    import xarray as xr

    patient = found.patient
    if not patient.levels:
        return None
    last = patient.levels[-1].time
    before = [dose.time for dose in patient.doses if dose.time < patient.levels[0].time]
    start = max(before, default=0.0)
    again, ends = _again(found.fit), ((0, _QUANTILES[0]), (2, _QUANTILES[2]))
    at = times_over([Regimen.build(patient.counted_doses)], [(start, last)], _POINTS)
    times = sorted({*at, *(level.time for level in patient.levels)})
    predicted = _predicted(patient, found.fit.draws, times)
    if predicted is None:
        return None
    return xr.Dataset(
        {
            **{f"q{100 * share:g}": ("time", predicted.sel(quantile=share).values) for share in _QUANTILES},
            **{
                f"level_q{100 * share:g}": ("observation", again[i]) for i, share in ends if again is not None
            },
            "level": ("observation", np.array([level.value for level in patient.levels])),
            "below": ("observation", np.array([int(level.below) for level in patient.levels])),
        },
        {"time": times, "level_time": ("observation", np.array([level.time for level in patient.levels]))},
    )


def _predicted(patient: Patient, draws: xr.Dataset, times: Sequence[float]) -> xr.DataArray | None:
    """Quantiles over the draws of the concentration at some times (h, ascending), mg/L; None for a model that the kernels lack."""
    if "CL" not in draws or "Vmax" in draws:
        return None
    most = max(1, MOST_VALUES // 2 // len(times))
    every = -(-draws.sizes["chain"] * draws.sizes["draw"] // most)
    some = draws if every == 1 else draws.isel(draw=slice(None, None, every))
    window = (0.0, times[-1])
    given = Regimen.build(patient.counted_doses)
    course = concentrations(some, given, times=times, window=window, quantiles=_QUANTILES)
    return course["concentration"].squeeze(["scenario", "regimen"])


def _again(fit: Fit) -> NDArray[np.float64] | None:
    """Quantiles of levels that the program drew again, (quantile, level)."""
    group = fit.tree.children.get("posterior_predictive")
    if group is None or "level" not in group:
        return None
    values = group["level"].transpose("chain", "draw", ...).values
    made = np.asarray(values, dtype=float).reshape(-1, values.shape[-1])
    return np.asarray(np.quantile(made, _QUANTILES, axis=0))


def _plain(value: Any) -> str | float | None:
    if isinstance(value, str):
        return value
    number = float(value)
    return number if np.isfinite(number) else None
