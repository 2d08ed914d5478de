"""A patient as the texts of a form, and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np

from tdmx_dask.domain.cohort import read_cohort
from tdmx_dask.domain.document import read_yaml
from tdmx_dask.domain.error_model import ErrorModel
from tdmx_dask.domain.expression import Expression
from tdmx_dask.domain.level import Level
from tdmx_dask.domain.measurement import Measurement
from tdmx_dask.domain.parameters import MODELS
from tdmx_dask.domain.patient import Patient
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.prior import FITTED, PriorSet, model_of
from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.domain.units import NUMBER, number_text, shortened
from tdmx_dask.domain.variability import variability_text
from tdmx_dask.errors import InputError
from tdmx_dask.fitting.question import ask

__all__ = ["Complaints", "PatientText", "patients_of_file", "read_level_lines"]

_T = TypeVar("_T")
_NUMBER = re.compile(NUMBER)
_PERCENT_OR_NUMBER = re.compile(rf"\s*({NUMBER})\s*(%?)\s*")
_MOST_BYTES, _MOST_PATIENTS = 2_000_000, 500


class Complaints(dict[str, str]):
    """What is wrong, by the key of the field."""

    def reading(self, key: str, read: Callable[[], _T]) -> _T | None:
        """What `read` gives; None where it complains, which is kept."""
        try:
            return read()
        except InputError as error:
            self.setdefault(key, str(error))
            return None


@dataclass(frozen=True, slots=True)
class PatientText:
    """The fields of the form.

    Parameters
    ----------
    id, regimen, fu, error : as on the command line; ``error`` such as ``proportional 15%``; ``fu`` may be empty
    model : one of `FITTED`
    typical : parameter -> typical value, a number or a formula over the covariates
    spread : parameter -> its variability: ``22.1%`` (a CV), ``omega 0.23``, or empty: known
    units : of the covariates in the formulas, lines such as ``CCr mL/min/1.73m2``; a patient's value is converted, or refused
    correlations : lines such as ``CL, Vc: 0.4``
    covariates : lines such as ``CCr 75 mL/min/1.73m2``
    levels : lines of time (h) and level (mg/L), ``47.5 <0.5`` below quantification
    source : of the prior, as the report prints it
    varying, run_in : of a record, as of `Patient`: a fit that they speak against is refused
    kept : a prior that these fields cannot hold, such as one with derived covariates: used as it is
    """

    id: str = "patient"
    model: str = "2C"
    typical: Mapping[str, str] = field(default_factory=dict)
    spread: Mapping[str, str] = field(default_factory=dict)
    units: str = ""
    correlations: str = ""
    covariates: str = ""
    regimen: str = ""
    levels: str = ""
    error: str = "proportional 15%"
    fu: str = ""
    source: str = ""
    varying: tuple[str, ...] = ()
    run_in: float = 0.0
    kept: Population | PriorSet | None = None

    @classmethod
    def of(cls, patient: Patient) -> PatientText:
        """The texts of a patient."""
        texts = cls(
            id=patient.id,
            covariates="\n".join(f"{name} {each.plain()}" for name, each in patient.covariates.items()),
            regimen=str(patient.regimen),
            levels="\n".join(_level_line(level) for level in patient.levels),
            error="proportional 15%" if patient.error is None else patient.error.text(),
            fu="" if patient.fu is None else number_text(patient.fu),
            varying=patient.varying,
            run_in=patient.run_in,
        )
        return texts if patient.priors is None else _with_priors(texts, patient.priors)

    def read(self) -> tuple[Patient | None, Complaints]:
        """The patient; None where anything is wrong, and what that is."""
        wrong = Complaints()
        covariates = wrong.reading("covariates", lambda: _covariates(self.covariates)) or {}
        priors = self.kept if self.kept is not None else self._priors(wrong)
        regimen = wrong.reading("regimen", lambda: Regimen.parse(self.regimen))
        levels = wrong.reading("levels", lambda: read_level_lines(self.levels))
        error = wrong.reading("error", lambda: ErrorModel.parse(self.error))
        fu = wrong.reading("fu", lambda: _optional_number("fu", self.fu))
        if wrong or regimen is None or levels is None:
            return None, wrong
        parts: dict[str, Any] = {"covariates": covariates, "priors": priors, "error": error, "fu": fu}
        parts |= {"varying": self.varying, "run_in": self.run_in}
        try:
            patient = Patient(id=self.id, regimen=regimen, levels=levels, **parts)
            ask(patient)  # so that what a fit would refuse is said at its field
        except InputError as complaint:
            home = "covariates" if complaint.name in covariates else _home(complaint.name)
            wrong[home] = str(complaint)
            return None, wrong
        return patient, wrong

    def _priors(self, wrong: Complaints) -> Population | PriorSet | None:
        names = wrong.reading("model", lambda: model_of(self.model))
        if names is None:
            return None
        typical = {
            n: wrong.reading(f"typical.{n}", partial(_typical, n, self.typical.get(n, ""))) for n in names
        }
        spread = {n: wrong.reading(f"spread.{n}", partial(_spread, n, self.spread.get(n, ""))) for n in names}
        wrong.reading("units", lambda: _units(self.units))
        correlations = wrong.reading("correlations", lambda: _correlations(self.correlations))
        if wrong:
            return None
        bsv = {name: each for name, each in spread.items() if each}
        try:
            if self.model in MODELS:
                return _population(self, typical, bsv, correlations or {})
            rows: dict[str, object] = {}
            for name in names:
                median = _plain(name, typical[name])
                rows[name] = {"median": median, **bsv[name]} if name in bsv else median
            return PriorSet.from_mapping({**rows, "correlations": correlations or {}}, model=self.model)
        except InputError as complaint:
            wrong[_home(complaint.name)] = str(complaint)
            return None


def _population(
    texts: PatientText,
    typical: Mapping[str, object],
    bsv: Mapping[str, object],
    correlations: Mapping[str, float],
) -> Population:
    units = _units(texts.units)
    mapping: dict[str, object] = {
        "name": f"prior of {texts.id}",
        "model": texts.model,
        "parameters": typical,
        "covariates": {name: {"unit": unit.strip()} for name, unit in units.items()},
        "bsv": bsv,
        "correlations": correlations,
        "source": texts.source,
    }
    return Population.from_mapping({key: value for key, value in mapping.items() if value not in ({}, "")})


def _with_priors(texts: PatientText, priors: Population | PriorSet) -> PatientText:
    if isinstance(priors, PriorSet):
        median = dict(zip(priors.parameters, map(number_text, priors.median), strict=True))
        covariance, order, model = priors.covariance, priors.parameters, str(priors.model)
    else:
        median = {name: str(each) for name, each in priors.parameters.items()}
        covariance, order, model = np.asarray(priors.omega), priors.etas, str(priors.model)
    omega = np.sqrt(np.diag(covariance))
    spread = {name: variability_text(float(sd)) for name, sd in zip(order, omega, strict=True) if sd > 0}
    pairs = [
        f"{order[j]}, {order[i]}: {number_text(float(covariance[i, j] / (omega[i] * omega[j])))}"
        for i in range(len(order))
        for j in range(i)
        if covariance[i, j] != 0
    ]
    units = (
        []
        if isinstance(priors, PriorSet)
        else [f"{name} {each.unit}" for name, each in priors.covariates.items()]
    )
    filled = replace(
        texts,
        units="\n".join(units),
        model=model,
        typical=median,
        spread=spread,
        correlations="\n".join(pairs),
        source=priors.source,
    )
    plain = isinstance(priors, PriorSet) or not (
        priors.thetas
        or priors.fu is not None
        or any(set(each.to_mapping()) - {"unit"} for each in priors.covariates.values())
    )
    return filled if plain else replace(filled, kept=priors)


def read_level_lines(text: str) -> tuple[Level, ...]:
    """Levels from lines of a time and a level, parted by a comma, a semicolon, a tab or a blank; a heading may stand first.

    Raises
    ------
    InputError
        A line that is neither, with its number.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    found = []
    for place, (number, line) in enumerate(lines):
        cells = [cell.strip() for cell in _cells(line) if cell.strip()]
        if place == 0 and len(cells) >= 2 and not any(map(_NUMBER.search, cells)):
            continue  # a heading
        if len(cells) != 2:
            rule = "a line has a time in h and a level in mg/L"
            raise InputError(
                f"levels, line {number}",
                shortened(line),
                rule,
                "Write 41 12.3, or 47.5 <0.5 below quantification.",
            )
        time = float(cells[0]) if _NUMBER.fullmatch(cells[0]) else cells[0]
        try:
            found.append(Level.read((time, cells[1])))
        except InputError as error:
            raise InputError(
                f"levels, line {number}: {error.name}", error.value, error.rule, error.fix
            ) from None
    return tuple(found)


def _cells(line: str) -> list[str]:
    for sign in (";", "\t"):
        if sign in line:
            return line.split(sign)
    if "," in line:
        return line.split(",")
    # "41 12.3" and "41 h <0.5 mg/L": the level begins at the second number.
    second = [match.start() for match in re.finditer(rf"(?<!\S)[<≤]?=?\s*{NUMBER}", line)][1:2]
    return [line[: second[0]], line[second[0] :]] if second else line.split()


def _level_line(level: Level) -> str:
    return f"{number_text(level.time)}  {'<' if level.below else ''}{number_text(level.value)}"


def _covariates(text: str) -> dict[str, Measurement]:
    found: dict[str, Measurement] = {}
    for line in (each.strip() for each in re.split(r"[\n;]", text)):
        if line:
            name, _, value = line.replace(":", " ", 1).replace("=", " ", 1).partition(" ")
            _new("covariates", name, found)
            found[name] = Measurement.read(name, value.strip())
    return found


def _typical(name: str, text: str) -> object:
    if not text.strip():
        raise InputError(
            name,
            text.strip(),
            "a typical value is wanted here",
            "Write a number, or a formula over covariates.",
        )
    return float(text) if _NUMBER.fullmatch(text.strip()) else str(Expression.parse(text.strip(), name=name))


def _units(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.strip():
            name, _, unit = line.strip().partition(" ")
            if not unit.strip():
                rule = "a line has a covariate of the formulas and its unit"
                raise InputError(
                    "units", shortened(line.strip()), rule, "Write CCr mL/min/1.73m2, or SEX female."
                )
            _new("units", name, found)
            found[name] = unit.strip()
    return found


def _new(field: str, name: str, found: Collection[str]) -> None:
    if name in found:
        raise InputError(field, shortened(name), "it is given twice", "Leave one out.")


def _plain(name: str, value: object) -> float:
    if not isinstance(value, float):
        raise InputError(
            f"parameters.{name}",
            value,
            "a saturable model takes numbers",
            "Work the formula out for this patient.",
        )
    return value


def _spread(name: str, text: str) -> dict[str, object]:
    words = text.split()
    if not words or words == ["0"]:
        return {}
    scale, figure = ("cv", text) if len(words) == 1 else (words[0].lower(), " ".join(words[1:]))
    match = _PERCENT_OR_NUMBER.fullmatch(figure)
    if scale not in ("cv", "omega", "variance") or match is None:
        rule = "variability is a CV such as 22.1%, or omega 0.23, the SD of the log"
        raise InputError(name, shortened(text), rule, "Leave it empty where the parameter is known.")
    return {scale: f"{match[1]}%" if match[2] else float(match[1])}


def _correlations(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for line in (each.strip() for each in text.splitlines()):
        if line:
            pair, colon, value = line.rpartition(":")
            if not colon or not _NUMBER.fullmatch(value.strip()):
                raise InputError(
                    "correlations",
                    shortened(line),
                    "a line has two parameters and their correlation",
                    "Write CL, Vc: 0.4.",
                )
            _new("correlations", pair.strip(), found)
            found[pair.strip()] = float(value)
    return found


def _optional_number(name: str, text: str) -> float | None:
    text = text.strip()
    if not text:
        return None
    if not _NUMBER.fullmatch(text):
        raise InputError(name, shortened(text), "a fraction is wanted here", "Write 0.98, or leave it empty.")
    return float(text)


_HOMES = {
    "bsv": "spread", "parameters": "typical", "population.bsv": "spread", "population.parameters": "typical", "level": "levels",
    "time": "levels", "value": "levels", "below": "levels", "doses": "regimen", "tinf": "regimen", "dose": "regimen",
    "correlations": "correlations", "population.correlations": "correlations", "covariates": "covariates",
    "population.covariates": "units", "priors": "typical",
}  # fmt: skip


def _home(name: str) -> str:
    """The field that a complaint belongs to."""
    for prefix, home in sorted(_HOMES.items(), key=lambda each: -len(each[0])):
        if name == prefix or name.startswith((f"{prefix}.", f"{prefix}[")):
            rest = name[len(prefix) :].strip(".").split(".")[0]
            single = home in ("spread", "typical") and rest in {
                each for names in FITTED.values() for each in names
            }
            return f"{home}.{rest}" if single else home
    return name if name in ("id", "fu", "error", "regimen", "levels", "model") else "form"


def patients_of_file(name: str, content: bytes) -> tuple[Patient, ...]:
    """Patients of an uploaded file: YAML of one, a cohort's CSV.

    Raises
    ------
    InputError
        It is too large, or no patient.
    """
    if len(content) > _MOST_BYTES:
        raise InputError("file", name, f"a file of patients has at most {_MOST_BYTES:,} bytes", "Thin it.")
    suffix = ".yaml" if name.lower().endswith((".yaml", ".yml")) else ".csv"
    with TemporaryDirectory(prefix="tdmx-") as folder:
        path = Path(folder) / f"uploaded{suffix}"
        path.write_bytes(content)
        try:
            if suffix == ".yaml":
                return (Patient.from_mapping(read_yaml(path), path=path),)
            found = read_cohort(path)
        except InputError as error:  # the folder is nobody's business
            fix = error.fix.replace(str(path), name).replace(path.name, name)
            value = str(error.value).replace(str(path), name)
            raise InputError(error.name.replace(path.name, name), value, error.rule, fix) from None
    if len(found) > _MOST_PATIENTS:
        raise InputError(
            "file", name, f"a page holds at most {_MOST_PATIENTS} patients", "Use tdmx fit for a cohort."
        )
    return found
