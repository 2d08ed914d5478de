"""A patient as a fit sees one: doses, levels, covariates, and what was known before."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tdmx_dask.domain.assessment import ASSESSMENT_KEYS, Assessment
from tdmx_dask.domain.document import read_yaml
from tdmx_dask.domain.doses import DoseEvent, body_weight
from tdmx_dask.domain.error_model import ErrorModel
from tdmx_dask.domain.level import Level
from tdmx_dask.domain.measurement import Measurement
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.prior import PriorSet
from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.domain.schedule import MOST_DOSES
from tdmx_dask.domain.section import Item, Section, nearest
from tdmx_dask.domain.study import read_fu, read_population
from tdmx_dask.domain.units import number_text, real
from tdmx_dask.errors import InputError

__all__ = ["Patient", "as_patient", "read_patient", "shipped_patients"]

MOST_LEVELS = 5_000

_TEXTS = ("title", "description", "source")
_KEYS = (
    *("id", *_TEXTS, "model", "population", "priors", "covariates", "fu", "regimen", "doses", "weight"),
    *("levels", "error", *ASSESSMENT_KEYS),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """One patient that checked itself.

    Parameters
    ----------
    id : a text of one line
    regimen : the doses given, on the clock of the levels; a text is read as its shorthand. Without an end, those before the last
        level count
    levels : in any order; sorted here. Two at one time are replicates
    covariates : by name: numbers in the population's units, texts with their unit, ``female`` or ``male``
    fu : unbound fraction, above 0 and at most 1; None where the population says, or nothing needs it
    priors : a `Population` (its typical values at the covariates and its between-subject variability), a `PriorSet`, or None where
        the fit is told
    error : residual error, or None where the fit is told
    assessment : what is asked of the posterior, or None
    varying : covariates whose values change within the record; a fit that needs one refuses it
    run_in : h of assumed steady dosing before the record, of which `regimen` holds the doses
    title, description, source : as printed

    Attributes
    ----------
    doses : tuple of DoseEvent, mg
        Those of the regimen, multiplied by the weight where they are mg/kg.

    Raises
    ------
    InputError
        A level before or at the first dose, doses in mg/kg without a weight, or a value out of range.

    Examples
    --------
    >>> patient = Patient(id="A", regimen="1000 mg q8h inf 30min", levels=[(41, 12.3), ("47.5h", "6.1 mg/L")])
    >>> len(patient.doses), patient.levels[1].value
    (6, 6.1)
    """

    id: str
    regimen: Regimen
    levels: tuple[Level, ...] = ()
    covariates: Mapping[str, Measurement] = field(default_factory=dict)
    fu: float | None = None
    priors: Population | PriorSet | None = None
    error: ErrorModel | None = None
    assessment: Assessment | None = None
    varying: tuple[str, ...] = ()
    run_in: float = 0.0
    title: str = ""
    description: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "id", _name(self.id))
        if isinstance(self.regimen, str | Mapping):
            put(self, "regimen", Regimen.from_mapping(self.regimen))
        put(self, "levels", tuple(sorted(map(Level.read, self.levels))))
        if len(self.levels) > MOST_LEVELS:
            rule = f"a patient has at most {MOST_LEVELS:,} levels"
            raise InputError("levels", len(self.levels), rule, "Thin them.")
        covariates = {str(key): Measurement.read(str(key), value) for key, value in self.covariates.items()}
        put(self, "covariates", covariates)
        if self.fu is not None:
            fix = "Give 0.98 for 2 % protein binding."
            put(self, "fu", real("fu", self.fu, "an unbound fraction", gt=0, le=1, fix=fix))
        put(self, "run_in", real("run_in", self.run_in, "assumed past dosing", unit="h", ge=0))
        self._check_history()

    def _check_history(self) -> None:
        if self.levels and self.levels[0].time <= self.regimen.first_time:
            first = self.levels[0]
            rule = f"a level must be later than the first dose, at {number_text(self.regimen.first_time)} h"
            fix = "Write the doses before it, or check that both count hours from the same start."
            raise InputError("time", number_text(first.time), rule, fix)
        if self.regimen.per_kg:
            self.weight_of(self.regimen.weight)
        if len(self.doses) > MOST_DOSES:
            rule = f"at most {MOST_DOSES:,} doses are followed one by one"
            raise InputError("doses", len(self.doses), rule, "Leave out those long before the levels.")

    def weight_of(self, name: str) -> float:
        """The weight that mg/kg doses are multiplied by, kg.

        Raises
        ------
        InputError
            The patient has none, or it is no body weight.
        """
        if name not in self.covariates:
            raise InputError(
                f"covariates.{name}",
                None,
                "a dose in mg/kg needs a body weight",
                f"Write covariates: {{{name}: 70 kg}}.",
            )
        given = self.covariates[name]
        if given.unit not in ("", "kg", "g"):
            raise InputError(
                f"covariates.{name}", str(given.plain()), "a body weight is in kg", "Give it in kg."
            )
        return body_weight(f"covariates.{name}", given.value / 1000 if given.unit == "g" else given.value)

    @property
    def doses(self) -> tuple[DoseEvent, ...]:
        """All doses, mg, by time; of a regimen without end those before the last level, or its first ones where there is none."""
        regimen, until = self.regimen, math.inf
        if regimen.cycle is not None and regimen.cycle.n is None:
            until = self.levels[-1].time if self.levels else regimen.cycle.time(1)
        events = regimen.events(until)
        if not regimen.per_kg:
            return events
        weight = self.weight_of(regimen.weight)
        return tuple(
            DoseEvent(each.time, each.amount * weight, each.tinf) if each.per_kg else each for each in events
        )

    @property
    def counted_doses(self) -> tuple[DoseEvent, ...]:
        """Those of `doses` that the levels can tell of, before the last of them; all where there is no level."""
        if not self.levels:
            return self.doses
        return tuple(dose for dose in self.doses if dose.time < self.levels[-1].time)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object], *, path: Path | None = None) -> Patient:
        """Build a patient from what a YAML file holds; ``config/patients`` shows every key.

        Parameters
        ----------
        mapping : ``regimen`` or ``doses``, ``levels``, ``covariates``, ``population`` or ``priors`` (with ``model``), ``error``,
            ``fu``; and ``regimens``, ``targets``, ``mic``, ``distributions`` as a study has them
        path : the file; relative paths in the mapping start from its folder

        Raises
        ------
        InputError
            Anything unknown, missing, out of range or contradictory, named by its path and its line.
        """
        top = Section(Item(mapping, "")).only(*_KEYS)
        folder = path.parent if path else Path()
        error = ErrorModel.from_mapping(top.at("error")) if "error" in top else None
        texts = [top.text(key) if key in top else "" for key in _TEXTS]
        with top.item.naming():
            return cls(
                id=top.text("id", path.stem if path else "patient"),
                regimen=_regimen(top),
                levels=_levels(top),
                covariates=_covariates(top),
                fu=read_fu(top),
                priors=_priors(top, folder),
                error=error,
                assessment=Assessment.read(top, folder),
                title=texts[0],
                description=texts[1],
                source=texts[2],
            )

    def to_mapping(self) -> dict[str, object]:
        """Plain values for YAML and JSON; `from_mapping` reads them back. What a cohort's record left open is not in it."""
        mapping: dict[str, object] = {"id": self.id}
        mapping |= {key: getattr(self, key) for key in _TEXTS if getattr(self, key)}
        if isinstance(self.priors, Population):
            mapping["population"] = self.priors.to_mapping()
        elif self.priors is not None:
            mapping["priors"] = self.priors.to_mapping()
        if self.covariates:
            mapping["covariates"] = {name: each.plain() for name, each in self.covariates.items()}
        if self.fu is not None:
            mapping["fu"] = self.fu
        mapping["regimen"] = self.regimen.to_mapping()
        mapping["levels"] = [level.to_mapping() for level in self.levels]
        if self.error is not None:
            mapping["error"] = self.error.to_mapping()
        return mapping if self.assessment is None else {**mapping, **self.assessment.to_mapping()}


def as_patient(given: object) -> Patient:
    """A patient from a `Patient`, the path of a YAML file, the name of a shipped one, or a mapping.

    Raises
    ------
    InputError
        None of these, or not a patient (see `Patient.from_mapping`).
    """
    if isinstance(given, Patient):
        return given
    if isinstance(given, str | Path):
        return read_patient(given)
    if isinstance(given, Mapping):
        return Patient.from_mapping(given)
    rule = "a patient is a Patient, a mapping, or a YAML file"
    raise InputError("patient", type(given).__name__, rule, "For example fit('patient.yaml').")


def read_patient(given: str | Path) -> Patient:
    """Read a patient.

    Parameters
    ----------
    given : a YAML file, or the name of a patient that is shipped

    Raises
    ------
    InputError
        There is no such file or name, or it holds no patient (see `Patient.from_mapping`).
    """
    path = Path(given)
    shipped = {name: file for name, file in shipped_patients().items() if file.suffix == ".yaml"}
    if path.suffix.lower() == ".csv":
        raise InputError("patient", given, "a CSV file holds a cohort", "Read it with read_cohort.")
    if not path.is_file():
        if str(given) not in shipped:
            rule = "there is no such file, and no shipped patient of that name"
            raise InputError("patient", given, rule, nearest(path.stem, tuple(shipped)))
        path = shipped[str(given)]
    return Patient.from_mapping(read_yaml(path), path=path)


def shipped_patients() -> dict[str, Path]:
    """Name and file of the patients (YAML) and cohorts (CSV) that come with tdmx_dask, by name."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_shipped" / "config" / "patients", package.parent / "config" / "patients"):
        if folder.is_dir():
            files = sorted((*folder.glob("*.yaml"), *folder.glob("*.csv")))
            return {file.stem: file for file in files}
    return {}


def _name(given: object) -> str:
    text = given.strip() if isinstance(given, str) else given
    if not isinstance(text, str) or not text or len(text) > 200 or not text.isprintable():
        rule = "the id of a patient is a text of one line, at most 200 characters"
        raise InputError("id", repr(given)[:60], rule, "Use a study number, not a name.")
    return text


def _regimen(top: Section) -> Regimen:
    """The doses given: a regimen, or a list."""
    if ("regimen" in top) == ("doses" in top):
        top.at("regimen" if "doses" not in top else "doses")
        top.at("doses").fail("regimen says the doses already", "Keep one of the two.")
    if "doses" in top:
        items: Iterable[Item] = top.items("doses")
        weight = top.text("weight", "WT")
        with top.at("doses").naming():
            return Regimen.from_events([item.value for item in items], weight=weight)
    item = top.at("regimen")
    if not isinstance(item.value, str | Mapping):
        item.fail("a regimen is a text or a mapping", "Write 1000 mg q8h inf 30min x6.")
    if "weight" in top:
        top.at("weight").fail("a regimen names its weight itself", "Write 15 mg/kg IBW q12h.")
    with item.naming():
        return Regimen.from_mapping(item.value)


def _levels(top: Section) -> tuple[Level, ...]:
    value = top.at("levels").value if "levels" in top else ()
    if isinstance(value, Sequence) and not value:
        return ()
    pair = (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and not isinstance(value[0], Mapping | Sequence)
    )
    if pair or isinstance(value, str):
        top.at("levels").fail("levels are a list", "Write - {time: 41h, value: 12.3}.")
    return tuple(Level.from_item(item) for item in top.items("levels"))


def _covariates(top: Section) -> dict[str, Measurement]:
    if "covariates" not in top:
        return {}
    section = top.at("covariates").section()
    found = {}
    for key in section:
        item = section.at(key)
        with item.naming():
            found[key] = Measurement.read(key, item.value)
    return found


def _priors(top: Section, folder: Path) -> Population | PriorSet | None:
    model = top.text("model") if "model" in top else None
    if "population" in top and "priors" in top:
        top.at("priors").fail("the population gives the priors already", "Keep one of the two.")
    population = read_population(top, folder)
    if population is not None:
        if model not in (None, population.model):
            top.at("model").fail(f"the population has a {population.model} model", "Remove it.")
        return population
    if "priors" in top:
        return PriorSet.from_mapping(top.at("priors"), model=model)
    if model is not None:
        top.at("model").fail("a model goes with priors", "Add priors: or population:.")
    return None
