"""From a patient to what Stan is asked: the program, its data, and what they stand for."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tdmx_dask.domain.error_model import ErrorModel
from tdmx_dask.domain.patient import Patient
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.prior import PriorSet, model_of
from tdmx_dask.domain.section import Item
from tdmx_dask.domain.study import noting
from tdmx_dask.domain.typical import prior_of
from tdmx_dask.errors import InputError, TdmxWarning
from tdmx_dask.fitting.program import Program, read_program

__all__ = [
    "PROGRAMS",
    "FitQuestion",
    "ask",
    "ask_program",
    "check_run_in",
    "constants_of",
    "error_data",
    "error_of",
]

PROGRAMS = {
    "1C": "linear_1c",
    "2C": "linear_2c",
    "3C": "linear_3c",
    "michaelis_menten": "michaelis_menten",
    "parallel": "parallel",
}
"""Shipped program of each model."""

USUAL_ERROR = ErrorModel.from_mapping({"kind": "proportional", "proportional": 0.2})


@dataclass(frozen=True, eq=False)
class FitQuestion:
    """A program and its data, with what a fit needs to know of them.

    Parameters
    ----------
    name : of the fit, as printed: the patient's id
    program : what is fitted
    data : plain numbers and nested lists by name
    parameters : quantities that diagnostics judge, as the draws name them; empty: all
    model : as `PROGRAMS` has it; empty for a program of the user
    constant : arrays for the group constant_data, by name
    dims : dimensions of each of `constant`; none named is a scalar
    carried : values that the posterior carries as variables, the same in each draw: ``fu``, the weights of mg/kg doses
    features : numbers by which a like fit is found
    patient : None for a program of the user, or for a population
    outputs : dimensions of vectors among the draws, behind chain and draw, where the question names them
    coords : labels of dimensions, of `outputs` and of ``omega``
    internal : variables of the program that stand for others, besides those of the patient programs
    notes : what was assumed, as it was warned about
    """

    name: str
    program: Program = field(repr=False)
    data: dict[str, Any] = field(repr=False)
    parameters: tuple[str, ...] = ()
    model: str = ""
    constant: dict[str, NDArray[Any]] = field(default_factory=dict, repr=False)
    dims: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    carried: dict[str, float] = field(default_factory=dict)
    features: dict[str, float] = field(default_factory=dict, repr=False)
    patient: Patient | None = field(default=None, repr=False)
    outputs: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    coords: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    internal: tuple[str, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()

    @cached_property
    def json(self) -> str:
        """The data as one JSON text, its keys in order."""
        return json.dumps(self.data, sort_keys=True, allow_nan=False, separators=(",", ":"))

    @cached_property
    def digest(self) -> str:
        """The sha256 of program and data."""
        return hashlib.sha256(f"{self.program.digest}\n{self.json}".encode()).hexdigest()

    def reparameterised(self) -> FitQuestion | None:
        """The same model with its parameters centred where they were not, or the other way; None where the program has one form."""
        if not self.model or self.data.get("centred") not in (0, 1) or _is_singular(self.data):
            return None
        return replace(self, data={**self.data, "centred": 1 - self.data["centred"]})


def ask(
    patient: Patient,
    *,
    model: str | None = None,
    priors: Population | PriorSet | Mapping[str, object] | None = None,
    error: ErrorModel | Mapping[str, object] | None = None,
    centred: bool = False,
) -> FitQuestion:
    """Ask for the posterior of one patient's parameters.

    Parameters
    ----------
    patient : checked
    model : as `PROGRAMS` has it; None where the priors say
    priors : a population, priors, or a mapping of either; None: the patient's own
    error : residual error; None: the patient's own, or else proportional, 20 %, with a warning
    centred : start from the centred parameterisation

    Raises
    ------
    InputError
        No priors, priors of another model, a covariate that is missing, or nothing to estimate.
    """
    with noting() as notes:
        prior, fu = _priors_of(patient, model, priors)
        error = error_of(error, patient.error, patient.id)
        if not patient.levels:
            _warn(f"{patient.id}: there is no level, so the posterior is the prior (prior only).")
    sigmas = tuple(f"sigma_{part}" for part in error.free)
    if not prior.free and not sigmas:
        rule = "every parameter is fixed, so there is nothing to estimate"
        raise InputError("priors", prior.source or prior.model, rule, "Give omega or cv to at least one.")
    check_run_in(patient, prior)
    data = _linear_data(patient, prior, error, centred)
    if centred and _is_singular(data):
        rule = "a parameter that the others determine has no density of its own"
        raise InputError("centred", centred, rule, "Leave centred out.")
    constant, dims = constants_of(data)
    return FitQuestion(
        name=patient.id,
        program=read_program(PROGRAMS[prior.model]),
        data=data,
        parameters=(*prior.free, *sigmas),
        model=prior.model,
        constant=constant,
        dims=dims,
        carried=_carried(patient, patient.fu if patient.fu is not None else fu),
        features=_features(patient, prior, error),
        patient=patient,
        notes=tuple(notes),
    )


def ask_program(
    program: Program | str,
    data: Mapping[str, ArrayLike],
    *,
    name: str | None = None,
    parameters: tuple[str, ...] | None = None,
) -> FitQuestion:
    """Ask for the posterior of any Stan program.

    Parameters
    ----------
    program : a program, its path, or the name of a shipped one
    data : numbers and arrays by name
    name : of the fit; None: the program's
    parameters : quantities that diagnostics judge; None: all

    Raises
    ------
    InputError
        There is no such program, the data are no mapping, or a value is no finite number.
    """
    program = program if isinstance(program, Program) else read_program(program)
    if not isinstance(data, Mapping):
        raise InputError(
            "data",
            str(data)[:60],
            "data of a program are numbers and arrays by name",
            "For example {'n': 3, 'y': [1.0, 2.0, 4.0]}.",
        )
    plain = {str(key): _plain(str(key), value) for key, value in data.items()}
    sizes = {f"n_{key}": float(np.size(value)) for key, value in data.items()}
    return FitQuestion(
        name=name or program.name,
        program=program,
        data=plain,
        parameters=tuple(parameters or ()),
        features=sizes,
    )


def _priors_of(patient: Patient, model: str | None, given: object) -> tuple[PriorSet, float | None]:
    """Priors at the patient's covariates, and fu where the population says."""
    if model is not None:
        model_of(model)
    if isinstance(given, Mapping):
        item = Item(given, "priors")
        given = (
            Population.from_mapping(item)
            if "parameters" in given
            else PriorSet.from_mapping(item, model=model)
        )
    priors = given if given is not None else patient.priors
    if priors is None:
        rule = "a fit needs a population or priors, and the patient has none"
        raise InputError("priors", None, rule, "Give priors=, or population: in the patient's file.")
    if not isinstance(priors, Population | PriorSet):
        rule = "priors are a Population, a PriorSet or a mapping"
        raise InputError(
            "priors", type(priors).__name__, rule, "For example {CL: {median: 5, cv: 0.3}, V: 20}."
        )
    if model is not None and priors.model != model:
        rule = f"the priors are of a {priors.model} model"
        raise InputError("model", model, rule, f"Give priors of {' '.join(model_of(model))}.")
    if isinstance(priors, Population):
        return prior_of(priors, patient.covariates, patient.varying)
    return priors, None


def error_of(given: object, own: ErrorModel | None, name: str) -> ErrorModel:
    """The residual error: as given, else a patient's own, else proportional, 20 %, with a warning."""
    if isinstance(given, Mapping):
        given = ErrorModel.from_mapping(given)
    error = given if given is not None else own
    if error is None:
        _warn(f"{name}: a proportional error of 20 % is assumed. Set error= to the assay's and model's own.")
        return USUAL_ERROR
    if not isinstance(error, ErrorModel):
        rule = "an error is an ErrorModel or a mapping"
        raise InputError("error", error, rule, "For example {kind: proportional, proportional: 0.15}.")
    return error


def _warn(text: str) -> None:
    warnings.warn(text, TdmxWarning, stacklevel=4)


def check_run_in(patient: Patient, prior: PriorSet) -> None:
    """Refuse assumed past doses that do not reach steady state at the prior's median: more than 1 % of it missing."""
    if patient.run_in == 0 or prior.model not in ("1C", "2C", "3C"):
        return
    from tdmx_dask.kernels.disposition import disposition

    modes = disposition(*(np.array([value]) for value in prior.median))
    lacking = float((modes.share * np.exp(-modes.rate * patient.run_in)).sum())
    if lacking > 0.01:
        rule = f"{patient.run_in:g} h of past doses leave {lacking:.0%} of the steady state unreached"
        raise InputError(
            "SS", patient.id, rule, "Write the doses that were given, or read with a longer run_in."
        )


def _linear_data(patient: Patient, prior: PriorSet, error: ErrorModel, centred: bool) -> dict[str, Any]:
    """Data of the programs of one patient; doses from the last level on change nothing and are left out."""
    doses = patient.counted_doses
    return {
        "n_doses": len(doses),
        "dose_time": [dose.time for dose in doses],
        "dose_amount": [dose.amount for dose in doses],
        "dose_tinf": [dose.tinf for dose in doses],
        "n_levels": len(patient.levels),
        "level_time": [level.time for level in patient.levels],
        "level": [level.value for level in patient.levels],
        "below": [int(level.below) for level in patient.levels],
        "prior_mean": list(prior.log_median),
        "prior_chol": prior.factor.tolist(),
        **error_data(error),
        "centred": int(centred),
    }


def _is_singular(data: Mapping[str, Any]) -> bool:
    """Whether a parameter is determined by others, so that it has no density of its own and cannot be centred."""
    return any(row[i] == 0 and any(row) for i, row in enumerate(data.get("prior_chol", ())))


def error_data(error: ErrorModel) -> dict[str, Any]:
    """The residual error as all programs take it."""
    parts = (error.additive, error.proportional)
    return {
        "error_model": error.code,
        "sigma_mean": [0.0 if part is None else math.log(part.median) for part in parts],
        "sigma_omega": [0.0 if part is None else part.omega for part in parts],
        "nu": 4.0 if error.nu is None else error.nu,
    }


def constants_of(data: Mapping[str, Any]) -> tuple[dict[str, NDArray[Any]], dict[str, tuple[str, ...]]]:
    """Doses and levels as arrays for constant_data, with their dimensions."""
    dims: dict[str, tuple[str, ...]] = {
        **dict.fromkeys(("dose_time", "dose_amount", "dose_tinf"), ("dose",)),
        **dict.fromkeys(("level_time", "level", "below"), ("observation",)),
    }
    constant: dict[str, NDArray[Any]] = {
        name: np.asarray(data[name], dtype=np.int64 if name == "below" else np.float64) for name in dims
    }
    return constant, dims


def _carried(patient: Patient, fu: float | None) -> dict[str, float]:
    """What PTA looks for among the draws besides the parameters."""
    carried = {} if fu is None else {"fu": fu}
    regimens = (patient.regimen, *(patient.assessment.regimens if patient.assessment else ()))
    for name in sorted({"WT", *(each.weight for each in regimens if each.per_kg)} & set(patient.covariates)):
        carried[name] = patient.weight_of(name)
    return carried


def _features(patient: Patient, prior: PriorSet, error: ErrorModel) -> dict[str, float]:
    """Where a fit stands among others of its program: size, doses, levels, prior."""
    doses, levels = patient.doses, patient.levels
    features = {
        "n_doses": float(len(doses)),
        "n_levels": float(len(levels)),
        "n_below": float(sum(level.below for level in levels)),
        "log_dose": math.log(sum(dose.amount for dose in doses) / len(doses)),
        "last_time": levels[-1].time if levels else 0.0,
        "log_level": float(np.mean([math.log(level.value) for level in levels])) if levels else 0.0,
        "error_model": float(error.code),
    }
    for name, value, omega in zip(prior.parameters, prior.log_median, np.diag(prior.covariance), strict=True):
        features[f"log_{name}"] = value
        features[f"omega_{name}"] = math.sqrt(omega)
    return features


def _plain(name: str, value: ArrayLike) -> Any:
    """Numbers and nested lists, whole numbers kept whole."""
    array = np.asarray(value)
    if array.size == 0:
        return array.tolist()
    if array.dtype.kind not in "iufb" or not np.isfinite(array).all():
        raise InputError(
            name, str(value)[:60], "data of a program are finite numbers", "Remove what is missing."
        )
    return (array.astype(np.int64) if array.dtype.kind == "b" else array).tolist()
