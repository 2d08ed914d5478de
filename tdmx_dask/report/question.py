"""What was asked: regimens, targets, scenarios and MICs, from what a result carries; populations and patients from their nouns."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from tdmx_dask.domain import shorthand
from tdmx_dask.domain.patient import Patient
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.prior import UNITS, PriorSet
from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.domain.target import STEADY_STATE, AllOf, Target, parse_target
from tdmx_dask.errors import TdmxError
from tdmx_dask.plot.style import mic_label
from tdmx_dask.report.sections import Section, Sheet, fact, shown
from tdmx_dask.report.tables import organism_rows

__all__ = ["patient_section", "population_section", "question_section", "window_sentence"]


def question_section(
    pta: xr.Dataset | None, cfr: xr.Dataset | None = None, about: Sequence[str] = ()
) -> Section:
    """What was asked of the profiles.

    Parameters
    ----------
    pta : result of `pta`, whose attributes say the regimens, targets and scenarios; None where nothing was asked
    cfr : result of `cfr`, for the distributions of MICs
    about : paragraphs
    """
    if pta is None:
        return Section("Question", tuple(about))
    targets = tuple((str(each), _window(each)) for each in _targets(pta))
    sheets = [
        Sheet("", (), _assumed(pta)),
        _regimens(_listed(pta, "regimens")),
        Sheet("Targets", ("Target", "Window"), targets),
    ]
    scenarios = _mapping(pta, "scenarios")
    if any(scenarios.values()):
        names = list(dict.fromkeys(name for each in scenarios.values() for name in each))
        rows = tuple((label, *(shown(each.get(name)) for name in names)) for label, each in scenarios.items())
        units = _plain(pta, "covariate_units")
        known = units if isinstance(units, dict) else {}
        heads = (f"{name} ({known[name]})" if known.get(name, "1") != "1" else name for name in names)
        sheets.append(Sheet("Scenarios", ("Scenario", *heads), rows))
    mics = [float(value) for value in np.atleast_1d(pta["mic"].values).tolist() if value not in ("", None)]
    if mics and any("MIC" in str(target) for target in _targets(pta)):
        sheets.append(Sheet("MICs", (), (("mg/L", ", ".join(mic_label(mic) for mic in mics)),)))
    if cfr is not None:
        sheets.append(Sheet("Distributions of MICs", (), tuple(organism_rows(cfr))))
    return Section("Question", tuple(about), tuple(sheet for sheet in sheets if sheet.rows))


def window_sentence(pta: xr.Dataset) -> str:
    """Over which time targets count that name no window; empty where each names one."""
    windows = [_read(each) for each in _targets(pta)]
    singles = [
        one
        for each in windows
        if each is not None
        for one in (each.targets if isinstance(each, AllOf) else (each,))
    ]
    steady = [one for one in singles if one.time is None and one.window == STEADY_STATE]
    if not steady:
        return ""
    which = "All targets are" if len(steady) == len(singles) else "Targets that name no window are"
    daily = ", AUC24 over its mean day" if any(one.index == "AUC24" for one in steady) else ""
    return f"{which} counted at steady state: over one dosing interval{daily}."


def _window(target: object) -> str:
    read = _read(target)
    return "–" if read is None else read.window_words


def _read(target: object) -> Target | AllOf | None:
    try:
        return parse_target(str(target))
    except TdmxError:
        return None


def _assumed(pta: xr.Dataset) -> tuple[tuple[str, str], ...]:
    """Model, unbound fraction and body weights of a result, as far as it says them."""
    weights = _plain(pta, "weights")
    fu = str(pta.attrs.get("fu", ""))
    if fu and pta.attrs.get("fu_note"):
        fu += " (assumed: none was given)"
    return (
        *fact("Model", model_text(str(pta.attrs.get("model", "")))),
        *fact("Unbound fraction (fu)", fu),
        *(
            row
            for name, value in (weights.items() if isinstance(weights, dict) else ())
            for row in fact(f"Body weight {name}", shown(value, "" if isinstance(value, str) else "kg"))
        ),
    )


_REGIMEN = ("Regimen", "Dose", "Interval (h)", "Infusion (h)", "Per day", "Hours of infusion per day")


def _regimens(given: Sequence[Any]) -> Sheet:
    """The regimens in numbers; a column of what goes before where something does."""
    rows = [_regimen_row(each) for each in given]
    before = [_before(each) for each in given]
    if any(before):
        rows = [(*row, text or "–") for row, text in zip(rows, before, strict=True)]
    return Sheet("Regimens", (*_REGIMEN, *(("Before it",) if any(before) else ())), tuple(rows))


def _before(given: Any) -> str:
    """Loading and other one-off doses before those that repeat."""
    try:
        regimen = Regimen.from_mapping(given)
    except TdmxError:
        return ""
    return shorthand.text(regimen.history, None, regimen.weight) if regimen.history and regimen.cycle else ""


def _regimen_row(given: Any) -> tuple[str, ...]:
    """A regimen in numbers; its name alone where it is none that can be read."""
    try:
        regimen = Regimen.from_mapping(given)
        label, cycle = regimen.label, regimen.cycle
        one = cycle.events[0] if cycle is not None and len(cycle.events) == 1 else None
        name = (
            label
            if label == str(regimen) or (one is not None and not regimen.history)
            else f"{label}: {regimen}"
        )
        return (
            name,
            "–" if one is None else shown(one.amount, one.unit),
            "–" if cycle is None else shown(cycle.tau),
            "–" if one is None else ("bolus" if one.tinf == 0 else shown(one.tinf)),
            shown(regimen.daily_dose, regimen.unit),
            shown(regimen.infusion_hours_per_day),
        )
    except TdmxError:
        name = given.get("name", given.get("regimen", "")) if isinstance(given, Mapping) else given
        return (str(name), "–", "–", "–", "–", "–")


def _targets(pta: xr.Dataset) -> list[Any]:
    return _listed(pta, "targets") or np.atleast_1d(pta["target"].values).tolist()


def _listed(pta: xr.Dataset, name: str) -> list[Any]:
    value = _plain(pta, name)
    return value if isinstance(value, list) else []


def _mapping(pta: xr.Dataset, name: str) -> dict[str, dict[str, Any]]:
    value = _plain(pta, name)
    found = value if isinstance(value, dict) else {}
    return {str(label): dict(each) for label, each in found.items() if isinstance(each, Mapping)}


def _plain(pta: xr.Dataset, name: str) -> Any:
    try:
        return json.loads(str(pta.attrs.get(name, "null")))
    except (ValueError, RecursionError):
        return None


def population_section(population: Population, *, title: str = "Population") -> Section:
    """A population: its model and source, the formulas, covariates and variability.

    Parameters
    ----------
    population : as the study or the patient's prior has it
    title : heading
    """
    facts = (
        *fact("Name", population.name),
        *fact("Model", model_text(population.model)),
        *fact("Source", population.source),
        *fact("Unbound fraction", population.fu),
    )
    thetas = tuple((name, shown(value)) for name, value in population.thetas.items())
    parameters = tuple(
        (name, str(formula), UNITS.get(name, ""), _variability(population, name))
        for name, formula in population.parameters.items()
    )
    covariates = tuple(
        (name, _covariate(each.to_mapping()), each.unit) for name, each in population.covariates.items()
    )
    sheets = [
        Sheet("", (), facts),
        Sheet("Typical values", (), thetas),
        Sheet("Parameters", ("Parameter", "Typical value", "Unit", "Between subjects"), parameters),
        Sheet("Correlations of the parameters", (), _correlations(population)),
        Sheet("Covariates", ("Covariate", "Value", "Unit"), covariates),
    ]
    return Section(title, (), tuple(sheet for sheet in sheets if sheet.rows))


def model_text(model: str) -> str:
    """A model as a reader knows it."""
    names = {"1C": "one compartment", "2C": "two compartments", "3C": "three compartments"}
    names |= {"michaelis_menten": "saturable elimination", "parallel": "linear and saturable elimination"}
    return f"{model} ({names[model]})" if model in names else model


def _variability(population: Population, name: str) -> str:
    """Standard deviation of the log, and the coefficient of variation that it makes."""
    if name not in population.etas:
        return "none"
    variance = float(population.omega[population.etas.index(name), population.etas.index(name)])
    return f"CV {100 * math.sqrt(math.expm1(variance)):.3g} % (SD of the log {math.sqrt(variance):.3g})"


def _correlations(population: Population) -> tuple[tuple[str, str], ...]:
    omega, etas = population.omega, population.etas
    rows = []
    for i in range(len(etas)):
        for j in range(i):
            scale = math.sqrt(float(omega[i, i] * omega[j, j]))
            if omega[i, j] != 0 and scale > 0:
                rows.append((f"{etas[j]} and {etas[i]}", f"{float(omega[i, j]) / scale:.3g}"))
    return tuple(rows)


def _covariate(mapping: Mapping[str, object]) -> str:
    rest = {key: value for key, value in mapping.items() if key != "unit"}
    if not rest:
        return "of the scenario or the patient"
    if set(rest) == {"value"}:
        return shown(rest["value"])
    return "; ".join(f"{key} {_listed_text(value)}" for key, value in rest.items())


def _listed_text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_listed_text(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_listed_text(each) for each in value)
    return shown(value) if isinstance(value, float) else str(value)


def patient_section(patient: Patient) -> Section:
    """A patient: doses given, covariates, unbound fraction, error model."""
    facts = (
        *fact("Patient", patient.id),
        *fact("Doses given", patient.regimen),
        *fact("Number of doses", len(patient.doses)),
        *(
            row
            for name, each in patient.covariates.items()
            for row in fact(name, f"{shown(each.value)} {each.unit}")
        ),
        *fact("Unbound fraction", None if patient.fu is None else shown(patient.fu)),
        *fact("Levels", len(patient.levels)),
        *fact("Residual error", None if patient.error is None else _error(patient.error)),
    )
    sheets: tuple[Sheet, ...] = (Sheet("", (), facts),)
    if isinstance(patient.priors, PriorSet):
        rows = tuple(
            (
                name,
                shown(median, UNITS.get(name, "")),
                f"SD of the log {math.sqrt(float(variance)):.3g}" if variance > 0 else "fixed",
            )
            for name, median, variance in zip(
                patient.priors.parameters,
                patient.priors.median,
                np.diag(patient.priors.covariance),
                strict=True,
            )
        )
        prior = Sheet("Priors", ("Parameter", "Median", "Spread"), rows, note=patient.priors.source)
        sheets = (*sheets, prior)
    return Section("Patient", (), sheets)


def _error(error: Any) -> str:
    parts = [str(error.kind)]
    for name, unit in (("additive", "mg/L"), ("proportional", "")):
        prior = getattr(error, name)
        if prior is not None:
            spread = f", SD of its log {prior.omega:.3g}" if prior.omega > 0 else ", fixed"
            parts.append(f"{name} {shown(prior.median, unit)}{spread}")
    if error.nu is not None:
        parts.append(f"degrees of freedom {error.nu:g}")
    return "; ".join(parts)
