"""What a cohort's model says of its subjects: how a covariate moves a parameter, and how parameters vary between subjects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.domain.covariate import SEXES, Covariate
from tdmx_dask.domain.covariate_units import canonical_unit
from tdmx_dask.domain.patient import Patient
from tdmx_dask.domain.prior import LARGEST_OMEGA, Prior
from tdmx_dask.domain.section import Item, nearest
from tdmx_dask.domain.units import number_text, real
from tdmx_dask.errors import InputError

__all__ = ["Effect", "Variability", "read_effects", "read_variability_of"]

Form = Literal["power", "exponential", "category"]

USUAL_SCALE = 0.5
"""Of the half-normal prior of an SD of the log, where nothing is said: its median is 0.34."""


@dataclass(frozen=True, slots=True)
class Effect:
    """A covariate's effect on the log of a parameter, with a coefficient that has a normal prior.

    ===========  =======================================
    form         the parameter is multiplied by
    ===========  =======================================
    power        (covariate / reference) ** coefficient
    exponential  exp(coefficient (covariate - reference))
    category     exp(coefficient) where it is the reference
    ===========  =======================================

    Parameters
    ----------
    parameter : the seed's name
    covariate : name of the patients' covariate
    form : of the table
    reference : a number in `unit`, above 0 for a power; of a category 1, where the covariate is coded
    mean, sd : of the coefficient; sd 0 fixes it, as 0.75 of allometry
    unit : of covariate and reference; ``female`` or ``male`` for that category of a sex; empty: as the patients give it
    """

    parameter: str
    covariate: str
    form: Form
    reference: float = 1.0
    mean: float = 0.0
    sd: float = 1.0
    unit: str = ""

    def __post_init__(self) -> None:
        put = object.__setattr__
        least = 0.0 if self.form == "power" else None
        fix = "Give the value at which the typical value holds."
        put(self, "reference", real("reference", self.reference, "a reference", gt=least, fix=fix))
        put(self, "mean", real("mean", self.mean, "the mean of a coefficient", ge=-100, le=100))
        fix = "0 fixes the coefficient at its mean."
        put(self, "sd", real("sd", self.sd, "the SD of a coefficient", ge=0, le=100, fix=fix))

    @property
    def label(self) -> str:
        """The effect as a coordinate names it: ``CL~CCr``."""
        category = f"={self.unit or number_text(self.reference)}" if self.form == "category" else ""
        return f"{self.parameter}~{self.covariate}{category}"

    def design(self, patients: Sequence[Patient]) -> NDArray[np.float64]:
        """What the coefficient is multiplied by in each patient; (patient,).

        Raises
        ------
        InputError
            A patient lacks the covariate, has several values of it, another unit, or one that a power cannot take.
        """
        units = [
            patient.covariates[self.covariate].unit
            for patient in patients
            if self.covariate in patient.covariates
        ]
        unit = self.unit or next(filter(None, units), "1")
        covariate = Covariate(self.covariate, unit)
        values = np.array([self._value(patient, covariate) for patient in patients])
        if self.form == "category":
            return np.where(values == self.reference, 1.0, 0.0)
        return np.log(values / self.reference) if self.form == "power" else values - self.reference

    def _value(self, patient: Patient, covariate: Covariate) -> float:
        where = f"{patient.id}, covariates.{self.covariate}"
        if self.covariate in patient.varying:
            rule = "it changes within the record, and an effect takes one value of a patient"
            raise InputError(where, "several values", rule, "Keep the value that goes with the levels.")
        if self.covariate not in patient.covariates:
            fix = nearest(self.covariate, tuple(patient.covariates))
            raise InputError(where, None, f"the effect {self.label} needs it", fix)
        try:
            value = patient.covariates[self.covariate].as_covariate(covariate)
        except InputError as error:
            raise InputError(where, error.value, error.rule, error.fix) from None
        if self.form == "power" and not value > 0:
            raise InputError(
                where, number_text(value), "a power needs a value above 0", "Use form: exponential."
            )
        return value


def read_effects(given: Mapping[str, object] | Item | None, parameters: Sequence[str]) -> tuple[Effect, ...]:
    """Read effects.

    ::

        CL: {CCr: {reference: 80, unit: mL/min, mean: 0.75, sd: 0.3}, SEX: {category: female}}
        Vc: {WT: {reference: 70, unit: kg, mean: 1, sd: 0}, ALB: {form: exponential, reference: 40}}

    Parameters
    ----------
    given : parameter -> covariate -> effect; the prior of a coefficient is left out 0 ± 1
    parameters : of the model

    Raises
    ------
    InputError
        Unknown, missing or out of range, named by its path.
    """
    if given is None:
        return ()
    item = given if isinstance(given, Item) else Item(given, "covariates")
    section = item.section()
    effects = []
    for parameter in section:
        if parameter not in parameters:
            section.at(parameter).fail(
                "the model has no parameter of this name", nearest(parameter, parameters)
            )
        inner = section.at(parameter).section()
        effects += [_effect(parameter, name, inner.at(name)) for name in inner]
    return tuple(effects)


def _effect(parameter: str, covariate: str, item: Item) -> Effect:
    section = item.section().only("form", "reference", "category", "unit", "mean", "sd")
    category = "category" in section
    form = section.text("form", "category" if category else "power")
    forms = ("power", "exponential", "category")
    if form not in forms:
        section.at("form").fail("there is no such form", nearest(form, forms))
    if category != (form == "category") or (category and "reference" in section):
        item.fail(
            "a category says which, and the other forms say their reference", "Write reference: or category:."
        )
    unit = canonical_unit(section.text("unit")) if "unit" in section else ""
    if category and isinstance(section.at("category").value, str):
        unit = section.text("category").lower()
        if unit not in SEXES:
            section.at("category").fail("a category is female, male or a number", "Code it as a number.")
    reference = 1.0 if category and unit in SEXES else section.number("category" if category else "reference")
    with item.naming():
        return Effect(
            parameter,
            covariate,
            form,  # type: ignore[arg-type]
            reference,
            section.number("mean", 0.0),
            section.number("sd", 1.0),
            unit,
        )


@dataclass(frozen=True, slots=True)
class Variability:
    """The prior of the SD of the log of a parameter between subjects: half-normal, or log-normal.

    Parameters
    ----------
    parameter : the seed's name
    half_normal : scale, above 0 and at most 3; or None
    log_normal : or None
    """

    parameter: str
    half_normal: float | None = USUAL_SCALE
    log_normal: Prior | None = None

    def __post_init__(self) -> None:
        if (self.half_normal is None) == (self.log_normal is None):
            rule = "the prior of an SD is half-normal or log-normal"
            raise InputError(f"bsv.{self.parameter}", None, rule, "Give one of the two.")
        if self.half_normal is not None:
            real("half_normal", self.half_normal, "the scale of a half-normal", gt=0, le=LARGEST_OMEGA)
        if self.log_normal is not None:
            real("median", self.log_normal.median, "the median of an SD of the log", le=LARGEST_OMEGA)

    @property
    def location(self) -> float:
        """Log of the log-normal's median; 0 of a half-normal."""
        return 0.0 if self.log_normal is None else math.log(self.log_normal.median)

    @property
    def scale(self) -> float:
        """Scale of the half-normal, or SD of the log of the log-normal."""
        return float(self.half_normal or 0.0) if self.log_normal is None else self.log_normal.omega


def read_variability_of(
    given: Mapping[str, object] | Sequence[str] | Item, parameters: Sequence[str]
) -> tuple[Variability, ...]:
    """Read which parameters vary between subjects, in the model's order.

    ::

        [CL, Vc]                                            # half-normal with scale 0.5
        {CL: {half_normal: 0.4}, Vc: {half_normal: 0.4}}
        {CL: {median: 0.3, omega: 0.5}}                     # log-normal; or cv:, or variance:

    Parameters
    ----------
    given : as above
    parameters : of the model

    Raises
    ------
    InputError
        Unknown or out of range; half-normal and log-normal priors in one model.
    """
    item = given if isinstance(given, Item) else Item(given, "bsv")
    if not isinstance(item.value, Mapping):
        names = [each.text() for each in item.items()] if item.value else []
        item = Item({name: {"half_normal": USUAL_SCALE} for name in names}, item.path, item.place)
    section = item.section()
    found = {}
    for name in section:
        at = section.at(name)
        if name not in parameters:
            at.fail("the model has no parameter of this name", nearest(name, parameters))
        half = isinstance(at.value, Mapping) and "half_normal" in at.value
        with at.naming():
            if half:
                scale = at.section().only("half_normal").number("half_normal")
                found[name] = Variability(name, scale)
            else:
                found[name] = Variability(name, None, Prior.from_item(at))
    kinds = {each.log_normal is None for each in found.values()}
    if len(kinds) > 1:
        item.fail("all SDs have half-normal priors or all log-normal ones", "Choose one.")
    return tuple(found[name] for name in parameters if name in found)
