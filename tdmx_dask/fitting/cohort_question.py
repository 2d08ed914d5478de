"""From a cohort to what Stan is asked: typical values, covariate effects and variability between subjects."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tdmx_dask.domain.effect import Effect, Variability, read_effects, read_variability_of
from tdmx_dask.domain.error_model import ErrorModel
from tdmx_dask.domain.patient import Patient
from tdmx_dask.domain.prior import PriorSet, model_of
from tdmx_dask.domain.section import Item
from tdmx_dask.domain.study import noting
from tdmx_dask.domain.units import real, whole
from tdmx_dask.errors import InputError, TdmxWarning
from tdmx_dask.fitting.program import read_program
from tdmx_dask.fitting.question import FitQuestion, check_run_in, constants_of, error_data, error_of

__all__ = ["POPULATION_PROGRAMS", "ask_population"]

POPULATION_PROGRAMS = {"1C": "population_1c", "2C": "population_2c", "3C": "population_3c"}
"""Shipped program of each model of a cohort."""

_INTERNAL = (
    *("typical_raw", "effect_raw", "omega_half", "omega_raw", "correlation_chol", "eta_raw", "sigma_raw"),
    *("typical", "omega_sd"),
)


def ask_population(
    patients: Sequence[Patient],
    *,
    model: str | None = None,
    priors: PriorSet | Mapping[str, object],
    bsv: Mapping[str, object] | Sequence[str],
    covariates: Mapping[str, object] | None = None,
    error: ErrorModel | Mapping[str, object] | None = None,
    lkj: float = 2.0,
    grainsize: int = 0,
    name: str = "population",
) -> FitQuestion:
    """Ask for the posterior of a population: typical values, effects of covariates, variability between subjects.

    Parameters
    ----------
    patients : at least one; each id once
    model : 1C, 2C or 3C; None where the priors say
    priors : of the typical values: median, and the uncertainty of it as omega or cv of the log; a plain number fixes one
    bsv : parameters that vary between subjects: their names, or the priors of their SDs, as `read_variability_of` takes them
    covariates : effects, as `read_effects` takes them
    error : residual error; None: proportional, 20 %, with a warning
    lkj : shape of the prior of the correlations between parameters, > 0; 0: none are estimated
    grainsize : subjects a slice of within-chain threads; 0: no threads
    name : of the fit

    Raises
    ------
    InputError
        No patient, priors of another model or with correlations, a covariate that a patient lacks, or nothing to estimate.
    """
    patients = _checked(patients)
    prior = _priors_of(priors, model)
    effects = read_effects(covariates, prior.parameters)
    etas = read_variability_of(bsv, prior.parameters)
    with noting() as notes:
        residual = error_of(error, None, name)
        if not any(patient.levels for patient in patients):
            text = f"{name}: there is no level, so the posterior is the prior (prior only)."
            warnings.warn(text, TdmxWarning, stacklevel=3)
    for patient in patients:
        check_run_in(patient, prior)
    data = {
        **_history(patients),
        **_structure(patients, prior, effects, etas),
        **error_data(residual),
        "lkj": real(
            "lkj", lkj, "the shape of an LKJ prior", ge=0, fix="2 is usual; 0 leaves correlations out."
        ),
        "grainsize": whole("grainsize", grainsize, "subjects a slice", ge=0),
    }
    constant, dims = constants_of(data)
    fu = {patient.fu for patient in patients}
    judged = (*prior.free, *(("effect",) if any(each.sd > 0 for each in effects) else ()))
    judged += (*(("omega",) if etas else ()), *(f"sigma_{part}" for part in residual.free))
    if not judged:
        rule = "every parameter is fixed, so there is nothing to estimate"
        raise InputError("priors", prior.source or prior.model, rule, "Give omega or cv to at least one.")
    names = tuple(each.parameter for each in etas)
    return FitQuestion(
        name=name,
        program=read_program(POPULATION_PROGRAMS[prior.model]),
        data=data,
        parameters=judged,
        model=prior.model,
        constant=constant | _owners(data),
        dims=dims | {"level_subject": ("observation",), "dose_subject": ("dose",)},
        carried={"fu": next(iter(fu))} if len(fu) == 1 and None not in fu else {},  # type: ignore[dict-item]
        features=_features(patients, data),
        outputs={**{f"{each}_i": ("subject",) for each in prior.parameters}, "effect": ("effect",)},
        coords={
            **({"eta": names, "eta2": names} if names else {}),
            "subject": tuple(patient.id for patient in patients),
            **({"effect": tuple(each.label for each in effects)} if effects else {}),
        },
        internal=_INTERNAL,
        notes=tuple(notes),
    )


def _checked(patients: Sequence[Patient]) -> tuple[Patient, ...]:
    found = tuple(patients)
    if not found:
        raise InputError("patients", "()", "a cohort has at least one patient", "Read one with read_cohort.")
    seen: set[str] = set()
    for patient in found:
        if not isinstance(patient, Patient):
            raise InputError(
                "patients", type(patient).__name__, "a cohort is of patients", "Use read_cohort."
            )
        if patient.id in seen:
            raise InputError("patients", patient.id, "two patients have this id", "Rename one.")
        seen.add(patient.id)
    return found


def _priors_of(given: object, model: str | None) -> PriorSet:
    if isinstance(given, Mapping):
        given = PriorSet.from_mapping(Item(given, "priors"), model=model)
    if not isinstance(given, PriorSet):
        rule = "priors of typical values are a PriorSet or a mapping"
        fix = "For example {CL: {median: 10, omega: 0.5}, V: {median: 20, omega: 0.5}}."
        raise InputError("priors", type(given).__name__, rule, fix)
    if model is not None and given.model != model:
        rule = f"the priors are of a {given.model} model"
        raise InputError("model", model, rule, f"Give priors of {' '.join(model_of(model))}.")
    if given.model not in POPULATION_PROGRAMS:
        fix = f"A cohort has one of {', '.join(POPULATION_PROGRAMS)}."
        raise InputError("model", given.model, "there is no such model of a cohort", fix)
    if np.count_nonzero(given.covariance - np.diag(np.diag(given.covariance))):
        rule = "typical values have independent priors"
        raise InputError("priors.correlations", "given", rule, "Correlations between subjects go by lkj.")
    return given


def _history(patients: Sequence[Patient]) -> dict[str, Any]:
    """Doses and levels of all, subject by subject; doses from a patient's last level on are left out."""
    doses = [(s, dose) for s, patient in enumerate(patients, start=1) for dose in patient.counted_doses]
    levels = [(s, level) for s, patient in enumerate(patients, start=1) for level in patient.levels]
    return {
        "n_subjects": len(patients),
        "n_doses": len(doses),
        "dose_subject": [s for s, _ in doses],
        "dose_time": [dose.time for _, dose in doses],
        "dose_amount": [dose.amount for _, dose in doses],
        "dose_tinf": [dose.tinf for _, dose in doses],
        "n_levels": len(levels),
        "level_subject": [s for s, _ in levels],
        "level_time": [level.time for _, level in levels],
        "level": [level.value for _, level in levels],
        "below": [int(level.below) for _, level in levels],
    }


def _structure(
    patients: Sequence[Patient], prior: PriorSet, effects: Sequence[Effect], etas: Sequence[Variability]
) -> dict[str, Any]:
    """Priors of typical values, coefficients and SDs, and the design of the covariates."""
    position = {name: p for p, name in enumerate(prior.parameters, start=1)}
    columns = [effect.design(patients) for effect in effects]
    design = np.column_stack(columns) if columns else np.zeros((len(patients), 0))
    return {
        "typical_mean": list(prior.log_median),
        "typical_sd": np.sqrt(np.diag(prior.covariance)).tolist(),
        "n_effects": len(effects),
        "effect_parameter": [position[each.parameter] for each in effects],
        "design": design.tolist(),
        "effect_mean": [each.mean for each in effects],
        "effect_sd": [each.sd for each in effects],
        "n_etas": len(etas),
        "eta_parameter": [position[each.parameter] for each in etas],
        "omega_prior": 2 if etas and etas[0].log_normal is not None else 1,
        "omega_location": [each.location for each in etas],
        "omega_scale": [each.scale for each in etas],
    }


def _owners(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: np.asarray(data[key], dtype=np.int64) for key in ("level_subject", "dose_subject")}


def _features(patients: Sequence[Patient], data: Mapping[str, Any]) -> dict[str, float]:
    """Where a fit stands among others of its program."""
    features = {key: float(data[key]) for key in ("n_subjects", "n_doses", "n_levels", "n_effects", "n_etas")}
    levels = [np.log(level.value) for patient in patients for level in patient.levels]
    features["log_level"] = float(np.mean(levels)) if levels else 0.0
    features |= {f"typical_{p}": value for p, value in enumerate(data["typical_mean"])}
    return features | {"error_model": float(data["error_model"])}
