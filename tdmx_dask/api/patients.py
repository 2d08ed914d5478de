"""A cohort from its table to a table: a fit a patient, PTA and CFR of all of them, and one folder of results."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tdmx_dask.api.individual import SATURABLE, assess
from tdmx_dask.api.individual_folder import record_of, staged, write_draws_of
from tdmx_dask.api.records import Row, cfr_rows, pta_rows, write_csv
from tdmx_dask.domain.assessment import Assessment
from tdmx_dask.domain.patient import Patient
from tdmx_dask.domain.study import noting
from tdmx_dask.errors import FitCancelled, TdmxWarning

if TYPE_CHECKING:
    import xarray as xr

    from tdmx_dask.fitting.fit import Fit

__all__ = ["Patients", "fit_patients"]


@dataclass(frozen=True, slots=True)
class Patients:
    """What was found of a cohort.

    Parameters
    ----------
    rows : one a patient whose fit succeeded: median of each parameter, largest R-hat, smallest ESS, whether it is healthy
    failures : patient -> what went wrong
    fits : in the order of the cohort
    pta, cfr : a scenario a patient; None where nothing is asked
    notes : assumptions, as they were warned about
    seconds : what took how long
    interrupted : fits were cancelled by Ctrl-C
    out : the folder of results; None where none was written
    """

    rows: list[Row]
    failures: dict[str, str]
    fits: dict[str, Fit] = field(default_factory=dict)
    pta: xr.Dataset | None = None
    cfr: xr.Dataset | None = None
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False
    out: Path | None = None


def fit_patients(
    patients: Sequence[Patient],
    out: str | Path | None = None,
    *,
    assessment: Assessment | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Patients:
    """Fit every patient, and write one folder.

    Parameters
    ----------
    patients : checked
    out : folder to make; None writes none
    assessment : what is asked of each posterior
    overwrite : replace the folder
    options : of `fit_many`

    Returns
    -------
    the fits that succeeded, and beside them those that failed. After Ctrl-C those that were done until then, and `interrupted`

    Raises
    ------
    InputError
        `out` exists and `overwrite` is false, or a patient cannot be asked about.
    """
    if out is None:
        return _found(patients, assessment, options)
    out = Path(out)
    with staged(out, overwrite=overwrite) as folder:
        found = _found(patients, assessment, options)
        _write(found, folder)
    return replace(found, out=out)


def _found(patients: Sequence[Patient], assessment: Assessment | None, options: dict[str, Any]) -> Patients:
    from tdmx_dask.api.cohort import end
    from tdmx_dask.api.fit import fit_many

    start = time.perf_counter()
    interrupted = False
    with noting() as notes:
        cohort = fit_many(list(patients), **options)
        try:
            wait(cohort.futures.values())
        except KeyboardInterrupt:
            end(cohort.futures.values())
            interrupted = True
        ended = {name: future for name, future in cohort.futures.items() if future.done()}
        fits = {name: future.result() for name, future in ended.items() if future.exception() is None}
        failures = {
            name: str(problem)
            for name, problem in cohort.failures.items()
            if not isinstance(problem, FitCancelled)
        }
        fitted = time.perf_counter()
        attained = response = None
        if assessment is not None and fits and not interrupted:
            attained, response = _assessed(fits, assessment)
    if assessment is not None and any("Vmax" in fit.draws for fit in fits.values()):
        notes.append(SATURABLE)
    seconds = {"fits": fitted - start, "pta and cfr": time.perf_counter() - fitted}
    rows = [_row(name, fit) for name, fit in fits.items()]
    return Patients(
        rows, failures, fits, attained, response, tuple(dict.fromkeys(notes)), seconds, interrupted
    )


def _assessed(fits: dict[str, Fit], assessment: Assessment) -> tuple[xr.Dataset | None, xr.Dataset | None]:
    """PTA and CFR with a scenario a patient; fits of other shapes (chains that stopped at their target) are counted one by one."""
    import xarray as xr

    if any("Vmax" in fit.draws for fit in fits.values()):
        return None, None
    parts = []
    with warnings.catch_warnings(record=True) as caught:  # what is assumed of each is said once
        warnings.simplefilter("always", TdmxWarning)
        for name, fit in fits.items():
            attained, response = assess(fit.draws, assessment)
            label = {"scenario": [name]}
            parts.append(
                (attained.assign_coords(label), None if response is None else response.assign_coords(label))
            )
    for text in dict.fromkeys(str(each.message) for each in caught):
        warnings.warn(text, TdmxWarning, stacklevel=2)
    first = parts[0]
    attrs = {"combine_attrs": "override", "join": "override"}
    pta = xr.concat([each for each, _ in parts], "scenario", **attrs) if len(parts) > 1 else first[0]  # type: ignore[call-overload]
    if first[1] is None:
        return pta, None
    cfr = xr.concat([each for _, each in parts], "scenario", **attrs) if len(parts) > 1 else first[1]  # type: ignore[call-overload]
    return pta, cfr


def _row(name: str, fit: Fit) -> Row:
    """One line of a cohort's table."""
    table, diagnosis = fit.summary(), fit.diagnose()
    row: Row = {"patient": name}
    row |= {str(parameter): float(value) for parameter, value in table["q50"].items()}
    row |= {
        "r_hat": _worst(table["r_hat"].to_numpy(), np.nanmax),
        "ess": _worst(table["ess_bulk"].to_numpy(), np.nanmin),
    }
    return {**row, "healthy": int(diagnosis.healthy), "problems": " ".join(diagnosis.problems)}


def _worst(values: Any, worst: Callable[[Any], Any]) -> float | None:
    finite = values[np.isfinite(values)]
    return float(worst(finite)) if finite.size else None


def _write(found: Patients, folder: Path) -> None:
    from tdmx_dask.store.digest import json_safe
    from tdmx_dask.store.results import write_result

    folder.mkdir()
    (folder / "draws").mkdir()
    for number, fit in enumerate(found.fits.values(), 1):
        write_draws_of(fit, folder / "draws" / f"{number:04d}.zarr")
    write_csv(
        [{**row, "draws": f"{number:04d}.zarr"} for number, row in enumerate(found.rows, 1)],
        folder / "patients.csv",
    )
    if found.failures:
        failures: list[Row] = [{"patient": name, "problem": text} for name, text in found.failures.items()]
        write_csv(failures, folder / "failures.csv")
    if found.pta is not None:
        write_result(found.pta, folder / "pta.zarr")
        write_csv(pta_rows(found.pta), folder / "pta.csv")
    if found.cfr is not None:
        write_result(found.cfr, folder / "cfr.zarr")
        write_csv(cfr_rows(found.cfr), folder / "cfr.csv")
    record: dict[str, Any] = {
        "fits": [record_of(fit) for fit in found.fits.values()],
        "failures": found.failures,
        "interrupted": found.interrupted,
        "seconds": found.seconds,
        "notes": list(found.notes),
    }
    text = json.dumps(json_safe(record), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "run.json").write_text(text + "\n", encoding="utf-8")
